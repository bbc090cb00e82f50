"""Distances between an image and its reference: MAE, RMSE, PSNR, SSIM, MS-SSIM, LPIPS; whole and by region.

Each measure has two variants. `clean` takes the bytes as they are. `official` first stretches every image by
itself to its own minimum and maximum and cuts to bytes (`stretched`), as the published evaluations of image
manipulation do: that is a gain of its own for the image and for its reference, so it hides and makes
differences. Its SSIM is `ssim.OFFICIAL`, its regions are the published ones of `bench.metrics.regions`.

Shapes: B pairs, R regions, H rows, W columns. Values are float64, one a pair; means weigh pairs alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.core import MetricValue
from bench.metrics.regions import Regions, blackened, box_means
from bench.metrics.ssim import (
    CLEAN,
    MS_LEAST,
    OFFICIAL,
    bytes_pair,
    chunked,
    ms_ssim,
    ssim,
    ssim_maps,
    step_of,
    stretched,
)

Floats = NDArray[np.float64]
NET = 1 << 20  # values of images that go through a network at a time
UNITS = {
    "mae": ("grey levels of 255", "lower"),
    "rmse": ("grey levels of 255", "lower"),
    "psnr": ("dB", "higher"),
    "ssim": ("score", "higher"),
    "ms_ssim": ("score", "higher"),
    "lpips": ("distance", "lower"),
}
EMPTY = "the region holds no pixel"
IDENTICAL = "the pair is identical, and so its PSNR infinite"
CONSTANT = "an image of one value cannot be stretched"


class Perceptual(Protocol):
    """What `bench.nn.lpips.LPIPS` offers: (B, 3, H, W) in [-1, 1] twice to (B,), or to (B, H, W)."""

    least: int

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        """(B,)."""
        ...

    def maps(self, first: Tensor, second: Tensor) -> Tensor:
        """(B, H, W)."""
        ...


@dataclass(frozen=True, eq=False)
class Column:
    """One measure over pairs or regions.

    Args:
        values: (N,) float64, NaN where there is no value.
        why: (N,) of str, why not; empty where there is a value.
    """

    values: Floats
    why: NDArray[np.object_]

    @classmethod
    def full(cls, values: Floats) -> Column:
        """Every one has a value."""
        return cls(values, np.full(len(values), "", object))

    @property
    def reasons(self) -> dict[str, int]:
        """Why values are missing -> how many."""
        return dict(Counter(self.why[self.why != ""].tolist()))

    @property
    def n(self) -> int:
        """How many have a value."""
        return int(np.isfinite(self.values).sum())

    @property
    def mean(self) -> float | None:
        """Over those that have a value; None where there is none."""
        return float(np.nanmean(self.values)) if self.n else None

    def __add__(self, other: Column) -> Column:
        """Both, one after the other: batches of a long stream."""
        return Column(np.concatenate([self.values, other.values]), np.concatenate([self.why, other.why]))

    def without(self, left_out: NDArray[np.bool_], reason: str) -> Column:
        """The same, those (N,) having no value for that reason."""
        return Column(np.where(left_out, np.nan, self.values), np.where(left_out, reason, self.why))

    def metric(self, name: str) -> MetricValue:
        """The mean as a record holds it; `name` as `pair_metrics` gives it."""
        measure, _, variant = name.partition("@")
        unit, direction = UNITS[measure.removesuffix("_roi")]
        return MetricValue(self.mean, self.n, unit, direction, variant or "clean")


def mae(first: Any, second: Any) -> Floats:
    """Mean absolute difference over pixels and channels, 0 to 255, (B,).

    Args:
        first: uint8 (B, H, W, C), numpy array or torch tensor.
        second: The same.

    Raises:
        ValueError: Shapes or types differ from that.
    """
    a, b = bytes_pair(first, second)
    return chunked(lambda x, y: _difference(x, y).abs().to(torch.float64).mean((1, 2, 3)), a, b)


def mse(first: Any, second: Any) -> Floats:
    """Mean squared difference, 0 to 255², (B,); arguments and errors of `mae`."""
    a, b = bytes_pair(first, second)
    return chunked(lambda x, y: (_difference(x, y) ** 2).to(torch.float64).mean((1, 2, 3)), a, b)


def rmse(first: Any, second: Any) -> Floats:
    """Root of the mean squared difference of each pair, 0 to 255, (B,); arguments and errors of `mae`."""
    return np.sqrt(mse(first, second))


def psnr(first: Any, second: Any) -> Floats:
    """10 log10(255² / MSE) of each pair in dB, (B,), infinite for equal images; as `mae` otherwise."""
    return _decibels(mse(first, second))


def pair_metrics(
    generated: Any,
    reference: Any,
    regions: Regions | None = None,
    lpips: Perceptual | None = None,
    official: bool = True,
    wanted: Collection[str] = tuple(UNITS),
) -> dict[str, Column]:
    """Measures of a batch of pairs.

    Args:
        generated: uint8 (B, H, W, 3), numpy array or torch tensor.
        reference: The same, image for image.
        regions: Boxes to measure too, R of them.
        lpips: Adds `lpips`; None leaves it out.
        official: Adds the official variants.
        wanted: Some of `UNITS`; the others are left out.

    Returns:
        Measure -> (B,) values, `<measure>_roi` -> (R,) values, each again with `@official`. In a region, MAE,
        RMSE and PSNR are over its pixels, SSIM and LPIPS the mean of the whole pair's map in it, but official
        SSIM is that of the cropped region. There is no MS-SSIM of regions and no official one.

    Raises:
        ValueError: Shapes or types differ from that, or a region lies in no pair.
    """
    a, b = bytes_pair(generated, reference)
    if a.shape[3] != 3:
        raise ValueError(f"images must have three channels, got {a.shape[3]}")
    if regions is not None and len(regions) and not 0 <= regions.image.min() <= regions.image.max() < len(a):
        raise ValueError(f"a region lies in pair {int(regions.image.max())} of {len(a)}")
    lpips = lpips if "lpips" in wanted else None
    found = _variant(a, b, regions, lpips, "", wanted)
    if official:
        (a, first), (b, second) = stretched(a), stretched(b)
        varied = first & second
        for name, column in _variant(a, b, regions, lpips, "@official", wanted).items():
            within = varied if regions is None or "_roi" not in name else varied[regions.image]
            found[name] = column.without(~within, CONSTANT)
    return found


def _variant(
    a: Tensor,
    b: Tensor,
    regions: Regions | None,
    lpips: Perceptual | None,
    suffix: str,
    wanted: Collection[str],
) -> dict[str, Column]:
    definition = OFFICIAL if suffix else CLEAN
    found = _of_bytes(mae(a, b), mse(a, b), wanted)
    if "ssim" in wanted:
        found["ssim"] = _sized(lambda: ssim(a, b, definition), a, definition.least)
    if "ms_ssim" in wanted and not suffix:
        found["ms_ssim"] = _sized(lambda: ms_ssim(a, b), a, MS_LEAST)
    if lpips is not None:
        found["lpips"] = _sized(lambda: chunked(_scaled(lpips), a, b, NET), a, lpips.least)
    if regions is not None:
        found.update(_regional(a, b, regions, lpips, bool(suffix), wanted))
    return {name + suffix: column for name, column in found.items()}


def _regional(
    a: Tensor, b: Tensor, regions: Regions, lpips: Perceptual | None, official: bool, wanted: Collection[str]
) -> dict[str, Column]:
    boxes, image = regions.pixels(a.shape[1], a.shape[2], official), regions.image
    empty = (boxes[:, 2] <= boxes[:, 0]) | (boxes[:, 3] <= boxes[:, 1])

    def means(function: Callable[..., Tensor], values: int | None = None) -> Floats:
        return _map_means(function, a, b, image, boxes, step_of(a, values))

    # The three channels' differences are summed as integers and divided at the end.
    found = _of_bytes(
        means(lambda x, y: _difference(x, y).abs().sum(3)) / 3,
        means(lambda x, y: (_difference(x, y) ** 2).sum(3)) / 3,
        wanted,
    )
    if "ssim" in wanted and official:
        found["ssim"] = Column.full(_cropped_ssim(a, b, image, boxes))
    elif "ssim" in wanted:
        found["ssim"] = _sized(lambda: means(ssim_maps), a, CLEAN.least, len(boxes))
    if lpips is not None:
        found["lpips"] = _sized(lambda: means(_scaled(lpips.maps), NET), a, lpips.least, len(boxes))
    return {f"{name}_roi": column.without(empty, EMPTY) for name, column in found.items()}


def _of_bytes(absolute: Floats, squares: Floats, wanted: Collection[str]) -> dict[str, Column]:
    decibels = Column.full(_decibels(squares)).without(squares == 0, IDENTICAL)
    found = {"mae": Column.full(absolute), "rmse": Column.full(np.sqrt(squares)), "psnr": decibels}
    return {name: column for name, column in found.items() if name in wanted}


def _difference(a: Tensor, b: Tensor) -> Tensor:
    """int32: exact, and its square fits."""
    return a.to(torch.int32) - b.to(torch.int32)


def _scaled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function of (B, 3, H, W) in [-1, 1] as one of bytes (B, H, W, 3)."""

    @torch.no_grad()
    def on_bytes(a: Tensor, b: Tensor) -> Tensor:
        x, y = (z.permute(0, 3, 1, 2).to(torch.float32) / 127.5 - 1 for z in (a, b))
        return function(x, y)

    return on_bytes


