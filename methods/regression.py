"""Regression: a U-Net from label map to photograph under mean absolute error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from bench.card import Card, Difference
from bench.errors import UserError
from bench.families.synthesis_plain import SynthesisNet
from bench.nn import unet

CARD = Card(
    title="Regression",
    family="semantic_synthesis",
    summary="A U-Net of the label map under mean absolute error: the blurred average of what may be there.",
    citation="Ronneberger, Fischer, Brox: U-Net, MICCAI 2015, as a baseline of this harness",
    url="https://arxiv.org/abs/1505.04597",
    licence="Apache-2.0",
    differences=(
        Difference(
            switch="method.width",
            clean="32 channels at the first level, output through tanh, no adversary and no noise",
            official="the same",
            why="No paper reports regression alone; what an adversary or a diffusion model adds is measured "
            "against it.",
            source="this harness",
        ),
    ),
)


class _Image(nn.Module):
    def __init__(self, in_channels: int, width: int):
        super().__init__()
        self.net = unet.UNet(in_channels, 3, width)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.net(x))


@dataclass
class Regression(SynthesisNet):
    """U-Net under the task's recipe.

    Args:
        width: Channels of the first level; each of the four levels doubles them.
    """

    card: ClassVar[Card] = CARD

    width: int = 32

    def build(self, in_channels: int, num_classes: int) -> nn.Module:
        """Return the network, (B, in_channels, H, W) -> images (B, 3, H, W) in [-1, 1]."""
        if self.width < 1:
            raise UserError(f"`method.width` takes a whole number from 1, got {self.width}.")
        return _Image(in_channels, self.width)
