"""`bench metrics graphs`: any two sets, exactly as given, and nothing but JSON on standard output."""

import json
from dataclasses import replace

import numpy as np
import pytest
from naive_graph_kernels import matrix, mmd, node_kernel, random_graph, walk_kernel

from bench.graphs.own import write_own
from bench.graphs.read import read_graphs
from bench.graphs.scene import SceneGraph, SceneGraphs, Vocabulary
from bench.graphs.vg_json import write_json
from bench.metrics.graphs import OFFICIAL, SET_METRICS

WORDS = Vocabulary(("cup", "dog", "leg", "tree"), ("has", "in", "on"))
TURNED = Vocabulary(WORDS.objects[::-1], WORDS.predicates[::-1])


def scenes(seed, count, vocabulary=WORDS, **options) -> SceneGraphs:
    rng = np.random.default_rng(seed)
    drawn = [random_graph(rng, **options) for _ in range(count)]
    whole = [SceneGraph.from_matrix(one.labels, one.matrix()) for one in drawn if len(one)]
    named = [
        SceneGraph(g.labels, g.edges[keep], g.predicates[keep], name=str(i + 1))
        for i, g in enumerate(whole)
        for keep in [g.edges[:, 0] != g.edges[:, 1]]
    ]
    return SceneGraphs(vocabulary, tuple(named))


@pytest.fixture
def two(tmp_path):
    first, second = scenes(1, 40), scenes(2, 30, TURNED, density=0.4)
    write_own(tmp_path / "a", first)
    write_own(tmp_path / "b", second)
    return tmp_path / "a", tmp_path / "b", first, second


def words(a, b, *more):
    return ("metrics", "graphs", "--generated", a, "--reference", b, *more)


def test_the_official_numbers_are_the_formula(bench, two):
    a, b, first, second = two
    answer = bench(*words(a, b, "--json", "--permutations", 19))
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)["metrics"]
    assert set(found) == set(SET_METRICS)
    turned = np.arange(4)[::-1], np.arange(3)[::-1]
    xs, ys = first.graphs, [graph.relabelled(*turned) for graph in second.graphs]
    for name, kernel, rest in (
        ("mmd_node_x1e3@official", node_kernel, ()),
        ("mmd_graph_x1e3@official", walk_kernel, (3, "half")),
        ("mmd_graph_x1e3", walk_kernel, (3, "match")),
    ):
        expected = mmd(*(matrix(kernel, p, q, *rest) for p, q in ((xs, xs), (ys, ys), (xs, ys))))
        assert found[name]["value"] == pytest.approx(1000 * expected, rel=1e-9, abs=1e-9)
        assert found[name]["ci_low"] < found[name]["value"] < found[name]["ci_high"]
    keys = {"value", "ci_low", "ci_high", "n", "unit", "direction", "variant", "per_class"}
    assert all(set(part) == keys for part in found.values())
    assert found["kl_counts"]["per_class"].keys() == set(WORDS.objects)
    assert found["mmd_node_x1e3@official"]["n"] == len(xs)
    assert answer.err == "Put in order on reading: generated: nothing; reference: nothing.\n" or (
        "graphs without edges" in answer.err and answer.err.count("\n") == 1
    )


def test_every_layout_and_what_was_cleaned(bench, tmp_path, two):
    a, b, first, _ = two
    dirty = [
        SceneGraph(
            graph.labels,
            np.concatenate([graph.edges, graph.edges[:1], [[0, 0]]]),
            np.concatenate([graph.predicates, graph.predicates[:1], [0]]),
            graph.name,
            np.tile(np.asarray([[0, 0, 9, 9]], np.float32), (len(graph), 1)),
            size=(20, 20),
        )
        for graph in first.graphs
    ]
    write_json(tmp_path / "json", SceneGraphs(WORDS, tuple(dirty)))
    cleaned = read_graphs(tmp_path / "json").cleaned
    assert cleaned["self relations"] == len(dirty)
    plain, other = (bench(*words(one, b, "--json", "--permutations", 9)) for one in (a, tmp_path / "json"))
    assert other.code == 0, other.err
    assert f"generated: {len(dirty)} self relations" in other.err
    assert other.err.count("\n") == 1
    values = [json.loads(one.out)["metrics"] for one in (plain, other)]
    for name in SET_METRICS:
        assert values[0][name]["value"] == pytest.approx(values[1][name]["value"], rel=1e-9), name


def test_no_graph_is_filtered(bench, tmp_path):
    """Single nodes and graphs of sixty nodes enter like others."""
    rng = np.random.default_rng(3)
    odd = [
        SceneGraph(rng.integers(0, 4, n), np.zeros((0, 2), np.int64), np.zeros(0, np.int64), name=str(i))
        for i, n in enumerate([1, 60, 1, 2, 60])
    ]
    write_own(tmp_path / "a", SceneGraphs(WORDS, tuple(odd)))
    answer = bench(*words(tmp_path / "a", tmp_path / "a", "--json", "--metrics", "valid"))
    found = json.loads(answer.out)["metrics"]
    assert set(found) == {*OFFICIAL, "valid"}
    kernels = matrix(walk_kernel, odd, odd, 3, "half")
    assert found["mmd_graph_x1e3@official"]["value"] == pytest.approx(1000 * mmd(kernels, kernels, kernels))
    assert found["valid"]["n"] == 5


def test_a_table_for_people(bench, two):
    a, b, first, second = two
    answer = bench(*words(a, b, "--permutations", 0))
    assert answer.code == 0
    assert f"{len(first)} generated, {len(second)} reference graphs" in answer.out
    for name in SET_METRICS:
        assert (name in answer.out) is not name.endswith("_p")


