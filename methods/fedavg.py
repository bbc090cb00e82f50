"""FedAvg: clients weigh as many samples as they hold.  McMahan et al., AISTATS 2017 (1602.05629)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bench.card import Card, Difference
from bench.federated.strategy import Federation, Update, Weighting

CARD = Card(
    title="FedAvg",
    family="federated_classification",
    summary="Average of the clients' models, weighted by their training samples.",
    citation="McMahan, Moore, Ramage, Hampson, Aguera y Arcas: Communication-Efficient Learning of Deep "
    "Networks "
    "from Decentralized Data. AISTATS 2017. Setting: Farshad, thesis, chapter 6.",
    url="https://arxiv.org/abs/1602.05629",
    licence="Apache-2.0 (reimplemented; no official code exists for chapter 6)",
    differences=(
        Difference(
            switch="none",
            clean="alpha_i = N_i over the sum of N over the clients that answered",
            official="the same",
            why="Eq. 6.5 divides by the total N over all M clients; with partial participation the weights "
            "would "
            "not sum to 1 and the model would shrink every round.",
            source="thesis Eq. 6.5; federated_ham10k.md section 6.4",
        ),
    ),
)


@dataclass
class FedAvg(Weighting):
    """Weights N_i / N."""

    card: ClassVar[Card] = CARD
    precedence: ClassVar[int] = 30

    def coefficients(self, updates: Sequence[Update], federation: Federation) -> np.ndarray:
        """Training samples, (S,)."""
        return np.array([update.examples for update in updates], np.float64)
