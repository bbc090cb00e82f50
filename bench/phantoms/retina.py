"""Procedural OCT B-scans: seven curved layers, speckle, shadows, a foveal dip and dark pockets of fluid.

Built so that a network which looks at neighbourhoods learns it and rules on single pixels do not: layers
share grey levels, their position moves by more than their thickness, gain changes from scan to scan, and
shadows and dark spots below the retina look like fluid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d, label

LAYERS = 7
# By region: vitreous, the seven layers, choroid, fluid. Layers two apart look alike on purpose.
_VITREOUS, _CHOROID, _FLUID = 0, 8, 9
_GREY = np.array([26, 150, 96, 62, 106, 58, 160, 112, 84, 30], np.float32)
_CONTRAST = np.array([0.55, 0.24, 0.27, 0.32, 0.27, 0.32, 0.22, 0.25, 0.38, 0.5], np.float32)
_COARSE = np.array([0.1, 0.6, 0.35, 0.2, 0.5, 0.15, 0.7, 0.5, 0.8, 0.1], np.float32)
_THICKNESS = np.array([0.13, 0.17, 0.14, 0.13, 0.17, 0.13, 0.13])
_INNER = np.array([0.75, 0.7, 0.6, 0.45, 0.0, 0.0, 0.0])  # how much of each layer the fovea takes


@dataclass(frozen=True)
class BScan:
    """One synthetic B-scan.

    Args:
        image: (H, W) uint8.
        boundaries: First row of each layer and of what lies below, (8, W) int64, counted from 0.
        fluid: (H, W) int64 component numbers, 0 where there is no fluid.
    """

    image: np.ndarray
    boundaries: np.ndarray
    fluid: np.ndarray


@dataclass(frozen=True)
class Eye:
    """What all scans of one subject share.

    Args:
        thickness: Height of the seven layers as fractions of the image height, (7,).
        grey: Mean grey of the ten regions, (10,).
        fovea: Where the dip lies, -1 (left) to 1.
        margin: Unlabelled columns at the left and right, as fractions of the width.
    """

    thickness: np.ndarray
    grey: np.ndarray
    fovea: float
    margin: tuple[float, float]


def eye(seed: int, subject: int) -> Eye:
    """The subject's anatomy; about half of the subjects have unlabelled margins."""
    rng = np.random.default_rng([seed, subject])
    thickness = _THICKNESS * rng.lognormal(0, 0.12, LAYERS)
    thickness *= rng.uniform(0.54, 0.62) / thickness.sum()
    margin = rng.uniform(0.02, 0.08, 2) * (subject % 2 == 0)
    return Eye(
        thickness=thickness,
        grey=_GREY * rng.lognormal(0, 0.05, len(_GREY)).astype(np.float32),
        fovea=rng.uniform(-0.35, 0.35),
        margin=(float(margin[0]), float(margin[1])),
    )


def bscan(
    size: tuple[int, int], seed: int, subject: int, number: int, depth: float, with_fluid: bool
) -> BScan:
    """Draw one B-scan; the same arguments give the same bytes.

    Args:
        size: (H, W).
        seed: Seed of the phantom.
        subject: Number of the subject.
        number: Number of the scan in its volume.
        depth: How deep the foveal dip is here, 0 (far from the fovea) to 1.
        with_fluid: Whether to put pockets of fluid between the layers.
    """
    rng = np.random.default_rng([seed, subject, number])
    one = eye(seed, subject)
    edges = _boundaries(rng, one, size, depth)
    fluid = _fluid(rng, edges, size) if with_fluid else np.zeros(size, bool)
    regions = np.zeros(size, np.intp)  # 0 to 8
    for boundary in edges:
        regions += np.arange(size[0])[:, None] >= boundary
    regions[fluid] = _FLUID
    return BScan(_image(rng, one, regions, edges), edges, _components(fluid))


def _components(fluid: np.ndarray) -> np.ndarray:
    """Number the connected pockets from 1, (H, W)."""
    numbered = np.zeros(fluid.shape, np.int64)
    label(fluid, output=numbered)
    return numbered


def _smooth(rng: np.random.Generator, width: int, waves: int) -> np.ndarray:
    """A smooth random curve of standard deviation one, (W,), with about `waves` bends."""
    noise = rng.normal(size=3 * width)
    curve = gaussian_filter1d(noise, width / (2 * waves), mode="wrap")[width : 2 * width]
    return (curve - curve.mean()) / (curve.std() + 1e-9)