def test_seeded(bench, two):
    a, b, *_ = two
    told = [bench(*words(a, b, "--json", "--permutations", 19, "--seed", seed)).out for seed in (1, 1)]
    assert told[0] == told[1]


@pytest.mark.parametrize("count", [0, 1])
def test_a_set_without_pairs_has_no_mmd(bench, tmp_path, two, count):
    a, _, first, _ = two
    write_own(tmp_path / "few", SceneGraphs(WORDS, first.graphs[:count]))
    answer = bench(*words(a, tmp_path / "few", "--json"))
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)["metrics"]["mmd_graph_x1e3@official"]
    assert (found["value"], found["n"]) == (None, 0)
    assert "MMD is undefined: reference" in answer.err
    assert ("holds 1 graph, so" if count else "holds no graph, so") in answer.err
    assert bench(*words(a, tmp_path / "few")).code == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("metrics", "pictures"), "compares graphs or images, got `pictures`"),
        (("--metrics", "mmd_graph"), "no metric `mmd_graph` of two sets of graphs. Did you mean `mmd_graph_"),
        (("--permutations", "-1"), "`--permutations` takes a whole number from 0, got -1"),
        (("--seed", "-1"), "`--seed` takes a whole number from 0, got -1"),
        (("--permutations", "0", "--metrics", "mmd_node_p"), "`mmd_node_p` is a permutation test"),
        (("--reference", "nowhere"), "There is no `nowhere`"),
    ],
)
def test_mistakes_are_one_sentence(bench, two, change, said):
    a, b, *_ = two
    given = list(words(a, b, "--json"))
    if change[0] == "metrics":
        given[:2] = change
    else:
        given += change
    answer = bench(*given)
    assert answer.code == 2
    assert answer.out == ""
    assert said in answer.err
    assert answer.err.strip().count("\n") == 0


def test_real_graphs_against_themselves(bench, shared_data):
    root = shared_data / "vrd"
    answer = bench(*words(root, root, "--json", "--metrics", "kl_objects"))
    assert "139 self relations, 3,606 repeated pairs" in answer.err
    found = json.loads(answer.out)["metrics"]
    assert found["kl_objects"]["value"] == 0
    assert -1 < found["mmd_node_x1e3@official"]["value"] < 0
    assert found["mmd_node_x1e3@official"]["n"] == 4735


def boxed(shift=0.0, order=None):
    """Two scenes of one name each: a cup left of a dog, a leg inside a tree; all boxes moved by `shift`."""
    words = Vocabulary(("cup", "dog", "leg", "tree"), ("left of", "inside", "has"))
    boxes = np.asarray([[[0, 0, 10, 10], [20, 0, 30, 10]], [[5, 5, 8, 8], [0, 0, 20, 20]]], np.float32)
    boxes[:, 0] += np.asarray([shift, 0, shift, 0], np.float32)
    graphs = [
        SceneGraph(np.array([0, 1]), np.array([[0, 1], [1, 0]]), np.array([0, 2]), "1", boxes[0]),
        SceneGraph(np.array([2, 3]), np.array([[0, 1]]), np.array([1]), "2", boxes[1]),
    ]
    return SceneGraphs(words, tuple(graphs[i] for i in order or (0, 1)))


def test_boxes_and_relations_of_graphs_of_one_name(bench, tmp_path):
    write_own(tmp_path / "real", boxed())
    write_own(tmp_path / "same", boxed(order=(1, 0)))
    write_own(tmp_path / "moved", boxed(shift=25))
    asked = ("--metrics", "box_iou,relation_accuracy", "--json")
    answer = bench(*words(tmp_path / "same", tmp_path / "real", *asked))
    assert answer.code == 0, answer.err
    assert "1 relations are not decided by boxes and left out: `has`." in answer.err
    found = json.loads(answer.out)["metrics"]
    assert {name: part["value"] for name, part in found.items()} == dict.fromkeys(found, 1.0)
    assert found["box_iou"]["n"] == 4
    assert found["relation_accuracy"]["n"] == found["relation_accuracy_real"]["n"] == 2
    answer = bench(*words(tmp_path / "moved", tmp_path / "real", *asked))
    found = json.loads(answer.out)["metrics"]
    # The first box of each scene left its place; the cup is now right of the dog, the leg outside the tree.
    assert found["box_iou"]["value"] == found["box_recall_0.5"]["value"] == 0.5
    assert found["relation_accuracy"]["value"] == 0
    assert found["relation_accuracy_real"]["value"] == 1
    only = bench(*words(tmp_path / "moved", tmp_path / "real", "--metrics", "box_iou", "--json"))
    assert set(json.loads(only.out)["metrics"]) == {"box_iou", "box_recall_0.3", "box_recall_0.5"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda g: replace(g, name="9"), "need the same graphs on both sides, by name: `1`, `9`"),
        (lambda g: replace(g, boxes=None), "The graph `1` has no boxes on one side"),
        (lambda g: replace(g, labels=g.labels[::-1]), "The graph `1` holds other objects on the two sides"),
    ],
)
def test_layouts_that_do_not_match(bench, tmp_path, change, told):
    real = boxed()
    write_own(tmp_path / "real", real)
    write_own(tmp_path / "theirs", replace(real, graphs=(change(real.graphs[0]), real.graphs[1])))
    answer = bench(*words(tmp_path / "theirs", tmp_path / "real", "--metrics", "box_iou"))
    assert answer.code == 2
    assert told in answer.err
