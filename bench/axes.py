"""Settings and configurations as names and values: compared, ordered and said. Light to import.

A setting is what a task's axes (clients, participation, ...) are set to in a run; a configuration is the
fields of a method, those of a composed method's parts in dictionaries of their own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode  # made once: called per record


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of parts as `part.field`: `{"ida": {"eps": 1e-8}}` is `{"ida.eps": 1e-8}`.

    An empty dictionary stays as the value it is.
    """
    if not any(isinstance(value, dict) for value in config.values()):
        return dict(config)
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict) and value:
            found |= {f"{name}.{inner}": one for inner, one in flat(value).items()}
        else:
            found[name] = value
    return found


def same(ours: object, theirs: str) -> bool:
    """Whether a value is what a card writes as text: numbers as numbers, so that 0.3 is `0.30`."""
    try:
        value = json.loads(theirs)
    except ValueError:
        return str(ours) == theirs
    # In Python True == 1, but no switch is a number.
    return (ours == value and isinstance(ours, bool) == isinstance(value, bool)) or str(ours) == theirs


def word(value: Any) -> str:
    """A value as tables show it."""
    return value if isinstance(value, str) else canonical(value)


def said(setting: Mapping[str, Any], between: str = ", ") -> str:
    """`clients=10, classes_per_client=3, participation=0.3`; empty where a task has no axes."""
    return between.join(f"{name}={word(value)}" for name, value in setting.items())


def order(setting: Mapping[str, Any]) -> tuple[tuple[Any, ...], ...]:
    """A sort key: axis by axis in the task's order, numbers by size and before words."""
    return tuple(
        (name, 0, value, "") if isinstance(value, int | float) else (name, 1, 0, word(value))
        for name, value in setting.items()
    )
