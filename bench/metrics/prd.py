"""Precision and recall of distributions (Sajjadi et al. 2018): `precision_f1_8` and `recall_f8`.

Features of both sets are clustered together; the curve of attainable precision and recall of the two
histograms is read at 1,001 angles, and its largest F_8 (recall weighs more) and F_1/8 (precision) are the
numbers printed, averaged over ten clusterings.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
CLUSTERS, ANGLES, RUNS = 20, 1001, 10
BETA = 8.0
HELD = 256 << 20  # bytes of joint features in memory
_AT_ONCE = 4096  # rows copied at a time
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
    with _joint((generated, None), (reference, None)) as joint:
        return _shares(joint, len(generated), clusters, seed)


def _shares(joint: Floats, count: int, clusters: int, seed: int) -> tuple[Floats, Floats]:
    """Of the first `count` rows, and of the others."""
    from sklearn.cluster import MiniBatchKMeans

    clusters = min(clusters, len(joint))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer distinct points than clusters is no fault
        means: Any = MiniBatchKMeans(n_clusters=clusters, n_init=10, random_state=seed)  # pyright: ignore[reportArgumentType]
        found = np.asarray(means.fit_predict(joint))
    first, second = found[:count], found[count:]
    return (
        np.bincount(first, minlength=clusters) / len(first),
        np.bincount(second, minlength=clusters) / len(second),
    )


@contextmanager
def _joint(*sides: tuple[NDArray[np.floating], NDArray[np.intp] | None]) -> Iterator[Floats]:
    """Rows of several sets one after the other, float64; in a nameless file where they are many."""
    counts = [len(side) if rows is None else len(rows) for side, rows in sides]
    shape = (sum(counts), sides[0][0].shape[1])

    def blocks() -> Iterator[Floats]:
        for (side, rows), count in zip(sides, counts, strict=True):
            for start in range(0, count, _AT_ONCE):
                part = slice(start, min(start + _AT_ONCE, count))
                yield np.asarray(side[part] if rows is None else side[rows[part]], np.float64)

    if 8 * shape[0] * shape[1] <= HELD:
        whole, at = np.empty(shape), 0
        for block in blocks():
            whole[at : at + len(block)] = block
            at += len(block)
        yield whole
        return
    with tempfile.TemporaryFile() as file:
        for block in blocks():
            file.write(block.tobytes())
        file.flush()
        yield np.memmap(file, np.float64, "r", shape=shape)


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
    curves: list[Curve] = []

    def add(joint: Floats) -> None:
        found = _shares(joint, count, clusters, seed + len(curves))
        curves.append(curve(*found, angles=ANGLES))

    if len(generated) == len(reference):
        with _joint((generated, None), (reference, None)) as joint:
            for _ in range(runs):
                add(joint)
    else:
        for _ in range(runs):
            drawn = [
                None if len(side) == count else np.sort(rng.choice(len(side), count, replace=False))
                for side in (generated, reference)
            ]
            with _joint((generated, drawn[0]), (reference, drawn[1])) as joint:
                add(joint)
    mean = Curve(np.mean([c.precision for c in curves], 0), np.mean([c.recall for c in curves], 0))
    return mean.f(1 / BETA), mean.f(BETA)
