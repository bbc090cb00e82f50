"""Y-Net: two encoders, one spatial and one spectral, for OCT layers and fluid.

Farshad, Yeganeh, Gehlbach, Navab, MICCAI 2022 (2204.07613); thesis of A. Farshad, chapter 8. A second
encoder of fast Fourier convolutions sees the whole scan at once; both meet at the bottleneck. Differs from
the paper where paper and code differ: see CARD.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.card import Card, Difference
from bench.errors import UserError
from bench.families.segmentation import SegmentationNet
from bench.nn.ffc import FFC, SpectralRange
from bench.nn.unet import Decoder, Encoder, pad_to_multiple

CARD = Card(
    title="Y-Net",
    family="segmentation",
    summary="U-Net with a second encoder of fast Fourier convolutions that joins at the bottleneck.",
    citation="Farshad, Yeganeh, Gehlbach, Navab: Y-Net: A Spatiospectral Dual-Encoder Network for Medical "
    "Image Segmentation. MICCAI 2022. Thesis of A. Farshad, chapter 8.",
    url="https://github.com/azadef/ynet",
    licence="Apache-2.0 (reimplemented; the official code is Apache-2.0 too)",
    differences=(
        Difference(
            switch="method.merge",
            clean="concat: the encoders' outputs are concatenated over channels",
            official="interleaved: their values alternate along the width, each row spread over two",
            why="The paper says concatenation; the code flattens both maps, sets them side by side and views "
            "them as twice the channels, which scrambles the layout at the bottleneck.",
            source="thesis 8.3.1; azadef/ynet networks.py (cat_merge); oct.md sections 2 and 5.11",
        ),
        Difference(
            switch="method.alpha",
            clean="share of global channels in every FFC block, as in the code",
            official="the same",
            why="The paper lets alpha split the spectral transform between two Fourier units; in the code it "
            "splits the channels of a block between the streams, and the units always see all and a quarter.",
            source="thesis 8.3.2; azadef/ynet ffc.py; oct.md section 5.3",
        ),
        Difference(
            switch="method.spectral_range",
            clean="no_change",
            official="no_change: both flags are off in the released code",
            why="Table 8.4 speaks of frequencies from -10 to 10; the code limits the values of the spectrum. "
            "Its `remove` turns every value into +-10 with the sign flipped, not what the text says "
            "(`remove_as_written`). 0.855 is the row of `keep` in Table 8.4 and of the default in Table 8.1.",
            source="thesis Table 8.4; azadef/ynet ffc.py FourierUnit; oct.md section 5.4",
        ),
        Difference(
            switch="method.ffc",
            clean="true: the proposed network, 6,925,353 parameters at alpha 0.5, 1 channel and 9 classes",
            official="the same",
            why="The 7.46M of the paper is the ablation with a convolutional second encoder (`ffc=false`, "
            "7,459,785): the released script counts that one.",
            source="thesis 8.4.1; azadef/ynet print_params; oct.md section 5.2",
        ),
        Difference(
            switch="none: activation of the FFC block",
            clean="none after an FFC block; convolution, batch norm, ReLU in a Fourier unit",
            official="the same",
            why="The paper puts a non-linear activation into the block and the activation before batch norm "
            "in the unit; the code has the identity and the usual order, and the reported rows are its.",
            source="thesis 8.3.2; azadef/ynet ffc.py; oct.md section 5.5",
        ),
        Difference(
            switch="none: kernel of the FFC block",
            clean="1x1",
            official="the same",
            why="The paper speaks of three convolutional layers and gives no kernel size.",
            source="thesis 8.3.2; azadef/ynet networks.py; oct.md section 5.6",
        ),
        Difference(
            switch="none: width of level 4",
            clean="32, 64, 128, 128 channels in both encoders",
            official="the same",
            why="The paper calls the spatial encoder identical to U-Net's, which has 256 at level 4; the "
            "code keeps 128, so that both encoders together give 256 to the bottleneck.",
            source="thesis 8.3.1; azadef/ynet networks.py; oct.md section 5.10",
        ),
    ),
    notes="Without an activation the first FFC block makes of a scan of one channel nothing but that scan, "
    "up to sign, scale and offset, and the batch norm offsets of the first three blocks have no effect in "
    "training: the next block's batch norm removes them.",
)


class Merge(StrEnum):
    """How the two encoders meet at the bottleneck."""

    concat = "concat"
    interleaved = "interleaved"


def interleave(a: Tensor, b: Tensor) -> Tensor:
    """The code's merge of two (B, C, H, W) into (B, 2C, H, W) (oct.md section 2, "Merge oddity").

    Values of `a` and `b` alternate in memory order: output channel c holds half of source channel c // 2
    from both, alternating along the width, each source row stretched over two rows.
    """
    batch, channels, height, width = a.shape
    return torch.stack((a, b), -1).reshape(batch, 2 * channels, height, width)


class SpectralEncoder(nn.Module):
    """An FFC block and a 2x2 max pool of both streams for each of the n `widths`; `alpha` is global."""

    def __init__(self, in_channels: int, widths: list[int], alpha: float, spectral_range: SpectralRange):
        super().__init__()
        streams = [(in_channels, 0)] + [(w - int(w * alpha), int(w * alpha)) for w in widths]
        self.blocks = nn.ModuleList(FFC(cin, cout, spectral_range) for cin, cout in pairwise(streams))

    def forward(self, x: Tensor) -> Tensor:
        """Return both streams, local first: (B, C, H, W) -> (B, widths[-1], H/2^n, W/2^n)."""
        streams: tuple[Tensor | None, Tensor | None] = (x, None)
        for block in self.blocks:
            local, globe = (s if s is None else F.max_pool2d(s, 2) for s in block(*streams))
            streams = (local, globe)
        return torch.cat([s for s in streams if s is not None], 1)


class YNetModule(nn.Module):
    """Y-Net, (B, C, H, W) -> logits (B, K, H, W).

    Sides that do not divide by 16 are padded by repeating the last row and column; the logits are cropped
    back. Skips come from the spatial encoder only.
    """

    def __init__(
        self,
        in_channels: int = 1,
        num_classes: int = 9,
        ffc: bool = True,
        alpha: float = 0.5,
        spectral_range: SpectralRange = SpectralRange.no_change,
        merge: Merge = Merge.concat,
        width: int = 32,
    ):
        super().__init__()
        widths = [width, 2 * width, 4 * width, 4 * width]
        self.merge = merge
        self.spatial = Encoder(in_channels, widths)
        spectral = SpectralEncoder(in_channels, widths, alpha, spectral_range) if ffc else None
        self.second = spectral or Encoder(in_channels, widths)
        up = [8 * width, 4 * width, 2 * width, width]
        self.decoder = Decoder(8 * width, 16 * width, up, widths[::-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, K, H, W) of any input size from 16x16."""
        padded = pad_to_multiple(x, 16)
        pooled, skips = self.spatial(padded)
        second = self.second(padded)
        second = second[0] if isinstance(second, tuple) else second
        interleaved = self.merge == Merge.interleaved
        both = interleave(pooled, second) if interleaved else torch.cat((pooled, second), 1)
        return self.decoder(both, skips)[..., : x.shape[-2], : x.shape[-1]]


