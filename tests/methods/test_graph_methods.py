"""The four generators: what each draws, how likely it finds graphs, and that a model nears the truth."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from graph_toys import TINY, context, every_graph, made, random_graphs, scenes

from bench import registry
from bench.errors import UserError
from bench.families.graph_generation import checked, flat
from bench.graphs.draw import Draw
from bench.graphs.scene import SceneGraphs
from bench.nn.graph_method import NodeHistory
from bench.nn.graph_orders import Ordering
from bench.nn.graph_training import EdgeSchedule

NETWORKS = ("scenegraphgen", "graphrnn")
METHODS = (*NETWORKS, "empirical", "shuffle")
SMALL = {"epochs": 2, "batches_per_epoch": 4, "batch_size": 8, "validate_every": 1, "max_nodes": 6}


def make(name, **options):
    target = registry.load("method", name).target
    return target(**(TINY | options if name in NETWORKS else options))


def fitted(name, folder, graphs=None, protocol=SMALL, log=None, **options):
    train = scenes(random_graphs(60) if graphs is None else graphs)
    method = make(name, **options)
    method.fit(train, scenes(random_graphs(20, seed=1)), context(folder, log, **protocol))
    return method


@pytest.mark.parametrize("name", METHODS)
def test_graph_i_is_a_function_of_seed_and_i_and_survives_pickling(name, tmp_path):
    method = fitted(name, tmp_path)
    whole = checked(method.predict(Draw(5, tuple(range(60)))), 60, scenes([]).vocabulary)
    assert np.array_equal(flat(whole), flat([method.predict(Draw(5, (i,)))[0] for i in range(60)]))
    again = pickle.loads(pickle.dumps(method)).predict(Draw(5, tuple(range(60))))
    assert np.array_equal(flat(whole), flat(again))
    assert len({graph.content() for graph in whole}) > 20
    assert not np.array_equal(flat(whole), flat(method.predict(Draw(6, tuple(range(60))))))
    assert all(not graph.name and graph.boxes is None for graph in whole)


@pytest.mark.parametrize("name", METHODS)
def test_two_fits_are_the_same(name, tmp_path):
    one, other = (fitted(name, tmp_path / part).predict(Draw(0, tuple(range(20)))) for part in "ab")
    assert np.array_equal(flat(one), flat(other))


def test_what_each_method_offers(tmp_path):
    for name in METHODS:
        method = make(name)
        assert hasattr(method, "nll") == (name != "empirical")
        assert hasattr(method, "complete") == (name in NETWORKS)
        assert method.parameters_count() is None
    assert fitted("scenegraphgen", tmp_path / "a").parameters_count() > 0


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("ordering", Ordering)
@pytest.mark.parametrize("history", NodeHistory)
def test_every_ordering_and_history_trains_draws_and_measures(name, ordering, history, tmp_path):
    log: list[str] = []
    method = fitted(name, tmp_path, ordering=ordering, node_history=history, log=log)
    graphs = random_graphs(10, seed=2)
    found = method.nll(graphs, 3, 0)
    assert found.shape == (10, 3)
    assert (found > 0).all()
    assert np.isfinite(found).all()
    partial = random_graphs(1, seed=4, sizes=(3, 3))[0]
    for graph in method.complete(partial, Draw(0, (0, 1))):
        assert np.array_equal(flat([graph.permuted(range(3))]), flat([partial]))
    assert any("of those over edges would count" in line for line in log)
    assert any("5 classes are in no list of ranks" in line for line in log) == (ordering == "hierarchical")


@pytest.mark.parametrize("name", NETWORKS)
def test_the_official_switches(name, tmp_path):
    official = registry.load("method", name).target.official
    assert dict(official) == {
        "drop_last": True,
        "edge_schedule": EdgeSchedule.constant,
        "stored_prior": True,
    }
    graphs = [graph for graph in random_graphs(60) if len(graph) > 2]
    method = fitted(name, tmp_path, graphs, **official)
    drawn = method.predict(Draw(0, tuple(range(100))))
    assert {len(graph) for graph in drawn} <= {2, 3, 4}
    stored = fitted(name, tmp_path / "b", graphs, ordering=Ordering.bfs, **official)
    counts = np.bincount([graph.labels[0] for graph in graphs], minlength=5) + 1 / 5
    assert stored.prior == pytest.approx(counts / counts.sum())
    random = fitted(name, tmp_path / "c", graphs, **official)
    assert random.prior != pytest.approx(counts / counts.sum(), abs=1e-6)


def test_graphs_beyond_the_protocol_are_refused(tmp_path):
    large = random_graphs(1, sizes=(7, 7))
    for name in ("scenegraphgen", "shuffle"):
        with pytest.raises(UserError, match="has 7 nodes"):
            fitted(name, tmp_path / name).nll(large, 1, 0)


def test_empirical_draws_training_graphs_evenly(tmp_path):
    graphs = random_graphs(10)
    drawn = fitted("empirical", tmp_path, graphs).predict(Draw(0, tuple(range(5000))))
    place = {graph.content(): i for i, graph in enumerate(graphs)}
    counts = np.bincount([place[graph.content()] for graph in drawn], minlength=10)
    assert counts.sum() == 5000
    assert counts.min() > 400


def test_shuffle_is_a_distribution_and_draws_from_it(tmp_path):
    graphs = random_graphs(40, objects=2, predicates=1, sizes=(1, 3))
    method = make("shuffle")
    method.fit(scenes(graphs, 2, 1), scenes([], 2, 1), context(tmp_path, max_nodes=3))
    everything = every_graph(2, 1, 3)
    p = np.exp(-method.nll(everything, 1, 0)[:, 0])
    assert p.sum() == pytest.approx(1)
    place = {graph.content(): i for i, graph in enumerate(everything)}
    drawn = method.predict(Draw(0, tuple(range(20_000))))
    seen = np.bincount([place[graph.content()] for graph in drawn], minlength=len(p))
    common = p * 20_000 >= 5
    chi2 = ((seen[common] - p[common] * 20_000) ** 2 / (p[common] * 20_000)).sum()
    assert chi2 < common.sum() + 4 * np.sqrt(2 * common.sum())


def test_shuffle_keeps_marginals_and_finds_every_order_alike(tmp_path):
    graphs = random_graphs(200, objects=5, sizes=(3, 6))
    method = fitted("shuffle", tmp_path, graphs)
    drawn = method.predict(Draw(0, tuple(range(4000))))
    for part, classes in (("labels", 5), ("predicates", 3)):
        own, other = (
            np.bincount(np.concatenate([getattr(g, part) for g in some]), minlength=classes)
            for some in (graphs, drawn)
        )
        assert np.abs(own / own.sum() - other / other.sum()).max() < 0.02
    assert np.mean([len(g) for g in drawn]) == pytest.approx(np.mean([len(g) for g in graphs]), abs=0.1)
    pairs = [sum(len(g) * (len(g) - 1) for g in some) for some in (graphs, drawn)]
    edges = [sum(len(g.edges) for g in some) for some in (graphs, drawn)]
    assert edges[0] / pairs[0] == pytest.approx(edges[1] / pairs[1], abs=0.01)
    turned = [graph.permuted(np.arange(len(graph))[::-1]) for graph in graphs]
    assert method.nll(graphs, 2, 0) == pytest.approx(method.nll(turned, 2, 0))
    assert all((graph.edges[:, 0] != graph.edges[:, 1]).all() for graph in drawn)
    loop = made(np.zeros(3), np.array([[0, 0], [0, 1], [0, 1]]), np.array([1, 2, 0]))
    plain = made(np.zeros(3), np.array([[0, 1]]), np.array([2]))
    assert method.nll([loop], 1, 0) == method.nll([plain], 1, 0)


@pytest.mark.slow
def test_the_likelihood_nears_the_truth_of_the_grammar_from_above(tmp_path):
    from bench.phantoms.scenes import Grammar

    grammar = Grammar()
    train = SceneGraphs(grammar.vocabulary, tuple(grammar.sample(4000, 0, filtered=True)))
    test = grammar.sample(500, 1, filtered=True)
    true = -np.array([grammar.log_prob(graph, filtered=True) for graph in test])
    val = SceneGraphs(grammar.vocabulary, tuple(test[:20]))
    given: dict[str, Any] = {
        "epochs": 3,
        "batches_per_epoch": 100,
        "batch_size": 64,
        "lr": 0.005,
        "lr_gamma": 0.8,
        "constant_epochs": 1,
        "lr_step": 20,
        "validate_every": 3,
    }
    found, possible = {}, {}
    for name, options in (("shuffle", {}), ("scenegraphgen", {"hidden": 48, "layers": 1})):
        method = make(name, **options)
        method.fit(train, val, context(tmp_path / name, **given))
        found[name] = method.nll(test, 4, 0).mean(1)
        drawn = method.predict(Draw(0, tuple(range(200))))
        possible[name] = np.mean([np.isfinite(grammar.log_prob(graph)) for graph in drawn])
    gap = found["scenegraphgen"] - true
    noise = gap.std() / np.sqrt(len(test))
    assert true.mean() - 3 * noise < found["scenegraphgen"].mean() < true.mean() + 5
    assert found["shuffle"].mean() > true.mean() + 20
    # Which relations two classes may have is structure: a model learns it, marginals do not hold it.
    assert possible["scenegraphgen"] > 0.1 > 0.01 > possible["shuffle"]


@pytest.mark.parametrize("name", ["empirical", "shuffle"])
def test_runs_with_other_seeds_draw_other_samples(name, tmp_path):
    drawn = []
    for seed in (0, 0, 1):
        method, ctx = make(name), context(tmp_path, **SMALL)  # pyright: ignore[reportArgumentType]
        ctx.seed = seed
        method.fit(scenes(random_graphs(60)), scenes(random_graphs(20, seed=1)), ctx)
        drawn.append(flat(method.predict(Draw(121, tuple(range(20))))).tolist())
    assert drawn[0] == drawn[1] != drawn[2]
