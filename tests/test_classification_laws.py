"""Federated classification metrics: intervals against a slow loop, laws, and input that is refused."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest
from federations import EDGES, RESAMPLES, federation, present, quiet_balanced, sk, values
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.metrics import classification as c


def slow(f: dict[str, Any], seed: int) -> dict[str, list[float]]:
    """Resample clients one by one and recompute every metric from the images themselves."""
    own = f["clients"]
    with_tests = sorted(set(own.tolist()))
    images = [np.flatnonzero(own == s) for s in with_tests]
    out: dict[str, list[float]] = {}
    counts = c.draws(len(with_tests), RESAMPLES, seed).astype(int)
    for row in counts:
        drawn = [s for s, times in enumerate(row) for _ in range(times)]
        everything = np.concatenate([images[s] for s in drawn])
        t, p = f["targets"][everything], f["served"][everything]
        each = np.array([sk.accuracy_score(f["targets"][images[s]], f["served"][images[s]]) for s in drawn])
        after = np.array([sk.accuracy_score(f["targets"][images[s]], f["trained"][images[s]]) for s in drawn])
        constant = f["train_counts"].sum(axis=0).argmax()
        tops = [f["train_counts"][with_tests[s]].argmax() for s in drawn]
        found = {
            "accuracy": sk.accuracy_score(t, p),
            "balanced_accuracy": quiet_balanced(t, p),
            "macro_f1": sk.f1_score(t, p, average="macro", labels=present(t, p), zero_division=0),
            "local_accuracy": each.mean(),
            "local_accuracy_std": each.std(),
            "local_accuracy_std_ddof1": each.std(ddof=1),
            "local_accuracy_trained": after.mean(),
            "local_accuracy_trained_std": after.std(),
            "local_balanced_accuracy": np.mean(
                [quiet_balanced(f["targets"][images[s]], f["served"][images[s]]) for s in drawn]
            ),
            "majority_accuracy": (t == constant).mean(),
            "majority_local_accuracy": np.mean(
                [(f["targets"][images[s]] == top).mean() for s, top in zip(drawn, tops, strict=True)]
            ),
        }
        for i, label in enumerate(f["classes"]):
            if i in t:
                found[f"balanced_accuracy/{label}"] = sk.recall_score(t, p, labels=[i], average=None)[0]
            if i in t or i in p:
                found[f"macro_f1/{label}"] = sk.f1_score(t, p, labels=[i], average=None, zero_division=0)[0]
        for name, value in found.items():
            out.setdefault(name, []).append(float(value))
    return out


def test_intervals_are_those_of_a_slow_loop() -> None:
    f = federation(11, 90, 6, 4, 0.5)
    f["clients"] = np.where(f["clients"] == 2, 3, f["clients"])  # client 2 has no test images
    f["train_counts"] += 1
    scored = c.suite(**f, seed=5, resamples=RESAMPLES)
    expected = slow(f, 5)
    checked = 0
    for name, samples in expected.items():
        metric, _, label = name.partition("/")
        got = scored.metrics[metric].per_class[label] if label else scored.metrics[metric]
        low, high = np.quantile(samples, [0.025, 0.975])
        assert got.intervals == {"client": (got.ci_low, got.ci_high)}
        assert (got.ci_low, got.ci_high) == (pytest.approx(low, abs=1e-12), pytest.approx(high, abs=1e-12))
        checked += 1
    assert checked == 11 + 2 * 4


def test_another_seed_another_interval_the_same_seed_the_same() -> None:
    f = EDGES["many clients"]
    one, same, other = (c.suite(**f, seed=s, resamples=RESAMPLES).metrics for s in (0, 0, 1))
    assert one == same
    assert one["accuracy"].intervals != other["accuracy"].intervals
    assert one["accuracy"].value == other["accuracy"].value


def test_a_symmetric_interval_holds_the_value() -> None:
    """Clients of equal size whose accuracies lie evenly about one half."""
    s, n = 20, 40
    clients = np.repeat(np.arange(s), n)
    right = np.concatenate([np.arange(n) < 1 + 2 * i for i in range(s)])
    targets = np.tile(np.arange(n) % 2, s)
    f = {**federation(0, 1, s, 2, 1.0), "targets": targets, "clients": clients, "trained": None}
    f["served"] = np.where(right, targets, 1 - targets)
    got = c.suite(**f).metrics
    for name in ("accuracy", "balanced_accuracy", "local_accuracy", "local_balanced_accuracy"):
        metric = got[name]
        assert metric.ci_low is not None
        assert metric.ci_high is not None
        assert metric.value == pytest.approx(0.5)
        assert metric.ci_low < 0.5 < metric.ci_high
        assert (metric.ci_low + metric.ci_high) / 2 == pytest.approx(0.5, abs=0.02)


SOME = st.builds(
    federation,
    seed=st.integers(0, 10_000),
    n=st.integers(1, 60),
    s=st.integers(1, 8),
    k=st.integers(1, 6),
    skill=st.floats(0, 1),
)


@settings(max_examples=60, deadline=None)
@given(f=SOME, seed=st.integers(0, 99))
def test_laws(f: dict[str, Any], seed: int) -> None:
    rng = np.random.default_rng(seed)
    scored = c.suite(**f, resamples=20)

    order = rng.permutation(len(f["targets"]))
    shuffled = {key: f[key][order] for key in ("served", "targets", "clients", "trained")}
    assert c.suite(**{**f, **shuffled}, resamples=20) == scored

    names = rng.permutation(len(f["client_names"]))
    renamed = {"clients": names[f["clients"]], "train_counts": f["train_counts"][np.argsort(names)]}
    again = values(c.suite(**{**f, **renamed}, resamples=20))
    assert again["accuracy"] == scored.metrics["accuracy"].value
    for name, value in values(scored).items():
        assert again[name] == (value if value is None else pytest.approx(value, abs=1e-12))

    weighted = sum(row["n_test"] * (row["accuracy"] or 0) for row in scored.units)
    assert scored.metrics["accuracy"].value == pytest.approx(weighted / len(order))

    for metric in scored.metrics.values():
        for part in (metric, *metric.per_class.values()):
            assert (part.value is None) == (part.n == 0)
            assert part.value is None or 0 <= part.value <= 1
            if part.intervals:
                low, high = part.intervals["client"]
                assert (low, high) == (part.ci_low, part.ci_high)
                assert 0 <= low <= high <= 1 + 1e-12


@settings(max_examples=30, deadline=None)
@given(f=SOME)
def test_perfect_predictions(f: dict[str, Any]) -> None:
    f = {**f, "served": f["targets"], "trained": f["targets"]}
    for name, metric in c.suite(**f, resamples=20).metrics.items():
        if name.startswith("majority") or metric.value is None:
            continue
        best = 0.0 if "_std" in name else 1.0
        assert metric.value == best
        assert all(bounds == (best, best) for bounds in metric.intervals.values())
        assert all(part.value == 1.0 for part in metric.per_class.values() if part.n)


def test_a_thousand_clients_are_fast() -> None:
    f = federation(0, 50_000, 1000, 10, 0.8)
    start = time.perf_counter()
    got = c.suite(**f)
    assert time.perf_counter() - start < 10
    low, high = got.metrics["accuracy"].intervals["client"]
    value = got.metrics["accuracy"].value
    assert value is not None
    assert low < value < high < low + 0.02


@pytest.mark.parametrize("facts", [{"byte_up": 1}, {"bytes_up": math.nan}, {"bytes_up": math.inf}])
def test_unknown_or_infinite_facts_are_refused(facts: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"no fact .*facts are finite numbers or None of: rounds_to_target"):
        c.suite(**EDGES["one client"], facts=facts)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"served": np.zeros(29, int)}, "pred, target and clients must have one length, got 29, 30 and 30"),
        ({"served": np.zeros((30, 1), int)}, r"pred must be integers \(N,\), got int64 \(30, 1\)"),
        ({"targets": np.zeros(30)}, r"target must be integers \(N,\), got float64"),
        ({"targets": np.full(30, 3)}, "target holds 3 to 3, the classes are 0 to 2"),
        ({"served": np.full(30, -1)}, "pred holds -1 to -1, the classes are 0 to 2"),
        ({"clients": np.full(30, 1)}, "clients holds 1 to 1, the clients are 0 to 0"),
        ({"trained": np.full(30, 7)}, "pred holds 7 to 7"),
        ({"client_names": []}, "client names must differ and be one or more"),
        ({"classes": ["a", "b", "a"]}, "class names must differ"),
        ({"train_counts": np.zeros((3, 1), int)}, r"train_counts must be counts \(1, 3\)"),
        ({"train_counts": np.zeros((1, 3))}, "got float64"),
        ({"train_counts": np.full((1, 3), -1)}, "train_counts must be counts"),
    ],
)
def test_bad_input_is_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        c.suite(**{**EDGES["one client"], **change})
