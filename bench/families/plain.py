"""A user's plain `nn.Module` as a method under a task's own recipe."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, make_dataclass
from typing import ClassVar, cast

from torch import nn

from bench.core import Method
from bench.errors import UserError
from bench.families.plain_class import unshadowed
from bench.families.segmentation import SegmentationNet


class UserNet:
    """What builds a user's `nn.Module`; comes before a family's class with a recipe."""

    network: ClassVar[Callable[..., nn.Module]]
    options: ClassVar[tuple[str, ...]] = ()

    def build(self, in_channels: int, num_classes: int) -> nn.Module:
        """Call the user's class."""
        return type(self).network(
            in_channels, num_classes, **{name: getattr(self, name) for name in self.options}
        )


@dataclass
class PlainNet(UserNet, SegmentationNet):
    """A user's `nn.Module` under the recipe of segmentation."""


def plain_net(cls: type, name: str, base: type[Method] = PlainNet) -> type[Method]:
    """Wrap an `nn.Module` class; its further keyword arguments with defaults become fields.

    Args:
        cls: The user's class.
        name: What the user wrote.
        base: A `UserNet` with the family's recipe.

    Raises:
        UserError: `cls` is no `nn.Module` class or cannot be called as `(in_channels, num_classes)`.
    """
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        raise UserError(
            f"`{name}` is neither a `bench` Method nor an `nn.Module` class; "
            "segmentation takes a network class called as `(in_channels, num_classes)`."
        )
    parameters = list(inspect.signature(cls).parameters.values())
    extra = [p for p in parameters[2:] if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    starred = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if (len(positional) < 2 and not starred) or any(p.default is p.empty for p in extra):
        raise UserError(
            f"`{name}` is called as `{name}{inspect.signature(cls)}`; "
            "a plain network must be callable as `(in_channels, num_classes)`."
        )
    known = {f.name for f in fields(base)}
    options = [p for p in extra if isinstance(p.default, bool | int | float | str) and p.name not in known]
    unshadowed(name, (p.name for p in options), base)
    node = make_dataclass(
        name,
        [(p.name, type(p.default), p.default) for p in options],
        bases=(base,),
        namespace={"network": cls, "options": tuple(p.name for p in options)},
    )
    node.__module__, node.__doc__ = cls.__module__, cls.__doc__
    return cast(type[Method], node)
