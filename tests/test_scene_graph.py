"""The scene graph: what it refuses, and conversions that come back as they went."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.graphs import scene as scene_graphs
from bench.graphs.scene import SceneGraphs, Vocabulary, joined

# PyG still compiles with torch.jit when it is imported.

SceneGraph: Any = scene_graphs.SceneGraph  # takes arrays of any type, and says no more of its own
WORDS = Vocabulary(("cup", "man", "table"), ("has", "near", "on"), ("blue", "red"))


def scene(name="7", **changes):
    """A man near a table with two cups, one of them related twice."""
    found = SceneGraph(
        labels=np.array([1, 2, 0, 0]),
        edges=np.array([[2, 1], [3, 1], [0, 1], [2, 1]]),
        predicates=np.array([2, 2, 1, 0]),
        name=name,
        boxes=np.array([[0, 0, 40, 90], [30, 50, 90, 90], [40, 40, 50, 50], [60, 40, 70, 50]]),
        attributes=((), (1,), (0, 1), ()),
        size=(100, 90),
    )
    return replace(found, **changes)


def same(a, b):
    return a.content() == b.content()


@st.composite
def scenes(draw, most=6):
    n = draw(st.integers(0, most))
    labels = draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    node = st.integers(0, max(0, n - 1))
    edges = draw(st.lists(st.tuples(node, node, st.integers(0, 2)), max_size=8)) if n else []
    return SceneGraph(
        np.array(labels),
        np.array([e[:2] for e in edges], np.int64),
        np.array([e[2] for e in edges], np.int64),
    )


def test_arrays_are_brought_into_one_form():
    graph = SceneGraph(np.array([1, 2], np.int8), np.zeros((0, 2)), np.zeros(0), boxes=np.ones((2, 4)))
    assert graph.labels.dtype == graph.edges.dtype == graph.predicates.dtype == np.int64
    assert graph.boxes is not None and graph.boxes.dtype == np.float32
    assert len(graph) == 2 and graph.triples() == set() and graph.matrix().tolist() == [[0, 0], [0, 0]]
    assert len(SceneGraph(np.zeros(0), np.zeros(0), np.zeros(0))) == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"edges": np.array([[0, 1]])}, "1 edges but 4 predicates"),
        ({"edges": np.array([[0, 4]] * 4)}, "names node 4 of a graph of 4 nodes"),
        ({"edges": np.array([[0, -1]] * 4)}, "an edge names node"),
        ({"boxes": np.zeros((3, 4))}, "3 boxes for 4 nodes"),
        ({"attributes": ((),)}, "1 attributes for 4 nodes"),
    ],
)
def test_arrays_that_disagree_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        scene(**changes)


def test_a_name_stands_once_in_a_vocabulary():
    with pytest.raises(ValueError, match="`on` stands twice among the predicates"):
        Vocabulary(("a",), ("on", "in", "on"))


def test_the_matrix_has_subjects_in_rows_and_the_first_of_several_edges():
    matrix = scene().matrix()
    assert matrix.tolist() == [[0, 2, 0, 0], [0, 0, 0, 0], [0, 3, 0, 0], [0, 3, 0, 0]]
    again = SceneGraph.from_matrix(scene().labels, matrix, "7")
    assert again.triples() == {(0, 2, 2), (1, 1, 2)} and again.name == "7" and len(again.edges) == 3
    assert scene().triples() == again.triples() | {(0, 0, 2)}


@given(scenes(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_a_permutation_moves_nodes_edges_and_all_that_hangs_on_them(graph, random):
    order = list(range(len(graph)))
    random.shuffle(order)
    moved = graph.permuted(order)
    assert moved.labels.tolist() == [graph.labels[i] for i in order]
    assert np.array_equal(moved.matrix(), graph.matrix()[np.ix_(order, order)])
    assert moved.triples() == graph.triples()
    assert same(moved.permuted(np.argsort(order)), graph)


def test_nodes_left_out_take_their_edges_along():
    found = scene().permuted([3, 1])
    assert found.edges.tolist() == [[0, 1]] and found.attributes == ((), (1,))
    assert found.boxes is not None and found.boxes[0].tolist() == [60, 40, 70, 50]


@given(scenes())
@settings(max_examples=60, deadline=None)
def test_networkx_and_back(graph):
    back = SceneGraph.from_networkx(graph.to_networkx())
    assert np.array_equal(back.labels, graph.labels) and np.array_equal(back.matrix(), graph.matrix())
    rows = [np.column_stack([one.edges, one.predicates]).tolist() for one in (graph, back)]
    assert sorted(rows[0]) == sorted(rows[1])  # networkx groups edges by subject


def test_networkx_has_names_boxes_and_attributes():
    found = scene().to_networkx(WORDS)
    assert found.nodes[0] == {"label": 1, "name": "man", "box": (0, 0, 40, 90), "attributes": ()}
    assert [data["name"] for data in found[2][1].values()] == ["on", "has"]
    back = SceneGraph.from_networkx(found)
    assert back.name == "7" and np.array_equal(back.boxes, scene().boxes)
    assert back.attributes == scene().attributes and np.array_equal(back.matrix(), scene().matrix())


@given(scenes())
@settings(max_examples=40, deadline=None)
def test_pyg_and_back(graph):
    data = graph.to_pyg()
    assert data.num_nodes == len(graph) and data.edge_index is not None
    assert tuple(data.edge_index.shape) == (2, len(graph.edges))
    assert same(SceneGraph.from_pyg(data), graph)


def test_pyg_keeps_name_and_boxes():
    back = SceneGraph.from_pyg(scene().to_pyg())
    assert back.name == "7" and np.array_equal(back.boxes, scene().boxes)


@given(scenes())
@settings(max_examples=40, deadline=None)
def test_hetero_and_back_orders_edges_by_predicate(graph):
    data = graph.to_hetero(WORDS)
    assert data["object"].num_nodes == len(graph)
    back = SceneGraph.from_hetero(data, WORDS)
    rank = np.argsort(graph.predicates, kind="stable")
    assert np.array_equal(back.edges, graph.edges[rank])
    assert np.array_equal(back.predicates, graph.predicates[rank])
    assert np.array_equal(back.labels, graph.labels)


def test_splits_counts_and_leaks():
    graphs = tuple(scene(str(i)) for i in range(4))
    found = SceneGraphs(WORDS, graphs, {"train": ("2", "0"), "test": ("3",)})
    assert [graph.name for graph in found.of("train")] == ["0", "2"] and found.of("val") == ()
    assert found.counts() == {"train": 2, "test": 1} and found.leaks() == 0 and len(found) == 4
    assert replace(found, splits={"train": ("3", "0"), "test": ("3",)}).leaks() == 1


def test_the_fingerprint_sees_everything_but_the_order_of_graphs():
    graphs = (scene("0"), scene("1", predicates=np.array([0, 0, 0, 0])))
    one = SceneGraphs(WORDS, graphs).fingerprint()
    assert SceneGraphs(WORDS, graphs[::-1]).fingerprint() == one
    others = [
        SceneGraphs(WORDS, (scene("0"), scene("1"))),
        SceneGraphs(WORDS, (graphs[0], replace(graphs[1], name="2"))),
        SceneGraphs(replace(WORDS, objects=("cup", "man", "desk")), graphs),
        SceneGraphs(WORDS, (scene("0", size=(90, 90)), graphs[1])),
        SceneGraphs(WORDS, (scene("0", attributes=None), graphs[1])),
        SceneGraphs(WORDS, (scene("0", boxes=None), graphs[1])),
    ]
    assert len({one, *(other.fingerprint() for other in others)}) == 7


def test_two_sets_in_one_vocabulary():
    other = Vocabulary(("table", "dog", "man"), ("on", "chases"), ("red", "old"))
    second = SceneGraph(np.array([1, 0]), np.array([[0, 1]]), np.array([1]), attributes=((1,), (0,)))
    a, b = joined(SceneGraphs(WORDS, (scene(),)), SceneGraphs(other, (second,)))
    assert a.vocabulary == b.vocabulary
    assert a.vocabulary.objects == ("cup", "man", "table", "dog")
    assert a.vocabulary.predicates == ("has", "near", "on", "chases")
    assert same(a.graphs[0], scene())
    assert b.graphs[0].labels.tolist() == [3, 2] and b.graphs[0].predicates.tolist() == [3]
    assert b.graphs[0].attributes == ((2,), (1,))
