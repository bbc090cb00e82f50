"""Drawing graphs from a sequence model, many side by side, each from random numbers of its own.

Graph i of a sample is a function of (seed, i): a label is drawn by looking up the graph's own uniform number
in the cumulative distribution. Rounding depends on how many graphs are computed together, so a number within
a margin of a boundary could fall on either side of it. Such graphs are checked in double precision, where
the margin left by rounding is about 1e-13, and drawn again where they differ: batched and single draws agree.

Legend: N graphs, b of them still growing, M nodes at most, K classes, P predicates.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.errors import RunFailed, UserError
from bench.graphs.draw import Draw, uniforms
from bench.graphs.scene import SceneGraph
from bench.nn.graph_rnn import GraphRNN, Reader, SlotTables
from bench.nn.graph_verdict import looked_up, stand, weights

MARGIN = 4e-5  # errors of cumulative probabilities p in single precision were 1.2e-5 p (1 - p) at most
ATTEMPTS = 1000


@dataclass
class Drawn:
    """N graphs in one order.

    Args:
        sizes: (N,) int64, n.
        labels: (N, M) int64, classes from 0.
        matrix: (N, M, M) int64, 1 + predicate, 0 none.
        ended: (N,) whether the end was drawn, and not forced by M.
        close: (N,) whether a random number fell close to a boundary.
    """

    sizes: NDArray[np.int64]
    labels: NDArray[np.int64]
    matrix: NDArray[np.int64]
    ended: NDArray[np.bool_]
    close: NDArray[np.bool_]

    def graph(self, row: int, nodes: int) -> SceneGraph:
        """The first `nodes` nodes of graph `row`."""
        return SceneGraph.from_matrix(self.labels[row, :nodes], self.matrix[row, :nodes, :nodes])


@dataclass
class Sampler:
    """Draws from a network and a distribution of the first node.

    Args:
        net: Fitted, in evaluation mode.
        prior: (K,) float64.
        drop_last: Leave out the last node of every graph, as the official generator does: what has fewer
            than 3 nodes, or has not ended after M - 1, is drawn again. Completions keep all nodes.
    """

    net: GraphRNN
    prior: NDArray[np.float64]
    drop_last: bool = False
    _exact: GraphRNN | None = field(default=None, init=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_exact": None}

    def draw(self, draw: Draw, given: SceneGraph | None = None) -> list[SceneGraph]:
        """One graph for each index, which begins with the nodes and edges of `given`.

        Raises:
            UserError: `given` has more than M nodes, or labels beyond the vocabulary.
            RunFailed: `drop_last`, and a thousand attempts at one graph were all too short or too long.
        """
        if given is not None:
            self._check(given)
        drop = self.drop_last and given is None
        found: dict[int, SceneGraph] = {}
        waiting = list(range(len(draw)))
        for attempt in range(ATTEMPTS):
            if not waiting:
                return [found[i] for i in range(len(draw))]
            drawn = self._exactly(Draw(draw.seed, tuple(draw.indices[i] for i in waiting)), attempt, given)
            usable = (drawn.sizes >= 3) & drawn.ended if drop else np.full(len(waiting), True)
            for row in np.flatnonzero(usable).tolist():
                found[waiting[row]] = drawn.graph(row, int(drawn.sizes[row]) - drop)
            waiting = [i for i, done in zip(waiting, usable, strict=True) if not done]
        raise RunFailed(
            f"{ATTEMPTS} attempts at a graph of 3 to {self.net.max_nodes - 1} nodes failed; the network ends "
            "graphs too early or never: train it longer, or set `method.drop_last=false`."
        )

    def _exactly(self, draw: Draw, attempt: int, given: SceneGraph | None) -> Drawn:
        """Draw; graphs that came close to a boundary and differ in double precision are drawn again in it."""
        slots = self.net.max_nodes
        numbers = uniforms(draw, slots * slots, attempt).reshape(-1, slots, slots)
        drawn = generate(self.net, self.prior, numbers, given, MARGIN)
        again = np.flatnonzero(drawn.close)
        if not len(again):
            return drawn
        if self._exact is None:
            self._exact = copy.deepcopy(self.net).double()
        held = 0 if given is None else len(given)
        own = drawn.sizes[again], drawn.labels[again], drawn.matrix[again]
        again = again[~stand(self._exact, *own, numbers[again], held)]
        if len(again):
            other = generate(self._exact, self.prior, numbers[again], given, 0.0)
            for name in ("sizes", "labels", "matrix", "ended"):
                getattr(drawn, name)[again] = getattr(other, name)
        return drawn

    def _check(self, given: SceneGraph) -> None:
        if len(given) > self.net.max_nodes:
            raise UserError(
                f"The graph to complete has {len(given)} nodes, and the method was fitted with at most "
                f"{self.net.max_nodes}; leave nodes out."
            )
        for kind, own, known in (
            ("object", given.labels, self.net.objects),
            ("predicate", given.predicates, self.net.predicates),
        ):
            if len(own) and not 0 <= own.min() <= own.max() < known:
                raise UserError(
                    f"The graph to complete has {kind} {int(own.max())}, and the vocabulary has {known}, "
                    "from 0; use labels of the training graphs."
                )


def generate(
    net: GraphRNN,
    prior: NDArray[np.float64],
    numbers: NDArray[np.float64],
    given: SceneGraph | None = None,
    margin: float = 0.0,
) -> Drawn:
    """Draw graphs side by side; one that has ended takes no further part.

    Args:
        net: The network; its own precision and device are used, probabilities are float64.
        prior: (K,) of the first node.
        numbers: (N, M, M) uniform; entry (i, i) draws node i, (j, i) the edge from j to i.
        given: Nodes that every graph begins with.
        margin: Times p (1 - p), how close to a boundary p a number counts as close.
    """
    with torch.inference_mode():
        return _Growth(net, numbers, given, margin).run(prior)


class _Growth:
    """Graphs under construction; `alive` are the rows of those that still grow."""

    def __init__(self, net: GraphRNN, numbers: NDArray[np.float64], given: SceneGraph | None, margin: float):
        weight = net.embed_node.weight
        self.net, self.margin, self.device = net, margin, weight.device
        count, slots = numbers.shape[:2]
        self.none = net.predicates + 1
        self.numbers = torch.from_numpy(numbers).to(self.device)
        self.given = 0 if given is None else len(given)
        if given is not None and self.given:
            self.given_nodes = torch.from_numpy(1 + given.labels).to(self.device)
            matrix = given.matrix()
            self.given_edges = torch.from_numpy(np.where(matrix > 0, matrix, self.none)).to(self.device)
        self.labels = torch.zeros(count, slots, dtype=torch.int64, device=self.device)
        self.matrix = torch.zeros(count, slots, slots, dtype=torch.int64, device=self.device)
        self.sizes = torch.full((count,), slots, dtype=torch.int64, device=self.device)
        self.ended = torch.zeros(count, dtype=torch.bool, device=self.device)
        self.close = torch.zeros(count, dtype=torch.bool, device=self.device)
        self.alive = torch.arange(count, device=self.device)
        widest = max(net.objects, net.predicates) + 1
        # A product with this is a cumulative sum that is the same on every run of a GPU.
        self.upto = torch.ones(widest, widest, dtype=torch.float64, device=self.device).triu()
        readers = (net.read_node, net.read_to, net.read_from)
        self.states: dict[Reader, list[Tensor | None]] = {
            reader: [None] * reader.gru.num_layers for reader in readers
        }
        self.slots = {reader: SlotTables(net, reader) for reader in (net.edge_to, net.edge_from)}

    def run(self, prior: NDArray[np.float64]) -> Drawn:
        net, slots = self.net, self.net.max_nodes
        if self.given:
            node = self.given_nodes[:1].expand(len(self.alive))
        else:
            first = torch.from_numpy(prior).to(self.device).expand(len(self.alive), -1)
            node = 1 + self.pick(first, 0, 0)
        to = back = torch.zeros(len(self.alive), slots - 1, dtype=torch.int64, device=self.device)
        for t in range(slots):
            self.labels[self.alive, t] = node - 1
            if t == slots - 1 or not len(self.alive):
                break
            following, going = self.next_node(t, node, to, back)
            if going is not None:
                node, to, back = node[going], to[going], back[going]
            read = net.history(node, to, back)
            first_to, first_from = (
                reader.step(read, self.states[reader]) for reader in (net.read_to, net.read_from)
            )
            node = following
            to, back = self.next_edges(t + 1, node, first_to, first_from)
        return Drawn(
            *(part.cpu().numpy() for part in (self.sizes, self.labels, self.matrix, self.ended, self.close))
        )

    def next_node(self, t: int, node: Tensor, to: Tensor, back: Tensor) -> tuple[Tensor, Tensor | None]:
        """Tokens of node t+1 of the graphs that go on, and which do; None when all of them."""
        net = self.net
        read = net.history(node, to, back) if net.node_sees_edges else net.embed_node(node)
        top = net.read_node.step(read, self.states[net.read_node])
        if t + 1 < self.given:
            return self.given_nodes[t + 1].expand(len(node)), None
        chosen = self.pick(weights(net.head_node(top)), t + 1, t + 1)
        over = chosen == net.objects
        going = (~over).nonzero()[:, 0]
        if len(going) == len(chosen):
            return 1 + chosen, None
        self.sizes[self.alive[over]] = t + 1
        self.ended[self.alive[over]] = True
        self.alive = self.alive[going]
        for states in self.states.values():
            states[:] = [None if state is None else state[going] for state in states]
        return 1 + chosen[going], going

    def next_edges(self, i: int, node: Tensor, first_to: Tensor, first_from: Tensor) -> tuple[Tensor, Tensor]:
        """Draw the edges of node i with all earlier ones: tokens (b, M-1) that arrive and that leave."""
        net, count = self.net, len(self.alive)
        to, back = (
            torch.zeros(count, net.max_nodes - 1, dtype=torch.int64, device=self.device) for _ in range(2)
        )
        earlier = 1 + self.labels[self.alive, :i]
        here = {reader: slots.here(node) for reader, slots in self.slots.items()}
        states = {reader: self._begin(reader, first) for reader, first in self._edges(first_to, first_from)}
        start = torch.full((count,), self.none + 1, dtype=torch.int64, device=self.device)
        last = (start, start)
        for j in range(i):
            if i < self.given:
                to[:, j], back[:, j] = self.given_edges[j, i], self.given_edges[i, j]
                continue  # the states of these GRUs end with the node
            there = earlier[:, j]
            x = self.slots[net.edge_to](here[net.edge_to], there, last, None)
            top = net.edge_to.on(x, states[net.edge_to])
            arrives = 1 + self.pick(weights(net.head_to(top)), j, i)
            x = self.slots[net.edge_from](here[net.edge_from], there, last, arrives)
            top = net.edge_from.on(x, states[net.edge_from])
            leaves = 1 + self.pick(weights(net.head_from(top)), i, j)
            to[:, j], back[:, j] = arrives, leaves
            last = (arrives, leaves)
        for tokens, own in ((to, (slice(None, i), i)), (back, (i, slice(None, i)))):
            self.matrix[self.alive, own[0], own[1]] = torch.where(tokens == self.none, 0, tokens)[:, :i]
        return to, back

    def _edges(self, first_to: Tensor, first_from: Tensor) -> tuple[tuple[Reader, Tensor], ...]:
        return (self.net.edge_to, first_to), (self.net.edge_from, first_from)

    @staticmethod
    def _begin(reader: Reader, first: Tensor) -> list[Tensor | None]:
        return [first, *([None] * (reader.gru.num_layers - 1))]

    def pick(self, masses: Tensor, row: int, column: int) -> Tensor:
        """(b,) answers: masses (b, C), see `weights`, are looked up with the number at (row, column)."""
        width = masses.shape[1]
        if self.device.type == "cpu":
            bounds = masses.cumsum(1, dtype=torch.float64)
        else:
            bounds = masses.double() @ self.upto[:width, :width]
        chosen, number = looked_up(bounds, self.numbers[self.alive, row, column])
        if self.margin and width > 1:
            beside = torch.cat([chosen - 1, chosen], 1).clamp_(0, width - 2)
            bounds, whole = bounds.gather(1, beside), bounds[:, -1:]
            room = self.margin * bounds * (1 - bounds / whole)
            self.close[self.alive] |= ((bounds - number).abs() < room).any(1)
        return chosen[:, 0]
