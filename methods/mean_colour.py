"""Mean colour: every pixel gets the average colour of its class. Shows the label map and no more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from bench.card import Card, Difference
from bench.core import Context, Method
from bench.families.synthesis_data import Examples
from bench.images.conditions import Conditions

CARD = Card(
    title="Mean colour",
    family="semantic_synthesis",
    summary="Paints each class in its average colour of the training images: layout without texture.",
    citation="A floor of this harness.",
    url="https://arxiv.org/abs/2207.00050",
    licence="Apache-2.0",
    differences=(
        Difference(
            switch="none: colours",
            clean="means over all training pixels of a class; a class never seen gets the overall mean",
            official="the same",
            why="No paper reports this floor; it tells how much of a score the layout alone explains.",
            source="this harness",
        ),
    ),
)


@dataclass
class MeanColour(Method):
    """A colour a class."""

    card: ClassVar[Card] = CARD
    family: ClassVar[str] = "semantic_synthesis"

    def fit(self, train: Examples, val: Examples, ctx: Context) -> None:
        """Add up the colours of each class."""
        sums, counts = np.zeros((train.classes, 3)), np.zeros(train.classes)
        for i in ctx.progress(range(len(train)), "colours"):
            image, labels, _ = train[i]
            flat = labels.ravel()
            counts += np.bincount(flat, minlength=train.classes)
            for channel in range(3):
                values = image[..., channel].ravel()
                sums[:, channel] += np.bincount(flat, values, minlength=train.classes)
        overall = sums.sum(0) / counts.sum()
        seen = counts > 0
        colours = np.where(seen[:, None], sums / np.maximum(counts, 1)[:, None], overall)
        self.colours = torch.from_numpy(np.rint(colours).astype(np.uint8))

    def predict(self, x: Conditions) -> Tensor:
        """(B, 3, H, W) uint8; every draw the same."""
        return self.colours[x.labels].permute(0, 3, 1, 2)

    def parameters_count(self) -> int | None:
        """None: three numbers a class are counted, not trained."""
        return None
