"""The network: its published sizes, its first weights, and which inputs each answer may depend on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from graph_toys import encoded, in_order, network, random_graphs

from bench.nn.graph_orders import Ordering
from bench.nn.graph_rnn import GraphRNN
from bench.nn.graph_sequences import batch


def size(*modules, trained=True):
    return sum(p.numel() for m in modules for p in m.parameters() if p.requires_grad == trained)


@pytest.fixture(scope="module")
def full():
    return GraphRNN(150, 50, 25)


def test_the_network_has_the_published_number_of_parameters(full):
    assert size(full) == 3_209_469
    assert size(full, trained=False) == 10_088


@pytest.mark.parametrize(
    ("parts", "count"),
    [
        (("read_node",), 577_024),
        (("read_to",), 773_632),
        (("read_from",), 773_632),
        (("head_node",), 71_831),
        (("edge_to", "head_to"), 505_651),
        (("edge_from", "head_from"), 507_699),
    ],
)
def test_its_parts_have_the_published_number_of_parameters(full, parts, count):
    assert size(*(getattr(full, part) for part in parts)) == count


def test_node_and_edge_part_are_everything_that_is_trained(full):
    for net in (full, network(learn_embeddings=True, node_sees_edges=True)):
        parts = [*net.node_part(), *net.edge_part()]
        assert len({id(p) for p in parts}) == len(parts)
        assert {id(p) for p in parts} == {id(p) for p in net.parameters() if p.requires_grad}


def test_the_options_change_what_is_read(full):
    assert full.edge_to.input[0].in_features == 144
    assert full.edge_from.input[0].in_features == 152
    blind = GraphRNN(150, 50, 25, node_aware=False)
    assert (blind.edge_to.input[0].in_features, blind.edge_from.input[0].in_features) == (16, 16)
    seeing = GraphRNN(150, 50, 25, node_sees_edges=True)
    assert seeing.read_node.input[0].in_features == 448
    assert size(GraphRNN(150, 50, 25, learn_embeddings=True), trained=False) == 0


def test_first_weights_are_xavier_with_gru_biases_of_a_quarter(full):
    for name, weight in full.named_parameters():
        if ".gru." in name and weight.dim() == 1:
            assert (weight == 0.25).all()
    for weight, gain in ((full.head_node[0].weight, 1.0), (full.edge_to.input[0].weight, 2**0.5)):
        bound = gain * (6 / sum(weight.shape)) ** 0.5
        assert 0.98 * bound < float(weight.detach().abs().max()) <= bound
    assert (full.embed_node.weight[0] == 0).all()


def answers(net, graphs):
    data = encoded(graphs)
    b = batch(data, np.arange(len(graphs)), in_order(len(graphs), 6), Ordering.random)
    with torch.inference_mode():
        return b, net(b)


def changed(graph, **edit):
    matrix, labels = graph.matrix(), graph.labels.copy()
    if "label" in edit:
        labels[edit["label"]] = (labels[edit["label"]] + 1) % 5
    if "edge" in edit:
        matrix[edit["edge"]] = (matrix[edit["edge"]] + 1) % 4
    return type(graph).from_matrix(labels, matrix)


def differing(net, graph, **edit):
    """For each kind of answer, the entries (node, or pair i > j) that another graph changes."""
    b, one = answers(net, [graph])
    _, other = answers(net, [changed(graph, **edit)])
    apart = [((a - c).abs().amax(1) > 1e-7).numpy() for a, c in zip(one, other, strict=True)]
    n = len(graph)
    pairs = np.array([(i, j) for j in range(n) for i in range(n - 1, j, -1)])
    assert len(pairs) == len(apart[1]) == sum(b.edge_sizes)
    return set(np.flatnonzero(apart[0]).tolist()), *({tuple(p) for p in pairs[a].tolist()} for a in apart[1:])


@pytest.fixture(scope="module")
def whole():
    return random_graphs(1, seed=2, sizes=(6, 6))[0]


def test_nothing_sees_the_future_and_nodes_see_no_edges(whole):
    nodes, to, back = differing(network(), whole, label=3)
    later = {(i, j) for i in range(3, 6) for j in range(i)}
    assert nodes == {3, 4, 5}
    assert to == back == later
    nodes, to, back = differing(network(), whole, edge=(2, 4))  # arrives at node 4
    seen = {(4, 3)} | {(5, j) for j in range(5)}
    assert not nodes
    assert to == seen
    assert back == seen | {(4, 2)}
    nodes, to, back = differing(network(), whole, edge=(4, 2))  # leaves it
    assert to == back == seen


def test_with_all_history_nodes_see_edges(whole):
    nodes, _, _ = differing(network(node_sees_edges=True), whole, edge=(2, 4))
    assert nodes == {4, 5}


def test_edges_of_graphrnn_see_neither_the_nodes_they_join_nor_the_edge_that_arrives(whole):
    nodes, to, back = differing(network(node_aware=False), whole, label=3)
    assert nodes == {3, 4, 5}
    assert to == back == {(i, j) for i in (4, 5) for j in range(i)}
    _, to, back = differing(network(node_aware=False), whole, edge=(2, 4))
    assert to == back == {(4, 3)} | {(5, j) for j in range(5)}


def test_graphs_of_one_node_have_no_edges_to_answer():
    _, (nodes, to, back) = answers(network(), random_graphs(3, sizes=(1, 1)))
    assert nodes.shape == (3, 6)
    assert to.shape == back.shape == (0, 4)
