"""Inception Score (Salimans et al. 2016): exp of the mean KL of class probabilities from their mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SPLITS = 10
_AT_ONCE = 4096  # samples: logits may be larger than memory


@dataclass(frozen=True)
class InceptionScore:
    """Mean and standard deviation over splits; how many splits is part of the number."""

    value: float
    spread: float
    splits: int


def inception_score(
    logits: NDArray[np.floating], splits: int = SPLITS, shuffle: int | None = None
) -> InceptionScore:
    """Score of (N, K) logits.

    Args:
        logits: Before softmax.
        splits: Consecutive parts of (nearly) equal size; fewer where there are fewer samples than parts.
        shuffle: Seed of a permutation first (2020 is torch-fidelity's); None keeps the order, as the
            reference of 2016 does.

    Raises:
        ValueError: No sample.
    """
    if not len(logits):
        raise ValueError("an Inception Score needs a sample")
    count = len(logits)
    order = None if shuffle is None else np.random.RandomState(shuffle).permutation(count)
    splits = min(splits, count)
    values = []
    for i in range(splits):
        start, stop = i * count // splits, (i + 1) * count // splits
        mass, negentropy = np.zeros(logits.shape[1]), 0.0
        for at in range(start, stop, _AT_ONCE):
            rows = slice(at, min(at + _AT_ONCE, stop))
            part = np.asarray(logits[rows] if order is None else logits[order[rows]], np.float64)
            log_p = part - part.max(1, keepdims=True)
            log_p -= np.log(np.exp(log_p).sum(1, keepdims=True))
            p = np.exp(log_p)
            mass += p.sum(0)
            negentropy += float(np.vdot(p, log_p))
        mean = mass / (stop - start)
        log_mean = np.log(mean, out=np.zeros_like(mean), where=mean > 0)  # where p is 0, so is its share
        # The mean KL is the mean of p log p less that of p log of the mean, which is of the mean alone.
        values.append(np.exp(negentropy / (stop - start) - mean @ log_mean))
    return InceptionScore(float(np.mean(values)), float(np.std(values)), splits)
