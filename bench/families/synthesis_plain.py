"""The task's own recipe for networks, and a user's plain class as a method of semantic synthesis."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from bench.core import Context, Method
from bench.errors import RunFailed, UserError
from bench.families.plain import UserNet, plain_net
from bench.families.plain_class import as_method, lacking, own_parameters
from bench.families.synthesis_data import Examples, conditions, together
from bench.images.conditions import Conditions, planes
from bench.labelled import Triple
from bench.nn.fit import evaluating, fit_supervised


@dataclass
class SynthesisNet(Method):
    """A network trained to make the photograph from its label map: Adam, mean absolute error.

    It answers a label map with one image, that which errs least on average; it knows no other draw.

    Args:
        lr: Learning rate of Adam.
    """

    family: ClassVar[str] = "semantic_synthesis"

    lr: float = 2e-4

    @staticmethod
    def channels_of(classes: int) -> tuple[int, int]:
        """Channels in and out of the network, with instance maps; for `bench show`."""
        return classes + 1, 3

    @abstractmethod
    def build(self, in_channels: int, num_classes: int) -> nn.Module:
        """Return the network, (B, in_channels, H, W) -> images (B, num_classes = 3, H, W) in [-1, 1]."""

    def fit(self, train: Examples, val: Examples, ctx: Context) -> None:
        """Train, and keep the weights of the least error on the validation images."""
        self.net = _OnMaps(self.build(ctx.in_channels, 3), train.classes)
        _check_output(self.net, train, type(self).__name__)
        size = ctx.protocol.batch_size

        def validate(net: nn.Module) -> float:
            total = 0.0
            with evaluating(net):
                for start in range(0, len(val), size):
                    part = range(start, min(start + size, len(val)))
                    x, y = ctx.fabric.to_device(_pairs(together(val.__getitem__, part)))
                    total += float((net(x).float() - y).abs().mean((1, 2, 3)).sum())
            return -total / len(val)

        optimizer = torch.optim.Adam(self.net.parameters(), lr=self.lr)
        fit_supervised(self.net, nn.L1Loss(), _Varied(train), validate, ctx, optimizer)

    def predict(self, x: Conditions) -> Tensor:
        """(B, 3, H, W) float32 of B label maps."""
        with evaluating(self.net):
            device = next((p.device for p in self.net.parameters()), x.labels.device)
            return self.net(_maps(x).to(device)).float().cpu()

    def parameters_count(self) -> int | None:
        """Trainable parameters of the built network."""
        return sum(p.numel() for p in self.net.parameters() if p.requires_grad)


class _OnMaps(nn.Module):
    """Label maps to planes, where the network is: a map is a hundredth of its planes to carry."""

    def __init__(self, net: nn.Module, classes: int):
        super().__init__()
        self.net, self.classes = net, classes

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1 or 2, H, W) int16 labels and edges -> images (B, 3, H, W)."""
        made = planes(x[:, 0].long(), x[:, 1] if x.shape[1] > 1 else None, self.classes)
        first = next(self.net.parameters(), made)
        return self.net(made.to(first.dtype))


def _maps(x: Conditions) -> Tensor:
    """(B, 1 or 2, H, W) int16."""
    parts = [x.labels] if x.edges is None else [x.labels, x.edges]
    return torch.stack([part.to(torch.int16) for part in parts], 1)


class _Varied:
    """Training photographs as batches of tensors; draws from torch's generator, which checkpoints keep."""

    def __init__(self, examples: Examples):
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        indices = positions.tolist()
        seeds = dict(zip(indices, torch.randint(2**62, (len(indices),)).tolist(), strict=True))
        triples = together(lambda i: self.examples.varied(i, seeds[i]), indices)
        return _pairs(triples)


def _pairs(triples: Sequence[Triple]) -> tuple[Tensor, Tensor]:
    """Maps (B, 1 or 2, H, W) and images (B, 3, H, W) in [-1, 1]."""
    images = torch.from_numpy(np.stack([triple.image for triple in triples]))
    return _maps(conditions(triples, 0)), images.permute(0, 3, 1, 2).float() / 127.5 - 1


def _check_output(net: nn.Module, train: Examples, name: str) -> None:
    """Refuse a network that makes no images before hours are spent on it."""
    x = train.conditions([0])
    with evaluating(net):
        y = net(_maps(x))
    size = tuple(x.labels.shape[1:])
    if not isinstance(y, Tensor) or tuple(y.shape) != (1, 3, *size):
        got = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
        raise RunFailed(
            f"`{name}` must map {(1, x.channels, *size)} to images of shape {(1, 3, *size)}, got {got}."
        )


@dataclass
class OwnNet(UserNet, SynthesisNet):
    """A user's `nn.Module` of `(in_channels, 3)` under the task's recipe."""


@dataclass
class Maker(Method):
    """A user's class with `fit(train, ctx)` and `generate(conditions)`."""

    family: ClassVar[str] = "semantic_synthesis"
    made: ClassVar[Any]
    options: ClassVar[tuple[str, ...]] = ()

    def fit(self, train: Examples, val: Examples, ctx: Context) -> None:
        """Make the object and let it learn."""
        self.own = type(self).made(**{name: getattr(self, name) for name in self.options})
        self.own.fit(train, ctx)

    def predict(self, x: Conditions) -> Tensor:
        """One image a label map."""
        return self.own.generate(x)

    def parameters_count(self) -> int | None:
        """Trainable parameters where the user's object has `parameters()`."""
        return own_parameters(getattr(self, "own", None))


def adapted(cls: type, name: str) -> type[Method]:
    """Make a method of a plain class; keyword arguments with plain defaults become its fields.

    Raises:
        UserError: It is neither a network nor has it `fit` and `generate`, or it cannot be made.
    """
    if issubclass(cls, nn.Module) and lacking(cls, "fit", "generate"):
        return plain_net(cls, name, OwnNet)
    if absent := lacking(cls, "fit", "generate"):
        raise UserError(
            f"`{name}` makes no images: it is no `nn.Module`, and lacks {absent}; write a network called as "
            "`(in_channels, 3)`, or `fit(train, ctx)` and `generate(conditions)`, which returns (B, 3, H, W)."
        )
    return as_method(cls, name, Maker)
