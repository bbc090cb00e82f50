"""The suite of two sets of features: names, doubts, what is undefined and why."""

from __future__ import annotations

import numpy as np
import pytest

from bench.metrics.frechet import frechet, gathered
from bench.metrics.image_sets import GROUPS, INFINITY_NEEDS, compare


def features(n, seed=0, d=8, shift=0.0):
    return (np.random.default_rng(seed).normal(size=(n, d)) + shift).astype(np.float32)


def logits(n, k=5):
    return np.random.default_rng(7).normal(size=(n, k)).astype(np.float32)


def test_every_group_gives_its_names_and_nothing_else():
    found = compare(features(60), features(50, 1), logits(60))
    assert list(found.metrics) == [name for names in GROUPS.values() for name in names]
    assert all(value.value is not None and value.n == 60 for value in found.metrics.values())
    only = compare(features(60), features(50, 1), None, ("kid", "pr"))
    assert list(only.metrics) == [*GROUPS["kid"], *GROUPS["pr"]]


def test_values_are_those_of_the_functions():
    x, y = features(60), features(50, 1, shift=1)
    found = compare(x, y, None, ("fid",))
    assert found.metrics["fid"].value == pytest.approx(frechet(gathered([x]), gathered([y])), rel=1e-9)
    assert found.metrics["fid"].direction == "lower"


def test_few_images_are_doubtful_and_computed():
    found = compare(features(30, d=64), features(40, 1, d=64), None, ("fid", "kid"))
    told = " ".join(found.warnings)
    assert "30 generated images are fewer than the 64 features" in told
    assert "30 generated images are fewer than 5,000" in told
    assert "KID's subsets have 30 images" in told
    assert found.facts["kid_subset"] == 30
    assert found.metrics["fid"].value is not None


@pytest.mark.parametrize("n", [1, 2, 5, INFINITY_NEEDS - 1])
def test_what_is_too_few_is_null_with_a_reason(n):
    found = compare(features(n), features(50, 1), logits(n))
    assert found.metrics["fid_infinity"].value is None
    assert found.metrics["fid_infinity"].n == 0
    if n == 1:
        assert found.metrics["fid"].value is None
        assert "One generated image makes no set: metrics of sets are undefined." in found.warnings
    else:
        assert found.metrics["fid"].value is not None
    # Ten splits of one image each would score 1 for any images.
    assert (found.metrics["inception_score"].value is None) == (n <= 10)
    assert any("undefined: a split of one image" in told for told in found.warnings) == (n <= 10)
    if n <= 5:
        assert found.metrics["precision"].value is None


def test_identical_images_are_said():
    x = np.ones((30, 8), np.float32)
    found = compare(x, features(30), None, ("fid",))
    assert "All 30 generated images have the same features." in found.warnings
    assert not any("same features" in line for line in compare(features(30), x + features(30), None).warnings)


def test_without_classes_there_is_no_inception_score():
    found = compare(features(30), features(30, 1), None, ("is",))
    assert found.metrics["inception_score"].value is None
    assert any("no classes" in line for line in found.warnings)


def test_the_same_seed_gives_the_same_values():
    x, y = features(80), features(60, 1)
    assert compare(x, y, None).metrics == compare(x, y, None).metrics
