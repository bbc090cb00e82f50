"""FedProx: FedAvg whose clients are held near the global model.  Li et al., MLSys 2020 (1812.06127)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bench.card import Card, Difference
from bench.errors import UserError
from bench.federated.strategy import Federation, Update, Weighting

CARD = Card(
    title="FedProx",
    family="federated_classification",
    summary="Sample-weighted average; local training adds mu/2 times the squared distance to the global "
    "model.",
    citation="Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith: Federated Optimization in Heterogeneous Networks. "
    "MLSys 2020.",
    url="https://arxiv.org/abs/1812.06127",
    licence="Apache-2.0 (reimplemented)",
    differences=(
        Difference(
            switch="method.mu",
            clean="0.01; clients drawn uniformly, weighted by samples",
            official="the same: the thesis runs no FedProx",
            why="The FedProx paper draws clients by size and averages plainly, which has the same "
            "expectation; its "
            "mu is tuned per dataset among 0.001, 0.01, 0.1 and 1.",
            source="Li et al. 2020, Algorithm 2 and section 5",
        ),
    ),
)


@dataclass
class FedProx(Weighting):
    """FedAvg's weights with a proximal term in the clients.

    Args:
        mu: Weight of the proximal term; 0 is FedAvg.
    """

    card: ClassVar[Card] = CARD
    precedence: ClassVar[int] = 32

    mu: float = 0.01

    def recipe(self) -> dict[str, Any]:
        """The proximal term."""
        if not self.mu >= 0:
            raise UserError(f"`mu` of FedProx takes a number from 0, got {self.mu}.")
        return {"proximal-mu": self.mu}

    def coefficients(self, updates: Sequence[Update], federation: Federation) -> np.ndarray:
        """Training samples, (S,)."""
        return np.array([update.examples for update in updates], np.float64)