def _decibels(squares: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return 10 * np.log10(255.0**2 / squares)


def _sized(compute: Callable[[], Floats], a: Tensor, least: int, count: int | None = None) -> Column:
    """The values, or none at all where images are too small."""
    side = min(a.shape[1:3])
    if side >= least:
        return Column.full(compute())
    blank = np.full(len(a) if count is None else count, np.nan)
    return Column(blank, np.full(len(blank), f"a side of {side} pixels is shorter than {least}", object))


def _map_means(
    function: Callable[..., Tensor], a: Tensor, b: Tensor, image: Any, boxes: Any, step: int
) -> Floats:
    """Means in boxes of what `function` makes of pairs, `step` pairs at a time."""
    found = np.full(len(boxes), np.nan)
    for start in range(0, len(a), step):
        here = (image >= start) & (image < start + step)
        if here.any():
            maps = function(a[start : start + step], b[start : start + step])
            found[here] = box_means(maps, image[here] - start, boxes[here])
    return found


def _cropped_ssim(a: Tensor, b: Tensor, image: Any, boxes: Any) -> Floats:
    """Official SSIM of each pair of crops (R,)."""
    found = np.full(len(boxes), np.nan)
    step = step_of(a)
    for start in range(0, len(boxes), step):
        part = slice(start, start + step)
        x, y = (blackened(z[torch.from_numpy(image[part]).to(z.device)], boxes[part]) for z in (a, b))
        found[part] = box_means(ssim_maps(x, y, OFFICIAL), np.arange(len(boxes[part])), boxes[part])
    return found
