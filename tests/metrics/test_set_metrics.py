"""FID, KID, Inception Score, PRD, nearest-neighbour metrics on features: references, laws, closed forms."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from bench.metrics import prd
from bench.metrics.frechet import Statistics, extrapolated, frechet, frechet_of, gathered
from bench.metrics.inception_score import inception_score
from bench.metrics.kernel_distance import kernel_distance, unbiased
from bench.metrics.manifold import manifold
from bench.metrics.prd import curve, histograms, precision_recall


def features(n, d=16, seed=0, shift=0.0, scale=1.0):
    rng = np.random.default_rng(seed)
    return shift + scale * rng.normal(size=(n, d)) @ np.random.default_rng(99).normal(size=(d, d))


def slow_frechet(x, y):
    """As the reference: a general matrix square root."""
    c1, c2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = np.real(np.asarray(sqrtm(c1 @ c2)))
    return np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(c1) + np.trace(c2) - 2 * np.trace(root)


@pytest.mark.parametrize(("n", "m"), [(400, 300), (17, 400), (400, 17)])
def test_at_full_rank_the_distance_is_the_references(n, m):
    x, y = features(n), features(m, seed=1, shift=3.0, scale=1.5)
    expected = slow_frechet(x, y)
    assert frechet(gathered([x]), gathered([y])) == pytest.approx(expected, rel=1e-8)
    means = x.mean(0), np.cov(x, rowvar=False), y.mean(0), np.cov(y, rowvar=False)
    assert frechet_of(*means) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(("n", "m"), [(5, 7), (5, 400), (400, 5), (16, 16), (2, 2)])
def test_below_full_rank_all_routes_agree(n, m):
    x, y = features(n), features(m, seed=1, shift=1.0)
    found = frechet(gathered([x]), gathered([y]))
    means = x.mean(0), np.cov(x, rowvar=False), y.mean(0), np.cov(y, rowvar=False)
    assert frechet_of(*means) == pytest.approx(found, rel=1e-8)
    assert frechet(gathered([y]), gathered([x])) == pytest.approx(found, rel=1e-10)


def test_gaussians_in_closed_form():
    # Diagonal covariances commute: the distance is that of the standard deviations.
    a, b = np.array([1.0, 4.0, 9.0]), np.array([4.0, 4.0, 1.0])
    shift = np.array([1.0, 0.0, 2.0])
    found = frechet_of(np.zeros(3), np.diag(a), shift, np.diag(b))
    assert found == pytest.approx(5 + np.sum((np.sqrt(a) - np.sqrt(b)) ** 2), rel=1e-12)
    singular = np.diag([1.0, 0.0, 0.0])
    assert frechet_of(np.zeros(3), singular, np.zeros(3), np.diag(b)) == pytest.approx(1 + 9 - 2 * 2)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), n=st.integers(2, 60), parts=st.integers(1, 9))
def test_laws_of_the_frechet_distance(seed, n, parts):
    x = features(n, seed=seed)
    y = features(40, seed=seed + 1, shift=0.5)
    own, other = gathered([x]), gathered([y])
    assert frechet(own, own) == pytest.approx(0, abs=1e-7 * float(np.trace(own.covariance)))
    assert frechet(own, other) == pytest.approx(frechet(other, own), rel=1e-9)
    shuffled = np.random.default_rng(seed).permutation(x)
    assert frechet(gathered(np.array_split(shuffled, parts)), other) == pytest.approx(
        frechet(own, other), rel=1e-8
    )


def test_more_noise_is_farther():
    x = features(500)
    noise = np.random.default_rng(3).normal(size=x.shape)
    values = [frechet(gathered([x]), gathered([x + s * noise])) for s in (0.1, 0.5, 1.0, 2.0)]
    assert values == sorted(values)


def test_a_large_common_offset_costs_no_digits():
    x, y = features(200), features(200, seed=1)
    near = frechet(gathered([x]), gathered([y]))
    far = frechet(gathered(np.array_split(x + 1e6, 9)), gathered([y + 1e6]))
    assert far == pytest.approx(near, rel=1e-6)


def test_statistics_refuse_what_is_no_feature():
    with pytest.raises(ValueError, match="must be finite"):
        gathered([np.array([[1.0, np.nan]])])
    with pytest.raises(ValueError, match="with one D"):
        gathered([np.zeros((3, 4)), np.zeros((3, 5))])
    with pytest.raises(ValueError, match="two samples"):
        frechet(gathered([np.zeros((1, 4))]), gathered([np.zeros((3, 4))]))
    with pytest.raises(ValueError, match="two samples"):
        frechet(Statistics(), Statistics())


def test_extrapolation_takes_the_bias_of_few_samples_away():
    x, y = features(400), features(20_000, seed=1)
    plain = frechet(gathered([x]), gathered([y]))
    assert abs(extrapolated(x, y)) < plain / 3
    assert extrapolated(x, y, seed=1) == extrapolated(x, y, seed=1)


def slow_mmd(x, y):
    k = lambda a, b: (a @ b / len(a) + 1) ** 3  # noqa: E731
    n, m = len(x), len(y)
    own = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    other = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return own + other - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


def test_the_kernel_distance_is_the_formula():
    x, y = features(9, 5), features(12, 5, seed=1, shift=1)
    assert unbiased(x, y) == pytest.approx(slow_mmd(x, y), rel=1e-10)
    found = kernel_distance(x, y, subsets=1, size=1000)
    assert (found.size, found.subsets, found.spread) == (9, 1, 0.0)


def test_the_kernel_distance_is_unbiased():
    draws = [unbiased(features(20, 4, seed=s), features(20, 4, seed=s + 5000)) for s in range(400)]
    assert abs(np.mean(draws)) < 4 * np.std(draws) / np.sqrt(len(draws))
    assert min(draws) < 0


def test_the_inception_score_of_known_cases():
    sharp = np.full((40, 4), -60.0)
    sharp[np.arange(40), np.arange(40) % 4] = 60.0
    assert inception_score(sharp).value == pytest.approx(4)
    assert inception_score(np.zeros((40, 4))).value == pytest.approx(1)
    assert inception_score(sharp, splits=100).splits == 40
    one = inception_score(sharp[:1])
    assert (one.value, one.splits) == (pytest.approx(1), 1)


def test_the_inception_score_is_the_formula():
    logits = np.random.default_rng(0).normal(size=(103, 7)) * 3
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    values = []
    for i in range(10):
        part = p[i * 103 // 10 : (i + 1) * 103 // 10]
        values.append(np.exp(np.mean([np.sum(q * (np.log(q) - np.log(part.mean(0)))) for q in part])))
    found = inception_score(logits)
    assert found.value == pytest.approx(np.mean(values), rel=1e-10)
    assert found.spread == pytest.approx(np.std(values), rel=1e-8)
    assert inception_score(logits, shuffle=2020).value != found.value


def test_prd_of_known_histograms():
    same = curve(np.array([0.5, 0.5]), np.array([0.5, 0.5]))
    assert same.f(8) == pytest.approx(1, abs=1e-6)
    assert curve(np.array([1.0, 0.0]), np.array([0.0, 1.0])).f(8) == 0
    # Half of the modes dropped: precise, but half recalled.
    dropped = curve(np.array([1.0, 0.0]), np.array([0.5, 0.5]))
    assert dropped.f(1 / 8) > 0.95
    assert dropped.f(8) < 0.55
    invented = curve(np.array([0.5, 0.5]), np.array([1.0, 0.0]))
    assert (invented.f(8), invented.f(1 / 8)) == pytest.approx((dropped.f(1 / 8), dropped.f(8)), abs=1e-3)


def test_prd_of_features():
    x = features(300, seed=0)
    precision, recall = precision_recall(x, features(300, seed=1), runs=3)
    assert precision > 0.9
    assert recall > 0.9
    assert max(precision_recall(x, features(300, seed=1, shift=100.0), runs=2)) < 0.01
    a, b = histograms(x, x[:150], 20, 0)
    assert a.sum() == pytest.approx(1)
    assert b.sum() == pytest.approx(1)
    assert precision_recall(x, x[:50], runs=2, seed=4) == precision_recall(x, x[:50], runs=2, seed=4)


@pytest.mark.parametrize("count", [12000, 9000])
def test_many_features_are_clustered_from_a_file_to_the_same_values(count, monkeypatch):
    """Of 24 MB of features in float64, what sklearn begins with (7 MB) is in memory at any number."""
    x, y = features(12000, d=128), features(count, d=128, seed=1)
    held = precision_recall(x, y, runs=2)
    monkeypatch.setattr(prd, "HELD", 0)
    monkeypatch.setattr(prd, "_AT_ONCE", 500)
    tracemalloc.start()
    try:
        assert precision_recall(x, y, runs=2) == held
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


def slow_manifold(x, y, k=3, kd=5):
    dist = lambda a, b: np.linalg.norm(a[:, None] - b[None], axis=-1)  # noqa: E731
    reach = lambda a, k: np.sort(dist(a, a), 1)[:, k]  # noqa: E731
    d = dist(x, y)
    inside = d < reach(y, kd)
    return (
        (d <= reach(y, k)).any(1).mean(),
        (d <= reach(x, k)[:, None]).any(0).mean(),
        inside.sum() / (kd * len(x)),
        inside.any(0).mean(),
    )


@pytest.mark.parametrize(("n", "m"), [(40, 60), (60, 40), (6, 6)])
def test_the_manifold_metrics_are_the_formulas(n, m):
    x, y = features(n, 6), features(m, 6, seed=1, shift=0.5)
    found = manifold(x, y)
    values = (found.precision, found.recall, found.density, found.coverage)
    assert values == pytest.approx(slow_manifold(x, y), abs=1e-12)


def test_manifolds_of_known_cases():
    x = features(60, 6)
    same = manifold(x, x)
    assert (same.precision, same.recall, same.coverage) == (1, 1, 1)
    far = manifold(x, x + 1e4)
    assert (far.precision, far.recall, far.density, far.coverage) == (0, 0, 0, 0)
    with pytest.raises(ValueError, match="5 neighbours need more than 5 generated"):
        manifold(x[:5], x)
