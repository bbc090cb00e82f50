"""A user's plain class as a few-shot method: a learner with `meta_fit` and `adapt`, or a network."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, make_dataclass
from typing import Any, ClassVar, cast

from torch import nn

from bench.core import Context, Method
from bench.errors import UserError
from bench.fewshot.method import FewShotMethod, plain_fewshot
from bench.volumes.slices import SliceSet, Source


@dataclass
class Learner(FewShotMethod):
    """A user's class that need not know `bench`."""

    made: ClassVar[Callable[..., Any]]
    options: ClassVar[tuple[str, ...]] = ()

    def meta_fit(self, sources: Sequence[Source], ctx: Context) -> None:
        """Make the learner and let it learn from the sources."""
        self.learner = type(self).made(**{name: getattr(self, name) for name in self.options})
        self.learner.meta_fit(sources, ctx)

    def adapt(self, support: SliceSet, ctx: Context) -> Callable[..., Any]:
        """The learner's own."""
        return self.learner.adapt(support, ctx)


def adapted(cls: type, name: str) -> type[Method]:
    """Make a method of a plain class; keyword arguments with plain defaults become its fields.

    Raises:
        UserError: It is neither a network nor a learner, or cannot be made without arguments.
    """
    if isinstance(cls, type) and issubclass(cls, nn.Module):
        return plain_fewshot(cls, name)
    lacking = [part for part in ("meta_fit", "adapt") if not callable(getattr(cls, part, None))]
    if lacking:
        raise UserError(
            f"`{name}` is neither an `nn.Module` class nor a few-shot method: it lacks "
            f"{' and '.join(f'`{part}`' for part in lacking)}; write `meta_fit(sources, ctx)` and "
            "`adapt(support, ctx)`."
        )
    parameters = inspect.signature(cls).parameters.values()
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if any(p.default is p.empty for p in named):
        raise UserError(f"`{name}` must be callable without arguments; give every argument a default.")
    options = [p for p in named if isinstance(p.default, bool | int | float | str)]
    node = make_dataclass(
        name,
        [(p.name, type(p.default), p.default) for p in options],
        bases=(Learner,),
        namespace={"made": cls, "options": tuple(p.name for p in options)},
    )
    node.__module__, node.__doc__ = cls.__module__, cls.__doc__
    return cast(type[Method], node)
