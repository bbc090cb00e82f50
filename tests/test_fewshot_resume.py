"""A killed few-shot run ends bitwise as an undisturbed one, wherever it was killed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fewshot_toy import context, fitted, made, own_network, same, squares, weights

from bench.checkpoint import Checkpoint
from bench.fewshot.method import FewShotMethod

METHODS = ("supervised", "transfer", "reptile", "metamedseg", "dawoud")


@pytest.fixture
def own_net(tmp_path: Path) -> str:
    return own_network(tmp_path)


@dataclass
class Drawing(FewShotMethod):
    """A user's method that draws from the global generators and adapts to what is no network."""

    def meta_fit(self, sources, ctx):
        saved = ctx.checkpoint.load() or {"seen": torch.zeros(4), "number": 0}
        while saved["number"] < 4:
            saved["seen"][saved["number"]] = torch.rand(())
            saved["number"] += 1
            ctx.checkpoint.save(saved)
        self.seen = saved["seen"].mul_(2)  # what was saved must not change with it

    def adapt(self, support, ctx):
        bias = torch.tensor([float(self.seen.sum()), np.random.rand(), float(support[:][1].mean())])
        ctx.checkpoint.save({"bias": bias})
        return lambda x: x + bias.sum()


class Killed(BaseException):
    """What a kill looks like from inside."""


def dying(after: int) -> type[Checkpoint]:
    """A checkpoint whose process is killed right after so many saves."""

    class Dying(Checkpoint):
        left = after

        def save(self, state):
            super().save(state)
            self.left -= 1
            if not self.left:
                raise Killed

    return Dying


@pytest.mark.parametrize("name", [*METHODS, "drawing"])
def test_a_killed_run_ends_bitwise_as_if_nothing_had_happened(
    name: str, own_net: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make: Callable[[], Any] = (
        Drawing
        if name == "drawing"
        else lambda: made(name, **({"loss": "bce"} if name == "transfer" else {}))
    )
    changes = {"network": own_net, "seed": 3, "batch_size": 4, "epochs": 3, "loss": "bce"}
    images = squares("heart", 3, 60)[:][0]
    undisturbed = context(tmp_path / "whole", **changes)
    whole = fitted(make(), undisturbed)
    monkeypatch.setenv("BENCH_CHECKPOINT_SECONDS", "0")  # a checkpoint after every step
    for kill in range(1, 40):
        folder = tmp_path / str(kill)
        try:
            fitted(make(), context(folder, checkpoint=dying(kill), **changes))
            break  # it saved less often than that
        except Killed:
            pass
        again = context(folder, **changes)
        method = fitted(make(), again)
        for selection in range(2):
            ours, theirs = (m.predict((selection, images)) for m in (method, whole))
            assert torch.equal(ours, theirs), (kill, selection)
        if name != "drawing":
            assert same(weights(method), weights(whole)), kill
        assert again.checkpoint.curves.rows == undisturbed.checkpoint.curves.rows, kill
    assert kill > 4


def test_what_is_finished_is_not_computed_again(own_net: str, tmp_path: Path) -> None:
    ctx = context(tmp_path, network=own_net)
    whole = fitted(made("metamedseg"), ctx)
    method = made("metamedseg")
    method.meta_fit = method.adapt = lambda *given: pytest.fail("it was computed again")
    assert same(weights(fitted(method, context(tmp_path, network=own_net))), weights(whole))
