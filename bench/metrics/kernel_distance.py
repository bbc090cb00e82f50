"""Kernel distance between two sets of features (KID, Binkowski et al. 2018): unbiased MMD squared.

The kernel is (x·y / D + 1)³. The published number is a mean over subsets; its spread over subsets says little
of the spread over samples, so a standard error over disjoint blocks of samples stands beside it.

Shapes: N, M samples, D features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SUBSETS, SIZE = 100, 1000
_AT_ONCE = 1024  # rows of a kernel matrix


@dataclass(frozen=True)
class KernelDistance:
    """A kernel distance.

    Args:
        value: Mean over subsets.
        spread: Standard deviation over subsets, what papers print behind a ±.
        se: Standard error of the value that the choice of subsets leaves.
        subsets: How many,
        size: and samples of each side in one.
    """

    value: float
    spread: float
    se: float
    subsets: int
    size: int


def unbiased(x: NDArray[np.floating], y: NDArray[np.floating]) -> float:
    """MMD² of (N, D) and (M, D), without the diagonal terms; may be negative.

    Raises:
        ValueError: Fewer than two samples on a side.
    """
    if len(x) < 2 or len(y) < 2:
        raise ValueError("a kernel distance needs two samples on each side")
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    n, m = len(x), len(y)
    own = [(_total(z, z) - _diagonal(z)) / (len(z) * (len(z) - 1)) for z in (x, y)]
    return own[0] + own[1] - 2 * _total(x, y) / (n * m)


def _kernel(product: Floats, width: int) -> Floats:
    product /= width
    product += 1
    return product**3


def _total(x: Floats, y: Floats) -> float:
    """Sum over the kernel matrix, by blocks of rows."""
    starts = range(0, len(x), _AT_ONCE)
    return float(sum(_kernel(x[s : s + _AT_ONCE] @ y.T, x.shape[1]).sum() for s in starts))


def _diagonal(x: Floats) -> float:
    return float(_kernel(np.einsum("nd,nd->n", x, x), x.shape[1]).sum())


def kernel_distance(
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    subsets: int = SUBSETS,
    size: int = SIZE,
    seed: int = 2020,
) -> KernelDistance:
    """The mean over random subsets, drawn without replacement as torch-fidelity does.

    Args:
        x: (N, D) generated features.
        y: (M, D) reference features.
        subsets: How many.
        size: Samples of each side; where a side has fewer, its number.
        seed: Of the draws (2020 is torch-fidelity's).

    Raises:
        ValueError: Fewer than two samples on a side.
    """
    size = min(size, len(x), len(y))
    if size < 2:
        raise ValueError("a kernel distance needs two samples on each side")
    rng = np.random.RandomState(seed)
    values = []
    for _ in range(subsets):
        a = np.asarray(x[rng.choice(len(x), size, replace=False)], np.float64)
        b = np.asarray(y[rng.choice(len(y), size, replace=False)], np.float64)
        values.append(unbiased(a, b))
    spread = float(np.std(values))
    return KernelDistance(float(np.mean(values)), spread, spread / np.sqrt(subsets), subsets, size)
