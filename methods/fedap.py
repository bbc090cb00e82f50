"""FedAP: FedAvg with a shrinking server step, then a model of its own for every client (thesis 6.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

import numpy as np

from bench.card import Card, Difference
from bench.errors import UserError
from bench.federated.strategy import Federation, Update, Weighting

CARD = Card(
    title="FedAP, federated adaptive personalisation",
    family="federated_classification",
    summary="Server learning rate falling linearly over rounds; after the last round every client trains on.",
    citation="Yeganeh, Farshad, Boschmann, Gaus, Frantzen, Navab: FedAP: Adaptive Personalization in "
    "Federated "
    "Learning for Non-IID Data. DeCaF 2022. Farshad, thesis, section 6.5.",
    url="https://link.springer.com/book/10.1007/978-3-031-18523-6",
    licence="Apache-2.0 (reimplemented; no official code exists)",
    differences=(
        Difference(
            switch="method.denominator",
            clean="sampled: N in Eq. 6.7 is the sum over the clients of the round",
            official="the same: the text does not say",
            why="Over all clients the step would shrink to 5/34 of itself; `all` computes that reading.",
            source="thesis Eq. 6.7; federated_ham10k.md sections 3 and 6.4",
        ),
    ),
    notes="Scored after personalisation, while FedAvg is scored as one global model: each client holds two "
    "classes, so a 7-class task becomes a 2-class one. Set `fedavg+finetune` beside it.",
)


class Denominator(StrEnum):
    """What N in Eq. 6.7 sums over."""

    sampled = "sampled"
    all = "all"


@dataclass
class FedAP(Weighting):
    """FedAvg's weights, a linear server step, personalisation.

    Args:
        eta_start: Server learning rate of the first round.
        eta_end: Server learning rate of the last round.
        personal_epochs: Local epochs of every client after the last round.
        denominator: What N in Eq. 6.7 sums over.
    """

    card: ClassVar[Card] = CARD
    precedence: ClassVar[int] = 34

    eta_start: float = 1.0
    eta_end: float = 0.46
    personal_epochs: int = 7
    denominator: Denominator = Denominator.sampled

    def coefficients(self, updates: Sequence[Update], federation: Federation) -> np.ndarray:
        """Training samples, (S,)."""
        return np.array([update.examples for update in updates], np.float64)

    def step(self, server_round: int, updates: Sequence[Update], federation: Federation) -> float:
        """Linear from `eta_start` in round 1 to `eta_end` in round T."""
        done = (server_round - 1) / max(1, federation.rounds - 1)
        eta = self.eta_start + (self.eta_end - self.eta_start) * done
        if self.denominator is Denominator.all:
            eta *= sum(update.examples for update in updates) / sum(federation.examples)
        return eta

    def epochs_of_personalisation(self) -> int:
        """Local epochs after the last round."""
        if self.personal_epochs < 0:
            raise UserError(
                f"`personal_epochs` of FedAP takes a whole number from 0, got {self.personal_epochs}."
            )
        return self.personal_epochs
