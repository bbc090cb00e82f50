"""Corrupted scene graphs, and how well a likelihood tells them from clean ones (thesis section 10.4.2).

A corruption of x % gives x % of the nodes and x % of the edges of a graph another label. The text leaves open
how; here: existing edges only, never a pair without one, and labels drawn uniformly from the whole
vocabulary, so that a new label may be the old one. x % of k is rounded to the nearest whole number, halves
upwards.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bench.graphs.scene import SceneGraph, Vocabulary

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def corrupted(graph: SceneGraph, share: float, seed: int, vocabulary: Vocabulary) -> SceneGraph:
    """The graph with other labels on some of its nodes and edges; structure, boxes and name stay.

    Args:
        graph: n nodes, m edges.
        share: Part of the nodes and of the edges, from 0 to 1.
        seed: The same seed and graph give the same labels.
        vocabulary: Labels to draw from.

    Raises:
        ValueError: A share outside 0 to 1, or a vocabulary without a label to draw.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"a share is from 0 to 1, got {share}")
    rng = np.random.default_rng(seed)
    return replace(
        graph,
        labels=_redrawn(graph.labels, share, len(vocabulary.objects), rng),
        predicates=_redrawn(graph.predicates, share, len(vocabulary.predicates), rng),
    )


def _redrawn(labels: Ints, share: float, kinds: int, rng: np.random.Generator) -> Ints:
    count = int(np.floor(share * len(labels) + 0.5))
    found = labels.copy()
    if count:
        if not kinds:
            raise ValueError("the vocabulary has no label to draw")
        found[rng.permutation(len(labels))[:count]] = rng.integers(0, kinds, count)
    return found


def auroc(clean: Floats, anomalous: Floats) -> float:
    """Area under the ROC curve of "a greater score is an anomaly" (scikit-learn), from 0 to 1.

    Args:
        clean: (N,) float64 scores, such as negative log-likelihoods, of clean graphs.
        anomalous: (M,) scores of corrupted ones.
    """
    from sklearn.metrics import roc_auc_score

    truth = np.repeat([0, 1], [len(clean), len(anomalous)])
    return float(roc_auc_score(truth, np.concatenate([clean, anomalous])))


def auroc_error(clean: Floats, anomalous: Floats) -> float | None:
    """Standard error of `auroc` over graphs, each of which is there clean and corrupted.

    DeLong's estimate with both scores of a graph taken together: the area is the mean of what each clean and
    each corrupted score contributes, and the two contributions of one graph vary together.

    Args:
        clean: (N,) float64 scores.
        anomalous: (N,) scores of the same graphs in the same order.

    Returns:
        The error, or None for fewer than two graphs.
    """
    from scipy.stats import rankdata

    n = len(clean)
    if n < 2:
        return None
    ranks = rankdata(np.concatenate([clean, anomalous]))
    above = (ranks[n:] - rankdata(anomalous)) / n  # share of clean scores below each corrupted one
    below = 1 - (ranks[:n] - rankdata(clean)) / n
    return float((above + below).std(ddof=1) / np.sqrt(n))
