"""What the sequence models of graphs have in common as methods; a method adds its card and its network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bench import seeding
from bench.core import Context, Method
from bench.graphs.draw import Draw
from bench.graphs.ranks import ranks
from bench.graphs.scene import SceneGraph, SceneGraphs
from bench.nn.graph_orders import Ordering, first_node
from bench.nn.graph_rnn import GraphRNN
from bench.nn.graph_sampling import Sampler
from bench.nn.graph_sequences import Encoded, encode, useful
from bench.nn.graph_training import EdgeSchedule, fit, nll
from bench.splits import some

SETUP = 0  # what draws the first weights
VALIDATED = 1000  # validation graphs that the curve looks at, evenly spread


class NodeHistory(StrEnum):
    """What the GRU over nodes reads: `nodes` alone (released code) or `all`, edges too (thesis 10.3.2)."""

    nodes = "nodes"
    all = "all"


@dataclass
class SequenceMethod(Method):
    """Draws a graph node by node, each with its edges to earlier nodes.

    Args:
        ordering: Of the nodes of a training graph, drawn anew every time it is seen.
        node_history: What the GRU over nodes reads.
        learn_embeddings: Train the embeddings of nodes and edges, which otherwise stay as drawn.
        drop_last: Leave out the last node of every drawn graph, as the official generator does.
        edge_schedule: Learning rate of the edge part.
        stored_prior: Count the first node of the stored order under BFS, as the official code does.
        hidden: Width of every GRU; other widths follow.
        layers: Of every GRU.
    """

    family: ClassVar[str] = "graph_generation"
    node_aware: ClassVar[bool]

    ordering: Ordering = Ordering.random
    node_history: NodeHistory = NodeHistory.nodes
    learn_embeddings: bool = False
    drop_last: bool = False
    edge_schedule: EdgeSchedule = EdgeSchedule.decays
    stored_prior: bool = False
    hidden: int = 128
    layers: int = 4

    def fit(self, train: SceneGraphs, val: SceneGraphs, ctx: Context) -> None:
        """Train; a row of `curves.csv` an epoch, with `val_nll` (one order, nats) in validated epochs."""
        own = self._set_up(train, ctx)
        chosen = np.linspace(0, len(val.graphs) - 1, min(VALIDATED, len(val.graphs))).round().astype(int)
        looked_at = self._encoded([val.graphs[i] for i in chosen])

        def validate() -> float:
            return float(nll(self.net, self.prior, looked_at, self.ordering, 1, ctx.seed).mean())

        fraction = useful(own.sizes, own.max_nodes)
        ctx.log(
            f"packed sequences: padded to {own.max_nodes} nodes, {fraction['nodes']:.1%} of the steps over "
            f"nodes and {fraction['edges']:.1%} of those over edges would count"
        )
        fit(self.net, own, self.ordering, self.edge_schedule, validate, ctx)
        self.sampler = Sampler(self.net, self.prior, self.drop_last)

    def _set_up(self, train: SceneGraphs, ctx: Context) -> Encoded:
        """Make the untrained network and the prior; the training graphs as sequences."""
        words = train.vocabulary
        self.max_nodes = ctx.protocol.max_nodes
        self.sizes = (len(words.objects), len(words.predicates))
        self.ranks, unknown = ranks(words.objects)
        if unknown and self.ordering is Ordering.hierarchical:
            ctx.log(f"{len(unknown)} classes are in no list of ranks and get rank 2: {some(unknown)}")
        seeding.seed_round(ctx.seed, SETUP)
        self.net = GraphRNN(
            *self.sizes,
            self.max_nodes,
            node_aware=self.node_aware,
            node_sees_edges=self.node_history is NodeHistory.all,
            learn_embeddings=self.learn_embeddings,
            hidden=self.hidden,
            layers=self.layers,
        )
        own = self._encoded(train.graphs)
        stored = self.stored_prior and self.ordering is Ordering.bfs
        self.prior = first_node(self.ordering, own.labels, own.sizes, own.ranks, self.sizes[0], stored)
        return own

    def predict(self, x: Draw) -> list[SceneGraph]:
        """A graph for each index."""
        return self.sampler.draw(x)

    def complete(self, partial: SceneGraph, draw: Draw) -> list[SceneGraph]:
        """Graphs that begin with the nodes and edges of `partial`, one for each index (thesis 10.4.2).

        Raises:
            UserError: `partial` has more nodes than the protocol, or labels beyond the vocabulary.
        """
        return self.sampler.draw(draw, partial)

    def nll(self, graphs: Sequence[SceneGraph], orderings: int, seed: int) -> NDArray[np.float64]:
        """(N, R) float64 nats of N graphs in R orders drawn by the method's own ordering (thesis 10.3.6)."""
        return nll(self.net, self.prior, self._encoded(graphs), self.ordering, orderings, seed)

    def parameters_count(self) -> int | None:
        """Trained parameters; frozen embeddings are none."""
        net = getattr(self, "net", None)
        return None if net is None else sum(p.numel() for p in net.parameters() if p.requires_grad)

    def _encoded(self, graphs: Sequence[SceneGraph]) -> Encoded:
        return encode(graphs, *self.sizes, self.max_nodes, self.ranks)
