"""Corruption changes what it says and nothing else; areas under ROC curves and their errors."""

import numpy as np
import pytest
from naive_graph_kernels import random_graph

from bench.graphs.scene import SceneGraph, Vocabulary
from bench.metrics.anomaly import auroc, auroc_error, corrupted

NONE = np.zeros((0, 2), np.int64)
MANY = Vocabulary(tuple(f"o{i}" for i in range(10**6)), tuple(f"p{i}" for i in range(10**6)))


@pytest.mark.parametrize(("share", "nodes", "edges"), [(0, 0, 0), (0.2, 1, 1), (0.5, 4, 2), (1, 7, 4)])
def test_the_share_of_labels_changes(share, nodes, edges):
    """7 nodes and 4 edges: 1.4 and 0.8 round to 1, 3.5 to 4."""
    edges_at = np.asarray([[0, 1], [1, 2], [2, 3], [6, 0]])
    boxes = np.zeros((7, 4), np.float32)
    graph = SceneGraph(np.arange(7), edges_at, np.arange(4), name="a", boxes=boxes, size=(4, 4))
    found = corrupted(graph, share, 3, MANY)
    assert (found.labels != graph.labels).sum() == nodes
    assert (found.predicates != graph.predicates).sum() == edges
    np.testing.assert_array_equal(found.edges, graph.edges)
    assert (found.name, found.size) == ("a", (4, 4))
    assert found.content() == corrupted(graph, share, 3, MANY).content()
    assert share == 0 or found.content() != corrupted(graph, share, 4, MANY).content()
    np.testing.assert_array_equal(graph.labels, np.arange(7))


def test_new_labels_are_uniform_over_all():
    few = Vocabulary(("a", "b", "c"), ("p", "q"))
    graph = SceneGraph(np.zeros(9, np.int64), np.asarray([[0, 1]]), np.zeros(1, np.int64))
    found = [corrupted(graph, 1, seed, few) for seed in range(1000)]
    labels = np.bincount(np.concatenate([one.labels for one in found]))
    assert abs(labels / 9000 - 1 / 3).max() < 0.02
    assert abs(np.mean([one.predicates[0] for one in found]) - 0.5) < 0.06


def test_every_node_is_chosen_alike():
    graph = SceneGraph(np.zeros(5, np.int64), NONE, NONE[:, 0])
    hit = np.mean([corrupted(graph, 0.4, seed, MANY).labels != 0 for seed in range(2000)], axis=0)
    assert abs(hit - 0.4).max() < 0.05


def test_what_cannot_be_corrupted():
    graph = random_graph(np.random.default_rng(0))
    with pytest.raises(ValueError, match="from 0 to 1, got 20"):
        corrupted(graph, 20, 0, MANY)
    with pytest.raises(ValueError, match="no label to draw"):
        corrupted(SceneGraph(np.zeros(1, np.int64), NONE, NONE[:, 0]), 1, 0, Vocabulary((), ()))
    empty = SceneGraph(NONE[:, 0], NONE, NONE[:, 0])
    assert len(corrupted(empty, 1, 0, MANY)) == 0


def test_area_by_hand():
    clean, other = np.asarray([1.0, 2.0, 3.0]), np.asarray([2.0, 4.0])
    # (2 > 1, 2 = 2, 2 < 3) and (4 above all): 1 + .5 + 3 of 6.
    assert auroc(clean, other) == pytest.approx(4.5 / 6)
    assert auroc(clean, clean) == 0.5
    assert auroc_error(clean[:1], clean[:1]) is None


@pytest.mark.parametrize("together", [0.0, 0.9])
def test_the_error_is_the_spread_of_draws(together):
    rng = np.random.default_rng(1)
    areas, errors = [], []
    for _ in range(600):
        clean = rng.normal(size=60)
        other = 0.8 + together * clean + np.sqrt(1 - together**2) * rng.normal(size=60)
        areas.append(auroc(clean, other))
        errors.append(auroc_error(clean, other))
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(areas), rel=0.12)
