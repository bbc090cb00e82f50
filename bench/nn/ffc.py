"""Fast Fourier convolution with 1x1 kernels, as the spectral encoder of Y-Net uses it.

Chi, Jiang, Mu: Fast Fourier Convolution, NeurIPS 2020, in the form that the official Y-Net code gives it
(oct.md section 2). Features travel as two streams, local (B, Cl, H, W) and global (B, Cg, H, W); a stream
of no channels is None. Differs from the thesis (chapter 8): see the card of `methods/ynet.py`.
"""

from __future__ import annotations

from enum import StrEnum
from functools import reduce

import torch
from torch import Tensor, nn

from bench.errors import UserError

SPECTRAL_LIMIT = 10.0  # Table 8.4 of the thesis: (-10, 10)


class SpectralRange(StrEnum):
    """What is done to the real and imaginary values of a spectrum (Table 8.4; oct.md section 5.4).

    It is the values that are limited, not the frequencies. `keep` clamps them to [-10, 10]. `remove` is
    what the official code computes: every value becomes -10 where it was positive and +10 elsewhere, so
    only signs survive. `remove_as_written` is what the thesis says: positive values below 10 become 10,
    values from -10 to 0 become -10, all others stay.
    """

    no_change = "no_change"
    keep = "keep"
    remove = "remove"
    remove_as_written = "remove_as_written"


def limit_spectrum(values: Tensor, spectral_range: SpectralRange) -> Tensor:
    """Apply `spectral_range` to real or imaginary values of any shape."""
    if spectral_range == SpectralRange.keep:
        return values.clamp(-SPECTRAL_LIMIT, SPECTRAL_LIMIT)
    if spectral_range == SpectralRange.remove:
        limit = torch.full_like(values, SPECTRAL_LIMIT)
        return torch.where(values > 0, -limit, limit)
    if spectral_range == SpectralRange.remove_as_written:
        return torch.where(values > 0, values.clamp(min=SPECTRAL_LIMIT), values.clamp(max=-SPECTRAL_LIMIT))
    return values


def conv1x1(cin: int, cout: int) -> nn.Conv2d:
    """1x1 convolution without bias: batch norm or a sum follows."""
    return nn.Conv2d(cin, cout, 1, bias=False)


class FourierUnit(nn.Module):
    """Convolution over channels in the frequency domain, (B, cin, H, W) -> (B, cout, H, W).

    The transform runs in float32 under autocast too: bfloat16 has no FFT and too few digits for one.
    """

    def __init__(self, cin: int, cout: int, spectral_range: SpectralRange = SpectralRange.no_change):
        super().__init__()
        self.spectral_range = spectral_range
        self.conv = nn.Sequential(conv1x1(2 * cin, 2 * cout), nn.BatchNorm2d(2 * cout), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """Return real maps of the input's size and dtype."""
        spectrum = torch.fft.rfft2(_at_least_float32(x), norm="ortho")
        # Real and imaginary part of one channel stand side by side: (B, C, 2, H, W/2+1) -> (B, 2C, ...)
        values = torch.stack((spectrum.real, spectrum.imag), 2).flatten(1, 2)
        values = self.conv(limit_spectrum(values, self.spectral_range).to(x.dtype))
        real, imag = _at_least_float32(values).unflatten(1, (-1, 2)).unbind(2)
        back = torch.fft.irfft2(torch.complex(real, imag), s=x.shape[-2:], norm="ortho")
        return back.to(x.dtype)


class SpectralTransform(nn.Module):
    """Fourier units over the whole map and over its quadrants, (B, cin, H, W) -> (B, cout, H, W).

    The local unit takes the first quarter of the channels, cut into 2x2 quadrants; with an odd side the
    last row or column is repeated before the cut and cropped after it.
    """

    def __init__(self, cin: int, cout: int, spectral_range: SpectralRange = SpectralRange.no_change):
        super().__init__()
        inner = cout // 2
        self.quarter = inner // 4
        if not self.quarter:
            raise UserError(
                f"A spectral transform needs at least 8 global channels, got {cout}; "
                "raise `method.alpha` or `method.width`, or set `method.alpha=0`."
            )
        self.reduce = nn.Sequential(conv1x1(cin, inner), nn.BatchNorm2d(inner), nn.ReLU())
        self.whole = FourierUnit(inner, inner, spectral_range)
        self.quadrants = FourierUnit(4 * self.quarter, inner, spectral_range)
        self.expand = conv1x1(inner, cout)

    def forward(self, x: Tensor) -> Tensor:
        """Sum the reduced input, its whole and its local Fourier unit, and expand."""
        x = self.reduce(x)
        return self.expand(x + self.whole(x) + self._local(x))

    def _local(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        part = x[:, : self.quarter]
        # Concatenation, not `F.pad(mode="replicate")`: the latter's gradient is not deterministic on CUDA.
        part = torch.cat((part, part[..., -1:, :]), -2) if height % 2 else part
        part = torch.cat((part, part[..., -1:]), -1) if width % 2 else part
        halves = part.chunk(2, -1)  # quadrants in the code's order: left above, left below, right ...
        part = self.quadrants(torch.cat([quadrant for half in halves for quadrant in half.chunk(2, -2)], 1))
        return part.repeat(1, 1, 2, 2)[..., :height, :width]


class FFC(nn.Module):
    """Exchange between the streams, then batch norm on each; no activation follows (oct.md 5.5).

    Args:
        cin: Channels of the local and of the global input.
        cout: Channels of the local and of the global output.
        spectral_range: What is done to the spectra.
    """

    def __init__(
        self,
        cin: tuple[int, int],
        cout: tuple[int, int],
        spectral_range: SpectralRange = SpectralRange.no_change,
    ):
        super().__init__()
        (local_in, global_in), (local_out, global_out) = cin, cout
        self.l2l = conv1x1(local_in, local_out) if local_in and local_out else None
        self.g2l = conv1x1(global_in, local_out) if global_in and local_out else None
        self.l2g = conv1x1(local_in, global_out) if local_in and global_out else None
        self.g2g = (
            SpectralTransform(global_in, global_out, spectral_range) if global_in and global_out else None
        )
        self.norm_local = nn.BatchNorm2d(local_out) if local_out else None
        self.norm_global = nn.BatchNorm2d(global_out) if global_out else None

    def forward(self, local: Tensor | None, globe: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """Return the local and the global stream, at the input's size."""
        return (
            _stream(self.norm_local, (self.l2l, local), (self.g2l, globe)),
            _stream(self.norm_global, (self.l2g, local), (self.g2g, globe)),
        )


def _stream(norm: nn.Module | None, *paths: tuple[nn.Module | None, Tensor | None]) -> Tensor | None:
    """Sum the paths that exist and normalise; None for a stream without channels."""
    parts = [path(x) for path, x in paths if path is not None and x is not None]
    return norm(reduce(torch.add, parts)) if norm is not None else None


def _at_least_float32(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
