"""Rules that move the meta-model, against numbers worked out by hand, and laws between them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.fewshot import updates as u

META: u.State = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([[0.0]]), "n": torch.tensor(7)}
TASKS: list[u.State] = [
    {"a": torch.tensor([2.0, 2.0]), "b": torch.tensor([[0.0]]), "n": torch.tensor(8)},  # distance 1
    {"a": torch.tensor([1.0, 0.0]), "b": torch.tensor([[0.0]]), "n": torch.tensor(9)},  # 4
    {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([[4.0]]), "n": torch.tensor(1)},  # 16
]


def close(ours: Tensor, theirs: list[float]) -> None:
    torch.testing.assert_close(ours.flatten().double(), torch.tensor(theirs, dtype=torch.float64))


def test_distances_are_over_all_floating_tensors() -> None:
    close(u.squared_distances(META, TASKS), [1, 4, 16])


def test_average_weighting() -> None:
    towards = u.average(META, TASKS)
    close(towards["a"], [1 / 3, -2 / 3])
    close(towards["b"], [4 / 3])
    moved = u.stepped(META, towards, 0.3)
    close(moved["a"], [1.1, 1.8])
    close(moved["b"], [0.4])


def test_what_is_no_floating_number_stays() -> None:
    towards = u.average(META, TASKS)
    assert "n" not in towards
    moved = u.stepped(META, towards, 0.3)
    assert int(moved["n"]) == 7
    assert list(moved) == list(META)


def test_inverse_distances() -> None:
    weights = u.inverse(torch.tensor([1.0, 4.0, 16.0], dtype=torch.float64))
    close(weights, [16 / 21, 4 / 21, 1 / 21])
    towards = u.direction(META, TASKS, weights)
    close(towards["a"], [16 / 21, -8 / 21])
    close(towards["b"], [4 / 21])


def test_complements_of_distances() -> None:
    weights = u.complement(torch.tensor([1.0, 4.0, 16.0], dtype=torch.float64))
    rest = [1 - (d + 1e-4) / 21.0001 for d in (1, 4, 16)]
    close(weights, [r / sum(rest) for r in rest])
    assert float(weights[0]) == pytest.approx(20 / 42, abs=1e-4)


def test_the_codes_accumulation_multiplies_again_and_again() -> None:
    weights = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    towards = u.direction(META, TASKS, weights, u.Accumulate.official)
    close(towards["a"], [1 * 0.5 * 0.3 * 0.2, -2 * 0.3 * 0.2])
    close(towards["b"], [4 * 0.2])


def test_the_codes_accumulation_leaves_a_quarter_of_the_step() -> None:
    one: list[u.State] = [{"a": torch.tensor([1.0])} for _ in range(5)]
    towards = u.direction({"a": torch.tensor([0.0])}, one, u.equal(5), u.Accumulate.official)
    close(towards["a"], [0.2 + 0.2**2 + 0.2**3 + 0.2**4 + 0.2**5])
    assert 0.249 < float(towards["a"]) < 0.25
    one[4] = {"a": torch.tensor([0.0])}
    without_last = u.direction({"a": torch.tensor([0.0])}, one, u.equal(5), u.Accumulate.official)
    assert float(without_last["a"] / towards["a"]) == pytest.approx(0.2, abs=0.001)


def test_one_task_is_a_step_of_reptile_under_every_rule() -> None:
    for update in u.Update:
        for distance in u.Distance:
            for accumulate in u.Accumulate:
                weights = u.task_weights(META, TASKS[1:2], update, distance)
                moved = u.stepped(META, u.direction(META, TASKS[1:2], weights, accumulate), 0.25)
                close(moved["a"], [1.0, 1.5])
                close(moved["b"], [0.0])


def test_a_model_that_did_not_move_takes_all_the_weight() -> None:
    distances = torch.tensor([0.0, 2.0, 0.0], dtype=torch.float64)
    close(u.inverse(distances), [0.5, 0, 0.5])
    close(u.inverse(torch.zeros(3, dtype=torch.float64)), [1 / 3] * 3)
    close(u.complement(torch.zeros(3, dtype=torch.float64)), [1 / 3] * 3)


def test_tiny_and_huge_distances_give_finite_weights() -> None:
    for scale in (1e-320, 1e300):
        weights = u.inverse(torch.tensor([1.0, 4.0], dtype=torch.float64) * scale)
        close(weights, [0.8, 0.2])


def test_rules_leave_models_as_they_were() -> None:
    before = [{name: value.clone() for name, value in model.items()} for model in (META, *TASKS)]
    for accumulate in u.Accumulate:
        weights = u.task_weights(META, TASKS, u.Update.idw, u.Distance.inverse)
        u.stepped(META, u.direction(META, TASKS, weights, accumulate), 1.0)["n"].add_(1)
    for model, old in zip((META, *TASKS), before, strict=True):
        assert all(torch.equal(model[name], old[name]) for name in old)


distances = st.lists(st.floats(0, 1e6), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(distances)
def test_weights_sum_to_one_and_nearer_never_counts_less(found: list[float]) -> None:
    values = torch.tensor(found, dtype=torch.float64)
    for rule in (u.inverse, u.complement):
        weights = rule(values)
        assert float(weights.sum()) == pytest.approx(1)
        assert (weights >= 0).all()
        ordered = weights[values.argsort()]
        assert (ordered[1:] <= ordered[:-1] + 1e-12).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 8), st.floats(1e-6, 1e6))
def test_equal_distances_are_average_weighting(count: int, distance: float) -> None:
    values = torch.full((count,), distance, dtype=torch.float64)
    for rule in (u.inverse, u.complement):
        torch.testing.assert_close(rule(values), u.equal(count))
