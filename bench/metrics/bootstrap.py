"""Percentile bootstrap of means over groups of samples (patients, clients), without a loop per resample.

A resample draws G of the G groups with replacement and pools their samples. A mean over the pool needs only
the sum and the count of each group, so all resamples are one matrix product.

Shapes: N samples, C columns (one mean each), G groups, R resamples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

_BLOCK = 2_000_000  # drawn indices held at once: 16 MB, whatever N is


def draws(groups: int, resamples: int, seed: int) -> Floats:
    """How often each group stands in each resample, (R, G) float64; every row sums to G."""
    rng = np.random.default_rng(seed)
    rows = max(1, _BLOCK // groups)
    parts = []
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        drawn = rng.integers(0, groups, size=(size, groups))
        drawn += np.arange(size)[:, None] * groups
        parts.append(np.bincount(drawn.ravel(), minlength=size * groups).reshape(size, groups))
    return np.concatenate(parts).astype(np.float64)


def means(values: Floats, valid: Bools) -> Floats:
    """Column means over the valid entries, (..., N, C) -> (..., C); NaN where a column has none."""
    return _divide(np.where(valid, values, 0.0).sum(axis=-2), valid.sum(axis=-2))


def resampled_means(values: Floats, valid: Bools, groups: Ints, *, resamples: int, seed: int) -> Floats:
    """Column means of every resample.

    Args:
        values: (N, C) float64; entries that are not `valid` are ignored.
        valid: (N, C) bool, the samples that enter each mean.
        groups: (N,) int64 from 0 to G-1, what is drawn together.
        resamples: R.
        seed: Seed of the draws; the same seed and G give the same draws.

    Returns:
        (R, C) float64. NaN where a resample holds no valid sample of the column, and in the whole column
        where fewer than two groups hold any: one group has no spread, and a width of zero would be a claim.
    """
    count = int(groups.max()) + 1
    sums = np.zeros((count, values.shape[1]))
    sizes = np.zeros_like(sums)
    np.add.at(sums, groups, np.where(valid, values, 0.0))
    np.add.at(sizes, groups, valid.astype(np.float64))
    weights = draws(count, resamples, seed)
    out = _divide(weights @ sums, weights @ sizes)
    out[:, (sizes > 0).sum(axis=0) < 2] = np.nan
    return out


def interval(samples: Floats, level: float = 0.95) -> tuple[float, float] | None:
    """Percentile interval of (R,) resampled values; undefined ones are left out, None if all are."""
    defined = samples[~np.isnan(samples)]
    if not len(defined):
        return None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _divide(sums: NDArray, sizes: NDArray) -> Floats:
    return np.divide(sums, sizes, out=np.full(sums.shape, np.nan), where=sizes > 0)
