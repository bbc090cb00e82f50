"""Graphs as the sequences that a GRU reads, packed so that no arithmetic is spent on padding.

Tokens (code of SceneGraphGen): nodes 0 padding, 1..K classes; edges 0 padding, 1..P predicates, P+1 no edge,
P+2 start of a sequence. Answers: nodes 0..K-1 and K for the end; edges 0..P-1 and P for no edge. `Fto[i, j]`
is the edge from the earlier node j to node i, `Ffrom[i, j]` the one from i to j.

Legend: B graphs of a batch in falling order of size, n nodes of one, M nodes at most, L nodes of the largest.
Three packings, each step by step as in a `PackedSequence`:
*nodes*, S = sum of n entries: node t of graph g, answered by node t+1 or the end;
*history*, H = sum of n-1: the same without the last node of each graph, after which no edges follow;
*edges*, E = sum of n(n-1)/2: one row of i slots for node i >= 1 of each graph; slot j asks for the two edges
between i and j.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.errors import UserError
from bench.graphs.scene import SceneGraph
from bench.nn.graph_orders import Ordering, orders

NOTHING = -1  # the answer of a padded place, which no loss counts


@dataclass(frozen=True)
class Encoded:
    """N graphs in their stored order.

    Args:
        sizes: (N,) int64, n.
        labels: (N, M) int64, class from 0; 0 in empty slots.
        matrix: (N, M, M) int16, 1 + predicate of the edge from row to column, 0 none.
        ranks: (N, M) int64, rank of each node's class.
        objects: K.
        predicates: P.
    """

    sizes: NDArray[np.int64]
    labels: NDArray[np.int64]
    matrix: NDArray[np.int16]
    ranks: NDArray[np.int64]
    objects: int
    predicates: int

    @property
    def max_nodes(self) -> int:
        """M."""
        return self.labels.shape[1]

    def __len__(self) -> int:
        return len(self.sizes)

    def ordered(
        self, rows: NDArray[np.int64], keys: NDArray[np.float64], ordering: Ordering
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int16]]:
        """Sizes (B,), labels (B, M) and matrix (B, M, M) of graphs `rows`, nodes ordered by keys (B, M)."""
        sizes, matrix = self.sizes[rows], self.matrix[rows]
        linked = (matrix > 0) | (matrix > 0).transpose(0, 2, 1) if ordering is Ordering.bfs else matrix > 0
        order = orders(ordering, keys, sizes, linked, self.ranks[rows])
        turned = np.take_along_axis(matrix, order[:, :, None], 1)
        turned = np.take_along_axis(turned, order[:, None, :], 2)
        return sizes, np.take_along_axis(self.labels[rows], order, 1), turned


def encode(
    graphs: Sequence[SceneGraph], objects: int, predicates: int, max_nodes: int, ranks: NDArray[np.int64]
) -> Encoded:
    """Arrays of graphs.

    Args:
        graphs: N graphs of 1 to `max_nodes` nodes; self relations are left out, of several predicates on
            an ordered pair the first stands.
        objects: K.
        predicates: P.
        max_nodes: M.
        ranks: (K,) rank of each class.

    Raises:
        UserError: A graph without nodes, with more than M, or with a label beyond the vocabulary.
    """
    labels = np.zeros((len(graphs), max_nodes), np.int64)
    matrix = np.zeros((len(graphs), max_nodes, max_nodes), np.int16)
    sizes = np.asarray([len(graph) for graph in graphs], np.int64)
    for i, graph in enumerate(graphs):
        n = len(graph)
        if not 1 <= n <= max_nodes:
            raise UserError(
                f"Graph `{graph.name or i}` has {n} nodes and a sequence model takes 1 to {max_nodes}; "
                "leave it out or change `protocol.max_nodes`."
            )
        for kind, own, known in (
            ("object", graph.labels, objects),
            ("predicate", graph.predicates, predicates),
        ):
            if len(own) and not 0 <= own.min() <= own.max() < known:
                raise UserError(
                    f"Graph `{graph.name or i}` has {kind} {int(own.max())} and the vocabulary {known}, from "
                    "0; read it with the vocabulary of the training graphs."
                )
        labels[i, :n] = graph.labels
        matrix[i, :n, :n] = graph.matrix()
        np.fill_diagonal(matrix[i], 0)
    return Encoded(sizes, labels, matrix, ranks[labels], objects, predicates)


class Batch(NamedTuple):
    """B ordered graphs, packed; tensors are int64.

    Args:
        node: (S,) token of the node that is read.
        node_to, node_from: (S, M-1) tokens of its edges with earlier nodes, padded.
        node_answer: (S,) what comes next.
        node_sizes: Entries of each step of the nodes packing.
        kept: (H,) places of the history in the nodes packing.
        history_sizes: Entries of each step of the history packing.
        start: (R,) place in the history packing of what precedes each of R rows of edges.
        here, there: (E,) tokens of nodes i and j of a slot.
        last_to, last_from: (E,) tokens of the slot before, or the start.
        to: (E,) token of the edge j -> i, which the answer for i -> j may depend on.
        to_answer, from_answer: (E,) the edges of the slot.
        edge_sizes: Entries of each step of the edges packing.
        graph_of_node, graph_of_edge: (S,), (E,) position in `rows` of the graph that an entry is of.
        final: (S,) whether M nodes have been read, so that the end is certain.
    """

    node: Tensor
    node_to: Tensor
    node_from: Tensor
    node_answer: Tensor
    node_sizes: tuple[int, ...]
    kept: Tensor
    history_sizes: tuple[int, ...]
    start: Tensor
    here: Tensor
    there: Tensor
    last_to: Tensor
    last_from: Tensor
    to: Tensor
    to_answer: Tensor
    from_answer: Tensor
    edge_sizes: tuple[int, ...]
    graph_of_node: Tensor
    graph_of_edge: Tensor
    final: Tensor


def batch(
    encoded: Encoded,
    rows: NDArray[np.int64],
    keys: NDArray[np.float64],
    ordering: Ordering,
    padded: int | None = None,
) -> Batch:
    """Pack graphs.

    Args:
        encoded: All graphs.
        rows: (B,) which of them.
        keys: (B, M) random keys of their orders.
        ordering: Of nodes.
        padded: Lay every graph out at this many nodes, as an unpacked batch would; answers in the padding
            are `NOTHING`. For measurements only.
    """
    by_size = np.argsort(-encoded.sizes[rows], kind="stable")
    sizes, labels, matrix = encoded.ordered(rows[by_size], keys[by_size], ordering)
    most = encoded.max_nodes
    taken = sizes if padded is None else np.full_like(sizes, padded)
    longest = int(taken.max())
    slot = np.arange(most)
    nodes = np.where(slot < sizes[:, None], 1 + labels, 0)
    earlier = (slot[None, :] < slot[:, None])[None] & (slot < sizes[:, None])[:, :, None]
    none = encoded.predicates + 1
    fto, ffrom = (
        np.where(earlier, np.where(part > 0, part, none), 0).astype(np.int64)
        for part in (matrix.transpose(0, 2, 1), matrix)
    )

    above = [int((taken > t).sum()) for t in range(longest)]  # graphs that have a node t
    step, graph = steps(above)
    following = np.concatenate([nodes, np.zeros((len(nodes), 1), np.int64)], 1)[graph, step + 1] - 1
    answer = np.where(step == sizes[graph] - 1, encoded.objects, following)
    kept = np.flatnonzero(step < taken[graph] - 1)
    begins = np.cumsum([0, *above[1:]])

    # Rows of edges in falling order of length: node i of every graph that has one, the largest i first.
    row_i = np.repeat(np.arange(longest - 1, 0, -1), above[:0:-1])
    row_g = np.concatenate([np.arange(count) for count in above[:0:-1]] or [np.zeros(0, np.int64)])
    long = np.cumsum(above[:0:-1])[::-1].tolist()  # rows of more than j slots
    j, row = steps(long)
    i, g = row_i[row], row_g[row]
    to, back = fto[g, i, j], ffrom[g, i, j]
    before = np.where(j > 0, j - 1, 0)
    sos = encoded.predicates + 2

    def tensor(array: NDArray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array))

    return Batch(
        node=tensor(nodes[graph, step]),
        node_to=tensor(fto[graph, step, : most - 1]),
        node_from=tensor(ffrom[graph, step, : most - 1]),
        node_answer=tensor(answer),
        node_sizes=tuple(above),
        kept=tensor(kept),
        history_sizes=tuple(above[1:]),
        start=tensor(begins[row_i - 1] + row_g),
        here=tensor(nodes[g, i]),
        there=tensor(nodes[g, j]),
        last_to=tensor(np.where(j > 0, fto[g, i, before], sos)),
        last_from=tensor(np.where(j > 0, ffrom[g, i, before], sos)),
        to=tensor(to),
        to_answer=tensor(to - 1),
        from_answer=tensor(back - 1),
        edge_sizes=tuple(long),
        graph_of_node=tensor(by_size[graph]),
        graph_of_edge=tensor(by_size[g]),
        final=tensor(step == most - 1),
    )


def steps(counts: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Step and row of every entry of a packing with `counts` rows at each step."""
    step = np.repeat(np.arange(len(counts)), np.asarray(counts, np.int64))
    begins = np.cumsum([0, *counts])[:-1]
    return step, np.arange(len(step)) - begins[step]


def useful(sizes: NDArray[np.int64], max_nodes: int) -> dict[str, float]:
    """Entries that count, as a fraction of those computed when every graph is padded to `max_nodes`.

    Packed batches compute the entries that count and no others. `nodes` are entries of the three GRUs over
    nodes, `edges` slots of the two GRUs over edges, which the official code pads to `max_nodes - 1` in
    every row.
    """
    n = sizes.astype(np.float64)
    return {
        "nodes": float(n.sum() / (len(n) * max_nodes)),
        "edges": float((n * (n - 1) / 2).sum() / (len(n) * (max_nodes - 1) ** 2)),
    }
