"""Whether drawn graphs are what their random numbers ask for, from one pass over all of their entries.

Shapes: N graphs, M nodes at most, b entries, C outcomes.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.nn.graph_orders import Ordering
from bench.nn.graph_rnn import GraphRNN
from bench.nn.graph_sequences import Encoded, batch, steps
from bench.nn.graph_training import on_device


def weights(scores: Tensor) -> Tensor:
    """Scores (b, C) as probabilities up to a factor, from 0 to 1."""
    return (scores - scores.amax(1, keepdim=True)).exp_()


def looked_up(bounds: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Outcomes (b, 1) of numbers (b,) in [0, 1), and the numbers (b, 1) on the scale of the bounds.

    Args:
        bounds: (b, C) float64 cumulative weights.
        numbers: (b,) float64.
    """
    scaled = numbers[:, None] * bounds[:, -1:]
    return torch.searchsorted(bounds, scaled, right=True).clamp_(max=bounds.shape[1] - 1), scaled


def stand(
    net: GraphRNN,
    sizes: NDArray[np.int64],
    labels: NDArray[np.int64],
    matrix: NDArray[np.int64],
    numbers: NDArray[np.float64],
    given: int = 0,
) -> NDArray[np.bool_]:
    """(N,) whether every answer after the first is the one that the network gives for its number.

    Args:
        net: In double precision, so that rounding hardly ever decides.
        sizes: (N,) nodes of each graph, which ended there or has M.
        labels: (N, M) classes.
        matrix: (N, M, M) 1 + predicate, 0 none.
        numbers: (N, M, M), as `bench.nn.graph_sampling.generate` takes them.
        given: Nodes at the beginning that were not drawn.
    """
    count, most = labels.shape
    data = Encoded(sizes, labels, matrix.astype(np.int16), np.zeros_like(labels), net.objects, net.predicates)
    in_order = np.tile(np.arange(most, dtype=np.float64), (count, 1))
    device = net.embed_node.weight.device
    b = on_device(batch(data, np.arange(count), in_order, Ordering.random), device)
    with torch.inference_mode():
        scores = net(b)
    node = 1 + steps(b.node_sizes)[0]  # that an entry of the nodes packing answers
    slot, row = steps(b.edge_sizes)
    behind = (1 + steps(b.history_sizes)[0])[b.start.cpu().numpy()][row]  # node whose edges an entry answers
    graph, edge_graph = b.graph_of_node.cpu().numpy(), b.graph_of_edge.cpu().numpy()
    drawn = (node >= given) & (node < most)
    edge_drawn = behind >= given
    found = np.full(count, True)
    for answers, wanted, owner, place, counts in (
        (scores[0], b.node_answer, graph, (node, node), drawn),
        (scores[1], b.to_answer, edge_graph, (slot, behind), edge_drawn),
        (scores[2], b.from_answer, edge_graph, (behind, slot), edge_drawn),
    ):
        keep = np.flatnonzero(counts)
        number = torch.from_numpy(numbers[owner[keep], place[0][keep], place[1][keep]]).to(device)
        kept = torch.from_numpy(keep).to(device)
        chosen = looked_up(weights(answers[kept]).cumsum(1), number)[0][:, 0]
        found[owner[keep[(chosen != wanted[kept]).cpu().numpy()]]] = False
    return found
