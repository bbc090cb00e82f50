"""Reptile: train on a task, then take a small step towards what was learned.  Nichol et al. (1803.02999)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from bench.card import Card, Difference
from bench.core import Context
from bench.fewshot.method import NetworkMethod
from bench.fewshot.reptile import Inner, meta_train, segment
from bench.nn.binary_losses import BinaryLoss
from bench.volumes.slices import Source

CARD = Card(
    title="Reptile",
    family="fewshot_segmentation",
    summary="Meta-training that steps towards the model of each task, one task after the other.",
    citation="Nichol, Achiam, Schulman: On First-Order Meta-Learning Algorithms. 2018. Setting: Farshad, "
    "thesis, chapter 7.",
    url="https://arxiv.org/abs/1803.02999",
    licence="Apache-2.0 (reimplemented; no official code used)",
    differences=(
        Difference(
            switch="none: tasks of a step",
            clean="one: the serial algorithm of the Reptile paper, `tasks_per_epoch` steps a meta-epoch",
            official="the same",
            why="The thesis calls the average over a meta-epoch's tasks (Eq. 7.1) the original Reptile; that "
            "is the paper's batched version and `metamedseg` with `update=aw`.",
            source="1803.02999 Algorithm 1 and section 3; thesis 7.2.1",
        ),
        Difference(
            switch="method.gamma",
            clean="0.7 after every second pass over a task's slices",
            official="0.8",
            why="The text says 0.7, every released configuration with a step decay 0.8.",
            source="thesis 7.3.1; sample_setups/meta_params_config17.json; fewshot_decathlon.md 5.8",
        ),
    ),
    notes="Not a row of Tables 7.1 to 7.3. Everything but the tasks of a step is as in `metamedseg`; with "
    "the same meta learning rate it moves about `tasks_per_epoch` times as far in a meta-epoch.",
)


@dataclass
class Reptile(NetworkMethod):
    """Serial Reptile with Adam in the inner loop.

    Args:
        loss: Of the inner loop.
        meta_lr: Step towards a task's model.
        inner_lr: First learning rate of a task.
        inner_weight_decay: Of a task's Adam.
        gamma: The task's learning rate is multiplied by it after every second pass over its slices.
    """

    card: ClassVar[Card] = CARD
    shares: ClassVar[bool] = True
    official: ClassVar = {"gamma": 0.8}

    loss: BinaryLoss = BinaryLoss.bce
    meta_lr: float = 0.01
    inner_lr: float = 0.01
    inner_weight_decay: float = 0.003
    gamma: float = 0.7

    def meta_fit(self, sources: Sequence[Source], ctx: Context) -> None:
        """Meta-train the network; a row of `curves.csv` a meta-epoch."""
        meta_train(
            self.net,
            sources,
            ctx,
            inner=Inner(self.inner_lr, self.inner_weight_decay, lr_gamma=self.gamma),
            meta_lr=self.meta_lr,
            objective=segment(self.loss),
            serial=True,
        )
