"""Federated classification metrics against scikit-learn, and what surrounds the numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from federations import EDGES, RESAMPLES, federation, present, quiet_balanced, sk, values

from bench.core import MetricValue
from bench.metrics import classification as c


@pytest.mark.parametrize("name", list(EDGES))
def test_against_scikit_learn(name: str) -> None:
    f = EDGES[name]
    t, p, own = f["targets"], f["served"], f["clients"]
    scored = c.suite(**f, resamples=RESAMPLES)
    got = values(scored)
    assert got["accuracy"] == pytest.approx(sk.accuracy_score(t, p), abs=1e-15)
    assert got["balanced_accuracy"] == pytest.approx(quiet_balanced(t, p), abs=1e-15)
    assert got["macro_f1"] == pytest.approx(
        sk.f1_score(t, p, average="macro", labels=present(t, p), zero_division=0), abs=1e-15
    )
    for i, label in enumerate(f["classes"]):
        recall = scored.metrics["balanced_accuracy"].per_class[label]
        assert recall.n == (t == i).sum()
        if recall.n:
            assert recall.value == pytest.approx(sk.recall_score(t, p, labels=[i], average=None)[0])
        else:
            assert recall.value is None
        single = scored.metrics["macro_f1"].per_class[label]
        assert single.n == ((t == i) | (p == i)).sum()
        if single.n:
            assert single.value == pytest.approx(
                sk.f1_score(t, p, labels=[i], average=None, zero_division=0)[0]
            )
        else:
            assert single.value is None
    with_tests = sorted(set(own.tolist()))
    each = np.array([sk.accuracy_score(t[own == s], p[own == s]) for s in with_tests])
    after = np.array([sk.accuracy_score(t[own == s], f["trained"][own == s]) for s in with_tests])
    balanced = [quiet_balanced(t[own == s], p[own == s]) for s in with_tests]
    assert got["local_accuracy"] == pytest.approx(each.mean())
    assert got["local_accuracy_std"] == pytest.approx(each.std(), abs=1e-12)
    assert got["local_balanced_accuracy"] == pytest.approx(np.mean(balanced))
    assert got["local_accuracy_trained"] == pytest.approx(after.mean())
    assert got["local_accuracy_trained_std"] == pytest.approx(after.std(), abs=1e-12)
    assert got["worst_client"] == each.min()
    if len(each) > 1:
        assert got["local_accuracy_std_ddof1"] == pytest.approx(each.std(ddof=1), abs=1e-12)
    else:
        assert scored.metrics["local_accuracy_std_ddof1"] == MetricValue(None, 0, direction="none")
    assert {scored.metrics[m].n for m in ("local_accuracy", "local_accuracy_std", "worst_client")} == {
        len(with_tests)
    }
    assert scored.metrics["accuracy"].n == len(t)


@pytest.mark.parametrize("name", list(EDGES))
def test_majority_answers(name: str) -> None:
    f = EDGES[name]
    t, own, counts = f["targets"], f["clients"], f["train_counts"]
    got = c.suite(**f, resamples=RESAMPLES).metrics
    constant = int(counts.sum(axis=0).argmax())
    assert got["majority_accuracy"].value == pytest.approx((t == constant).mean())
    each = [(t[own == s] == counts[s].argmax()).mean() for s in sorted(set(own.tolist())) if counts[s].any()]
    assert got["majority_local_accuracy"].value == pytest.approx(np.mean(each))
    assert got["majority_local_accuracy"].n == len(each)


def test_majority_without_training_images() -> None:
    f = {**EDGES["many clients"], "train_counts": np.zeros((60, 7), np.int64)}
    got = c.suite(**f, resamples=RESAMPLES)
    for name in ("majority_accuracy", "majority_local_accuracy"):
        assert (got.metrics[name].value, got.metrics[name].n, got.metrics[name].intervals) == (None, 0, {})
    assert {row["majority_class"] for row in got.units} == {None}


def test_majority_ties_go_to_the_first_class() -> None:
    f = {**federation(3, 40, 2, 3, 0.5), "train_counts": np.array([[1, 4, 4], [0, 2, 2]])}
    got = c.suite(**f, resamples=RESAMPLES)
    assert got.metrics["majority_accuracy"].value == pytest.approx((f["targets"] == 1).mean())
    assert [row["majority_class"] for row in got.units] == ["class 1", "class 1"]


def test_one_client_has_no_interval() -> None:
    got = c.suite(**EDGES["one client"], resamples=RESAMPLES).metrics
    assert all(not m.intervals and m.ci_low is None for m in got.values())
    assert all(not part.intervals for m in got.values() for part in m.per_class.values())


def test_a_class_of_one_client_has_no_interval() -> None:
    f = {**federation(0, 6, 2, 3, 1.0), "clients": np.repeat([0, 1], 3), "targets": np.array([0, 0, 1] * 2)}
    f["targets"][5] = 2
    f["served"] = f["targets"].copy()
    got = c.suite(**f, resamples=RESAMPLES).metrics["balanced_accuracy"]
    spread = {label: bool(part.intervals) for label, part in got.per_class.items()}
    assert spread == {"class 0": True, "class 1": False, "class 2": False}


def test_without_any_test_image_everything_is_undefined() -> None:
    nothing = np.empty(0, np.int64)
    f = {**federation(0, 1, 3, 2, 1.0), "targets": nothing, "served": nothing, "clients": nothing}
    got = c.suite(**{**f, "trained": nothing}, resamples=RESAMPLES)
    assert {(m.value, m.n) for m in got.metrics.values()} == {(None, 0)}
    assert [row["n_test"] for row in got.units] == [0, 0, 0]
    json.dumps([got.units], allow_nan=False)


def test_trained_is_left_out_when_it_is_not_given() -> None:
    f = {**EDGES["many clients"], "trained": None}
    without = c.suite(**f, resamples=RESAMPLES)
    names = {"local_accuracy_trained", "local_accuracy_trained_std", "local_accuracy_trained_std_ddof1"}
    assert set(c.suite(**EDGES["many clients"], resamples=2).metrics) - set(without.metrics) == names
    assert {row["accuracy_trained"] for row in without.units} == {None}


def test_the_rest_does_not_depend_on_trained() -> None:
    f = EDGES["many clients"]
    both = c.suite(**f, resamples=RESAMPLES).metrics
    without = c.suite(**{**f, "trained": None}, resamples=RESAMPLES).metrics
    assert {name: both[name] for name in without} == without


def test_units_and_directions() -> None:
    got = c.suite(**EDGES["many clients"], resamples=2).metrics
    assert {m.unit for m in got.values()} == {"fraction"}
    assert {name for name, m in got.items() if m.direction != "higher"} == {
        "local_accuracy_std",
        "local_accuracy_std_ddof1",
        "local_accuracy_trained_std",
        "local_accuracy_trained_std_ddof1",
    }


def test_rows() -> None:
    f = EDGES["a client without test images"]
    rows = c.suite(**f, resamples=RESAMPLES).units
    assert [row["client"] for row in rows] == f["client_names"]
    assert rows[4]["n_test"] == 0
    assert (rows[4]["accuracy"], rows[4]["balanced_accuracy"], rows[4]["accuracy_trained"]) == (None,) * 3
    mask = f["clients"] == 1
    assert rows[1]["n_test"] == mask.sum()
    assert rows[1]["accuracy"] == (f["served"][mask] == f["targets"][mask]).mean()
    assert rows[1]["accuracy_trained"] == (f["trained"][mask] == f["targets"][mask]).mean()
    assert [rows[1][f"n_train/{label}"] for label in f["classes"]] == f["train_counts"][1].tolist()
    assert rows[1]["n_train"] == f["train_counts"][1].sum()
    assert rows[1]["majority_class"] == f["classes"][f["train_counts"][1].argmax()]
    json.dumps(rows, allow_nan=False)


def test_facts() -> None:
    facts = {"rounds_to_target": None, "bytes_to_target": None, "bytes_up": 12, "clusters": 3}
    got = c.suite(**EDGES["one client"], facts=facts, resamples=2).metrics
    assert got["rounds_to_target"] == MetricValue(None, 0, unit="rounds", direction="lower")
    assert got["bytes_up"] == MetricValue(12.0, 1, unit="bytes", direction="lower")
    assert got["clusters"] == MetricValue(3.0, 1, unit="count", direction="none")
    assert "train_steps" not in got
    everything = c.suite(**EDGES["one client"], facts=dict.fromkeys(c.FACTS, 1), resamples=2).metrics
    assert all(everything[name].value == 1 for name in c.FACTS)


def test_torch_tensors_are_taken() -> None:
    import torch

    f = EDGES["many clients"]
    tensors = {key: torch.from_numpy(f[key]) for key in ("served", "targets", "clients", "trained")}
    assert c.suite(**{**f, **tensors}, resamples=2) == c.suite(**f, resamples=2)