@dataclass
class YNet(SegmentationNet):
    """Y-Net under the task's recipe; the fields are the axes of Tables 8.3 and 8.4.

    Args:
        ffc: Fast Fourier convolutions in the second encoder; false for ordinary blocks.
        alpha: Share of global channels in an FFC block, 0 to 1.
        spectral_range: What is done to the values of the spectra.
        merge: How the encoders meet at the bottleneck.
        width: Channels of the first level.
    """

    card: ClassVar[Card] = CARD
    official: ClassVar[dict[str, Any]] = {"merge": Merge.interleaved}

    ffc: bool = True
    alpha: float = 0.5
    spectral_range: SpectralRange = SpectralRange.no_change
    merge: Merge = Merge.concat
    width: int = 32

    def build(self, in_channels: int, num_classes: int) -> nn.Module:
        """Return the network, (B, C, H, W) -> logits (B, K, H, W)."""
        if not 0 <= self.alpha <= 1:
            raise UserError(f"`method.alpha` takes a number from 0 to 1, got {self.alpha}.")
        if self.width < 1:
            raise UserError(f"`method.width` takes a whole number from 1, got {self.width}.")
        return YNetModule(
            in_channels, num_classes, self.ffc, self.alpha, self.spectral_range, self.merge, self.width
        )
