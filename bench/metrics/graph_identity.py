"""Which scene graphs are the same up to the order of their nodes: uniqueness and novelty.

All graphs are refined together: a node's colour starts as its class and takes in, for some rounds, the
predicates and colours around it, outgoing and incoming apart; a graph's hash is the sum over its colours.
Isomorphic graphs have equal hashes. Only where hashes are equal are two graphs compared exactly: by their
matrices when colours tell all nodes apart, by networkx otherwise. What a graph is, is its labels and
`SceneGraph.matrix`; boxes, attributes and names are no part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.graphs.scene import SceneGraph

Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]

_ROUNDS = 4  # more rounds would tell more graphs apart before the exact comparison, which is there anyway


@dataclass(frozen=True, eq=False)
class Refined:
    """Graphs with what refinement found.

    Args:
        graphs: N graphs.
        colours: For each its nodes' colours, (n,) uint64.
        hashes: (N,) uint64.
    """

    graphs: Sequence[SceneGraph]
    colours: Sequence[Hashes]
    hashes: Hashes


def refined(graphs: Sequence[SceneGraph]) -> Refined:
    """Colours and hashes of N graphs; equal graphs have equal ones in every call."""
    sizes = np.asarray([len(graph) for graph in graphs], np.int64)
    starts = np.cumsum(sizes) - sizes
    total = int(sizes.sum())
    edges = [np.zeros((0, 3), np.int64)]
    for graph, start in zip(graphs, starts.tolist(), strict=True):
        pairs, first = np.unique(graph.edges, axis=0, return_index=True)
        edges.append(np.column_stack([pairs + start, graph.predicates[first]]))
    source, target, predicates = np.concatenate(edges).T
    predicates = predicates.astype(np.uint64)
    labels = np.concatenate([np.zeros(0, np.int64), *(graph.labels for graph in graphs)])
    colours = _mixed(labels.astype(np.uint64), 1)
    for _ in range(_ROUNDS):
        around = np.zeros(total, np.uint64)
        np.add.at(around, source, _mixed(colours[target] + _mixed(predicates, 2), 3))
        np.add.at(around, target, _mixed(colours[source] + _mixed(predicates, 4), 5))
        colours = _mixed(colours + _mixed(around, 6), 7)
    hashes = _mixed(sizes.astype(np.uint64), 8)
    np.add.at(hashes, np.repeat(np.arange(len(sizes)), sizes), _mixed(colours, 9))
    return Refined(graphs, np.split(colours, starts[1:]) if len(sizes) else [], hashes)


def _mixed(values: Hashes, salt: int) -> Hashes:
    """A permutation of 64-bit words that scatters neighbours (splitmix64's finaliser); sums wrap around."""
    found = values + np.uint64(salt * 0x9E3779B97F4A7C15 % 2**64)
    found = (found ^ (found >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    found = (found ^ (found >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return found ^ (found >> np.uint64(31))


def same(first: Refined, i: int, second: Refined, j: int) -> bool:
    """Whether graph i of one set and graph j of another are isomorphic, exactly."""
    a, b = first.graphs[i], second.graphs[j]
    if first.hashes[i] != second.hashes[j] or len(a) != len(b):
        return False
    order_a, order_b = (np.argsort(one, kind="stable") for one in (first.colours[i], second.colours[j]))
    sorted_a, sorted_b = first.colours[i][order_a], second.colours[j][order_b]
    if not np.array_equal(sorted_a, sorted_b):
        return False
    if _equal(a.permuted(order_a), b.permuted(order_b)):
        return True
    if len(np.unique(sorted_a)) == len(sorted_a):
        return False  # colours leave one way to match nodes, and it fails
    return _isomorphic(a, first.colours[i], b, second.colours[j])


def _equal(a: SceneGraph, b: SceneGraph) -> bool:
    return bool(np.array_equal(a.labels, b.labels) and np.array_equal(a.matrix(), b.matrix()))


def _isomorphic(a: SceneGraph, colours_a: Hashes, b: SceneGraph, colours_b: Hashes) -> bool:
    import networkx as nx

    def made(graph: SceneGraph, colours: Hashes) -> Any:
        found: Any = nx.DiGraph()
        for node, label, colour in zip(range(len(graph)), graph.labels.tolist(), colours, strict=True):
            found.add_node(node, kind=(label, int(colour)))
        matrix = graph.matrix()
        found.add_edges_from((int(s), int(o), {"kind": int(matrix[s, o])}) for s, o in np.argwhere(matrix))
        return found

    alike = lambda one, other: one["kind"] == other["kind"]  # noqa: E731
    return bool(nx.is_isomorphic(made(a, colours_a), made(b, colours_b), alike, alike))


def distinct(graphs: Refined) -> int:
    """How many of N graphs differ from each other."""
    groups: dict[int, list[int]] = {}
    for i, word in enumerate(graphs.hashes.tolist()):
        held = groups.setdefault(word, [])
        if not any(same(graphs, i, graphs, other) for other in held):
            held.append(i)
    return sum(map(len, groups.values()))


def novel(generated: Refined, train: Refined) -> NDArray[np.bool_]:
    """Which of N generated graphs equal no training graph, (N,) bool."""
    groups: dict[int, list[int]] = {}
    wanted = set(generated.hashes.tolist())
    for j, word in enumerate(train.hashes.tolist()):
        if word in wanted:
            groups.setdefault(word, []).append(j)
    found = [
        not any(same(generated, i, train, j) for j in groups.get(word, ()))
        for i, word in enumerate(generated.hashes.tolist())
    ]
    return np.asarray(found, np.bool_)
