"""Inception Score (Salimans et al. 2016): exp of the mean KL of class probabilities from their mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SPLITS = 10


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
    logits = np.asarray(logits, np.float64)
    if shuffle is not None:
        logits = logits[np.random.RandomState(shuffle).permutation(len(logits))]
    logits = logits - logits.max(1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    splits = min(splits, len(log_p))
    values = []
    for i in range(splits):
        part = log_p[i * len(log_p) // splits : (i + 1) * len(log_p) // splits]
        p = np.exp(part)
        mean = p.mean(0)
        log_mean = np.log(mean, out=np.zeros_like(mean), where=mean > 0)  # where p is 0, so is its share
        values.append(np.exp((p * (part - log_mean)).sum(1).mean()))
    return InceptionScore(float(np.mean(values)), float(np.std(values)), splits)
