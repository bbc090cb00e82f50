"""Precision and recall of distributions (Sajjadi et al. 2018): `precision_f1_8` and `recall_f8`.

Features of both sets are clustered together; the curve of attainable precision and recall of the two
histograms is read at 1,001 angles, and its largest F_8 (recall weighs more) and F_1/8 (precision) are the
numbers printed, averaged over ten clusterings.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
CLUSTERS, ANGLES, RUNS = 20, 1001, 10
BETA = 8.0
EPSILON = 1e-10  # as the reference: no angle is 0 or a right one, no quotient has a zero below


@dataclass(frozen=True)
class Curve:
    """Precision and recall at every angle, (A,) each."""

    precision: Floats
    recall: Floats

    def f(self, beta: float) -> float:
        """The largest F_beta on the curve."""
        below = beta**2 * self.precision + self.recall + EPSILON
        return float(((1 + beta**2) * self.precision * self.recall / below).max())


def curve(generated: Floats, reference: Floats, angles: int = ANGLES) -> Curve:
    """The curve of two histograms (K,) over the same clusters."""
    slopes = np.tan(np.linspace(EPSILON, np.pi / 2 - EPSILON, angles))[:, None]
    precision = np.minimum(reference * slopes, generated).sum(1)
    return Curve(np.clip(precision, 0, 1), np.clip(precision / slopes[:, 0], 0, 1))


def histograms(
    generated: NDArray[np.floating], reference: NDArray[np.floating], clusters: int, seed: int
) -> tuple[Floats, Floats]:
    """Shares of each set in joint clusters, (K,) each; one clustering by mini-batch k-means."""
    from sklearn.cluster import MiniBatchKMeans

    joint = np.concatenate([generated, reference]).astype(np.float64)
    clusters = min(clusters, len(joint))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer distinct points than clusters is no fault
        means: Any = MiniBatchKMeans(n_clusters=clusters, n_init=10, random_state=seed)  # pyright: ignore[reportArgumentType]
        found = np.asarray(means.fit_predict(joint))
    first, second = found[: len(generated)], found[len(generated) :]
    return (
        np.bincount(first, minlength=clusters) / len(first),
        np.bincount(second, minlength=clusters) / len(second),
    )


def precision_recall(
    generated: NDArray[np.floating],
    reference: NDArray[np.floating],
    clusters: int = CLUSTERS,
    runs: int = RUNS,
    seed: int = 0,
) -> tuple[float, float]:
    """(F_1/8, F_8) of the mean curve over several clusterings.

    The reference takes sets of equal size only; here as many of the larger set are drawn as the smaller has.

    Args:
        generated: (N, D) features.
        reference: (M, D) features.
        clusters: K.
        runs: Clusterings.
        seed: Of draws and clusterings.

    Raises:
        ValueError: A side is empty.
    """
    if not len(generated) or not len(reference):
        raise ValueError("precision and recall need samples on each side")
    rng, count = np.random.default_rng(seed), min(len(generated), len(reference))
    curves = []
    for run in range(runs):
        a, b = (
            side if len(side) == count else side[np.sort(rng.choice(len(side), count, replace=False))]
            for side in (generated, reference)
        )
        curves.append(curve(*histograms(a, b, clusters, seed + run), angles=ANGLES))
    mean = Curve(np.mean([c.precision for c in curves], 0), np.mean([c.recall for c in curves], 0))
    return mean.f(1 / BETA), mean.f(BETA)
