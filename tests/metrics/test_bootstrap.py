import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils import resample

from bench.metrics.bootstrap import draws, interval, means, resampled_means


def literal_means(values, valid, groups, weights):
    """One resample at a time: repeat every sample as often as its group was drawn."""
    out = np.full((len(weights), values.shape[1]), np.nan)
    for r, weight in enumerate(weights):
        times = weight[groups].astype(int)
        for c in range(values.shape[1]):
            pool = np.repeat(values[valid[:, c], c], times[valid[:, c]])
            if len(pool):
                out[r, c] = pool.mean()
    return out


@pytest.fixture
def table():
    rng = np.random.default_rng(3)
    values = rng.random((17, 4))
    valid = rng.random((17, 4)) < 0.6
    groups = np.sort(np.concatenate([np.arange(5), rng.integers(0, 5, 12)]))
    return values, valid, groups


def test_draws_pick_as_many_groups_as_there_are():
    drawn = draws(7, 500, seed=0)
    assert drawn.shape == (500, 7)
    assert (drawn.sum(axis=1) == 7).all()
    assert drawn.min() == 0 and drawn.max() >= 3


def test_draws_have_the_moments_of_a_multinomial():
    drawn = draws(10, 20_000, seed=1)
    np.testing.assert_allclose(drawn.mean(axis=0), 1, atol=0.03)
    np.testing.assert_allclose(drawn.var(axis=0), 10 * 0.1 * 0.9, atol=0.05)
    covariance = np.cov(drawn[:, 0], drawn[:, 1])[0, 1]
    assert covariance == pytest.approx(-10 * 0.1 * 0.1, abs=0.03)


def test_draws_depend_on_the_seed_alone():
    assert np.array_equal(draws(5, 50, seed=2), draws(5, 50, seed=2))
    assert not np.array_equal(draws(5, 50, seed=2), draws(5, 50, seed=3))


def test_blocks_do_not_show_in_the_shape(monkeypatch):
    monkeypatch.setattr("bench.metrics.bootstrap._BLOCK", 12)
    drawn = draws(5, 9, seed=0)
    assert drawn.shape == (9, 5)
    assert (drawn.sum(axis=1) == 5).all()


def test_resampled_means_equal_the_literal_loop(table):
    values, valid, groups = table
    fast = resampled_means(values, valid, groups, resamples=200, seed=4)
    slow = literal_means(values, valid, groups, draws(5, 200, seed=4))
    np.testing.assert_allclose(fast, slow, rtol=1e-12)


def test_interval_of_a_mean_agrees_with_scikit_learn_resampling():
    values = np.random.default_rng(0).normal(size=60)
    ours = interval(
        resampled_means(values[:, None], np.ones((60, 1), bool), np.arange(60), resamples=4000, seed=0)[:, 0]
    )
    theirs = np.quantile(
        [np.mean(np.asarray(resample(values, random_state=i))) for i in range(4000)], [0.025, 0.975]
    )
    assert ours is not None
    np.testing.assert_allclose(ours, theirs, atol=0.03)


def test_a_resample_without_any_sample_of_a_column_is_undefined_and_left_out():
    values = np.array([[0.0], [1.0], [9.0], [9.0]])
    valid = np.array([[True], [True], [False], [False]])
    drawn = resampled_means(values, valid, np.arange(4), resamples=2000, seed=0)[:, 0]
    share = np.isnan(drawn).mean()
    assert share == pytest.approx((2 / 4) ** 4, abs=0.02)
    assert interval(drawn) == (0.0, 1.0)


def test_one_group_gives_no_interval_rather_than_one_of_width_zero():
    values = np.array([[0.2, 0.2], [0.4, 0.4], [0.9, 0.9]])
    valid = np.array([[True, True], [True, True], [True, False]])
    one = resampled_means(values, valid, np.zeros(3, np.int64), resamples=50, seed=0)
    assert [interval(one[:, c]) for c in range(2)] == [None, None]
    # The second column lives in one of the two groups: no spread between groups can be known.
    two = resampled_means(values, valid, np.array([0, 0, 1]), resamples=50, seed=0)
    assert interval(two[:, 0]) is not None
    assert interval(two[:, 1]) is None


def test_means_of_nothing_are_undefined():
    got = means(np.array([[1.0, 5.0], [3.0, 5.0]]), np.array([[True, False], [True, False]]))
    assert got[0] == 2.0
    assert np.isnan(got[1])


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20))
def test_an_interval_lies_within_the_values(numbers):
    values = np.array(numbers)[:, None]
    drawn = resampled_means(values, np.ones_like(values, bool), np.arange(len(values)), resamples=64, seed=0)
    found = interval(drawn[:, 0])
    assert found is not None
    low, high = found
    slack = 1e-9
    assert min(numbers) - slack <= low <= high <= max(numbers) + slack
