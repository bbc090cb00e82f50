"""U-Net: one spatial encoder, one decoder, skips.  Ronneberger, Fischer, Brox, MICCAI 2015 (1505.04597).

A contracting path finds what is there, an expanding path with skips says where. Differs from the paper:
padded convolutions, batch norm, base width 32, as the official Y-Net code sets it beside Y-Net.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from bench.card import Card, Difference
from bench.errors import UserError
from bench.families.segmentation import SegmentationNet
from bench.nn import unet

CARD = Card(
    title="U-Net",
    family="segmentation",
    summary="Encoder and decoder with skip connections; the baseline of the Y-Net paper at base width 32.",
    citation="Ronneberger, Fischer, Brox: U-Net: Convolutional Networks for Biomedical Image Segmentation. "
    "MICCAI 2015. Setting: Farshad et al.: Y-Net. MICCAI 2022.",
    url="https://arxiv.org/abs/1505.04597",
    licence="Apache-2.0 (reimplemented; no official code used)",
    differences=(
        Difference(
            switch="method.width",
            clean="32 channels at the first level, padded convolutions, batch norm",
            official="the same (7,762,729 parameters at 1 channel and 9 classes)",
            why="The U-Net paper has 64 channels, unpadded convolutions and no batch norm; the reported rows "
            "are of the smaller network in the Y-Net code, whose count is the 7.76M of the thesis.",
            source="thesis 8.4.1; azadef/ynet networks.py; oct.md section 2",
        ),
        Difference(
            switch="protocol.loss",
            clean="logits; the loss takes one softmax",
            official="the softmax inside the model is part of the official loss",
            why="The published network ends in a softmax and its loss takes a second and a third one.",
            source="azadef/ynet networks.py, losses.py; oct.md section 5.7",
        ),
    ),
)


@dataclass
class UNet(SegmentationNet):
    """U-Net under the task's recipe.

    Args:
        width: Channels of the first level; each of the four levels doubles them.
    """

    card: ClassVar[Card] = CARD

    width: int = 32

    def build(self, in_channels: int, num_classes: int) -> nn.Module:
        """Return the network, (B, C, H, W) -> logits (B, K, H, W)."""
        if self.width < 1:
            raise UserError(f"`method.width` takes a whole number from 1, got {self.width}.")
        return unet.UNet(in_channels, num_classes, self.width)
