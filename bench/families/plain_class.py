"""What every family does with a user's plain class: its arguments become the fields of a method."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import make_dataclass
from typing import Any, cast

from bench.core import Method
from bench.errors import UserError


def lacking(cls: type, *parts: str) -> str:
    """Those of the methods that the class lacks, as `` `a` and `b` ``; empty if none."""
    return " and ".join(f"`{part}`" for part in parts if not callable(getattr(cls, part, None)))


def own_parameters(own: Any) -> int | None:
    """Trainable parameters where a user's object has `parameters()`."""
    listed: Any = getattr(own, "parameters", None)
    return sum(p.numel() for p in listed() if p.requires_grad) if listed is not None else None


def unshadowed(name: str, options: Iterable[str], base: type[Method]) -> None:
    """Refuse arguments that would hide what a method is made of.

    Raises:
        UserError: An option bears the name of a member of `base`, such as `fit` or `card`.
    """
    if taken := [option for option in options if hasattr(base, option) or option == "card"]:
        raise UserError(
            f"`{name}` has the argument `{taken[0]}`, which names a part of every method; give it another "
            "name."
        )


def as_method(
    cls: type, name: str, base: type[Method], more: Mapping[str, Any] | None = None
) -> type[Method]:
    """A subclass of `base` with a field for each argument of `cls` that has a plain default.

    Args:
        cls: The user's class; becomes `made`, and its arguments' names `options`.
        name: What the user wrote.
        base: The family's wrapper.
        more: Further members.

    Raises:
        UserError: `cls` cannot be made without arguments.
    """
    parameters = inspect.signature(cls).parameters.values()
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if any(p.default is p.empty for p in named):
        raise UserError(f"`{name}` must be callable without arguments; give every argument a default.")
    options = [p for p in named if isinstance(p.default, bool | int | float | str)]
    unshadowed(name, (p.name for p in options), base)
    node = make_dataclass(
        name,
        [(p.name, type(p.default), p.default) for p in options],
        bases=(base,),
        namespace={"made": cls, "options": tuple(p.name for p in options), **(more or {})},
    )
    node.__module__, node.__doc__ = cls.__module__, cls.__doc__
    return cast(type[Method], node)
