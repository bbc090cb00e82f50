"""Fréchet distance between two sets of features (Heusel et al. 2017), exact at any rank, in one pass.

d² = |μ₁ - μ₂|² + tr C₁ + tr C₂ - 2 tr (C₁ C₂)^½ with unbiased covariances. The references take a general
matrix square root of C₁ C₂; but its trace is the sum of the singular values of R₁ R₂ᵀ for any factors
Cᵢ = Rᵢᵀ Rᵢ. With at most D samples the centred features themselves are such a factor (the Gram route), exact
where the square root of a singular product is not. At full rank one Cholesky factor and the eigenvalues of a
symmetric matrix are enough.

Shapes: N samples, D features.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cholesky, eigh, eigvalsh, svdvals
from scipy.linalg.blas import dsyrk  # pyright: ignore[reportAttributeAccessIssue]

Floats = NDArray[np.float64]
SMALL = 1e-10  # eigenvalues of the product below this share of the largest: take the careful route


@dataclass
class Statistics:
    """Mean and covariance of features that come in blocks; at most D samples are kept themselves.

    The sums are taken about the first sample's neighbourhood (the mean of the first block), so that a large
    common offset costs no digits.
    """

    count: int = 0
    _shift: Floats | None = None
    _sum: Floats = field(default_factory=lambda: np.zeros(0))
    _outer: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    _kept: list[NDArray[np.floating]] = field(default_factory=list)

    def add(self, block: NDArray[np.floating]) -> None:
        """Take (n, D) features in.

        Raises:
            ValueError: Not two-dimensional, of another D, or not finite.
        """
        block = np.asarray(block, np.float64)
        if block.ndim != 2 or (self._shift is not None and block.shape[1] != len(self._shift)):
            raise ValueError(f"features must be (n, D) with one D, got {block.shape}")
        if not np.isfinite(block).all():
            raise ValueError("features must be finite")
        if not len(block):
            return
        shift = self._shift
        if shift is None:
            shift = self._shift = block.mean(0)
            self._sum = np.zeros(block.shape[1])
            self._outer = np.zeros((block.shape[1], block.shape[1]), order="F")
        block = block - shift
        self.count += len(block)
        self._sum += block.sum(0)
        # The lower triangle alone, in place: half of the arithmetic of a matrix product.
        self._outer = dsyrk(1.0, block.T, beta=1.0, c=self._outer, lower=1, overwrite_c=1)
        if self.count <= block.shape[1]:
            self._kept.append(block)
        else:
            self._kept.clear()

    @property
    def mean(self) -> Floats:
        """(D,)."""
        assert self._shift is not None
        return self._shift + self._sum / self.count

    @property
    def covariance(self) -> Floats:
        """(D, D), divided by N - 1.

        Raises:
            ValueError: Fewer than two samples.
        """
        if self.count < 2:
            raise ValueError("a covariance needs two samples")
        lower = self._outer - np.outer(self._sum, self._sum / self.count)
        full = np.tril(lower) + np.tril(lower, -1).T
        return full / (self.count - 1)

    def factor(self) -> Floats | None:
        """R (N, D) with covariance Rᵀ R, where there are at most D samples; None otherwise."""
        if not self._kept:
            return None
        return (np.concatenate(self._kept) - self._sum / self.count) / np.sqrt(self.count - 1)


def gathered(blocks: Iterable[NDArray[np.floating]]) -> Statistics:
    """Statistics of features in blocks (n, D)."""
    found = Statistics()
    for block in blocks:
        found.add(block)
    return found


def frechet(first: Statistics, second: Statistics) -> float:
    """The squared Fréchet distance, what is called FID on Inception features.

    Raises:
        ValueError: Fewer than two samples on a side.
    """
    for side in (first, second):
        if side.count < 2:
            raise ValueError("a Fréchet distance needs two samples on each side")
    a, b = first.factor(), second.factor()
    gap = float(np.sum((first.mean - second.mean) ** 2))
    if a is not None and b is not None:
        return gap + float((a**2).sum() + (b**2).sum()) - 2 * _nuclear(a @ b.T)
    if a is None and b is None:
        c1, c2 = first.covariance, second.covariance
        return gap + float(np.trace(c1) + np.trace(c2)) - 2 * trace_sqrt(c1, c2)
    few, other = (a, second) if a is not None else (b, first)
    assert few is not None
    c = other.covariance
    return gap + float((few**2).sum() + np.trace(c)) - 2 * _nuclear(few @ _factor(c).T)


def frechet_of(mean1: Floats, c1: Floats, mean2: Floats, c2: Floats) -> float:
    """The same from means (D,) and covariances (D, D), such as statistics files hold them."""
    return float(np.sum((mean1 - mean2) ** 2) + np.trace(c1) + np.trace(c2)) - 2 * trace_sqrt(c1, c2)


def trace_sqrt(c1: Floats, c2: Floats) -> float:
    """Trace of (C₁ C₂)^½ for symmetric positive semi-definite (D, D)."""
    for a, b in ((c1, c2), (c2, c1)):
        try:
            root = cholesky(a, lower=True)
        except LinAlgError:
            continue
        values = eigvalsh(root.T @ b @ root, check_finite=False)
        # Below full rank the small eigenvalues are rounding, and their roots are not small.
        if values[0] > SMALL * values[-1]:
            return float(np.sqrt(values).sum())
    return _nuclear(_factor(c1) @ _factor(c2).T)


def _factor(c: Floats) -> Floats:
    """R (rank, D) with C = Rᵀ R; eigenvalues within rounding of zero are left out."""
    values, vectors = eigh(c)
    kept = values > len(c) * np.finfo(np.float64).eps * max(values[-1], 0.0)
    return (vectors[:, kept] * np.sqrt(values[kept])).T


def _nuclear(matrix: Floats) -> float:
    """Sum of singular values."""
    return float(np.sum(svdvals(matrix))) if matrix.size else 0.0


def extrapolated(
    first: NDArray[np.floating], second: NDArray[np.floating], seed: int = 0, points: int = 15
) -> float:
    """FID-infinity (Chong and Forsyth 2020): FID against 1/N is near a line; its value at 1/N = 0.

    Args:
        first: (N, D) generated features; subsets of N/10 to N are drawn without replacement.
        second: (M, D) reference features, all used.
        seed: Of the subsets.
        points: How many sizes.

    Raises:
        ValueError: Fewer than twenty generated samples.
    """
    if len(first) < 20:
        raise ValueError("FID-infinity needs twenty generated samples")
    rng, reference = np.random.default_rng(seed), gathered([second])
    sizes = np.linspace(max(2, len(first) // 10), len(first), points).round().astype(int)
    values = [
        frechet(gathered([first[rng.choice(len(first), size, replace=False)]]), reference) for size in sizes
    ]
    return float(np.polyfit(1 / sizes, values, 1)[1])
