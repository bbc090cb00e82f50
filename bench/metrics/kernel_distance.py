"""Kernel distance between two sets of features (KID, Binkowski et al. 2018): unbiased MMD squared.

The kernel is (x·y / D + 1)³. The published number is a mean over subsets, and its spread over subsets is what
papers print behind a ±; the standard error says how near the mean over more subsets would be.

A kernel matrix over all samples serves every subset (w' K w with w the subset's indicator), so for up to some
ten thousand samples the matrix is computed once, by blocks, instead of once a subset.

Shapes: N, M samples, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Real = NDArray[np.floating]
SUBSETS, SIZE = 100, 1000
# Products of float32 features are taken in float32 where the mean square of no sample's features exceeds this
# (a kernel value is then below 27) and a subset has a thousand samples: rounding moves a value by about 1e-7.
MODERATE = 2.0
_AT_ONCE = 1024  # rows and columns of a kernel matrix


@dataclass(frozen=True)
class KernelDistance:
    """A kernel distance.

    Args:
        value: Mean over subsets.
        spread: Standard deviation over subsets, what papers print behind a ±.
        se: Standard error of the value that the choice of subsets leaves; None where each subset is all there
            is, so that nothing is known of it.
        subsets: How many,
        size: and samples of each side in one.
    """

    value: float
    spread: float
    se: float | None
    subsets: int
    size: int


def unbiased(x: Real, y: Real) -> float:
    """MMD² of (N, D) and (M, D), without the diagonal terms; may be negative.

    Raises:
        ValueError: Fewer than two samples on a side.
    """
    if len(x) < 2 or len(y) < 2:
        raise ValueError("a kernel distance needs two samples on each side")
    return float(_whole(x, y, [np.arange(len(x))], [np.arange(len(y))], _type(x, y, min(len(x), len(y))))[0])


def kernel_distance(
    x: Real, y: Real, subsets: int = SUBSETS, size: int = SIZE, seed: int = 2020
) -> KernelDistance:
    """The mean over random subsets, drawn without replacement as torch-fidelity does.

    Args:
        x: (N, D) generated features; float32 ones of moderate size are multiplied as such.
        y: (M, D) reference features.
        subsets: How many.
        size: Samples of each side; where a side has fewer, its number.
        seed: Of the draws (2020 is torch-fidelity's).

    Raises:
        ValueError: Fewer than two samples on a side.
    """
    n, m = len(x), len(y)
    size = min(size, n, m)
    if size < 2:
        raise ValueError("a kernel distance needs two samples on each side")
    rng, kind = np.random.RandomState(seed), _type(x, y, size)
    first, second = [], []
    for _ in range(subsets):
        first.append(rng.choice(n, size, replace=False))
        second.append(rng.choice(m, size, replace=False))
    if n * n / 2 + m * m / 2 + n * m <= subsets * 2 * size * size:
        values = _whole(x, y, first, second, kind)
    else:
        every = [np.arange(size)]
        values = np.concatenate(
            [_whole(x[i], y[j], every, every, kind) for i, j in zip(first, second, strict=True)]
        )
    spread = float(np.std(values))
    se = None if size == n == m else float(spread / np.sqrt(subsets))
    return KernelDistance(float(np.mean(values)), spread, se, subsets, size)


def _type(x: Real, y: Real, size: int) -> type[np.floating]:
    """In what to multiply, for subsets of some size."""
    if size < SIZE or max(x.dtype.itemsize, y.dtype.itemsize) > 4:
        return np.float64
    for side in (x, y):
        for start in range(0, len(side), _AT_ONCE):
            part = np.asarray(side[start : start + _AT_ONCE], np.float64)
            if not np.einsum("nd,nd->n", part, part).max() <= MODERATE * part.shape[1]:
                return np.float64
    return np.float32


def _whole(x: Real, y: Real, first: Sequence, second: Sequence, kind: type[np.floating]) -> Floats:
    """MMD² of every pair of subsets, (S,), from kernel matrices over all samples."""
    a, b = _indicators(first, len(x), kind), _indicators(second, len(y), kind)
    n, m = len(first[0]), len(second[0])
    own = _own(x, a) / (n * (n - 1)) + _own(y, b) / (m * (m - 1))
    cross = np.zeros(len(first))
    for rows in _parts(len(x)):
        for columns in _parts(len(y)):
            cross += _sums(_kernel(x[rows], y[columns], kind), a[rows], b[columns])
    return own - 2 * cross / (n * m)


def _indicators(subsets: Sequence, count: int, kind: type[np.floating]) -> Real:
    """(count, S) of 0 and 1."""
    found = np.zeros((count, len(subsets)), kind)
    for s, rows in enumerate(subsets):
        found[rows, s] = 1
    return found


def _parts(count: int) -> list[slice]:
    return [slice(start, min(start + _AT_ONCE, count)) for start in range(0, count, _AT_ONCE)]


def _own(x: Real, chosen: Real) -> Floats:
    """Sum over each subset's kernel matrix without its diagonal, (S,); the matrix is symmetric."""
    found = np.zeros(chosen.shape[1])
    parts = _parts(len(x))
    for i, rows in enumerate(parts):
        for columns in parts[i:]:
            k = _kernel(x[rows], x[columns], chosen.dtype.type)
            if columns == rows:
                np.fill_diagonal(k, 0)
                found += _sums(k, chosen[rows], chosen[rows])
            else:
                found += 2 * _sums(k, chosen[rows], chosen[columns])
    return found


def _kernel(x: Real, y: Real, kind: type[np.floating]) -> Real:
    """(p + 1)³ - 1 with p = x·y / D, (n, m).

    The constant falls out of the unbiased estimate and would only cost digits.
    """
    p = np.asarray(x, kind) @ np.asarray(y, kind).T
    p /= x.shape[1]
    k = p + 3
    k *= p
    k += 3
    k *= p
    return k


def _sums(k: Real, rows: Real, columns: Real) -> Floats:
    """The sum w' K v for each column w of `rows` (n, S) and v of `columns` (m, S)."""
    return ((k @ columns).astype(np.float64) * rows).sum(0)
