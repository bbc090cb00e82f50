"""Laws of the set metrics: invariances, bounds, closed forms; blocks and precision change nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.metrics import distances
from bench.metrics.frechet import extrapolated, frechet, frechet_of, gathered
from bench.metrics.inception_score import inception_score
from bench.metrics.kernel_distance import kernel_distance, unbiased
from bench.metrics.manifold import manifold
from bench.metrics.prd import curve

SEEDS = st.integers(0, 10_000)
FEW = settings(max_examples=15, deadline=None)


def draw(seed, n, d=6, shift=0.0, scale=1.0):
    return shift + scale * np.random.default_rng(seed).normal(size=(n, d))


def rotation(seed, d=6):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


def shares(found):
    return found.precision, found.recall, found.density, found.coverage


@FEW
@given(seed=SEEDS, n=st.sampled_from([4, 6, 7, 50]))
def test_fid_knows_no_axes_origin_or_order_and_scales_as_a_square(seed, n):
    x, y, q = draw(seed, n), draw(seed + 1, 30, shift=0.3), rotation(seed)
    found = frechet(gathered([x]), gathered([y]))
    assert frechet(gathered([x @ q + 5]), gathered([y @ q + 5])) == pytest.approx(found, rel=1e-9)
    assert frechet(gathered([x[::-1]]), gathered([y])) == pytest.approx(found, rel=1e-9)
    assert frechet(gathered([7 * x]), gathered([7 * y])) == pytest.approx(49 * found, rel=1e-9)


@FEW
@given(seed=SEEDS, n=st.integers(2, 40))
def test_the_root_of_fid_obeys_the_triangle_inequality(seed, n):
    a, b, c = (gathered([draw(seed + i, n + i, shift=i, scale=1 + i)]) for i in range(3))
    ab, bc, ac = (np.sqrt(frechet(*pair)) for pair in ((a, b), (b, c), (a, c)))
    assert ac <= ab + bc + 1e-9


@FEW
@given(seed=SEEDS)
def test_two_gaussians_whose_covariances_do_not_commute(seed):
    # With C2 = T C1 T for a positive definite T, T is the optimal map: distance tr((1 - T) C1 (1 - T)).
    q, r = rotation(seed), rotation(seed + 1)
    c = (q * np.arange(1.0, 7)) @ q.T
    t = (r * np.linspace(0.5, 2, 6)) @ r.T
    gap = np.eye(6) - t
    found = frechet_of(np.zeros(6), c, np.ones(6), t @ c @ t)
    assert found == pytest.approx(6 + np.trace(gap @ c @ gap), rel=1e-10)


def test_fid_of_identical_images_is_the_distance_of_two_points_and_never_negative():
    point = np.tile(draw(0, 1), (30, 1))
    other = np.tile(draw(1, 1), (4, 1))
    expected = ((point[0] - other[0]) ** 2).sum()
    for n, m in ((30, 4), (4, 4), (30, 30)):
        sides = gathered([point[:n]]), gathered([np.tile(other[:1], (m, 1))])
        assert frechet(*sides) == pytest.approx(expected, rel=1e-12)
    assert frechet(gathered([point]), gathered([point])) == 0
    spread = draw(2, 50)
    expected = ((spread.mean(0) - point[0]) ** 2).sum() + np.trace(np.cov(spread, rowvar=False))
    assert frechet(gathered([spread]), gathered([point])) == pytest.approx(expected, rel=1e-12)


def test_fid_of_one_feature_is_of_means_and_deviations():
    x, y = draw(0, 40, 1), draw(1, 50, 1, shift=2, scale=3)
    expected = (x.mean() - y.mean()) ** 2 + (x.std(ddof=1) - y.std(ddof=1)) ** 2
    assert frechet(gathered([x]), gathered([y])) == pytest.approx(expected, rel=1e-12)


def test_extrapolation_reads_by_blocks_what_it_reads_whole(monkeypatch):
    x, y = draw(0, 300), draw(1, 400)
    whole = extrapolated(x, y)
    monkeypatch.setattr("bench.metrics.frechet._AT_ONCE", 37)
    assert extrapolated(x, y) == pytest.approx(whole, rel=1e-6)


@FEW
@given(seed=SEEDS)
def test_kid_knows_no_axes_or_order_and_is_symmetric(seed):
    x, y, q = draw(seed, 30), draw(seed + 1, 40, shift=0.3), rotation(seed)
    found = unbiased(x, y)
    assert unbiased(x @ q, y @ q) == pytest.approx(found, rel=1e-8, abs=1e-10)
    assert unbiased(x[::-1], y) == pytest.approx(found, rel=1e-8, abs=1e-10)
    assert unbiased(y, x) == pytest.approx(found, rel=1e-8, abs=1e-10)
    assert unbiased(x, x) <= 1e-10  # unbiased, so below zero on a set beside itself


def test_kid_of_two_known_points_in_closed_form():
    # Means of k over a set without pairs of a sample with itself are exact here: every sample is the same.
    x, y = np.full((5, 1), 1.0), np.full((7, 1), 2.0)
    assert unbiased(x, y) == pytest.approx((1 + 1) ** 3 + (4 + 1) ** 3 - 2 * (2 + 1) ** 3)


@pytest.mark.parametrize("block", [7, 64, 1024])
def test_both_routes_of_kid_and_any_block_agree(monkeypatch, block):
    monkeypatch.setattr("bench.metrics.kernel_distance._AT_ONCE", block)
    x, y = draw(0, 90), draw(1, 120, shift=0.2)
    together = kernel_distance(x, y, subsets=40, size=50)  # one kernel matrix for all subsets
    rng, values = np.random.RandomState(2020), []
    for _ in range(40):
        i, j = rng.choice(90, 50, replace=False), rng.choice(120, 50, replace=False)
        values.append(unbiased(x[i], y[j]))
    assert together.value == pytest.approx(np.mean(values), rel=1e-9)
    assert together.spread == pytest.approx(np.std(values), rel=1e-9)
    apart = kernel_distance(x, y, subsets=2, size=10)  # a kernel matrix for each subset
    rng = np.random.RandomState(2020)
    first = unbiased(x[rng.choice(90, 10, replace=False)], y[rng.choice(120, 10, replace=False)])
    second = unbiased(x[rng.choice(90, 10, replace=False)], y[rng.choice(120, 10, replace=False)])
    assert apart.value == pytest.approx((first + second) / 2, rel=1e-9)
    assert (apart.size, apart.subsets) == (10, 2)


def test_subsets_that_are_all_there_is_have_no_standard_error():
    x, y = draw(0, 40), draw(1, 40)
    assert kernel_distance(x, y, subsets=5).se is None
    for found in (kernel_distance(x, y[:30], subsets=5), kernel_distance(x, y, subsets=5, size=20)):
        assert found.se is not None
        assert found.se > 0


def test_more_noise_is_farther_by_kid_and_less_covered():
    x, y, noise = draw(0, 400), draw(1, 400), draw(2, 400)
    kid = [kernel_distance(x + s * noise, y, 5, 300).value for s in (0, 0.5, 1, 2)]
    assert kid == sorted(kid)
    found = [manifold(x + s * noise, y) for s in (0, 0.5, 1, 2, 4)]
    for name in ("precision", "density", "coverage"):
        values = [getattr(one, name) for one in found]
        assert values == sorted(values, reverse=True)


@FEW
@given(seed=SEEDS, classes=st.integers(2, 9), scale=st.floats(0, 20))
def test_the_inception_score_lies_between_one_and_the_classes(seed, classes, scale):
    logits = draw(seed, 60, classes, scale=scale)
    found = inception_score(logits, splits=1)
    assert 1 - 1e-9 <= found.value <= classes + 1e-9
    assert inception_score(logits + 50, splits=1).value == pytest.approx(found.value, rel=1e-9)
    assert inception_score(logits[::-1], splits=1).value == pytest.approx(found.value, rel=1e-9)


def test_the_inception_score_by_blocks_and_of_probabilities_of_zero(monkeypatch):
    logits = draw(0, 500, 9, scale=400)  # most probabilities are exactly zero
    whole = inception_score(logits, shuffle=2020)
    monkeypatch.setattr("bench.metrics.inception_score._AT_ONCE", 13)
    again = inception_score(logits, shuffle=2020)
    assert (again.value, again.spread) == pytest.approx((whole.value, whole.spread), rel=1e-10)
    assert np.isfinite(whole.value)


@FEW
@given(seed=SEEDS, k=st.integers(2, 30))
def test_prd_lies_between_zero_and_one_and_swaps_with_the_sides(seed, k):
    rng = np.random.default_rng(seed)
    q, p = rng.dirichlet(np.ones(k)), rng.dirichlet(np.ones(k))
    found, swapped = curve(q, p), curve(p, q)
    assert found.precision == pytest.approx(swapped.recall[::-1], abs=1e-6)
    for part in (found.precision, found.recall):
        assert part.min() >= 0
        assert part.max() <= 1
    assert (np.diff(found.precision) >= -1e-12).all()
    assert (np.diff(found.recall) <= 1e-12).all()


@FEW
@given(seed=SEEDS)
def test_the_manifold_metrics_know_no_axes_scale_or_order(seed):
    x, y, q = draw(seed, 60), draw(seed + 1, 70, shift=0.4), rotation(seed)
    found = shares(manifold(x, y))
    assert shares(manifold(x[::-1], y[::-1])) == pytest.approx(found, abs=1e-12)
    assert shares(manifold(8 * x + 4, 8 * y + 4)) == pytest.approx(found, abs=1e-12)
    assert shares(manifold(x @ q, y @ q)) == pytest.approx(found, abs=1e-12)
    swapped = manifold(y, x)
    assert (swapped.recall, swapped.precision) == found[:2]
    assert all(0 <= share <= 1 for share in (*found[:2], found[3]))


def slow_shares(x, y, k=3, kd=5):
    """By sorted distances in float64."""
    apart = lambda a, b: ((a[:, None] - b[None]) ** 2).sum(-1)  # noqa: E731
    own = lambda a, k: np.sort(apart(a, a), 1)[:, k]  # noqa: E731
    d = apart(x.astype(float), y.astype(float))
    x, y = x.astype(float), y.astype(float)
    held = d < own(y, kd)
    precise, recalled = (d <= own(y, k)).any(1), (d <= own(x, k)[:, None]).any(0)
    return precise.mean(), recalled.mean(), held.sum() / (kd * len(x)), held.any(0).mean()


@pytest.mark.parametrize(("rows", "columns"), [(7, 5), (16, 50), (1024, 4096)])
@pytest.mark.parametrize(("shift", "scale"), [(0, 1), (1e5, 1), (0, 1e-22), (0, 1e27)])
def test_tiles_offsets_and_sizes_beyond_float32_decide_no_pair_wrongly(
    monkeypatch, rows, columns, shift, scale
):
    monkeypatch.setattr(distances, "ROWS", rows)
    monkeypatch.setattr(distances, "COLUMNS", columns)
    monkeypatch.setattr(distances, "_PAIRS", 20)  # so that the float64 tile is met, too
    x, y = (draw(seed, 45, scale=scale) + shift for seed in (0, 1))
    assert shares(manifold(x, y)) == pytest.approx(slow_shares(x, y), abs=1e-12)


@pytest.mark.parametrize("pairs", [1, 10_000])
def test_copies_are_within_a_reach_of_zero(monkeypatch, pairs):
    monkeypatch.setattr(distances, "_PAIRS", pairs)
    modes = draw(0, 3, 40, shift=3).astype(np.float32)
    x, y = np.repeat(modes, 8, axis=0), np.repeat(modes[:2], 9, axis=0)
    found = manifold(x, y)
    assert (found.precision, found.recall) == (
        pytest.approx(2 / 3),
        1,
    )  # the third mode is not the reference's
    assert (found.density, found.coverage) == (0, 0)  # strictly within zero is nothing
    collapsed = manifold(np.repeat(modes[:1], 30, axis=0), draw(3, 60, 40, shift=3))
    assert collapsed.recall == 0  # its balls are points


def test_single_precision_decides_as_double_on_many_features():
    x, y = (draw(seed, 300, 512, scale=1.0 + 0.02 * seed).astype(np.float32) for seed in (0, 1))
    found = manifold(x, y)
    assert shares(found) == pytest.approx(slow_shares(x, y), abs=1e-12)
