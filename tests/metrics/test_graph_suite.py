"""The suite of scene-graph generation, and the sanity table of the thesis (10.2) on three kinds of graphs."""

from functools import partial

import numpy as np
import pytest
from naive_graph_kernels import matrix, mmd, node_kernel, random_graph, walk_kernel

from bench.core import Scored
from bench.graphs.scene import SceneGraph, Vocabulary
from bench.metrics import graph_statistics as statistics
from bench.metrics.anomaly import corrupted
from bench.metrics.graph_kernels import DeadEnd, node_features, walk_features
from bench.metrics.graphs import SET_METRICS, against, suite
from bench.metrics.mmd import compare
from bench.record import metric_parts

WORDS = Vocabulary(("a", "b", "c", "d"), ("p", "q", "r"))
SHARES = (0, 20, 50, 100)


def graphs(seed, count, **options):
    rng = np.random.default_rng(seed)
    made = [random_graph(rng, **options) for _ in range(count)]
    return [SceneGraph.from_matrix(one.labels, one.matrix(), f"g{i}") for i, one in enumerate(made)]


def world(**changes):
    rng = np.random.default_rng(5)
    test = graphs(2, 30)
    nats = {share: rng.normal(20 + share / 10, 5, (30, 4)) for share in SHARES}
    return {
        "generated": graphs(1, 24, density=0.3),
        "filtered": test,
        "unfiltered": [*test, *graphs(3, 10, nodes=12)],
        "train": graphs(4, 40),
        "vocabulary": WORDS,
        "likelihoods": nats,
        "tokens": np.asarray([len(one) + 1 for one in test]),
        "permutations": 49,
        "seed": 7,
        **changes,
    }


def naive_mmd(kernel, xs, ys, *rest):
    return 1000 * mmd(*(matrix(kernel, a, b, *rest) for a, b in ((xs, xs), (ys, ys), (xs, ys))))


def test_every_metric_by_its_definition():
    given = world()
    scored = suite(**given)
    value = {name: metric.value for name, metric in scored.metrics.items()}
    made, test, train = given["generated"], given["filtered"], given["train"]
    for name, against_ in (("", test), ("_unfiltered", given["unfiltered"])):
        node = naive_mmd(node_kernel, made, against_)
        expected = {
            f"mmd_node_x1e3{name}": node,
            f"mmd_node_x1e3{name}@official": node,
            f"mmd_graph_x1e3{name}": naive_mmd(walk_kernel, made, against_, 3, "match"),
            f"mmd_graph_x1e3{name}@official": naive_mmd(walk_kernel, made, against_, 3, "half"),
        }
        for key, number in expected.items():
            assert value[key] == pytest.approx(number, rel=1e-9, abs=1e-9)
            assert scored.metrics[key].variant == ("official" if "@" in key else "clean")
            assert scored.metrics[key].direction == "lower"
    tested = compare(made, test, partial(walk_features, dead_end=DeadEnd.match), permutations=49, seed=7)
    assert value["mmd_graph_p"] == tested.p
    assert value["mmd_node_p"] == compare(made, test, node_features, permutations=49, seed=7).p
    assert scored.metrics["mmd_graph_p"].direction == "none"
    assert tested.value is not None
    assert tested.se is not None
    assert scored.metrics["mmd_graph_x1e3"].ci_high == pytest.approx(1000 * (tested.value + 1.96 * tested.se))
    counts = [statistics.object_counts(one, 4) for one in (made, test)]
    assert value["kl_objects"] == statistics.divergence(*counts)
    each = statistics.count_divergences(made, test, 4)
    assert {k: v.value for k, v in scored.metrics["kl_counts"].per_class.items()} == dict(
        zip(WORDS.objects, each, strict=True)
    )
    assert value["kl_counts"] == pytest.approx(np.mean([one for one in each if one is not None]))
    assert value["valid"] == np.mean([statistics.valid(one, WORDS) for one in made])
    hits, edges = statistics.known_triples(made, train)
    assert value["known_triples"] == pytest.approx(hits.sum() / edges.sum())
    places, similarities = statistics.nearest(made, train)
    assert value["nearest_train"] == pytest.approx(similarities.mean())
    nats = given["likelihoods"]
    assert value["nll"] == pytest.approx(nats[0].mean())
    assert value["nll_token"] == pytest.approx(nats[0].mean(1).sum() / given["tokens"].sum())
    above = nats[100].mean(1)[:, None] > nats[0].mean(1)[None, :]
    assert value["auroc_100"] == pytest.approx(above.mean())
    areas = [value[f"auroc_{share}"] or 0 for share in SHARES[1:]]
    assert areas == sorted(areas)
    for i, row in enumerate(scored.units):
        assert (row["name"], row["nodes"], row["edges"]) == (f"g{i}", len(made[i]), len(made[i].edges))
        assert row["nearest"] == train[places[i]].name
        assert row["nearest_similarity"] == similarities[i]
    assert value["novel"] == np.mean([row["novel"] for row in scored.units])


def test_a_record_takes_the_suite_and_intervals_hold_their_values():
    scored = suite(**world())
    assert len(scored.metrics) == len(SET_METRICS) + 4 + 3 + 5
    for name, part in metric_parts(scored).items():
        assert part.value is not None
        assert part.n == (30 if name.startswith(("nll", "auroc")) else 24)
        if part.ci_low is not None:
            assert part.ci_high is not None
            assert part.ci_low <= part.value <= part.ci_high
            assert part.ci_low < part.ci_high


def test_where_nothing_varies_there_is_no_interval():
    """All corrupted graphs above all clean ones: a width of zero would be a claim."""
    nats = world()["likelihoods"]
    told = suite(**world(likelihoods={0: nats[0] * 0 + 1, 100: nats[0] * 0 + 2})).metrics
    assert (told["auroc_100"].value, told["auroc_100"].ci_low, told["nll"].ci_low) == (1, None, None)


