"""The network of SceneGraphGen and of GraphRNN with labels and directions (thesis 10.3).

Three GRUs read the graph node by node (history), one head answers the next node, two GRUs answer its edges
with each earlier node: first the one that arrives (`to`), then the one that leaves (`from`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from bench.nn.graph_sequences import Batch

NODE, EDGE = 64, 8  # widths of the embeddings


class Reader(nn.Module):
    """A GRU behind one linear layer with ReLU; x (N, width) packed -> (N, hidden), the top layer's output.

    Args:
        width: Of the input.
        inner: Of the linear layer.
        hidden: Of the GRU.
        layers: Of the GRU.
    """

    def __init__(self, width: int, inner: int, hidden: int, layers: int):
        super().__init__()
        self.input = nn.Sequential(nn.Linear(width, inner), nn.ReLU())
        self.gru = nn.GRU(inner, hidden, layers)

    def forward(self, x: Tensor, sizes: Sequence[int], first: Tensor | None = None) -> Tensor:
        hidden = None
        if first is not None:  # the state of the lowest layer is given, those above begin at zero
            rest = first.new_zeros(self.gru.num_layers - 1, *first.shape)
            hidden = torch.cat([first[None], rest])
        packed = PackedSequence(self.input(x), torch.tensor(sizes, dtype=torch.int64))
        return self.gru(packed, hidden)[0].data

    def step(self, x: Tensor, states: list[Tensor | None]) -> Tensor:
        """One step by hand: x (N, width), states of all layers replaced in place -> the top.

        A state is (N, hidden), or None for zeros, which then cost no product.
        """
        return self.on(self.input(x), states)

    def on(self, x: Tensor, states: list[Tensor | None]) -> Tensor:
        """The same behind the linear layer: x (N, inner)."""
        for layer, weights in enumerate(self.gru.all_weights):
            state = states[layer]
            x = _from_zeros(x, *weights) if state is None else torch.gru_cell(x, state, *weights)
            states[layer] = x
        return x


def _from_zeros(x: Tensor, w_in: Tensor, w_state: Tensor, b_in: Tensor, b_state: Tensor) -> Tensor:
    """A GRU cell whose state is zero: of the state's side only the biases are left."""
    reset, update, new = torch.addmm(b_in, x, w_in.T).chunk(3, 1)
    b_reset, b_update, b_new = b_state.chunk(3)
    new = torch.tanh(new + torch.sigmoid(reset + b_reset) * b_new)
    return new - torch.sigmoid(update + b_update) * new


