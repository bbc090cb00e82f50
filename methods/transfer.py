"""Transfer learning: all sources pooled into one training set, then the shots (thesis section 7.3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from bench.card import Card, Difference
from bench.core import Context
from bench.errors import UserError
from bench.fewshot.episodes import Pool
from bench.fewshot.finetune import fine_tune
from bench.fewshot.method import NetworkMethod
from bench.nn.binary_losses import BinaryLoss
from bench.volumes.slices import Source

CARD = Card(
    title="Transfer learning",
    family="fewshot_segmentation",
    summary="Supervised training on the slices of all sources together, then on the shots.",
    citation="Farshad, thesis, chapter 7; Makarevich, Farshad, Belagiannis, Navab: MetaMedSeg. DART 2022.",
    url="https://arxiv.org/abs/2109.09734",
    licence="Apache-2.0 (reimplemented; no official code used)",
    differences=(
        Difference(
            switch="none: slices of pre-training",
            clean="the training slices of every source, split as for meta-training",
            official="the same",
            why="The code draws a split of its own for this baseline (seed 555, 20 % test, 10 % of the rest "
            "for validation), so that its pre-training sees other slices than meta-training does.",
            source="metamedseg/Code datasets/meta_dataset.py MixedDataset; fewshot_decathlon.md section 3",
        ),
        Difference(
            switch="none: weights kept",
            clean="those of the last epoch",
            official="the same",
            why="The validation slices are only logged; early stopping stands in the code as a comment.",
            source="metamedseg/Code meta_learning/fine_tuning.py",
        ),
    ),
    notes="Learning rate, weight decay and decay are those of the released pre-training configuration; the "
    "text gives the 20 epochs (`protocol.pretrain_epochs`) and no other number.",
)


@dataclass
class Transfer(NetworkMethod):
    """Pre-training on the pooled sources with Adam.

    Args:
        lr: First learning rate of pre-training.
        weight_decay: Of pre-training.
        gamma: The learning rate is multiplied by it after every epoch of pre-training.
        loss: Of pre-training.
    """

    card: ClassVar[Card] = CARD
    shares: ClassVar[bool] = True

    lr: float = 0.01
    weight_decay: float = 5e-5
    gamma: float = 0.8
    loss: BinaryLoss = BinaryLoss.iou

    def meta_fit(self, sources: Sequence[Source], ctx: Context) -> None:
        """Pre-train the network; a row of `curves.csv` an epoch."""
        if not self.lr > 0 or self.weight_decay < 0 or not 0 < self.gamma <= 1:
            raise UserError(
                "`lr` of Transfer takes a number above 0, `weight_decay` one from 0 and `gamma` one above 0 "
                f"up to 1; got {self.lr}, {self.weight_decay} and {self.gamma}."
            )
        fine_tune(
            self.net,
            Pool([source.train for source in sources]),
            ctx,
            epochs=ctx.protocol.pretrain_epochs,
            lr=self.lr,
            weight_decay=self.weight_decay,
            lr_step=1,
            lr_gamma=self.gamma,
            loss=self.loss,
            max_steps=math.inf,
            stream=1,
            label="pre-train",
            curve="pretrain_epoch",
        )
