"""Shuffle: right marginals and no structure, the floor of every measure of structure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.card import Card, Difference
from bench.core import Context, Method
from bench.errors import UserError
from bench.graphs.draw import Draw, uniforms
from bench.graphs.scene import SceneGraph, SceneGraphs

CARD = Card(
    title="Shuffle",
    family="graph_generation",
    summary="Draws size, labels, edges and predicates independently, each from its share in training.",
    citation="A floor of this harness; compare the corrupted graphs of Farshad, thesis, Table 10.2.",
    url="https://scenegraphgen.github.io",
    licence="Apache-2.0",
    differences=(
        Difference(
            switch="none: corruption",
            clean="labels and edges are drawn from their shares in training",
            official="the same",
            why="Table 10.2 corrupts labels uniformly over the vocabulary and keeps the edges; a floor for "
            "generators should have nothing wrong but the structure.",
            source="thesis Table 10.2",
        ),
    ),
    notes="Its likelihood is exact and the same in every order. One graph is added to the counts, spread "
    "evenly: no size up to `protocol.max_nodes`, class, edge or predicate has probability 0.",
)


@dataclass
class Shuffle(Method):
    """Four independent shares: sizes, classes, density of edges, predicates."""

    card: ClassVar[Card] = CARD
    family: ClassVar[str] = "graph_generation"

    def fit(self, train: SceneGraphs, val: SceneGraphs, ctx: Context) -> None:
        """Count; self relations and further predicates on an ordered pair do not."""
        graphs, words, self.seed = train.graphs, train.vocabulary, ctx.seed
        sizes = np.asarray([len(graph) for graph in graphs])
        predicates = np.concatenate([_off_diagonal(graph) for graph in graphs])
        self.sizes = _shares(sizes - 1, ctx.protocol.max_nodes)
        self.objects = _shares(np.concatenate([graph.labels for graph in graphs]), len(words.objects))
        self.predicates = _shares(predicates[predicates > 0] - 1, len(words.predicates))
        self.density = float(_shares((predicates > 0).astype(int), 2)[1])

    def predict(self, x: Draw) -> list[SceneGraph]:
        """A graph for each index."""
        most = len(self.sizes)
        numbers = uniforms(x.under(self.seed), 1 + most + most * most)
        found = []
        for row in numbers:
            n = 1 + int(_look_up(self.sizes, row[0]))
            edges = row[1 + most :].reshape(most, most)[:n, :n]
            there = (edges < self.density) & ~np.eye(n, dtype=bool)
            # Given that there is an edge, its number is uniform again below the density.
            matrix = np.where(there, 1 + _look_up(self.predicates, edges / self.density), 0)
            found.append(SceneGraph.from_matrix(_look_up(self.objects, row[1 : 1 + n]), matrix))
        return found

    def nll(self, graphs: Sequence[SceneGraph], orderings: int, seed: int) -> NDArray[np.float64]:
        """(N, R) float64 nats of N graphs as sequences, the same in every order.

        Raises:
            UserError: A graph of no nodes or of more than the protocol has.
        """
        found = np.zeros(len(graphs))
        for i, graph in enumerate(graphs):
            n = len(graph)
            if not 1 <= n <= len(self.sizes):
                raise UserError(
                    f"Graph `{graph.name or i}` has {n} nodes and the method was fitted for 1 to "
                    f"{len(self.sizes)}; leave it out or change `protocol.max_nodes`."
                )
            predicates = _off_diagonal(graph)
            edges = predicates[predicates > 0] - 1
            found[i] -= np.log(self.sizes[n - 1]) + np.log(self.objects[graph.labels]).sum()
            found[i] -= len(edges) * np.log(self.density) + np.log(self.predicates[edges]).sum()
            found[i] -= (len(predicates) - len(edges)) * np.log1p(-self.density)
        return np.repeat(found[:, None], orderings, 1)


def _off_diagonal(graph: SceneGraph) -> NDArray[np.int64]:
    """(n * (n - 1),) 1 + predicate of every ordered pair, 0 where there is none."""
    return graph.matrix()[~np.eye(len(graph), dtype=bool)]


def _shares(values: NDArray, count: int) -> NDArray[np.float64]:
    """(count,) shares of 0 to count - 1 among `values` and one more, spread evenly."""
    counts = np.bincount(values, minlength=count) + 1 / count
    return counts / counts.sum()


def _look_up(shares: NDArray[np.float64], numbers: NDArray[np.float64] | float) -> NDArray[np.int64]:
    """Answers of uniform numbers under a distribution."""
    return np.searchsorted(np.cumsum(shares)[:-1], numbers, side="right")
