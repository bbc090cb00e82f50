"""The family *graph generation*: filters, splits, what a method may answer, plain classes."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import networkx as nx
import numpy as np
import pytest

from bench.errors import RunFailed, UserError
from bench.families import graph_generation_data
from bench.families.graph_generation import SHARES, Generated, checked, flat, measured
from bench.families.graph_generation_plain import adapted, scene
from bench.families.graph_generation_protocol import GraphProtocol
from bench.graphs.draw import Draw
from bench.graphs.scene import SceneGraph, SceneGraphs, Vocabulary
from bench.tasks.scene_graph_generation import SceneGraphGeneration

VOCABULARY = Vocabulary(tuple("abcde"), ("on", "near"))


def line(n: int, name: str = "", label: int = 0) -> SceneGraph:
    """A chain of n nodes."""
    edges = np.array([[i, i + 1] for i in range(n - 1)], np.int64).reshape(-1, 2)
    return SceneGraph(np.full(n, label), edges, np.zeros(len(edges), np.int64), name)


def scenes(sizes=(1, 2, 3, 4, 25, 26), each=2) -> SceneGraphs:
    graphs, splits = [], {}
    for split in ("train", "val", "test"):
        own = [line(n, f"{split}-{n}-{i}") for n in sizes for i in range(each)]
        graphs += own
        splits[split] = tuple(graph.name for graph in own)
    return SceneGraphs(VOCABULARY, tuple(graphs), splits, caveats=("edges: as annotated",))


def test_methods_and_the_filtered_test_set_get_graphs_of_the_size_asked_for():
    data = graph_generation_data.load(scenes(), GraphProtocol())
    for part in (data.train.graphs, data.val.graphs, data.test.filtered):
        assert sorted({len(graph) for graph in part}) == [3, 4, 25]
    assert sorted({len(graph) for graph in data.test.unfiltered}) == [1, 2, 3, 4, 25, 26]
    assert data.info.counts == {"train": 6, "val": 6, "test": 6}
    assert data.info.leaks == 0
    assert data.departures == ("edges: as annotated",)
    assert not data.train.splits  # a method learns no name of a test graph


def test_limits_spread_over_the_test_set():
    data = graph_generation_data.load(scenes(each=4), GraphProtocol(max_test=3, max_val=2))
    assert [graph.name for graph in data.test.filtered] == ["test-3-0", "test-4-2", "test-25-3"]
    assert (len(data.test.unfiltered), len(data.val.graphs)) == (3, 2)
    assert len(measured(data, GraphProtocol(max_likelihoods=2))) == 2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: dataclasses.replace(s, splits={**s.splits, "val": ()}), "into the val split"),
        (
            lambda s: dataclasses.replace(s, splits={**s.splits, "train": ("train-26-0",)}),
            "train split has 0",
        ),
    ],
)
def test_a_split_without_graphs_is_refused(change, sentence):
    with pytest.raises(UserError, match=sentence):
        graph_generation_data.load(change(scenes()), GraphProtocol())


def test_another_assignment_is_another_split_and_other_graphs_another_fingerprint():
    first = graph_generation_data.load(scenes(), GraphProtocol()).info
    own = scenes()
    moved = {
        **own.splits,
        "test": own.splits["test"][:-1],
        "val": (*own.splits["val"], own.splits["test"][-1]),
    }
    second = graph_generation_data.load(dataclasses.replace(own, splits=moved), GraphProtocol()).info
    third = graph_generation_data.load(scenes(sizes=(3, 4, 5)), GraphProtocol()).info
    assert first.fingerprint == second.fingerprint != third.fingerprint
    assert first.split_sha256 != second.split_sha256


@pytest.mark.parametrize(
    ("field", "value"), [("samples", 1), ("orderings", 0), ("lr", 0.0), ("lr_gamma", 1.5), ("min_nodes", 30)]
)
def test_a_protocol_out_of_range_is_one_sentence(field, value):
    with pytest.raises(UserError, match=field) as error:
        GraphProtocol(**{field: value})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ([line(3)], "list of 2 graphs, got 1"),
        (None, "got NoneType"),
        ([line(3), {"labels": [1]}], "of type SceneGraph, got dict"),
        ([line(3), line(3, label=5)], "label 5 among the objects, of which there are 5"),
        (
            [line(3), SceneGraph(np.zeros(2, np.int64), np.array([[0, 1]]), np.array([2]))],
            "among the predicates",
        ),
    ],
)
def test_what_is_no_set_of_graphs_is_refused(answer, sentence):
    with pytest.raises(RunFailed, match=sentence):
        checked(answer, 2, VOCABULARY)


def test_flat_tells_graphs_apart():
    one, other = flat([line(3), line(2)]), flat([line(3), line(2, label=1)])
    assert one.shape == (2, 13)
    assert (one != other).any()
    assert np.array_equal(one[0], other[0])


class Chains:
    """Draws chains; likelier the shorter."""

    def __init__(self, label: int = 1):
        self.label = label

    def fit(self, train, ctx):
        self.seen = len(train.graphs)

    def sample(self, count, seed):
        return [line(3 + seed % 2, label=self.label) for _ in range(count)]

    def nll(self, graphs):
        return [float(len(graph)) for graph in graphs]


def test_a_plain_class_becomes_a_method():
    node = adapted(Chains, "Chains")
    method = node(label=2)  # pyright: ignore[reportCallIssue]
    method.fit(scenes(), None, SimpleNamespace(seed=0))  # pyright: ignore[reportArgumentType]
    drawn = method.predict(Draw(0, (0, 1, 2)))
    assert len(drawn) == 3
    assert drawn[0].labels[0] == 2
    assert method.nll(drawn, 5, 0).shape == (3, 1)  # pyright: ignore[reportAttributeAccessIssue]
    assert not hasattr(method, "complete")
    assert SceneGraphGeneration().answer_singly(method, SimpleNamespace()) is None  # pyright: ignore[reportArgumentType]


def test_a_class_without_sample_says_what_to_write():
    with pytest.raises(UserError, match=r"lacks `sample`; write `fit\(train, ctx\)`"):
        adapted(type("Half", (), {"fit": lambda self, train, ctx: None}), "Half")


def test_graphs_of_other_libraries_are_taken():
    graph = nx.DiGraph()
    graph.add_node("x", label=1)
    graph.add_node("y", label=2)
    graph.add_edge("x", "y", predicate=1)
    for given in (graph, scene(graph).to_pyg()):
        found = scene(given)
        assert found.triples() == {(1, 1, 2)}
    graph.add_node("z")
    with pytest.raises(RunFailed, match=r"cannot be read \(KeyError"):
        scene(graph)
    with pytest.raises(RunFailed, match="got str"):
        scene("graph")


def test_content_tells_sets_of_graphs_apart():
    assert Generated((line(3),)).content() != Generated((line(4),)).content()
    assert SHARES[0] == 0
