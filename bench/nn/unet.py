"""U-Net bricks: encoder, decoder and the whole network.

Ronneberger, Fischer, Brox: U-Net, MICCAI 2015 (arXiv 1505.04597), with batch normalisation, "same"
padding and base width 32, as the official Y-Net code sets it beside Y-Net (oct.md section 2). Networks
return logits: the softmax belongs to the loss.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv_block(cin: int, cout: int) -> nn.Sequential:
    """Twice 3x3 convolution, batch norm, ReLU: (B, cin, H, W) -> (B, cout, H, W)."""
    return nn.Sequential(
        nn.Conv2d(cin, cout, 3, padding=1, bias=False),
        nn.BatchNorm2d(cout),
        nn.ReLU(),
        nn.Conv2d(cout, cout, 3, padding=1, bias=False),
        nn.BatchNorm2d(cout),
        nn.ReLU(),
    )


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column until both sides of (B, C, H, W) divide by `multiple`."""
    height, width = x.shape[-2:]
    below, right = -height % multiple, -width % multiple
    return F.pad(x, (0, right, 0, below), mode="replicate") if below or right else x


class Encoder(nn.Module):
    """A convolutional block and a 2x2 max pool for each of the n `widths`."""

    def __init__(self, in_channels: int, widths: Sequence[int]):
        super().__init__()
        inputs = (in_channels, *widths)
        self.blocks = nn.ModuleList(conv_block(a, b) for a, b in zip(inputs, widths, strict=False))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return (B, widths[-1], H/2^n, W/2^n) and the outputs before each pool, finest first."""
        skips = []
        for block in self.blocks:
            skips.append(block(x))
            x = F.max_pool2d(skips[-1], 2)
        return x, skips


class Decoder(nn.Module):
    """Bottleneck block, then up-convolution, concatenation with the skip and a block for each level.

    Args:
        in_channels: Channels at the bottleneck's input.
        bottleneck: Channels of the bottleneck.
        widths: Channels of each level, coarsest first.
        skips: Channels of the skip connections, coarsest first.
        num_classes: K.
    """

    def __init__(
        self, in_channels: int, bottleneck: int, widths: Sequence[int], skips: Sequence[int], num_classes: int
    ):
        super().__init__()
        self.bottleneck = conv_block(in_channels, bottleneck)
        inputs = (bottleneck, *widths)
        self.ups = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in zip(inputs, widths, strict=False))
        self.blocks = nn.ModuleList(conv_block(w + s, w) for w, s in zip(widths, skips, strict=True))
        self.head = nn.Conv2d(widths[-1], num_classes, 1)

    def forward(self, x: Tensor, skips: Sequence[Tensor]) -> Tensor:
        """Return logits (B, K, H, W); `skips` are (B, C, H/2^i, W/2^i), finest first."""
        x = self.bottleneck(x)
        for up, block, skip in zip(self.ups, self.blocks, reversed(skips), strict=True):
            x = block(torch.cat((up(x), skip), 1))
        return self.head(x)


class UNet(nn.Module):
    """U-Net of four levels, (B, C, H, W) -> logits (B, K, H, W).

    Sides that do not divide by 16 are padded by repeating the last row and column; the logits are cropped
    back. Training needs more than one value a channel at the bottleneck: with sides up to 16, two images.

    Args:
        in_channels: C.
        num_classes: K.
        width: Channels of the first level; each level doubles them.
    """

    def __init__(self, in_channels: int = 1, num_classes: int = 9, width: int = 32):
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width]
        up = widths[::-1]
        self.encoder = Encoder(in_channels, widths)
        self.decoder = Decoder(widths[-1], 16 * width, up, up, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, K, H, W) of any input size from 16x16."""
        pooled, skips = self.encoder(pad_to_multiple(x, 16))
        return self.decoder(pooled, skips)[..., : x.shape[-2], : x.shape[-1]]
