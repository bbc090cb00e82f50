"""MMD squared: both routes, the formula, the standard error against the spread of draws, the test's level."""

from functools import partial

import numpy as np
import pytest
from naive_graph_kernels import matrix, mmd, node_kernel, random_graph, walk_kernel

from bench.metrics import mmd as module
from bench.metrics.graph_kernels import DeadEnd, gram, node_features, walk_features
from bench.metrics.mmd import Estimate, Sums, compare

KERNELS = {
    "node": (node_features, node_kernel, ()),
    **{
        rule: (partial(walk_features, length=3, dead_end=rule), walk_kernel, (3, rule))
        for rule in list(DeadEnd)
    },
}


def graphs(seed, count, **options):
    rng = np.random.default_rng(seed)
    return [random_graph(rng, **options) for _ in range(count)]


@pytest.mark.parametrize("name", list(KERNELS))
@pytest.mark.parametrize("route", ["gram", "running sums"])
def test_the_value_is_the_formula(name, route, monkeypatch):
    if route == "running sums":
        monkeypatch.setattr(module, "DENSE", 0)
    xs, ys = graphs(1, 17), graphs(2, 12, classes=3)
    kernel, naive, rest = KERNELS[name]
    expected = mmd(*(matrix(naive, a, b, *rest) for a, b in ((xs, xs), (ys, ys), (xs, ys))))
    assert compare(xs, ys, kernel).value == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", list(KERNELS))
def test_running_sums_equal_the_gram_matrix(name):
    features = KERNELS[name][0](graphs(3, 70, nodes=10))
    kernels = gram(features)
    np.fill_diagonal(kernels, 0)
    rng = np.random.default_rng(0)
    weights = rng.random((70, 3))
    np.testing.assert_allclose(Sums(features).rows(weights), kernels @ weights, rtol=1e-11, atol=1e-12)
    chosen = (rng.random((5, 70)) < 0.4).astype(np.float64)
    np.testing.assert_allclose(
        Sums(features).within(chosen), [z @ kernels @ z for z in chosen], rtol=1e-11, atol=1e-12
    )


@pytest.mark.parametrize("name", ["node", "match"])
def test_both_routes_agree_on_everything(name, monkeypatch):
    xs, ys = graphs(4, 40), graphs(5, 30, classes=5)
    dense = compare(xs, ys, KERNELS[name][0], permutations=99, seed=3)
    monkeypatch.setattr(module, "DENSE", 0)
    running = compare(xs, ys, KERNELS[name][0], permutations=99, seed=3)
    assert running.value == pytest.approx(dense.value, rel=1e-10)
    assert running.se == pytest.approx(dense.se, rel=1e-9)
    assert running.p == dense.p
    monkeypatch.setattr(module, "SAMPLED", 20)
    assert compare(xs, ys, KERNELS[name][0], seed=3).se == pytest.approx(dense.se, rel=0.5)


def test_no_value_below_two_graphs():
    some = graphs(6, 5)
    assert compare(some, some[:1], node_features) == Estimate(
        None, None, None, 5, 1, "a set of 1 graphs has no pairs"
    )
    assert compare([], [], node_features).value is None
    few = compare(some, some[:3], node_features, permutations=9)
    assert few.value is not None
    assert few.se is None
    assert few.interval() is None


def test_seeded_and_symmetric():
    xs, ys = graphs(7, 20), graphs(8, 20, classes=6)
    one, again = (compare(xs, ys, walk_features, permutations=50, seed=1) for _ in range(2))
    assert one == again
    turned = compare(ys, xs, walk_features)
    assert (turned.value, turned.se) == pytest.approx((one.value, one.se))


@pytest.mark.parametrize("name", ["node", "match", "half"])
@pytest.mark.parametrize(("n", "m", "alike"), [(30, 30, True), (30, 20, False), (12, 60, False)])
def test_the_standard_error_is_the_spread_of_draws(name, n, m, alike):
    """300 pairs of sets from known distributions: unbiased, and the stated error is the observed one."""
    rng = np.random.default_rng(9)
    kernel = KERNELS[name][0]
    other = 4 if alike else 8
    first, second = (
        [random_graph(rng, classes=classes, density=0.3) for _ in range(3000)] for classes in (4, other)
    )
    truth = compare(first, second, kernel).value
    found = []
    for _ in range(300):
        xs = [first[i] for i in rng.integers(0, 3000, n)]
        ys = [second[i] for i in rng.integers(0, 3000, m)]
        found.append(compare(xs, ys, kernel))
    values = np.asarray([one.value for one in found])
    assert abs(values.mean() - truth) < 4 * values.std() / np.sqrt(300) + 1e-3
    stated = np.sqrt(np.mean([one.se**2 for one in found]))
    assert 0.8 < stated / values.std(ddof=1) < (1.4 if alike else 1.2)


def test_the_permutation_test_keeps_its_level_and_sees_a_difference():
    rng = np.random.default_rng(10)
    null = []
    for _ in range(200):
        both = [random_graph(rng) for _ in range(30)]
        null.append(compare(both[:12], both[12:], walk_features, permutations=39, seed=len(null)).p)
    assert np.mean(np.asarray(null) <= 0.05) < 0.11
    assert 0.4 < np.mean(null) < 0.6
    told = compare(graphs(11, 40), graphs(12, 40, classes=8), walk_features, permutations=199)
    assert told.p == 1 / 200


def test_the_same_graphs_twice():
    """Copies are at distance zero or below: the pairs of copies stand in the sum across alone."""
    xs = graphs(13, 25)
    found = compare(xs, xs, node_features, permutations=99)
    assert found.value is not None and found.value < 0
    assert found.p is not None and found.p > 0.9