def test_without_likelihoods_their_metrics_are_left_out():
    told = suite(**world(likelihoods=None, tokens=None)).metrics
    assert not [name for name in told if name.startswith(("nll", "auroc"))]
    assert "nll" in suite(**world(tokens=None)).metrics
    assert "nll_token" not in suite(**world(tokens=None)).metrics


def test_likelihoods_that_do_not_match_are_refused():
    nats = world()["likelihoods"]
    for odd in ({20: nats[20]}, {**nats, 20: nats[20][:-1]}, {0: nats[0][:, 0]}):
        with pytest.raises(ValueError, match="clean ones under 0, are wanted, got"):
            suite(**world(likelihoods=odd))
    with pytest.raises(ValueError, match="29 numbers of tokens for 30 graphs"):
        suite(**world(tokens=np.ones(29)))


def test_training_graphs_drawn_again_are_told():
    train = graphs(4, 40)
    rng = np.random.default_rng(0)
    same = [one.permuted(rng.permutation(len(one))) for one in train if len(one)]
    scored = suite(**world(generated=same))
    told = scored.metrics
    assert told["novel"].value == 0
    assert told["novel"].ci_high is not None
    assert told["novel"].ci_high > 0.01
    assert told["known_triples"].value == 1
    assert told["nearest_train"].value == pytest.approx(1)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_drawn_graphs_leave_metrics_undefined(count):
    told = suite(**world(generated=graphs(1, 24)[3 : 3 + count])).metrics
    for name in ("mmd_node_x1e3", "mmd_graph_x1e3_unfiltered@official", "mmd_graph_p"):
        assert (told[name].value, told[name].n) == (None, 0)
    assert (told["valid"].value is None) == (count == 0)
    metric_parts(Scored(told, []))


def test_graphs_without_nodes_or_edges_alone():
    bare = [
        SceneGraph(np.zeros(i % 2, np.int64), np.zeros((0, 2), np.int64), np.zeros(0, np.int64))
        for i in range(6)
    ]
    told = suite(
        **world(generated=bare, filtered=bare, unfiltered=bare, likelihoods=None, train=bare)
    ).metrics
    assert told["known_triples"].value is None
    assert told["kl_predicates"].value is None
    assert told["unique"].value == pytest.approx(2 / 6)
    assert told["valid"].value == 0.5


def test_only_what_is_wanted_is_made():
    made, test = graphs(1, 20), graphs(2, 20)
    call = partial(against, made, test, WORDS, seed=0)
    every = call(permutations=19)
    assert tuple(every) == SET_METRICS
    assert tuple(call(permutations=0)) == tuple(name for name in SET_METRICS if not name.endswith("_p"))
    for name in SET_METRICS:
        assert call(permutations=19, wanted=(name,)) == {name: every[name]}


def test_progress_sees_the_parts():
    seen = []

    def watch(parts, what):
        for part in parts:
            seen.append(what)
            yield part

    suite(**world(), progress=watch)
    assert seen == ["score graphs"] * 4


# ---- thesis Table 10.2


def sanity(test: list[SceneGraph], vocabulary: Vocabulary) -> None:
    """Two halves alike; further apart with every corruption; two corrupted halves alike."""
    order = np.random.default_rng(0).permutation(len(test))
    first, second = ([test[i] for i in order[k::2]] for k in (0, 1))
    kernels = (
        node_features,
        *(partial(walk_features, dead_end=rule) for rule in (DeadEnd.half, DeadEnd.match)),
    )

    def spoiled(graphs, share, seed):
        return [corrupted(graph, share / 100, seed + i, vocabulary) for i, graph in enumerate(graphs)]

    for kernel in kernels:
        found = [compare(first, spoiled(second, x, 1), kernel, permutations=99) for x in SHARES]
        values = [one.value for one in found if one.value is not None]
        assert len(values) == len(SHARES)
        assert values == sorted(values)
        assert [one.p for one in found[2:]] == [0.01] * 2
        assert found[1].p is not None
        assert found[1].p <= 0.05
        both = compare(spoiled(first, 100, 10**6), spoiled(second, 100, 1), kernel, permutations=99)
        for alike in (found[0], both):
            assert alike.value is not None
            assert alike.se is not None
            assert abs(alike.value) < max(3 * alike.se, 0.001)
            assert alike.value < values[1] / 2
            assert alike.p is not None
            assert alike.p > 0.01


def test_the_sanity_table_on_the_phantom():
    from bench.phantoms.scenes import Grammar

    grammar = Grammar()
    sanity(grammar.sample(800, 3, filtered=True), grammar.vocabulary)


def test_the_sanity_table_on_real_graphs(shared_data):
    from bench.graphs.read import read_graphs

    scenes = read_graphs(shared_data / "vrd")
    sanity([graph for graph in scenes.of("test") if 3 <= len(graph) <= 25], scenes.vocabulary)


def test_the_sanity_table_on_random_graphs():
    """Each class leads to the next, so corruption has something to destroy."""
    rng = np.random.default_rng(1)
    made = []
    for _ in range(600):
        first, n = int(rng.choice(10, p=[0.3, 0.2, 0.2, *[0.3 / 7] * 7])), int(rng.integers(3, 8))
        labels = (first + np.arange(n)) % 10
        edges = np.column_stack([np.arange(n - 1), np.arange(1, n)])
        made.append(SceneGraph(labels, edges, labels[:-1] % 4))
    sanity(made, Vocabulary(tuple("abcdefghij"), tuple("pqrs")))
