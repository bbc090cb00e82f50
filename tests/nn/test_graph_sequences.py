"""Graphs as packed sequences: tokens, answers, and that packing changes no number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from graph_toys import encoded, in_order, made, network, random_graphs

from bench.errors import UserError
from bench.graphs.scene import SceneGraph
from bench.nn.graph_orders import Ordering
from bench.nn.graph_sequences import NOTHING, batch, encode, useful
from bench.nn.graph_training import losses

K, P, M = 5, 3, 6


def packed(graphs, **options):
    return batch(
        encoded(graphs), np.arange(len(graphs)), in_order(len(graphs), M), Ordering.random, **options
    )


def test_tokens_of_a_graph_written_by_hand():
    graph = made(np.array([4, 0, 2]), np.array([[0, 1], [2, 0], [1, 2]]), np.array([0, 1, 2]))
    b = packed([graph])
    assert b.node.tolist() == [5, 1, 3]
    assert b.node_answer.tolist() == [0, 2, K]
    assert b.node_to.tolist() == [[0] * 5, [1, 0, 0, 0, 0], [4, 3, 0, 0, 0]]  # 4: no edge, 0: no such pair
    assert b.node_from.tolist() == [[0] * 5, [4, 0, 0, 0, 0], [2, 4, 0, 0, 0]]
    # Slots in packed order: (2, 0), (1, 0), then (2, 1).
    assert b.edge_sizes == (2, 1)
    assert b.here.tolist() == [3, 1, 3]
    assert b.there.tolist() == [5, 5, 1]
    assert b.to_answer.tolist() == [3, 0, 2]
    assert b.from_answer.tolist() == [1, 3, 3]
    assert b.last_to.tolist() == [5, 5, 4]  # 5: start
    assert b.last_from.tolist() == [5, 5, 2]
    assert b.kept.tolist() == [0, 1]
    assert b.start.tolist() == [1, 0]  # the row of node 2 goes on from node 1
    assert b.final.tolist() == [False] * 3


@pytest.mark.parametrize("ordering", Ordering)
def test_a_batch_holds_every_node_and_pair_once_and_gives_the_graph_back(ordering):
    graphs = random_graphs(40, seed=1)
    data = encoded(graphs)
    keys = np.random.default_rng(0).random((40, M))
    b = batch(data, np.arange(40), keys, ordering)
    n = data.sizes
    assert len(b.node) == sum(b.node_sizes) == n.sum()
    assert len(b.kept) == sum(b.history_sizes) == (n - 1).sum()
    assert len(b.here) == sum(b.edge_sizes) == (n * (n - 1) // 2).sum()
    sizes, labels, matrix = data.ordered(np.arange(40), keys, ordering)
    assert np.array_equal(sizes, n)
    for i, graph in enumerate(graphs):
        own = b.node[b.graph_of_node == i].tolist()
        assert own == (1 + labels[i, : n[i]]).tolist()
        found = SceneGraph.from_matrix(labels[i, : n[i]], matrix[i, : n[i], : n[i]])
        assert sorted(found.labels) == sorted(graph.labels)
        assert sorted(map(tuple, _triples(found))) == sorted(map(tuple, _triples(graph)))
        own = b.graph_of_edge == i
        edges = int((b.to_answer[own] < P).sum() + (b.from_answer[own] < P).sum())
        assert edges == len(graph.edges)


def _triples(graph):
    return [
        (graph.labels[s], p, graph.labels[o]) for (s, o), p in zip(graph.edges, graph.predicates, strict=True)
    ]


def test_packing_changes_neither_loss_nor_gradient():
    graphs = random_graphs(12, seed=4)
    found = []
    for padded in (None, M):
        net = network(learn_embeddings=True).double()
        b = packed(graphs, padded=padded)
        assert bool((b.node_answer == NOTHING).any()) == (padded is not None)
        node, edge = losses(net(b), b)
        (node + edge).backward()
        found.append((node.item(), edge.item(), [p.grad for p in net.parameters()]))
    assert found[0][:2] == pytest.approx(found[1][:2], abs=1e-12)
    for one, other in zip(found[0][2], found[1][2], strict=True):
        assert torch.allclose(one, other, atol=1e-12)


def test_losses_divide_by_predictions_of_nodes_and_by_pairs():
    graphs = random_graphs(8, seed=6)
    b, net = packed(graphs), network()
    n = np.array([len(graph) for graph in graphs])
    scores = [score.detach() for score in net(b)]
    node, edge = losses((scores[0], scores[1], scores[2]), b)
    total = -sum(
        float(score.log_softmax(1)[i, answer])
        for score, answers in zip(scores[1:], (b.to_answer, b.from_answer), strict=True)
        for i, answer in enumerate(answers)
    )
    assert edge.item() == pytest.approx(total / (n * (n - 1) / 2).sum(), rel=1e-5)
    own = -scores[0].log_softmax(1)[torch.arange(len(b.node)), b.node_answer].sum() / n.sum()
    assert node.item() == pytest.approx(own.item(), rel=1e-5)


def test_the_useful_share_of_padded_arithmetic():
    assert useful(np.array([25, 25]), 25) == pytest.approx({"nodes": 1.0, "edges": 300 / 576})
    assert useful(np.array([5, 10]), 25)["edges"] == pytest.approx((10 + 45) / 2 / 576)


def test_self_relations_have_no_slot_and_the_first_of_two_predicates_stands():
    graph = made(np.zeros(2), np.array([[0, 0], [0, 1], [0, 1]]), np.array([2, 1, 0]))
    assert encoded([graph]).matrix[0, :2, :2].tolist() == [[0, 2], [0, 0]]


@pytest.mark.parametrize(
    ("graph", "sentence"),
    [
        (random_graphs(1, sizes=(7, 7))[0], "has 7 nodes and a sequence model takes 1 to 6"),
        (made(np.zeros(0)), "has 0 nodes"),
        (made(np.array([5]), name="x"), "`x` has object 5 and the vocab"),
        (made(np.zeros(2), np.array([[0, 1]]), np.array([3])), "predicate 3"),
    ],
)
def test_graphs_that_do_not_fit_are_refused(graph, sentence):
    with pytest.raises(UserError, match=sentence):
        encode([graph], K, P, M, np.ones(K, np.int64))
