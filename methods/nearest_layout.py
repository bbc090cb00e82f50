"""Nearest layout: the training photograph whose label map agrees best. Real, but of something else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from bench.card import Card, Difference
from bench.core import Context, Method
from bench.errors import UserError
from bench.families.synthesis_data import Examples, together
from bench.images.conditions import Conditions
from bench.pictures import nearest

CARD = Card(
    title="Nearest layout",
    family="semantic_synthesis",
    summary="Answers a label map with the training photograph whose own label map agrees in most pixels.",
    citation="A baseline of this harness: retrieval of whole images.",
    url="https://arxiv.org/abs/2207.00050",
    licence="Apache-2.0",
    differences=(
        Difference(
            switch="method.side",
            clean="32: label maps are compared at 32x32 pixel centres, each pixel counting alike",
            official="the same",
            why="No paper reports whole-image retrieval; real photographs bound what FID can say about a "
            "method, and their mIoU what FID cannot say.",
            source="this harness",
        ),
    ),
    notes="Draw k is the k-th nearest photograph, from the first again once all are used.",
)


@dataclass
class NearestLayout(Method):
    """Retrieval by pixel agreement.

    Args:
        side: Label maps are compared at side x side.
    """

    card: ClassVar[Card] = CARD
    family: ClassVar[str] = "semantic_synthesis"

    side: int = 32

    def fit(self, train: Examples, val: Examples, ctx: Context) -> None:
        """Keep small label maps of all training photographs."""
        if self.side < 1:
            raise UserError(f"`method.side` takes a whole number from 1, got {self.side}.")
        self.train = train
        walk = ctx.progress(range(len(train)), "layouts")
        self.layouts = torch.stack([self._small(train[i].labels) for i in walk])

    def _small(self, labels: np.ndarray) -> Tensor:
        return torch.from_numpy(nearest(labels, (self.side, self.side)).astype(np.int16).reshape(-1))

    def predict(self, x: Conditions) -> Tensor:
        """(B, 3, H, W) uint8."""
        places = []
        for labels in x.labels.numpy():
            agreeing = (self.layouts == self._small(labels)).sum(1)
            ranking = torch.sort(agreeing, descending=True, stable=True).indices
            places.append(int(ranking[x.draw % len(ranking)]))
        found = together(self.train.__getitem__, places)
        return torch.from_numpy(np.stack([triple.image for triple in found])).permute(0, 3, 1, 2)

    def parameters_count(self) -> int | None:
        """None: photographs are kept, nothing is trained."""
        return None
