"""The sparse kernels against the formula, and what each dead-end rule means."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_graph_kernels import matrix, node_kernel, random_graph, walk_kernel

from bench.graphs.scene import SceneGraph
from bench.metrics import graph_kernels
from bench.metrics.graph_kernels import DeadEnd, Features, gram, node_features, walk_features


def graph(labels, *triples) -> SceneGraph:
    """Nodes, and edges (subject, predicate, object)."""
    edges = [(s, o) for s, _, o in triples]
    return SceneGraph(np.asarray(labels, np.int64), np.asarray(edges), np.asarray([p for _, p, _ in triples]))


def special() -> list[SceneGraph]:
    return [
        graph([]),
        graph([0]),
        graph([0, 0, 0]),
        graph([0], (0, 1, 0)),
        graph([0, 1], (0, 1, 1)),
        graph([0, 1], (0, 1, 1), (0, 2, 1)),
        graph([0, 1], (0, 2, 1), (0, 1, 1)),
        graph([0, 1, 2], (0, 1, 1), (1, 1, 2)),
        graph([0, 1, 2], (0, 1, 1), (1, 1, 2), (2, 1, 0)),
        graph([3, 3, 3, 3], (0, 0, 1), (1, 0, 2), (2, 0, 3)),
        graph([0, 0, 1, 1], (0, 0, 2), (1, 0, 3), (2, 1, 0)),
    ]


@pytest.mark.parametrize("dead_end", list(DeadEnd))
@pytest.mark.parametrize("length", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(4))
def test_the_walk_kernel_is_the_formula(dead_end, length, seed):
    rng = np.random.default_rng(seed)
    nodes = 8 if length < 4 else 6
    xs = [random_graph(rng, classes=2 + seed, nodes=nodes) for _ in range(14)] + special()
    ys = [random_graph(rng, classes=2 + seed, nodes=nodes) for _ in range(12)]
    features = walk_features([*xs, *ys], length, dead_end)
    first, second = features.rows(slice(len(xs))), features.rows(slice(len(xs), None))
    own = [walk_kernel(a, a, length, dead_end) for a in xs]
    np.testing.assert_allclose(first.own(), own, rtol=1e-12, atol=0)
    np.testing.assert_allclose(
        gram(first, second), matrix(walk_kernel, xs, ys, length, dead_end), rtol=1e-9, atol=0
    )
    plain = [[walk_kernel(a, b, length, dead_end) for b in ys] for a in xs]
    np.testing.assert_allclose(gram(first, second, normalised=False), plain, rtol=1e-9, atol=0)


@pytest.mark.parametrize("seed", range(8))
def test_the_object_kernel_is_the_formula(seed):
    rng = np.random.default_rng(seed)
    graphs = [random_graph(rng, classes=1 + seed, nodes=20) for _ in range(30)] + special()
    features = node_features(graphs)
    np.testing.assert_allclose(gram(features), matrix(node_kernel, graphs, graphs), rtol=1e-12, atol=0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.sampled_from(list(DeadEnd)), st.floats(0, 0.6))
def test_pairs_of_any_density(seed, length, dead_end, density):
    rng = np.random.default_rng(seed)
    pair = [random_graph(rng, classes=3, predicates=2, nodes=5, density=density) for _ in range(2)]
    np.testing.assert_allclose(
        gram(walk_features(pair, length, dead_end)),
        matrix(walk_kernel, pair, pair, length, dead_end),
        rtol=1e-9,
        atol=0,
    )


def test_values_by_hand():
    # One walk 0 -1-> 1 -1-> 2, all counts 1; and the same cut short after its first edge.
    whole, short = graph([0, 1, 2], (0, 1, 1), (1, 1, 2)), graph([0, 1], (0, 1, 1))
    kernel = {
        str(rule): gram(walk_features([whole, short], 3, rule), normalised=False).tolist() for rule in DeadEnd
    }
    # whole with itself: the walk from 0 (1), from 1 to the end 2 (both), from 2 (both).
    assert kernel["zero"] == [[1, 0], [0, 0]]
    assert kernel["match"] == [[3, 0], [0, 2]]
    assert kernel["half"] == [[2, 1], [1, 1]]
    assert kernel["intended"] == [[3, 1], [1, 2]]


def test_sigma_enters_at_every_node():
    # Two cups on a table, each the end of a walk of two nodes: (1/2 * 1)^2 for each of four pairs of cups.
    one = graph([0, 0, 1], (0, 0, 2), (1, 0, 2))
    assert gram(walk_features([one], 2, DeadEnd.zero), normalised=False) == pytest.approx(4 * 0.25)


def test_direction_and_predicate_matter_but_not_the_order_of_nodes():
    one, turned, other = graph([0, 1], (0, 0, 1)), graph([0, 1], (1, 0, 0)), graph([0, 1], (0, 1, 1))
    renamed = one.permuted([1, 0])
    found = gram(walk_features([one, turned, other, renamed], 2, DeadEnd.zero))
    assert found[0].tolist() == [1, 0, 0, 1]


def test_both_self_kernels_zero_count_zero():
    none = [graph([]), graph([0, 1]), graph([0, 1], (0, 0, 1))]
    assert not gram(walk_features(none, 3, DeadEnd.zero)).any()
    assert not gram(node_features([graph([]), graph([])])).any()
    assert gram(walk_features([], 3)).shape == (0, 0)


@pytest.mark.parametrize("seed", range(3))
def test_match_is_positive_semi_definite_and_half_is_not(seed):
    rng = np.random.default_rng(seed)
    graphs = [random_graph(rng) for _ in range(40)]
    smallest = {
        str(rule): np.linalg.eigvalsh(gram(walk_features(graphs, 3, rule), normalised=False))[0]
        for rule in (DeadEnd.match, DeadEnd.zero, DeadEnd.half)
    }
    assert smallest["match"] > -1e-12
    assert smallest["zero"] > -1e-12
    assert smallest["half"] < -1e-3


def test_large_labels_and_small_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(5)
    graphs = [random_graph(rng, nodes=10) for _ in range(30)]
    far = [
        SceneGraph(g.labels * 10**7 + 3, g.edges, g.predicates * 10**8 + 1) if len(g) else g for g in graphs
    ]
    before = gram(walk_features(graphs, 4, DeadEnd.half))
    np.testing.assert_allclose(gram(walk_features(far, 4, DeadEnd.half)), before, rtol=1e-12)
    np.testing.assert_allclose(gram(node_features(far)), gram(node_features(graphs)), rtol=1e-12)
    monkeypatch.setattr(graph_kernels, "_EXPANDED", 7)
    np.testing.assert_allclose(gram(walk_features(graphs, 4, DeadEnd.half)), before, rtol=1e-12)


def test_a_part_keeps_its_patterns():
    graphs = special()
    features = walk_features(graphs)
    part = features.rows(np.asarray([8, 1]))
    assert isinstance(part, Features)
    np.testing.assert_array_equal(gram(part, features), gram(features)[[8, 1]])


def test_a_walk_has_a_node():
    with pytest.raises(ValueError, match="at least 1 node, got 0"):
        walk_features([], 0)
