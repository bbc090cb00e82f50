"""Statistics of sets by hand, isomorphism against networkx, nearest graphs against the Gram matrix."""

import itertools
import math

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_graph_kernels import matrix, random_graph, walk_kernel

from bench.graphs.scene import SceneGraph, Vocabulary
from bench.metrics import graph_identity, graph_statistics
from bench.metrics.graph_identity import distinct, novel, refined, same
from bench.metrics.graph_statistics import (
    cooccurrence,
    cooccurrence_divergence,
    count_divergences,
    divergence,
    known_triples,
    nearest,
    object_counts,
    occurrence,
    predicate_counts,
    valid,
)

WORDS = Vocabulary(("tree", "leaf", "dog"), ("has", "on"))


def graph(labels, *triples) -> SceneGraph:
    edges = np.asarray([(s, o) for s, _, o in triples], np.int64)
    return SceneGraph(np.asarray(labels, np.int64), edges, np.asarray([p for _, p, _ in triples], np.int64))


PARK = [graph([0, 1, 1], (0, 0, 1), (0, 0, 2)), graph([0, 2], (1, 1, 0)), graph([2]), graph([])]


def test_occurrence_by_hand():
    assert object_counts(PARK, 3).tolist() == [2, 2, 2]
    assert predicate_counts(PARK, 2).tolist() == [2, 1]
    assert occurrence(predicate_counts(PARK, 2)).tolist() == [2 / 3, 1 / 3]
    assert not occurrence(predicate_counts(PARK[2:], 2)).any()
    assert cooccurrence(PARK, 3).tolist() == [[0, 0.25, 0.25], [0.25, 0, 0], [0.25, 0, 0]]
    assert not cooccurrence([], 3).any()


def test_labels_outside_the_vocabulary_enter_nothing():
    odd = [*PARK, graph([7, -1], (0, 9, 1))]
    assert object_counts(odd, 3).tolist() == [2, 2, 2]
    assert predicate_counts(odd, 2).tolist() == [2, 1]
    assert cooccurrence(odd, 3)[0, 1] == 0.2


def test_divergence_by_hand():
    # Two outcomes, the third in neither set: (3.5, 0.5) / 4 against (1.5, 1.5) / 3.
    found = divergence(np.asarray([3, 0, 0]), np.asarray([1, 1, 0]))
    assert found == pytest.approx(7 / 8 * math.log(7 / 4) + 1 / 8 * math.log(1 / 4))
    assert divergence(np.asarray([0, 0]), np.asarray([1, 1])) is None
    assert divergence(np.asarray([4, 2]), np.asarray([4, 2])) == 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=8))
def test_divergence_is_finite_and_not_negative(pairs):
    generated, reference = np.asarray(pairs, np.int64).T
    found = divergence(generated, reference)
    if generated.any() and reference.any():
        assert found is not None
        assert 0 <= found < math.inf
    else:
        assert found is None


def test_divergence_of_counts_given_that_there_are_any():
    one = [graph([0, 0, 1]), graph([0, 1]), graph([1])]
    other = [graph([0]), graph([0, 0]), graph([2])]
    found = count_divergences(one, other, 3)
    assert found[0] == 0  # once and twice in both sets
    assert found[1:] == [None, None]
    more = count_divergences([graph([0, 0, 0])], [graph([0])], 1)[0]
    assert more == pytest.approx(0.75 * math.log(3) + 0.25 * math.log(1 / 3))  # 1 and 3 instances


def test_divergence_of_pairs():
    assert cooccurrence_divergence(PARK, PARK, 3) == 0
    expected = divergence(np.asarray([1, 1, 0]), np.asarray([0, 1, 0]))
    assert cooccurrence_divergence(PARK, PARK[1:], 3) == expected
    assert cooccurrence_divergence(PARK, PARK[2:], 3) is None


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (PARK[0], True),
        (PARK[2], True),
        (PARK[3], False),
        (graph([0, 1], (0, 0, 0)), False),
        (graph([0, 1], (0, 0, 1), (0, 1, 1)), False),
        (graph([0, 1], (0, 0, 1), (1, 1, 0)), True),
        (graph([3]), False),
        (graph([0, 1], (0, 2, 1)), False),
    ],
)
def test_valid(one, expected):
    assert valid(one, WORDS) is expected


