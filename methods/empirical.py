"""Empirical: training graphs drawn again, the ceiling of every measure but novelty."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from bench.card import Card, Difference
from bench.core import Context, Method
from bench.graphs.draw import Draw, uniforms
from bench.graphs.scene import SceneGraph, SceneGraphs

CARD = Card(
    title="Empirical",
    family="graph_generation",
    summary="Draws training graphs with replacement; what a model can reach that only remembers.",
    citation="The ground-truth row of Farshad, thesis, Table 10.1, with training in place of test graphs.",
    url="https://scenegraphgen.github.io",
    licence="Apache-2.0",
    differences=(
        Difference(
            switch="none: graphs drawn from",
            clean="training graphs, with replacement",
            official="the same",
            why="The ground-truth row of Table 10.1 compares test graphs with test graphs, which no method "
            "may see.",
            source="thesis Tables 10.1 and 10.2",
        ),
    ),
    notes="Has no likelihood: a graph that is not a training graph would have none.",
)


@dataclass
class Empirical(Method):
    """Training graphs, each as likely as any other."""

    card: ClassVar[Card] = CARD
    family: ClassVar[str] = "graph_generation"

    def fit(self, train: SceneGraphs, val: SceneGraphs, ctx: Context) -> None:
        """Remember the training graphs."""
        self.seed = ctx.seed
        self.graphs = tuple(
            replace(graph, name="", boxes=None, attributes=None, size=None) for graph in train.graphs
        )

    def predict(self, x: Draw) -> list[SceneGraph]:
        """A training graph for each index."""
        chosen = (uniforms(x.under(self.seed), 1)[:, 0] * len(self.graphs)).astype(int)
        return [self.graphs[i] for i in chosen]
