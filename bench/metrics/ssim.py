"""Structural similarity (Wang et al. 2004) and its multi-scale form (Wang et al. 2003), definitions named.

SSIM = (2 μx μy + C₁)(2 σxy + C₂) / ((μx² + μy² + C₁)(σx² + σy² + C₂)) under a Gaussian window, averaged over
pixels and channels, C₁ = (0.01 L)², C₂ = (0.03 L)² for a range L. Libraries share the formula and differ in
window, border and range, enough to move the second digit on small images; so a definition is a value here.

Shapes: B pairs, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]
K1, K2 = 0.01, 0.03
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the five scales, Wang et al. 2003
CHUNK = 1 << 17  # values of one map held at a time: what a processor's cache takes


@dataclass(frozen=True)
class Definition:
    """One way to compute SSIM on bytes.

    Args:
        window: Side of the Gaussian window in pixels, odd.
        sigma: Its standard deviation in pixels.
        span: The range L that bytes are brought to before.
        border: `valid`: a mean over windows that lie inside the image. `zero`: the image continues as black
            and the mean goes over every pixel, so that borders are compared with nothing.
    """

    window: int = 11
    sigma: float = 1.5
    span: float = 255.0
    border: Literal["valid", "zero"] = "valid"

    @property
    def least(self) -> int:
        """The smallest side of an image that has a value."""
        return self.window if self.border == "valid" else 1

    def __str__(self) -> str:
        return f"window {self.window}, sigma {self.sigma:g}, range {self.span:g}, border {self.border}"


CLEAN = Definition()
"""As the paper, and `gaussian_weights=True, use_sample_covariance=False` of scikit-image."""
OFFICIAL = Definition(window=3, span=1.0, border="zero")
"""`pytorch_ssim` with `window_size=3`, as papers on manipulation use it; tables print it times 100."""


def ssim(first: Any, second: Any, definition: Definition = CLEAN) -> Floats:
    """SSIM of each pair, (B,) float64, at most 1.

    Args:
        first: uint8 (B, H, W, C), numpy array or torch tensor.
        second: The same.
        definition: Window, border and range.

    Raises:
        ValueError: Shapes or types differ from that, or a side is shorter than `definition.least`.
    """
    a, b = bytes_pair(first, second)
    _large_enough(a, definition.least, f"SSIM with a window of {definition.window}")
    inner = definition.window // 2 if definition.border == "valid" else 0

    def whole(x: Tensor, y: Tensor) -> Tensor:
        h, w = x.shape[1:3]
        return ssim_maps(x, y, definition)[:, inner : h - inner, inner : w - inner].mean((1, 2))

    return chunked(whole, a, b)


def ssim_maps(first: Tensor, second: Tensor, definition: Definition = CLEAN) -> Tensor:
    """SSIM around every pixel, averaged over channels: uint8 (B, H, W, C) to float64 (B, H, W).

    With the border `valid` the image is mirrored at its edges, as scikit-image's full map has it; the mean
    over windows inside the image leaves those pixels out.
    """
    x, y = _planes(first, definition.span), _planes(second, definition.span)
    x, y = (_bordered(plane, definition.window // 2, definition.border) for plane in (x, y))
    luminance, contrast = _terms(x, y, definition)
    return (luminance * contrast).mean(1)


def ms_ssim(first: Any, second: Any) -> Floats:
    """Multi-scale SSIM of each pair, (B,) float64, in [0, 1].

    Five scales, each half the former by averaging 2 x 2 pixels (an odd last row or column is dropped);
    contrast and structure of the first four and SSIM of the last, to the powers `WEIGHTS`, multiplied.
    Window, range and border are those of `CLEAN`. A negative mean counts as 0, whose power would otherwise
    not be real.

    Args:
        first: uint8 (B, H, W, C), numpy array or torch tensor.
        second: The same.

    Raises:
        ValueError: Shapes or types differ from that, or a side is shorter than `MS_LEAST` = 176 pixels.
    """
    a, b = bytes_pair(first, second)
    _large_enough(a, MS_LEAST, "MS-SSIM")

    def whole(first: Tensor, second: Tensor) -> Tensor:
        x, y = _planes(first, CLEAN.span), _planes(second, CLEAN.span)
        found = torch.ones(len(x), dtype=torch.float64, device=x.device)
        for scale, weight in enumerate(WEIGHTS):
            luminance, contrast = _terms(x, y, CLEAN)
            last = scale == len(WEIGHTS) - 1
            mean = (luminance * contrast if last else contrast).mean((1, 2, 3))
            found = found * mean.clamp(min=0) ** weight
            if not last:
                x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        return found

    return chunked(whole, a, b)


MS_LEAST = CLEAN.window << (len(WEIGHTS) - 1)  # so that the window fits into the last scale


def bytes_pair(first: Any, second: Any) -> tuple[Tensor, Tensor]:
    """Two uint8 tensors (B, H, W, C) of one shape.

    Raises:
        ValueError: They are not.
    """
    a, b = (
        x if isinstance(x, Tensor) else torch.from_numpy(np.ascontiguousarray(x)) for x in (first, second)
    )
    for x in (a, b):
        if x.dtype != torch.uint8 or x.ndim != 4 or not x[0:1].numel():
            raise ValueError(
                f"images must be uint8 (B, H, W, C) with a pixel, got {x.dtype} {tuple(x.shape)}"
            )
    if a.shape != b.shape:
        raise ValueError(f"pairs must have one shape, got {tuple(a.shape)} and {tuple(b.shape)}")
    return a, b.to(a.device)


def stretched(images: Any) -> tuple[Tensor, NDArray[np.bool_]]:
    """Every image from its own minimum and maximum to 0 and 255, cut to bytes, as the published code does.

    The arithmetic is float32 and cuts instead of rounding: a byte may come back one lower than it should.

    Args:
        images: (B, H, W, C) uint8 or float of any range, numpy array or torch tensor.

    Returns:
        uint8 (B, H, W, C), and (B,) bool, which images had two values at least; the others are black.

    Raises:
        ValueError: Not four-dimensional, without a pixel, or not finite.
    """
    x = images if isinstance(images, Tensor) else torch.from_numpy(np.ascontiguousarray(images))
    if x.ndim != 4 or not x[0:1].numel() or not torch.isfinite(x).all():
        raise ValueError(f"images must be finite (B, H, W, C) with a pixel, got {tuple(x.shape)}")
    x = x.to(torch.float32)
    low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
    varied = high > low
    found = (x - low) / torch.where(varied, high - low, torch.ones_like(high))
    return (found * 255).clamp(0, 255).to(torch.uint8), varied.flatten().cpu().numpy()


def step_of(images: Tensor, values: int | None = None) -> int:
    """How many of images (B, H, W, C) to take at a time for `values` values; `CHUNK`, or more off the CPU."""
    if values is None:
        values = CHUNK if images.device.type == "cpu" else CHUNK << 7
    return max(1, values // images[0].numel())


def chunked(function: Callable[..., Tensor], a: Tensor, b: Tensor, values: int | None = None) -> Floats:
    """`function` over slices of (B, H, W, C), its (B,) values together: memory does not grow with B."""
    step = step_of(a, values)
    parts = [function(a[i : i + step], b[i : i + step]) for i in range(0, len(a), step)]
    return torch.cat(parts).to(torch.float64).cpu().numpy()


def _large_enough(images: Tensor, least: int, what: str) -> None:
    if min(images.shape[1:3]) < least:
        raise ValueError(f"{what} needs {least} pixels a side, got {tuple(images.shape[1:3])}")


def _planes(images: Tensor, span: float) -> Tensor:
    """(B, H, W, C) uint8 to contiguous (B, C, H, W) float64 of range `span`."""
    planes = images.permute(0, 3, 1, 2).to(torch.float64).contiguous()
    return planes if span == 255 else planes.mul_(span / 255)


def _bordered(x: Tensor, width: int, border: str) -> Tensor:
    if border == "zero":
        return F.pad(x, (width,) * 4)
    for axis in (-2, -1):  # mirrored with the edge repeated, which torch's padding has no mode for
        size = x.shape[axis]
        index = torch.arange(-width, size + width, device=x.device)
        index = torch.where(index < 0, -1 - index, index)
        x = x.index_select(axis, torch.where(index >= size, 2 * size - 1 - index, index))
    return x


def _terms(x: Tensor, y: Tensor, definition: Definition) -> tuple[Tensor, Tensor]:
    """Luminance, and contrast with structure, at every window inside (B, C, H, W)."""
    offsets = np.arange(definition.window) - definition.window // 2
    weights = np.exp(-(offsets**2) / (2 * definition.sigma**2))
    weights = (weights / weights.sum()).tolist()
    mx, my, powers, xy = (_smoothed(z, weights) for z in (x, y, x * x + y * y, x * y))
    c1, c2 = (K1 * definition.span) ** 2, (K2 * definition.span) ** 2
    both, squares = mx * my, mx**2 + my**2
    return (2 * both + c1) / (squares + c1), (2 * (xy - both) + c2) / (powers - squares + c2)


def _smoothed(x: Tensor, weights: list[float]) -> Tensor:
    """A separable filter as sums of shifted slices: faster in float64 than a convolution by channel."""
    for axis in (-2, -1):
        size = x.shape[axis] - len(weights) + 1
        found = x.narrow(axis, 0, size) * weights[0]
        for i, weight in enumerate(weights[1:], 1):
            found.add_(x.narrow(axis, i, size), alpha=weight)
        x = found
    return x
