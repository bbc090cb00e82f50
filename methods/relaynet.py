"""ReLayNet: unpooling by remembered maxima, for retinal layers and fluid.  Roy et al., BOE 8(8), 2017.

Tall 7x3 kernels see the whole retinal depth; the decoder puts values back where the pooled maxima were.
From the paper (1704.02161): three encoder blocks, a bottleneck, three decoder blocks, 64 channels
throughout, 7x3 convolution, batch norm and ReLU in each, 2x2 pooling, unpooling, skips, 1x1 classifier.
Decided here: no bias before batch norm, zero padding, sides padded to a multiple of 8; trained by the task's
recipe, not by the paper's weighted loss, SGD and 64-pixel slices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.card import Card, Difference
from bench.errors import UserError
from bench.families.segmentation import SegmentationNet
from bench.nn.unet import pad_to_multiple

CARD = Card(
    title="ReLayNet",
    family="segmentation",
    summary="Three-level encoder and decoder with 7x3 kernels and unpooling by max-pooling indices.",
    citation="Roy, Conjeti, Karri, Sheet, Katouzian, Wachinger, Navab: ReLayNet: Retinal Layer and Fluid "
    "Segmentation of Macular OCT using Fully Convolutional Networks. Biomedical Optics Express 8(8), 2017.",
    url="https://arxiv.org/abs/1704.02161",
    licence="Apache-2.0 (reimplemented; no official code used)",
    differences=(
        Difference(
            switch="protocol.loss",
            clean="the task's loss, optimiser and whole scans",
            official="the same",
            why="The paper trains with a boundary-weighted logistic loss plus Dice, SGD with momentum, on "
            "slices 64 pixels wide; here every network of a table gets one recipe.",
            source="Roy et al. 2017",
        ),
        Difference(
            switch="none: reported row",
            clean="this network on the 6-2-2 split by subject",
            official="the number in Table 8.1 is copied from Tran et al.",
            why="Neither the thesis nor its code ran ReLayNet.",
            source="thesis 8.4; oct.md section 4",
        ),
        Difference(
            switch="none: bias and padding",
            clean="no bias before batch norm; zero padding keeps the size; 776,969 parameters",
            official="the same",
            why="The paper states neither; batch norm makes a bias void.",
            source="Roy et al. 2017",
        ),
    ),
)


def block(cin: int, cout: int) -> nn.Sequential:
    """7x3 convolution (tall), batch norm, ReLU: (B, cin, H, W) -> (B, cout, H, W)."""
    return nn.Sequential(
        nn.Conv2d(cin, cout, (7, 3), padding=(3, 1), bias=False), nn.BatchNorm2d(cout), nn.ReLU()
    )


def unpool(x: Tensor, indices: Tensor, size: torch.Size) -> Tensor:
    """Put (B, C, H, W) back at the `indices` of its 2x2 max pool, zeros elsewhere: (B, C, *size).

    The same as `F.max_unpool2d`, which torch counts as not deterministic because indices might repeat;
    those of windows that do not overlap never do.
    """
    flat = x.new_zeros(*x.shape[:2], size[0] * size[1])
    return flat.scatter(2, indices.flatten(2), x.flatten(2)).unflatten(2, size)


class ReLayNetModule(nn.Module):
    """ReLayNet, (B, C, H, W) -> logits (B, K, H, W).

    Sides that do not divide by 8 are padded by repeating the last row and column; the logits are cropped
    back.
    """

    def __init__(self, in_channels: int = 1, num_classes: int = 9, width: int = 64):
        super().__init__()
        self.down = nn.ModuleList([block(in_channels, width), block(width, width), block(width, width)])
        self.bottleneck = block(width, width)
        self.up = nn.ModuleList(block(2 * width, width) for _ in range(3))
        self.head = nn.Conv2d(width, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, K, H, W) of any input size from 8x8."""
        size, x = x.shape[-2:], pad_to_multiple(x, 8)
        skips, places = [], []
        for down in self.down:
            skips.append(down(x))
            x, indices = F.max_pool2d(skips[-1], 2, return_indices=True)
            places.append(indices)
        x = self.bottleneck(x)
        for up, skip, indices in zip(self.up, reversed(skips), reversed(places), strict=True):
            x = up(torch.cat((unpool(x, indices, skip.shape[-2:]), skip), 1))
        return self.head(x)[..., : size[0], : size[1]]


@dataclass
class ReLayNet(SegmentationNet):
    """ReLayNet under the task's recipe.

    Args:
        width: Channels of every block.
    """

    card: ClassVar[Card] = CARD

    width: int = 64

    def build(self, in_channels: int, num_classes: int) -> nn.Module:
        """Return the network, (B, C, H, W) -> logits (B, K, H, W)."""
        if self.width < 1:
            raise UserError(f"`method.width` takes a whole number from 1, got {self.width}.")
        return ReLayNetModule(in_channels, num_classes, self.width)
