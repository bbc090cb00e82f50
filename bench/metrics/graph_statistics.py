"""What a set of scene graphs holds, beside what another holds: occurrence, counts, validity, nearest graphs.

Thesis figures 10.9 to 10.11. *Occurrence* of a label is its share among all nodes (of a predicate: among all
edges); *co-occurrence* of two different classes is the share of graphs in which both are. Distributions are
compared by the Kullback-Leibler divergence of the generated from the reference set, KL(generated ||
reference) in nats. Logarithms of empty cells are avoided by adding `SMOOTHING` observations to every outcome
that is in either set; outcomes in neither set do not enter. The text says nothing about smoothing, so printed
divergences are near ours at best.

Labels outside the vocabulary enter no statistic; `valid` tells of them.

Shapes: N graphs, C classes, P predicates.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from scipy import sparse

from bench.graphs.scene import SceneGraph, Vocabulary
from bench.metrics.graph_kernels import Features, Floats, Ints, gram, walk_features

SMOOTHING = 0.5  # observations added to every outcome: Jeffreys' prior
_CELLS = 4_000_000  # of a Gram matrix held at once


def object_counts(graphs: Sequence[SceneGraph], classes: int) -> Ints:
    """Nodes of each class in all graphs, (C,) int64."""
    return _tallied([graph.labels for graph in graphs], classes)


def predicate_counts(graphs: Sequence[SceneGraph], predicates: int) -> Ints:
    """Edges of each predicate in all graphs, (P,) int64."""
    return _tallied([graph.predicates for graph in graphs], predicates)


def instance_counts(graphs: Sequence[SceneGraph], classes: int) -> sparse.csr_array:
    """How many nodes of each class each graph has, (N, C) CSR int64."""
    owner = np.repeat(np.arange(len(graphs)), [len(graph) for graph in graphs])
    labels = np.concatenate([np.zeros(0, np.int64), *(graph.labels for graph in graphs)])
    known = (labels >= 0) & (labels < classes)
    ones = np.ones(int(known.sum()), np.int64)
    found = sparse.csr_array((ones, (owner[known], labels[known])), shape=(len(graphs), classes))
    found.sum_duplicates()
    return found


def together(graphs: Sequence[SceneGraph], classes: int) -> Floats:
    """Graphs in which two classes both are, (C, C) float64; the diagonal counts graphs that hold one."""
    held = instance_counts(graphs, classes)
    held.data[:] = 1
    return np.asarray((held.T @ held).toarray(), np.float64)


def cooccurrence(graphs: Sequence[SceneGraph], classes: int) -> Floats:
    """Share of graphs in which two different classes both are, (C, C) float64 with an empty diagonal."""
    found = together(graphs, classes) / max(len(graphs), 1)
    np.fill_diagonal(found, 0.0)
    return found


def occurrence(counts: Ints) -> Floats:
    """Counts (K,) as shares of their sum; all 0 where there is nothing."""
    return counts / max(int(counts.sum()), 1)


def divergence(generated: Ints | Floats, reference: Ints | Floats) -> float | None:
    """KL(generated || reference) in nats of smoothed counts.

    Args:
        generated: (K,) observations of each outcome.
        reference: (K,) likewise.

    Returns:
        A number from 0, or None where either set has no observation.
    """
    if not generated.sum() or not reference.sum():
        return None
    seen = (generated > 0) | (reference > 0)
    p, q = (one[seen] + SMOOTHING for one in (generated, reference))
    p, q = p / p.sum(), q / q.sum()
    return max(0.0, float((p * np.log(p / q)).sum()))


def cooccurrence_divergence(
    generated: Sequence[SceneGraph], reference: Sequence[SceneGraph], classes: int
) -> float | None:
    """Divergence of the distribution over pairs of different classes that share a graph, in nats."""
    above = np.triu_indices(classes, 1)
    return divergence(*(together(graphs, classes)[above] for graphs in (generated, reference)))


def count_divergences(
    generated: Sequence[SceneGraph], reference: Sequence[SceneGraph], classes: int
) -> list[float | None]:
    """For each class the divergence of how many there are (1, 2, ...) in graphs that have any, C values.

    None where a class is missing from either set: it has no such distribution there.
    """
    both = [instance_counts(graphs, classes).tocsc() for graphs in (generated, reference)]
    found = []
    for c in range(classes):
        held = [np.asarray(one.data[one.indptr[c] : one.indptr[c + 1]], np.int64) for one in both]
        most = max((int(part.max()) for part in held if len(part)), default=0)
        found.append(divergence(*(np.bincount(part, minlength=most + 1)[1:] for part in held)))
    return found


def valid(graph: SceneGraph, vocabulary: Vocabulary) -> bool:
    """At least one node, no self relation, one predicate on an ordered pair, labels in the vocabulary."""
    labels_known = _inside(graph.labels, len(vocabulary.objects))
    predicates_known = _inside(graph.predicates, len(vocabulary.predicates))
    once = len(np.unique(graph.edges, axis=0)) == len(graph.edges)
    selfless = not (graph.edges[:, 0] == graph.edges[:, 1]).any()
    return len(graph) > 0 and labels_known and predicates_known and once and selfless


def known_triples(graphs: Sequence[SceneGraph], train: Iterable[SceneGraph]) -> tuple[Ints, Ints]:
    """Edges of each graph whose (subject, predicate, object) classes are on an edge in training.

    Returns:
        (N,) int64 such edges, and (N,) int64 edges in all.
    """
    seen = set().union(*(graph.triples() for graph in train))
    found = []
    for graph in graphs:
        ends = graph.labels[graph.edges].tolist()
        triples = ((s, p, o) for (s, o), p in zip(ends, graph.predicates.tolist(), strict=True))
        found.append(sum(triple in seen for triple in triples))
    return np.asarray(found, np.int64), np.asarray([len(graph.edges) for graph in graphs], np.int64)


def nearest(generated: Sequence[SceneGraph], train: Sequence[SceneGraph]) -> tuple[Ints, Floats]:
    """The training graph most like each generated one by the clean normalised walk kernel.

    Args:
        generated: N graphs.
        train: At least one graph; of equally similar ones the first is taken.

    Returns:
        Positions in `train`, (N,) int64, and similarities from 0 to 1, (N,) float64.

    Raises:
        ValueError: No training graph.
    """
    if not train:
        raise ValueError("there is no training graph to be near to")
    features = walk_features([*generated, *train])
    rows, columns = features.rows(slice(len(generated))), features.rows(slice(len(generated), None))
    return _best(rows, columns)


def _best(rows: Features, columns: Features) -> tuple[Ints, Floats]:
    step = max(1, _CELLS // len(columns))
    places, similarities = [np.zeros(0, np.int64)], [np.zeros(0)]
    for start in range(0, len(rows), step):
        kernels = gram(rows.rows(slice(start, start + step)), columns)
        best = kernels.argmax(1)
        places.append(best)
        similarities.append(kernels[np.arange(len(best)), best])
    return np.concatenate(places), np.concatenate(similarities)


def _tallied(parts: Sequence[Ints], kinds: int) -> Ints:
    labels = np.concatenate([np.zeros(0, np.int64), *parts])
    return np.bincount(labels[(labels >= 0) & (labels < kinds)], minlength=kinds)


def _inside(labels: Ints, kinds: int) -> bool:
    return bool(((labels >= 0) & (labels < kinds)).all())
