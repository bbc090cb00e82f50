"""One slice as the network's input: resized, and stretched to bytes as the official code's PNG files are.

The official code saves slices with matplotlib's `imsave` under the grey map and reads them back with Pillow
(fewshot_decathlon.md, section 1); the same bytes are computed here without a file in between.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RESIZES = ("half", "stretched")

# Matplotlib cuts its 256 greys to bytes, so that 24 of them come out one too low.
_GREY = (np.linspace(0, 1, 256) * 255).astype(np.uint8)


def stretch(x: NDArray[np.float64]) -> NDArray[np.uint8]:
    """(H, W) as bytes, its least value as 0 and its greatest as 255; all 0 where they are the same."""
    low, high = x.min(), x.max()
    if low == high:
        return np.zeros(x.shape, np.uint8)
    return _GREY[np.minimum((x - low) / (high - low) * 256, 255).astype(np.intp)]


def image(x: NDArray, size: tuple[int, int]) -> tuple[NDArray[np.uint8], float, float]:
    """A slice resized and stretched.

    Args:
        x: (H0, W0) grey levels.
        size: (H, W).

    Returns:
        (H, W) uint8, and the least and greatest grey level of the resized slice.
    """
    y = resize(x, size)
    return stretch(y), float(y.min()), float(y.max())


def mask(x: NDArray[np.bool_], size: tuple[int, int], how: str) -> NDArray[np.bool_]:
    """A binary slice resized.

    Args:
        x: (H0, W0) bool.
        size: (H, W).
        how: `half` keeps what the resized mask covers by more than one half. `stretched` is the official
            route: where shrinking has blurred a small mask, its own greatest value counts as 1, so that it
            comes out larger; a slice that is all foreground comes out empty.

    Returns:
        (H, W) bool.
    """
    if how not in RESIZES:
        raise ValueError(f"how must be one of {RESIZES}, got {how!r}")
    if not x.any():
        return np.zeros(size, np.bool_)
    y = resize(x, size)
    return y > 0.5 if how == "half" else stretch(y) > 127


def resize(x: NDArray, size: tuple[int, int]) -> NDArray[np.float64]:
    """(H0, W0) as (H, W): bilinear, blurred first along an axis that shrinks (scikit-image's defaults)."""
    from skimage.transform import resize as resized

    return np.asarray(resized(x.astype(np.float64), size), np.float64)
