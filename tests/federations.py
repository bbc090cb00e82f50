"""Small federated test sets, edge cases among them, and scikit-learn's answers for the tests of metrics."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn import metrics

from bench.core import Scored

sk: Any = metrics  # its type hints refuse documented arguments
RESAMPLES = 200


def federation(seed: int, n: int, s: int, k: int, skill: float) -> dict[str, Any]:
    """Random labels; `skill` is the share of answers that are right by intent."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, k, n)
    guess = rng.integers(0, k, n)
    right, right2 = rng.random(n) < skill, rng.random(n) < 0.5 + skill / 2
    return {
        "served": np.where(right, targets, guess),
        "targets": targets,
        "clients": rng.integers(0, s, n),
        "trained": np.where(right2, targets, guess),
        "client_names": [f"client_{i:03d}" for i in range(s)],
        "classes": [f"class {i}" for i in range(k)],
        "train_counts": rng.integers(0, 9, (s, k)),
    }


EDGES: dict[str, dict[str, Any]] = {
    "one client": federation(1, 30, 1, 3, 0.5),
    "one image": federation(2, 1, 1, 4, 1.0),
    "one image, four clients": federation(3, 1, 4, 4, 1.0),
    "one class": federation(4, 20, 3, 1, 1.0),
    "many clients": federation(5, 400, 60, 7, 0.6),
    "two classes a client": federation(6, 60, 5, 10, 0.3),
    "all wrong": {
        **federation(7, 24, 4, 3, 0.0),
        "targets": np.repeat([0, 1], 12),
        "served": np.repeat([1, 2], 12),
    },
    "absent classes": {
        **federation(8, 12, 3, 6, 0.0),
        "targets": np.tile([1, 1, 4], 4),
        "served": np.tile([1, 2, 4], 4),
    },
    "a client without test images": {**federation(9, 50, 5, 3, 0.7), "clients": np.arange(50) % 4},
}


def present(*labels: np.ndarray) -> list[int]:
    return sorted(set(np.concatenate(labels).tolist()))


def quiet_balanced(targets: np.ndarray, pred: np.ndarray) -> float:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="y_pred contains classes not in y_true")
        warnings.filterwarnings("ignore", message="A single label was found")
        return float(sk.balanced_accuracy_score(targets, pred))


def values(scored: Scored) -> dict[str, float | None]:
    return {name: metric.value for name, metric in scored.metrics.items()}
