"""Orders in which a sequence model sees the nodes of a graph (thesis 10.4.1).

An order is a function of the graph and of one random key a node, so that a batch is ordered by a few array
operations and an order can be drawn again. Legend: B graphs, M node slots, K classes; a graph of n nodes
fills the first n slots.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class Ordering(StrEnum):
    """How the nodes of a graph are put in a row; each has a random part, drawn anew every time.

    random: Any order, all alike.
    bfs: Breadth first from a random node, edges taken as undirected and neighbours in random order, as in
        GraphRNN; where nodes are left, on from a random one of them.
    hierarchical: By rank of the class (`bench.graphs.ranks`), in random order within a rank.
    """

    random = "random"
    bfs = "bfs"
    hierarchical = "hierarchical"


def orders(
    ordering: Ordering,
    keys: NDArray[np.float64],
    sizes: NDArray[np.int64],
    linked: NDArray[np.bool_],
    ranks: NDArray[np.int64],
) -> NDArray[np.int64]:
    """The order of every graph.

    Args:
        ordering: Which.
        keys: (B, M) independent uniform numbers in [0, 1).
        sizes: (B,) nodes n.
        linked: (B, M, M) whether an edge joins two nodes in either direction.
        ranks: (B, M) rank of each node's class.

    Returns:
        (B, M) int64; the first n entries are the nodes in their order, the rest the empty slots.
    """
    slots = keys.shape[1]
    empty = np.arange(slots) >= sizes[:, None]
    if ordering is Ordering.bfs:
        return _breadth_first(keys, empty, linked)
    first = keys + ranks if ordering is Ordering.hierarchical else keys
    return np.argsort(np.where(empty, np.inf, first), axis=1, kind="stable")


def _breadth_first(
    keys: NDArray[np.float64], empty: NDArray[np.bool_], linked: NDArray[np.bool_]
) -> NDArray[np.int64]:
    # A queue visits nodes by when their earliest visited neighbour was, then by key; nodes without one come
    # when no other is left, which is where the next component starts.
    count, slots = keys.shape
    rows = np.arange(count)
    parent = np.full((count, slots), slots, np.float64)
    closed = np.where(empty, 2.0 * slots, 0.0)
    found = np.empty((count, slots), np.int64)
    for step in range(slots):
        chosen = np.argmin(parent + keys + closed, axis=1)
        found[:, step] = chosen
        closed[rows, chosen] = 4.0 * slots
        parent = np.where(linked[rows, chosen], np.minimum(parent, step), parent)
    return found


def first_node(
    ordering: Ordering,
    labels: NDArray[np.int64],
    sizes: NDArray[np.int64],
    ranks: NDArray[np.int64],
    classes: int,
    stored: bool = False,
) -> NDArray[np.float64]:
    """(K,) distribution of the class of the first node, the empirical one with one graph added.

    The official code orders every training graph ten times and counts; under these orderings the first node
    is uniform over all nodes (hierarchical: over those of the least rank), so the expected counts are exact
    and cheap. The added graph is spread evenly over all classes: no class has probability 0.

    Args:
        ordering: Of training.
        labels: (B, M) classes from 0; what stands in empty slots is not looked at.
        sizes: (B,) nodes n.
        ranks: (B, M) rank of each node's class.
        classes: K.
        stored: Count the first node of the stored order instead: under BFS the official code drops the
            order it has just made.
    """
    filled = np.arange(labels.shape[1]) < sizes[:, None]
    if stored:
        may = np.arange(labels.shape[1]) < np.minimum(sizes, 1)[:, None]
    elif ordering is Ordering.hierarchical:
        may = filled & (ranks == np.where(filled, ranks, ranks.max(initial=0)).min(1, keepdims=True))
    else:
        may = filled
    weight = may / np.maximum(may.sum(1, keepdims=True), 1)
    counts = np.bincount(labels[may], weight[may], minlength=classes).astype(np.float64)
    return (counts + 1 / classes) / (counts.sum() + 1)
