"""Nearest-neighbour metrics of two sets of features: improved precision and recall, density and coverage.

Improved precision and recall (Kynkäänniemi et al. 2019): a set's manifold is the union of balls around its
samples that reach to their k-th nearest neighbour; precision is the share of generated samples in the
reference's manifold, recall the reverse. Density and coverage (Naeem et al. 2020) count how many balls hold a
generated sample, and the share of reference balls that hold any.

Shapes: N generated, M reference samples, D features. Memory is bounded: distances are computed by blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
K_PR, K_DC = 3, 5
_AT_ONCE = 1024


@dataclass(frozen=True)
class Manifold:
    """Shares in [0, 1], save density, which may exceed 1."""

    precision: float
    recall: float
    density: float
    coverage: float


def manifold(
    generated: NDArray[np.floating],
    reference: NDArray[np.floating],
    k: int = K_PR,
    k_density: int = K_DC,
) -> Manifold:
    """All four from one pass over the distances.

    Args:
        generated: (N, D).
        reference: (M, D).
        k: Neighbours of precision and recall (3 in the paper).
        k_density: Neighbours of density and coverage (5 in the paper).

    Raises:
        ValueError: A side has too few samples for its k-th neighbour.
    """
    for name, side in (("generated", generated), ("reference", reference)):
        if len(side) <= max(k, k_density):
            raise ValueError(f"{max(k, k_density)} neighbours need more than {len(side)} {name} samples")
    generated, reference = np.asarray(generated, np.float64), np.asarray(reference, np.float64)
    reach_generated = _reach(generated, k)
    reach, reach_density = (_reach(reference, one) for one in (k, k_density))
    precise = np.zeros(len(generated), bool)
    recalled, covered = np.zeros(len(reference), bool), np.zeros(len(reference), bool)
    balls = 0
    for start, d in _distances(generated, reference):
        rows = slice(start, start + len(d))
        precise[rows] = (d <= reach).any(1)
        recalled |= (d <= reach_generated[rows, None]).any(0)
        inside = d < reach_density  # strictly, as the reference of density and coverage
        balls += int(inside.sum())
        covered |= inside.any(0)
    return Manifold(
        precision=float(precise.mean()),
        recall=float(recalled.mean()),
        density=balls / (k_density * len(generated)),
        coverage=float(covered.mean()),
    )


def _distances(x: Floats, y: Floats) -> Iterator[tuple[int, Floats]]:
    """Blocks (n, M) of Euclidean distances, squared."""
    y2 = np.einsum("nd,nd->n", y, y)
    for start in range(0, len(x), _AT_ONCE):
        part = x[start : start + _AT_ONCE]
        d = part @ y.T
        d *= -2
        d += y2
        d += np.einsum("nd,nd->n", part, part)[:, None]
        yield start, np.maximum(d, 0, out=d)


def _reach(x: Floats, k: int) -> Floats:
    """Squared distance of every sample to its k-th nearest other one."""
    found = np.empty(len(x))
    for start, d in _distances(x, x):
        d[np.arange(len(d)), start + np.arange(len(d))] = 0.0  # rounding must not make a sample its neighbour
        found[start : start + len(d)] = np.partition(d, k, axis=1)[:, k]
    return found