def test_known_triples_counts_edges():
    train = [graph([0, 1], (0, 0, 1))]
    told, edges = known_triples([*PARK, graph([1, 0], (0, 0, 1))], train)
    assert told.tolist() == [2, 0, 0, 0, 0]
    assert edges.tolist() == [2, 1, 0, 0, 1]
    assert known_triples(PARK, [])[0].sum() == 0


@pytest.mark.parametrize("cells", [10, 4_000_000])
def test_nearest_is_the_greatest_kernel(cells, monkeypatch):
    monkeypatch.setattr(graph_statistics, "_CELLS", cells)
    rng = np.random.default_rng(0)
    train, made = [random_graph(rng) for _ in range(30)], [random_graph(rng) for _ in range(9)]
    made.append(train[12].permuted(rng.permutation(len(train[12]))))
    kernels = matrix(walk_kernel, made, train, 3, "match")
    places, similarities = nearest(made, train)
    np.testing.assert_allclose(similarities, kernels.max(1), rtol=1e-9)
    np.testing.assert_allclose(kernels[np.arange(10), places], kernels.max(1), rtol=1e-9)
    assert similarities[-1] == pytest.approx(1)
    with pytest.raises(ValueError, match="no training graph"):
        nearest(made, [])


def by_networkx(a: SceneGraph, b: SceneGraph) -> bool:
    made = []
    for one in (a, b):
        found = nx.DiGraph()
        found.add_nodes_from((i, {"k": label}) for i, label in enumerate(one.labels.tolist()))
        table = one.matrix()
        found.add_edges_from((int(s), int(o), {"k": int(table[s, o])}) for s, o in np.argwhere(table))
        made.append(found)
    alike = lambda x, y: x["k"] == y["k"]  # noqa: E731
    return nx.is_isomorphic(*made, node_match=alike, edge_match=alike)


@pytest.mark.parametrize("seed", range(3))
def test_sameness_is_isomorphism(seed):
    rng = np.random.default_rng(seed)
    graphs = [random_graph(rng, classes=2, predicates=1, nodes=4) for _ in range(60)]
    graphs += [one.permuted(rng.permutation(len(one))) for one in graphs[:20]]
    known = refined(graphs)
    classes = []
    for i, j in itertools.combinations(range(len(graphs)), 2):
        assert same(known, i, known, j) == by_networkx(graphs[i], graphs[j])
    for one in graphs:
        if not any(by_networkx(one, other) for other in classes):
            classes.append(one)
    assert distinct(known) == len(classes)
    fresh = novel(refined(graphs[:30]), refined(graphs[30:60]))
    expected = [not any(by_networkx(one, other) for other in graphs[30:60]) for one in graphs[:30]]
    assert fresh.tolist() == expected


def cycles(*lengths) -> SceneGraph:
    """Directed cycles of one class and one predicate."""
    edges, start = [], 0
    for length in lengths:
        edges += [(start + i, 0, start + (i + 1) % length) for i in range(length)]
        start += length
    return graph([0] * start, *edges)


def test_colours_that_tell_nothing_are_not_trusted():
    """One cycle of six and two of three: every node looks alike, the hashes collide, the graphs differ."""
    known = refined([cycles(6), cycles(3, 3), cycles(6).permuted([3, 0, 5, 1, 4, 2])])
    assert known.hashes[0] == known.hashes[1]
    assert not same(known, 0, known, 1)
    assert same(known, 0, known, 2)
    assert distinct(known) == 2


def test_equal_hashes_alone_prove_nothing(monkeypatch):
    monkeypatch.setattr(graph_identity, "_mixed", lambda values, salt: values * np.uint64(0))
    known = refined([graph([0, 1]), graph([0, 2]), graph([1, 0])])
    assert len(set(known.hashes.tolist())) == 1
    assert distinct(known) == 2


def test_direction_predicate_and_repeated_edges():
    one = graph([0, 1], (0, 0, 1))
    others = [graph([0, 1], (1, 0, 0)), graph([0, 1], (0, 1, 1)), graph([0, 1]), graph([1, 1], (0, 0, 1))]
    assert novel(refined([one]), refined(others)).all()
    doubled = graph([1, 0], (1, 0, 0), (1, 1, 0))
    assert not novel(refined([one]), refined([*others, doubled])).any()
    assert novel(refined([]), refined(others)).tolist() == []
    assert novel(refined(others), refined([])).all()
    assert distinct(refined([])) == 0
