"""IDA: clients far from the mean model count less.  Yeganeh, Farshad et al., DART 2020 (2008.07665).

The weight of a client is the inverse L1 distance of its parameters to the plain mean of all that answered
(thesis Eq. 6.6): an out-of-distribution or poisoned model is far from the mean and hardly counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bench.card import Card, Difference
from bench.errors import UserError
from bench.federated.strategy import Federation, Update, Weighting, average, vector

CARD = Card(
    title="IDA, inverse distance aggregation",
    family="federated_classification",
    summary="Weights inversely proportional to the L1 distance between a client's model and the mean model.",
    citation="Yeganeh, Farshad, Navab, Albarqouni: Inverse Distance Aggregation for Federated Learning with "
    "Non-IID Data. DART 2020. Farshad, thesis, section 6.4.",
    url="https://arxiv.org/abs/2008.07665",
    licence="Apache-2.0 (reimplemented; no official code exists)",
    differences=(
        Difference(
            switch="method.eps",
            clean="alpha_i proportional to 1/(d_i + 1e-8)",
            official="the same: the text gives no epsilon",
            why="The text adds an unnamed epsilon to numerator and denominator; 1e-8 against distances of "
            "order "
            "1 to 1000 changes no printed digit, and makes identical models weigh the same.",
            source="thesis 6.4, below Eq. 6.6; federated_ham10k.md section 3",
        ),
        Difference(
            switch="method.buffers",
            clean="false: trainable parameters only enter the distance",
            official="the same: not stated",
            why="Batch norm statistics are of another scale than weights and would dominate the distance.",
            source="federated_ham10k.md section 7",
        ),
    ),
    notes="With two participants both are equally far from their mean: IDA is then exactly Mean.",
)


@dataclass
class IDA(Weighting):
    """Inverse L1 distance to the mean model.

    Args:
        eps: Added to every distance.
        buffers: Whether floating-point buffers (batch norm statistics) enter the distance.
    """

    card: ClassVar[Card] = CARD
    precedence: ClassVar[int] = 10

    eps: float = 1e-8
    buffers: bool = False

    def coefficients(self, updates: Sequence[Update], federation: Federation) -> np.ndarray:
        """1 / (d_i + eps), (S,)."""
        if not self.eps > 0:
            raise UserError(f"`eps` of IDA takes a number above 0, got {self.eps}.")
        models = [update.arrays for update in updates]
        names = list(federation.trainable)
        if self.buffers:
            names = [name for name, value in models[0].items() if np.issubdtype(value.dtype, np.floating)]
        mean = vector(average(models, np.full(len(models), 1 / len(models))), names)
        distances = np.array([np.abs(vector(model, names) - mean).sum() for model in models])
        return 1 / (distances + self.eps)
