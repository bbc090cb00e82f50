"""How the models of several tasks move the meta-model (thesis section 7.2.1, Eq. 7.1 to 7.3).

A model is its state dict; only its floating-point tensors count and move. L tasks, theta the meta-model,
theta_l the model of task l, d_l the squared distance between both.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import torch
from torch import Tensor

State = dict[str, Tensor]
EPS = 1e-4  # of the official code's weights


class Update(StrEnum):
    """Weights of the tasks: `aw` equal (Eq. 7.1), `idw` larger for models near the meta-model (Eq. 7.2)."""

    aw = "aw"
    idw = "idw"


class Distance(StrEnum):
    """Weights from distances: `inverse` 1 / d_l (Eq. 7.2), `complement` 1 - d_l / sum d, as the code does."""

    inverse = "inverse"
    complement = "complement"


class Accumulate(StrEnum):
    """How weighted differences add up: `formula` (Eq. 7.3), or `official` with the code's error.

    The code multiplies its running sum by each weight in turn: (((D_1 w_1) + D_2) w_2 + ...) w_L. With five
    equal weights that is a quarter of the step, four fifths of it the last task's.
    """

    formula = "formula"
    official = "official"


def moving(state: State) -> list[str]:
    """Names of the floating-point tensors."""
    return [name for name, value in state.items() if value.is_floating_point()]


def squared_distances(meta: State, tasks: Sequence[State]) -> Tensor:
    """d_l, the squared L2 distance of every task's model to the meta-model, (L,) float64."""
    names = moving(meta)
    sums = [torch.stack([(task[n] - meta[n]).double().square().sum() for n in names]).sum() for task in tasks]
    return torch.stack(sums).cpu()


def equal(count: int) -> Tensor:
    """1 / L each, (L,) float64."""
    return torch.full((count,), 1 / count, dtype=torch.float64)


def inverse(distances: Tensor) -> Tensor:
    """Proportional to 1 / d_l, sum 1 (Eq. 7.2); models at no distance share all of it. (L,) -> (L,)."""
    nearest = distances.min()
    # 1 / d_l up to a factor that keeps it from overflowing.
    weights = nearest / distances if nearest > 0 else (distances == 0).double()
    return weights / weights.sum()


def complement(distances: Tensor) -> Tensor:
    """1 - q_l, scaled to sum 1, where q_l = (d_l + 1e-4) / (sum d + 1e-4). (L,) -> (L,).

    Equal weights where the code divides 0 by 0: one task, or no distance at all.
    """
    rest = 1 - (distances + EPS) / (distances.sum() + EPS)
    return rest / rest.sum() if rest.sum() > 0 else equal(len(distances))


def task_weights(meta: State, tasks: Sequence[State], update: Update, distance: Distance) -> Tensor:
    """w_l, (L,) float64, sum 1."""
    if update is Update.aw:
        return equal(len(tasks))
    rule = inverse if distance is Distance.inverse else complement
    return rule(squared_distances(meta, tasks))


def direction(
    meta: State, tasks: Sequence[State], weights: Tensor, accumulate: Accumulate = Accumulate.formula
) -> State:
    """The sum of w_l (theta_l - theta) (Eq. 7.3), or what the official code makes of it, by name."""
    found: State = {}
    for name in moving(meta):
        total = torch.zeros_like(meta[name])
        for task, weight in zip(tasks, weights.tolist(), strict=True):
            if accumulate is Accumulate.official:
                total.add_(task[name] - meta[name]).mul_(weight)
            else:
                total.add_(task[name] - meta[name], alpha=weight)
        found[name] = total
    return found


def stepped(meta: State, towards: State, lr: float) -> State:
    """The meta-model moved along a direction, theta + lr * direction; what does not move is kept."""
    return {
        name: value + lr * towards[name] if name in towards else value.clone() for name, value in meta.items()
    }


def average(meta: State, tasks: Sequence[State]) -> State:
    """The direction of Average Weighting; with one task that of Reptile."""
    return direction(meta, tasks, equal(len(tasks)))
