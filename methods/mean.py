"""Mean: every client that answers counts the same (thesis 6.4.1, Table 6.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bench.card import Card, Difference
from bench.federated.strategy import Federation, Update, Weighting

CARD = Card(
    title="Mean",
    family="federated_classification",
    summary="Unweighted average of the clients' models; the baseline beside FedAvg in the IDA ablation.",
    citation="Farshad, thesis, section 6.4.1.",
    url="https://arxiv.org/abs/2008.07665",
    licence="Apache-2.0 (reimplemented; no official code exists)",
    differences=(
        Difference(
            switch="none",
            clean="alpha_i = 1/|S| over the clients that answered",
            official="the same",
            why="The text sets alpha_i = 1; a sum of models only makes sense once the weights sum to 1.",
            source="thesis 6.4.1, Ablation Study; Eq. 6.2",
        ),
    ),
)


@dataclass
class Mean(Weighting):
    """Equal weights."""

    card: ClassVar[Card] = CARD
    precedence: ClassVar[int] = 40

    def coefficients(self, updates: Sequence[Update], federation: Federation) -> np.ndarray:
        """Ones, (S,)."""
        return np.ones(len(updates))