def _boundaries(rng: np.random.Generator, one: Eye, size: tuple[int, int], depth: float) -> np.ndarray:
    """Eight strictly ordered boundaries, (8, W) int64."""
    height, width = size
    x = np.linspace(-1, 1, width)
    dip = depth * np.exp(-((x - one.fovea) ** 2) / (2 * 0.16**2))
    layers = one.thickness[:, None] * (1 - _INNER[:, None] * dip)
    layers = layers * np.stack([1 + 0.14 * np.clip(_smooth(rng, width, 4), -2, 2) for _ in range(LAYERS)])
    layers = np.maximum(layers, 2.2 / height)
    base = rng.uniform(-0.06, 0.06) * x + rng.uniform(-0.09, 0.05) * x**2 + 0.012 * _smooth(rng, width, 5)
    bottom = base - base.max()
    top = (bottom - layers.sum(0)).min()
    # Anywhere between the upper and the lower edge of the image: the position prior must not suffice.
    room = 1 + top - 0.07
    bottom = bottom + 1 - 0.035 - rng.uniform(0, max(room, 0))
    edges = bottom - np.concatenate([np.cumsum(layers[::-1], 0)[::-1], np.zeros((1, width))])
    rows = np.clip(np.round(edges * height), 1, height - 1).astype(np.int64)
    return np.maximum.accumulate(rows, axis=0)


def _fluid(rng: np.random.Generator, edges: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """One to three round pockets between the second and the sixth boundary, (H, W) bool."""
    height, width = size
    rows, columns = np.arange(height)[:, None], np.arange(width)[None, :]
    inside = (rows > edges[0] + 1) & (rows < edges[6] - 1)
    found = np.zeros(size, bool)
    for _ in range(rng.integers(1, 4)):
        column = int(rng.integers(int(0.14 * width), int(0.86 * width)))
        high, low = edges[2, column], edges[5, column]
        row = rng.uniform(high, low)
        half_width, half_height = rng.uniform(0.05, 0.11) * width, rng.uniform(0.055, 0.1) * height
        dx, dy = (columns - column) / half_width, (rows - row) / half_height
        angle = np.arctan2(dy, dx)
        wobble = (
            1 + 0.16 * np.sin(2 * angle + rng.uniform(0, 6.3)) + 0.1 * np.sin(3 * angle + rng.uniform(0, 6.3))
        )
        found |= (dx**2 + dy**2 < wobble**2) & inside
    return found


def _image(rng: np.random.Generator, one: Eye, regions: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Grey levels of the regions under shadows, dark spots, blur and speckle, (H, W) uint8."""
    height, width = regions.shape
    rows = np.arange(height)[:, None]
    grey = one.grey[regions]
    below = (rows - edges[-1]) / height
    grey = np.where(regions == _CHOROID, grey * np.exp(-2.2 * below), grey)
    grey = np.where(_spots(rng, edges, regions.shape), one.grey[_FLUID], grey)
    grey = gaussian_filter(grey, 0.35 + height / 400)
    grey *= 1 - _shadows(rng, width) * (rows >= edges[1])
    grey *= rng.uniform(0.65, 1.35)
    fine = gaussian_filter(rng.normal(size=regions.shape), 0.35)
    coarse = gaussian_filter(rng.normal(size=regions.shape), (0.6, 1.2 + height / 400))
    share = _COARSE[regions]
    grain = (1 - share) * fine / fine.std() + share * coarse / coarse.std()
    speckle = np.exp(_CONTRAST[regions] * grain)
    return np.clip(grey * speckle + rng.normal(0, 4, regions.shape), 0, 255).astype(np.uint8)


def _spots(rng: np.random.Generator, edges: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Dark vessels in the choroid that look like fluid and are none, (H, W) bool."""
    height, width = size
    rows, columns = np.arange(height)[:, None], np.arange(width)[None, :]
    found = np.zeros(size, bool)
    for _ in range(rng.integers(2, 6)):
        column = int(rng.integers(width))
        row = edges[-1, column] + rng.uniform(0.06, 0.2) * height
        dx = (columns - column) / (rng.uniform(0.03, 0.08) * width)
        dy = (rows - row) / (rng.uniform(0.03, 0.07) * height)
        found |= dx**2 + dy**2 < 1
    return found & (rows > edges[-1] + 1)


def _shadows(rng: np.random.Generator, width: int) -> np.ndarray:
    """How much light vessels take from each column, (W,), 0 to 0.75."""
    x = np.arange(width)
    shadow = np.zeros(width)
    for _ in range(rng.integers(1, 5)):
        spread = rng.uniform(0.008, 0.03) * width
        bump = rng.uniform(0.25, 0.7) * np.exp(-((x - rng.uniform(0, width)) ** 2) / (2 * spread**2))
        shadow = np.maximum(shadow, bump)
    return shadow
