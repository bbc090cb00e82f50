"""Expressions `a+b+...`: weightings multiply, wrappers apply from left to right."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, make_dataclass
from typing import ClassVar, cast

from bench.core import Method
from bench.errors import UserError
from bench.federated.flower import Strategy
from bench.federated.strategy import FederatedMethod, Federation, Weighted, Weighting, Wrapper


@dataclass
class Composed(FederatedMethod):
    """Several parts as one method; each part's fields stand under its name.

    `bases` names the weightings, or the one strategy of another kind; `wrappers` what stands around it.
    """

    expression: ClassVar[str] = ""
    bases: ClassVar[tuple[str, ...]] = ()
    wrappers: ClassVar[tuple[str, ...]] = ()

    def strategy(self, federation: Federation) -> Strategy:
        """The innermost strategy, wrapped from left to right."""
        parts = [getattr(self, name) for name in self.bases]

        def make() -> Strategy:
            if isinstance(parts[0], Weighting):
                return Weighted(parts, federation)
            return parts[0].strategy(federation)

        for name in self.wrappers:
            make = functools.partial(getattr(self, name).wrap, make, federation)
        return make()


def composed(parts: Sequence[tuple[str, type[Method]]]) -> type[Method]:
    """The method class of an expression.

    Weightings come first in the canonical order of their `precedence`, then wrappers as written.

    Args:
        parts: Name and class of each part, as written.

    Raises:
        UserError: A part twice, nothing to wrap, two strategies of which neither is a weighting, or a part
            that does not combine.
    """
    names = [name for name, _ in parts]
    whole = "+".join(names)
    for name, cls in parts:
        if names.count(name) > 1:
            raise UserError(f"`{whole}` names `{name}` {names.count(name)} times; name it once.")
        if not issubclass(cls, FederatedMethod) or not cls.combines:
            raise UserError(f"`{name}` in `{whole}` does not combine with other methods; use it alone.")
    wrappers = [(name, cls) for name, cls in parts if issubclass(cls, Wrapper)]
    bases = [(name, cls) for name, cls in parts if not issubclass(cls, Wrapper)]
    if not bases:
        raise UserError(f"`{whole}` wraps nothing; write for instance `fedavg+{whole}`.")
    weightings = [(name, cls) for name, cls in bases if issubclass(cls, Weighting)]
    if len(bases) > 1 and len(weightings) < len(bases):
        odd = next(name for name, cls in bases if not issubclass(cls, Weighting))
        raise UserError(
            f"`{odd}` in `{whole}` is a strategy of its own and cannot be multiplied with another; "
            "only weightings can, and wrappers go around either."
        )
    bases.sort(key=lambda part: (getattr(part[1], "precedence", 0), part[0]))
    return _class_of(tuple(bases), tuple(wrappers))


@functools.lru_cache
def _class_of(
    bases: tuple[tuple[str, type[Method]], ...], wrappers: tuple[tuple[str, type[Method]], ...]
) -> type[Method]:
    parts = (*bases, *wrappers)
    node = make_dataclass(
        "Expression",
        [(name, cls, field(default_factory=cls)) for name, cls in parts],
        bases=(Composed,),
        namespace={
            "expression": "+".join(name for name, _ in parts),
            "bases": tuple(name for name, _ in bases),
            "wrappers": tuple(name for name, _ in wrappers),
            "official": {
                f"{name}.{key}": value for name, cls in parts for key, value in cls.official.items()
            },
        },
    )
    node.__module__ = __name__
    return cast(type[Method], node)
