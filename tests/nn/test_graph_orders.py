"""Orders of nodes: what each is, that it is drawn evenly, and the first node it begins with."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from graph_toys import encoded, made, random_graphs

from bench.graphs.ranks import RANKS, ranks
from bench.nn.graph_orders import Ordering, first_node, orders


def drawn(ordering, graphs, seed=0):
    data = encoded(graphs)
    keys = np.random.default_rng(seed).random(data.labels.shape)
    linked = (data.matrix > 0) | (data.matrix > 0).transpose(0, 2, 1)
    return data, keys, orders(ordering, keys, data.sizes, linked, data.ranks)


def queue_order(graph, keys):
    """Breadth first with a queue, nodes and neighbours in falling precedence of their keys."""
    linked = (graph.matrix() > 0) | (graph.matrix() > 0).T
    left, found = sorted(range(len(graph)), key=lambda i: keys[i]), []
    while left:
        queue = [left[0]]
        left.remove(queue[0])
        while queue:
            node = queue.pop(0)
            found.append(node)
            for other in [i for i in left if linked[node, i]]:
                queue.append(other)
                left.remove(other)
    return found


@pytest.mark.parametrize("ordering", Ordering)
def test_every_order_is_a_permutation_with_empty_slots_last(ordering):
    graphs = random_graphs(200)
    _, _, found = drawn(ordering, graphs)
    for graph, row in zip(graphs, found, strict=True):
        assert sorted(row[: len(graph)]) == list(range(len(graph)))
        assert sorted(row[len(graph) :]) == list(range(len(graph), 6))


def test_bfs_is_that_of_a_queue():
    graphs = random_graphs(300, seed=3)
    _, keys, found = drawn(Ordering.bfs, graphs)
    for graph, key, row in zip(graphs, keys, found, strict=True):
        assert row[: len(graph)].tolist() == queue_order(graph, key)


def test_hierarchical_orders_rise_in_rank_and_are_random_within_one():
    graphs = random_graphs(200, seed=1)
    data, _, found = drawn(Ordering.hierarchical, graphs)
    for i, graph in enumerate(graphs):
        ranked = data.ranks[i][found[i][: len(graph)]]
        assert (np.diff(ranked) >= 0).all()
    same = [made(np.zeros(3))] * 3000
    seen = Counter(tuple(row[:3]) for row in drawn(Ordering.hierarchical, same)[2])
    assert len(seen) == 6
    assert max(seen.values()) < 620


def test_random_orders_are_all_alike_and_bfs_starts_anywhere():
    chain = made(np.zeros(3), np.array([[0, 1], [1, 2]]), np.zeros(2))
    seen = Counter(tuple(row[:3]) for row in drawn(Ordering.random, [chain] * 6000)[2])
    assert len(seen) == 6
    assert all(850 < count < 1150 for count in seen.values())
    seen = Counter(tuple(row[:3].tolist()) for row in drawn(Ordering.bfs, [chain] * 6000)[2])
    assert set(seen) == {(0, 1, 2), (1, 0, 2), (1, 2, 0), (2, 1, 0)}
    assert 1850 < seen[0, 1, 2] < 2150  # a third starts at each node
    assert 850 < seen[1, 0, 2] < 1150


@pytest.mark.parametrize("ordering", Ordering)
def test_the_first_node_has_the_frequency_of_orders_that_begin_with_it(ordering):
    graphs = random_graphs(30, seed=5)
    data, _, _ = drawn(ordering, graphs)
    prior = first_node(ordering, data.labels, data.sizes, data.ranks, 5)
    assert prior.sum() == pytest.approx(1)
    counts = np.zeros(5)
    for seed in range(400):
        found = drawn(ordering, graphs, seed)[2]
        counts += np.bincount(data.labels[np.arange(30), found[:, 0]], minlength=5)
    expected = (prior * 31 - 1 / 5) / 30  # without the added graph
    assert np.abs(counts / counts.sum() - expected).max() < 0.015


def test_the_official_slip_counts_the_stored_first_node_and_no_class_is_impossible():
    graphs = random_graphs(30, seed=5)
    data = encoded(graphs)
    prior = first_node(Ordering.bfs, data.labels, data.sizes, data.ranks, 7, stored=True)
    counts = np.bincount([graph.labels[0] for graph in graphs], minlength=7)
    assert prior == pytest.approx((counts + 1 / 7) / 31)
    assert prior.min() > 0


def test_ranks_put_scenes_first_and_parts_last():
    found, unknown = ranks(("Street", "man", "wheel", "unicorn"))
    assert found.tolist() == [1, 2, 3, 2]
    assert unknown == ("unicorn",)
    assert set(RANKS.values()) == {1, 2, 3}


def test_the_real_vocabularies_have_ranks(shared_data):
    import json

    words = json.loads((shared_data / "vg_meta" / "VG-SGG-dicts-with-attri.json").read_text())["label_to_idx"]
    assert len(words) == 150
    assert not ranks(tuple(words))[1]
    scenes = json.loads((shared_data / "vrd" / "objects.json").read_text())
    names = {one["names"][0] for scene in scenes for one in scene["objects"]}
    assert len(names) == 100
    assert not ranks(tuple(sorted(names)))[1]


def test_the_vocabulary_of_the_phantom_has_ranks():
    from bench.phantoms.scenes import Grammar

    assert not ranks(Grammar().vocabulary.objects)[1]
