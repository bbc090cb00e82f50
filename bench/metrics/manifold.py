"""Nearest-neighbour metrics of two sets of features: improved precision and recall, density and coverage.

Improved precision and recall (Kynkäänniemi et al. 2019): a set's manifold is the union of balls around its
samples that reach to their k-th nearest neighbour; precision is the share of generated samples in the
reference's manifold, recall the reverse. Density and coverage (Naeem et al. 2020) count how many balls hold a
generated sample, and the share of reference balls that hold any.

Shapes: N generated, M reference samples, D features. Memory is bounded: distances come in tiles
(`bench.metrics.distances`), and none is decided wrongly by rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.metrics.distances import inside, reach

K_PR, K_DC = 3, 5


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
    (own,) = reach(generated, (k,))
    balls, dense = reach(reference, (k, k_density))
    precise = np.zeros(len(generated), bool)
    recalled, covered = np.zeros(len(reference), bool), np.zeros(len(reference), bool)
    held = 0
    # Precision and recall take the ball's edge in, as torch-fidelity; density and coverage do not, as `prdc`.
    edges = [(balls[None], True), (own[:, None], True), (dense[None], False)]
    for rows, columns, (in_balls, in_own, in_dense) in inside(generated, reference, edges):
        precise[rows] |= in_balls.any(1)
        recalled[columns] |= in_own.any(0)
        held += int(in_dense.sum())
        covered[columns] |= in_dense.any(0)
    return Manifold(
        precision=float(precise.mean()),
        recall=float(recalled.mean()),
        density=held / (k_density * len(generated)),
        coverage=float(covered.mean()),
    )
