"""A user's plain class as a few-shot method: a learner with `meta_fit` and `adapt`, or a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from bench.core import Context, Method
from bench.errors import UserError
from bench.families.plain_class import as_method, lacking
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
    if absent := lacking(cls, "meta_fit", "adapt"):
        raise UserError(
            f"`{name}` is neither an `nn.Module` class nor a few-shot method: it lacks {absent}; "
            "write `meta_fit(sources, ctx)` and `adapt(support, ctx)`."
        )
    return as_method(cls, name, Learner)
