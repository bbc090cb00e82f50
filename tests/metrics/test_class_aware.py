"""Metrics of sets within classes: means of what each class has by itself."""

from __future__ import annotations

import numpy as np
import pytest

from bench.metrics.class_aware import class_aware
from bench.metrics.image_sets import GROUPS, compare

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(90, 8)), RNG.normal(0.2, 1, size=(160, 8))
OWN = [("cat", "dog", "owl")[i % 3] for i in range(90)]
OTHER = [("cat", "dog", "owl", "elk")[i % 4] for i in range(160)]


def rows(classes, name):
    return np.flatnonzero(np.asarray(classes) == name)


def test_each_class_is_what_it_is_alone_and_the_mean_is_theirs():
    found = class_aware(X, Y, (OWN, OTHER), tuple(GROUPS), seed=3)
    assert set(found.metrics) == {f"{n}_by_class" for g in GROUPS if g != "is" for n in GROUPS[g]}
    for name, value in found.metrics.items():
        alone = {
            c: compare(X[rows(OWN, c)], Y[rows(OTHER, c)], None, tuple(GROUPS), 3).metrics for c in set(OWN)
        }
        metric = name.removesuffix("_by_class")
        assert {c: one.value for c, one in value.per_class.items()} == {
            c: values[metric].value for c, values in alone.items()
        }
        assert value.value == pytest.approx(
            np.mean(np.array([values[metric].value for values in alone.values()], float))
        )
        assert (value.n, value.unit, value.direction) == (
            3,
            alone["cat"][metric].unit,
            alone["cat"][metric].direction,
        )
    assert any(
        "1 classes are on the reference side alone" in told and "`elk`" in told for told in found.warnings
    )


def test_order_of_images_does_not_matter():
    order = RNG.permutation(90)
    shuffled = class_aware(X[order], Y, ([OWN[i] for i in order], OTHER), ("fid",))
    straight = class_aware(X, Y, (OWN, OTHER), ("fid",))
    assert shuffled.metrics["fid_by_class"].value == pytest.approx(straight.metrics["fid_by_class"].value)


def test_a_class_too_small_for_a_metric_is_told_and_left_out():
    own = ["cat"] * 89 + ["dog"]
    found = class_aware(X, Y, (own, OTHER), ("fid", "pr"))
    assert found.metrics["fid_by_class"].n == 1
    assert set(found.metrics["fid_by_class"].per_class) == {"cat"}
    assert "fid_by_class: undefined in 1 classes." in found.warnings
    assert any("The smallest of 2 classes has 1 images" in told for told in found.warnings)


def test_without_a_common_class_nothing_is_defined():
    found = class_aware(X, Y, ([None] * 90, OTHER), ("fid",))
    assert found.metrics["fid_by_class"] == type(found.metrics["fid_by_class"])(None, 0, "score", "lower")
    assert "90 generated images have no class and are left out by class." in found.warnings
    with pytest.raises(ValueError, match="3 classes for 90 images"):
        class_aware(X, Y, (["cat"] * 3, OTHER), ("fid",))
