"""Sampling: batched as one at a time, with the model's own probabilities, completed, the official slip."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from graph_toys import encoded, every_graph, in_order, made, network, random_graphs

from bench.errors import RunFailed, UserError
from bench.families.graph_generation import flat
from bench.graphs.draw import Draw, stream, uniforms
from bench.nn.graph_orders import Ordering
from bench.nn.graph_sampling import Sampler, generate
from bench.nn.graph_sequences import batch
from bench.nn.graph_training import batch_nll
from bench.nn.graph_verdict import stand

PRIOR = np.array([0.1, 0.2, 0.3, 0.25, 0.15])
OPTIONS = [{}, {"node_aware": False}, {"node_sees_edges": True}]


def same(one, other):
    return np.array_equal(flat(one), flat(other))


@pytest.mark.parametrize("options", OPTIONS)
def test_one_at_a_time_and_side_by_side_give_the_same_graphs(options):
    sampler = Sampler(network(sharp=2, **options), PRIOR)
    whole = sampler.draw(Draw(7, tuple(range(300))))
    assert same(whole, [sampler.draw(Draw(7, (i,)))[0] for i in range(300)])
    assert same(whole[100:50:-1], sampler.draw(Draw(7, tuple(range(100, 50, -1)))))
    assert not same(whole, sampler.draw(Draw(8, tuple(range(300)))))
    assert len({len(graph) for graph in whole}) > 3


def test_graphs_are_those_of_double_precision():
    net = network(sharp=2)
    drawn = Sampler(net, PRIOR).draw(Draw(0, tuple(range(2000))))
    numbers = uniforms(Draw(0, tuple(range(2000))), 36).reshape(-1, 6, 6)
    exact = generate(network(sharp=2).double(), PRIOR, numbers)
    assert same(drawn, [exact.graph(i, int(exact.sizes[i])) for i in range(2000)])


def test_numbers_close_to_a_boundary_are_found_and_drawn_in_double_precision(monkeypatch):
    import bench.nn.graph_sampling as module

    net, draw = network(), Draw(0, tuple(range(50)))
    numbers = uniforms(draw, 36).reshape(-1, 6, 6)
    assert not generate(net, PRIOR, numbers, None, 0.0).close.any()
    wide = generate(net, PRIOR, numbers, None, 0.01).close
    assert wide.any()
    monkeypatch.setattr(module, "MARGIN", 1.0)  # everything is close
    sampler = Sampler(net, PRIOR)
    with torch.no_grad():
        sampler.draw(draw)
    assert sampler._exact is not None
    assert sampler._exact.head_node[0].weight.dtype == torch.float64
    assert pickle.loads(pickle.dumps(sampler))._exact is None


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("nodes", [0, 3])
def test_a_graph_stands_if_every_answer_is_the_one_its_number_asks_for(options, nodes):
    net = network(sharp=2, **options).double()
    numbers = uniforms(Draw(4, tuple(range(200))), 36).reshape(-1, 6, 6)
    given = random_graphs(1, seed=2, sizes=(nodes, nodes))[0] if nodes else None
    drawn = generate(net, PRIOR, numbers, given)
    parts = drawn.sizes, drawn.labels, drawn.matrix
    assert stand(net, *parts, numbers, nodes).all()
    for i, size in enumerate(drawn.sizes):
        if size > max(nodes, 1):  # an edge that arrives at, or one that leaves, the last node
            place = (i, 0, size - 1) if i % 2 else (i, size - 1, 0)
            drawn.matrix[place] = (drawn.matrix[place] + 1) % (net.predicates + 1)
    changed = drawn.sizes > max(nodes, 1)
    assert changed.sum() > 100
    found = stand(net, *parts, numbers, nodes)
    assert not found[changed].any()
    assert found[~changed].all()


def test_a_graph_that_goes_on_or_has_another_class_than_its_number_asks_for_does_not_stand():
    net = network(sharp=2).double()
    numbers = uniforms(Draw(4, tuple(range(200))), 36).reshape(-1, 6, 6)
    drawn = generate(net, PRIOR, numbers)
    cut = np.maximum(drawn.sizes - 1, 1)
    shorter = np.arange(6) < cut[:, None]
    labels, matrix = drawn.labels * shorter, drawn.matrix * shorter[:, :, None] * shorter[:, None]
    assert np.array_equal(stand(net, cut, labels, matrix, numbers), cut == drawn.sizes)
    other = drawn.labels.copy()
    last = np.arange(200), drawn.sizes - 1
    other[last] = (other[last] + 1) % 5
    assert not stand(net, drawn.sizes, other, drawn.matrix, numbers)[drawn.sizes > 1].any()
    single = np.flatnonzero(drawn.sizes == 1)  # no edge among them all
    assert len(single) > 5
    alone = drawn.sizes[single], drawn.labels[single], drawn.matrix[single], numbers[single]
    assert stand(net, *alone).all()


def test_the_numbers_of_a_graph_are_its_own():
    rows = uniforms(Draw(3, (0, 5, 2)), 4)
    assert np.array_equal(rows[1], stream(3, 5).random(4))
    assert len(np.unique(rows)) == 12
    assert not np.array_equal(stream(3, 5, 1).random(4), rows[1])
    assert not np.array_equal(stream(5, 3).random(4), rows[1])
    with pytest.raises(ValueError, match="count from 0"):
        Draw(0, (1, -1))


def nll_as_stored(net, prior, graphs, objects, predicates, most):
    data = encoded(graphs, objects, predicates, most)
    b = batch(data, np.arange(len(graphs)), in_order(len(graphs), most), Ordering.random)
    with torch.inference_mode():
        return batch_nll(net, prior, b, len(graphs))


@pytest.mark.parametrize("options", OPTIONS)
def test_frequencies_of_a_tiny_model_are_its_exact_probabilities_which_sum_to_one(options):
    net = network(1, sharp=2, objects=2, predicates=1, max_nodes=3, **options)
    prior, everything = np.array([0.3, 0.7]), every_graph(2, 1, 3)
    p = np.exp(-nll_as_stored(net, prior, everything, 2, 1, 3))
    assert p.sum() == pytest.approx(1, abs=1e-6)
    place = {graph.content(): i for i, graph in enumerate(everything)}
    assert len(place) == len(everything) == 2 + 16 + 512
    drawn = Sampler(net, prior).draw(Draw(0, tuple(range(20_000))))
    seen = np.bincount([place[graph.content()] for graph in drawn], minlength=len(p))
    common = p * 20_000 >= 5
    expected = np.append(p[common], p[~common].sum()) * 20_000
    observed = np.append(seen[common], seen[~common].sum())
    chi2 = ((observed - expected) ** 2 / expected).sum()
    assert common.sum() > 20
    assert chi2 < len(expected) + 4 * np.sqrt(2 * len(expected))


def test_completions_have_the_conditional_probabilities_of_the_model():
    net = network(1, sharp=2, objects=2, predicates=1, max_nodes=3)
    prior, everything = np.array([0.3, 0.7]), every_graph(2, 1, 3)
    partial = made(np.array([1, 0]), np.array([[1, 0]]), np.array([0]))
    p = np.exp(-nll_as_stored(net, prior, everything, 2, 1, 3))
    fits = np.array([len(g) >= 2 and same([g.permuted([0, 1])], [partial]) for g in everything])
    p = p[fits] / p[fits].sum()
    place = {
        graph.content(): i
        for i, graph in enumerate(g for g, fit in zip(everything, fits, strict=True) if fit)
    }
    drawn = Sampler(net, prior).draw(Draw(1, tuple(range(20_000))), partial)
    seen = np.bincount([place[graph.content()] for graph in drawn], minlength=len(p))
    assert len(p) == 1 + 2 * 16
    assert np.abs(seen / 20_000 - p).max() < 4 * np.sqrt(p.max() / 20_000)
    keep = p * 20_000 >= 5
    chi2 = ((seen[keep] - p[keep] * 20_000) ** 2 / (p[keep] * 20_000)).sum()
    assert chi2 < keep.sum() + 4 * np.sqrt(2 * keep.sum())


@pytest.mark.parametrize("options", OPTIONS)
def test_completions_begin_with_what_is_given(options):
    sampler = Sampler(network(**options), PRIOR)
    for given in random_graphs(20, seed=9, sizes=(1, 6)):
        drawn = sampler.draw(Draw(0, (0, 1, 2, 3)), given)
        for graph in drawn:
            assert same([graph.permuted(range(len(given)))], [given])
    assert max(len(graph) for graph in drawn) <= 6
    nothing = made(np.zeros(0))
    assert same(sampler.draw(Draw(0, (4, 5)), nothing), sampler.draw(Draw(0, (4, 5))))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (random_graphs(1, sizes=(7, 7))[0], "has 7 nodes, and the method was fitted with at most 6"),
        (made(np.array([5])), "has object 5, and the vocabulary has 5"),
        (made(np.zeros(2), np.array([[0, 1]]), np.array([3])), "has predicate 3"),
    ],
)
def test_what_cannot_be_completed_is_refused(given, sentence):
    with pytest.raises(UserError, match=sentence):
        Sampler(network(), PRIOR).draw(Draw(0, (0,)), given)


def test_the_official_generator_drops_the_last_node_and_draws_what_is_left_too_small_again():
    net, draw = network(), Draw(0, tuple(range(400)))
    clean = Sampler(net, PRIOR).draw(draw)
    drawn = Sampler(net, PRIOR, drop_last=True).draw(draw)
    numbers = uniforms(draw, 36).reshape(-1, 6, 6)
    ended = generate(net, PRIOR, numbers).ended
    kept = [i for i, graph in enumerate(clean) if len(graph) >= 3 and ended[i]]
    assert 0 < len(kept) < 400
    assert same([drawn[i] for i in kept], [clean[i].permuted(range(len(clean[i]) - 1)) for i in kept])
    assert {len(graph) for graph in drawn} == {2, 3, 4}  # 6 nodes at most: sequences of 3 to 5
    again = Sampler(net, PRIOR, drop_last=True).draw(Draw(0, (11, 3, 200)))
    assert same(again, [drawn[11], drawn[3], drawn[200]])
    given = random_graphs(1, sizes=(6, 6))[0]
    assert same(Sampler(net, PRIOR, drop_last=True).draw(Draw(0, (0,)), given), [given])


def test_a_network_that_never_ends_graphs_in_time_is_said(monkeypatch):
    import bench.nn.graph_sampling as module

    monkeypatch.setattr(module, "ATTEMPTS", 3)
    net = network()
    with torch.no_grad():
        net.get_parameter("head_node.2.bias")[-1] = -100.0
    with pytest.raises(RunFailed, match="ends graphs too early or never"):
        Sampler(net, PRIOR, drop_last=True).draw(Draw(0, (0,)))
