"""Fréchet distance between two sets of features (Heusel et al. 2017), exact at any rank, in one pass.

d² = |μ₁ - μ₂|² + tr C₁ + tr C₂ - 2 tr (C₁ C₂)^½ with unbiased covariances. The references take a general
matrix square root of C₁ C₂ or its eigenvalues; but the trace is the sum of the singular values of R₁ R₂ᵀ for
any factors Cᵢ = Rᵢᵀ Rᵢ. With at most D samples the centred features themselves are such a factor (the Gram
route), exact where the square root of a singular product is not. Otherwise a Cholesky factor C₁ = L Lᵀ and
the eigenvalues of the symmetric Lᵀ C₂ L are enough: a tenth of the time.

Shapes: N samples, D features.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigvalsh, svdvals
from scipy.linalg.blas import dsyrk  # pyright: ignore[reportAttributeAccessIssue]
from scipy.linalg.lapack import (
    dpotrf,  # pyright: ignore[reportAttributeAccessIssue]
    dpstrf,  # pyright: ignore[reportAttributeAccessIssue]
    dsygst,  # pyright: ignore[reportAttributeAccessIssue]
)

Floats = NDArray[np.float64]
ROUNDING = 1e-10  # share of the trace that rounding may cost before pivots are taken
_AT_ONCE = 4096  # samples


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
    """The squared Fréchet distance, what is called FID on Inception features; never negative.

    Raises:
        ValueError: Fewer than two samples on a side.
    """
    for side in (first, second):
        if side.count < 2:
            raise ValueError("a Fréchet distance needs two samples on each side")
    a, b = first.factor(), second.factor()
    gap = float(np.sum((first.mean - second.mean) ** 2))
    if a is None and b is None:
        return frechet_of(first.mean, first.covariance, second.mean, second.covariance)
    if a is not None and b is not None:
        spread, root = float((a**2).sum() + (b**2).sum()), _nuclear(a @ b.T)
    else:
        few, other = (a, second) if a is not None else (b, first)
        assert few is not None
        c = other.covariance
        spread, root = float((few**2).sum() + np.trace(c)), _nuclear(few @ _pivoted(c).factor())
    return max(0.0, gap + spread - 2 * root)


def frechet_of(mean1: Floats, c1: Floats, mean2: Floats, c2: Floats) -> float:
    """The same from means (D,) and covariances (D, D), such as statistics files hold them."""
    spread = float(np.trace(c1) + np.trace(c2))
    return max(0.0, float(np.sum((mean1 - mean2) ** 2)) + spread - 2 * trace_sqrt(c1, c2))


def trace_sqrt(c1: Floats, c2: Floats) -> float:
    """Trace of (C₁ C₂)^½ for symmetric positive semi-definite (D, D) float64.

    Three routes, each taken where the one before might lose digits:

    1. Eigenvalues of Lᵀ C₂ L. An eigenvalue λ is known to about ε λ_max, its root to ε λ_max / 2√λ; taken
       where the sum of these is small, which the pivots of both covariances foretell.
    2. The same with pivots, on the less regular of the two covariances. The product then falls off from its
       first row to its last, and small eigenvalues of such a matrix come out to nearly full precision.
    3. Singular values of R₁ R₂ᵀ, where both covariances lack rank.
    """
    sides = [_rooted(np.asfortranarray(c, dtype=np.float64)) for c in (c1, c2)]
    (c1, root, least), (c2, other, full) = sorted(sides, key=lambda side: side[2])
    if least > 0:
        guess = (np.diag(root) * np.diag(other)) ** 2
        if 10 * _lost(guess) <= ROUNDING * np.sqrt(guess).sum():
            values = _product_eigenvalues(c2, root)
            total = float(np.sqrt(np.maximum(values, 0)).sum())
            if _lost(values) <= ROUNDING * total:
                return total
    first = _pivoted(c1)
    if full > 0 and first.rank:
        values = _product_eigenvalues(c2[np.ix_(first.order, first.order)], first.lower)
        if values[0] > 0:
            return float(np.sqrt(values).sum())
    return _nuclear(first.factor().T @ _pivoted(c2).factor())


def _rooted(c: Floats) -> tuple[Floats, Floats, float]:
    """C, its Cholesky factor, and its smallest to its largest pivot; zero where rank is missing."""
    root, failed = dpotrf(c, lower=1)
    pivots = np.diag(root)
    least = 0.0 if failed else float(pivots.min() / pivots.max())
    return c, root, least if least**2 > len(c) * np.finfo(np.float64).eps else 0.0


def _product_eigenvalues(c: Floats, root: Floats) -> Floats:
    """Eigenvalues, ascending, of Lᵀ C L for lower-trapezoidal L (D, rank)."""
    if root.shape[0] == root.shape[1]:
        product, _ = dsygst(np.asfortranarray(c), root, itype=2, lower=1)
    else:
        product = root.T @ c @ root
    return eigvalsh(product, lower=True, check_finite=False, driver="evd")


def _lost(values: Floats) -> float:
    """Bound on what rounding of eigenvalues may do to the sum of their roots."""
    noise = np.finfo(np.float64).eps * max(values.max(), 0.0)
    known = values[values > noise]
    return float((noise / (2 * np.sqrt(known))).sum() + (len(values) - len(known)) * np.sqrt(noise))


@dataclass(frozen=True)
class _Pivoted:
    """C[order][:, order] = L Lᵀ with L (D, rank) lower-trapezoidal, its diagonal falling."""

    lower: Floats
    order: NDArray[np.intp]

    @property
    def rank(self) -> int:
        return self.lower.shape[1]

    def factor(self) -> Floats:
        """F (D, rank) with C = F Fᵀ, rows in their own order."""
        found = np.empty_like(self.lower)
        found[self.order] = self.lower
        return found


def _pivoted(c: Floats) -> _Pivoted:
    """Cholesky with complete pivoting; pivots within rounding of zero (D ε of the largest) end it."""
    largest = float(np.diag(c).max())
    if largest <= 0:  # identical samples
        return _Pivoted(np.zeros((len(c), 0), order="F"), np.arange(len(c)))
    packed, order, rank, _ = dpstrf(np.asfortranarray(c), lower=1)
    return _Pivoted(np.asfortranarray(np.tril(packed)[:, :rank]), order - 1)


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
    rng, reference = np.random.default_rng(seed), gathered(_blocks(second, np.arange(len(second))))
    sizes = np.linspace(max(2, len(first) // 10), len(first), points).round().astype(int)
    values = []
    for size in sizes:
        drawn = np.sort(rng.choice(len(first), size, replace=False))
        values.append(frechet(gathered(_blocks(first, drawn)), reference))
    return float(np.polyfit(1 / sizes, values, 1)[1])


def _blocks(features: NDArray[np.floating], rows: NDArray[np.intp]) -> Iterator[NDArray[np.floating]]:
    """The rows named, some thousand at a time: features may be larger than memory."""
    for start in range(0, len(rows), _AT_ONCE):
        yield features[rows[start : start + _AT_ONCE]]