class GraphRNN(nn.Module):
    """All five GRUs, the heads and the embeddings.

    Args:
        objects: K.
        predicates: P.
        max_nodes: M.
        node_aware: Edges see the classes of both nodes, and the one that leaves the one that arrives
            (SceneGraphGen); otherwise they see earlier edges alone (GraphRNN).
        node_sees_edges: The GRU over nodes reads edges too.
        learn_embeddings: Otherwise embeddings stay as drawn.
        hidden: Width of every GRU.
        layers: Of every GRU.
    """

    def __init__(
        self,
        objects: int,
        predicates: int,
        max_nodes: int,
        node_aware: bool = True,
        node_sees_edges: bool = False,
        learn_embeddings: bool = False,
        hidden: int = 128,
        layers: int = 4,
    ):
        super().__init__()
        self.objects, self.predicates, self.max_nodes = objects, predicates, max_nodes
        self.node_aware, self.node_sees_edges = node_aware, node_sees_edges
        self.embed_node = nn.Embedding(objects + 1, NODE, padding_idx=0)
        self.embed_edge = nn.Embedding(predicates + 3, EDGE, padding_idx=0)
        everything = NODE + 2 * (max_nodes - 1) * EDGE
        wide, inner = 4 * hidden, 2 * hidden
        self.read_node = Reader(everything if node_sees_edges else NODE, wide, hidden, layers)
        self.read_to = Reader(everything, wide, hidden, layers)
        self.read_from = Reader(everything, wide, hidden, layers)
        self.head_node = nn.Sequential(nn.Linear(hidden, inner), nn.ReLU(), nn.Linear(inner, objects + 1))
        width = 2 * EDGE + (2 * NODE if node_aware else 0)
        self.edge_to = Reader(width, inner, hidden, layers)
        self.edge_from = Reader(width + (EDGE if node_aware else 0), inner, hidden, layers)
        self.head_to = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, predicates + 1))
        self.head_from = nn.Sequential(
            nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, predicates + 1)
        )
        self.initialise()
        for embedding in (self.embed_node, self.embed_edge):
            embedding.weight.requires_grad_(learn_embeddings)

    def initialise(self) -> None:
        """Xavier uniform for every matrix, with the gain of ReLU but for the node head; GRU biases 0.25."""
        for name, weight in self.named_parameters():
            if name.startswith("embed"):
                continue
            if weight.dim() > 1:
                gain = nn.init.calculate_gain("sigmoid" if name.startswith("head_node") else "relu")
                nn.init.xavier_uniform_(weight, gain)
            elif ".gru." in name:
                nn.init.constant_(weight, 0.25)

    def node_part(self) -> list[nn.Parameter]:
        """Trained parameters of the GRU over nodes, its head and the embedding of nodes."""
        return self._trained(("read_node", "head_node", "embed_node"))

    def edge_part(self) -> list[nn.Parameter]:
        """All other trained parameters."""
        return self._trained(("read_to", "read_from", "edge_", "head_to", "head_from", "embed_edge"))

    def _trained(self, starts: tuple[str, ...]) -> list[nn.Parameter]:
        return [p for name, p in self.named_parameters() if name.startswith(starts) and p.requires_grad]

    def history(self, node: Tensor, to: Tensor, back: Tensor) -> Tensor:
        """Input of a GRU that reads edges: tokens (N,), (N, M-1), (N, M-1) -> (N, NODE + 2 (M-1) EDGE)."""
        parts = (self.embed_node(node), self.embed_edge(to).flatten(1), self.embed_edge(back).flatten(1))
        return torch.cat(parts, 1)

    def slot(self, here: Tensor, there: Tensor, last: tuple[Tensor, Tensor], to: Tensor | None) -> Tensor:
        """Input of a GRU over edges: nodes i and j (N, NODE), tokens (N,) of the last slot and of j -> i."""
        parts = [self.embed_edge(last[0]), self.embed_edge(last[1])]
        if self.node_aware:
            parts = [there, here, *parts]
            if to is not None:
                parts.append(self.embed_edge(to))
        return torch.cat(parts, 1)

    def forward(self, b: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Scores of the next node (S, K+1), of edges that arrive (E, P+1) and that leave (E, P+1)."""
        node = self.embed_node(b.node)
        read = self.history(b.node, b.node_to, b.node_from)
        nodes = self.head_node(self.read_node(read if self.node_sees_edges else node, b.node_sizes))
        if not b.edge_sizes:  # graphs of one node
            none = nodes.new_zeros(0, self.predicates + 1)
            return nodes, none, none
        read = read[b.kept]
        here, there, last = self.embed_node(b.here), self.embed_node(b.there), (b.last_to, b.last_from)
        answers = []
        for reader, edge, head, to in (
            (self.read_to, self.edge_to, self.head_to, None),
            (self.read_from, self.edge_from, self.head_from, b.to),
        ):
            first = reader(read, b.history_sizes)[b.start]
            answers.append(head(edge(self.slot(here, there, last, to), b.edge_sizes, first)))
        return nodes, answers[0], answers[1]


class SlotTables:
    """The linear layer in front of a GRU over edges, as tables: all of its inputs are embeddings."""

    def __init__(self, net: GraphRNN, reader: Reader):
        linear: Any = reader.input[0]
        nodes, edges = net.embed_node.weight, net.embed_edge.weight
        sources = [edges, edges]
        if net.node_aware:
            sources = [nodes, nodes, *sources]
        if linear.in_features > sum(source.shape[1] for source in sources):
            sources.append(edges)
        parts = linear.weight.split([source.shape[1] for source in sources], 1)
        tables = [source @ part.T for source, part in zip(sources, parts, strict=True)]
        self.there, self.own = tables[:2] if net.node_aware else (None, None)
        self.edges = tables[2:] if net.node_aware else tables
        self.bias = linear.bias

    def here(self, node: Tensor) -> Tensor:
        """What node i (b,) adds to every slot, bias included: (b, inner), or (inner,) if only that."""
        return self.bias if self.own is None else self.own[node] + self.bias

    def __call__(self, here: Tensor, there: Tensor, last: tuple[Tensor, Tensor], to: Tensor | None) -> Tensor:
        """(b, inner) behind the ReLU, of node j and tokens (b,) as `GraphRNN.slot` takes them."""
        x = here + self.edges[0][last[0]]
        x += self.edges[1][last[1]]
        if self.there is not None:
            x += self.there[there]
        if len(self.edges) > 2 and to is not None:
            x += self.edges[2][to]
        return x.relu_()
