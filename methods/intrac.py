"""INTRAC: clients that fit their own data too well count less (thesis 6.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

import numpy as np

from bench.card import Card, Difference
from bench.federated.strategy import Federation, Update, Weighting

CARD = Card(
    title="INTRAC, inverse training accuracy",
    family="federated_classification",
    summary="Weights inversely proportional to a client's training accuracy after local training.",
    citation="Yeganeh, Farshad, Navab, Albarqouni: Inverse Distance Aggregation for Federated Learning with "
    "Non-IID Data. DART 2020. Farshad, thesis, section 6.4.",
    url="https://arxiv.org/abs/2008.07665",
    licence="Apache-2.0 (reimplemented; no official code exists)",
    differences=(
        Difference(
            switch="method.chance",
            clean="classes: accuracies below 1/K, chance of a K-class problem, count as 1/K",
            official="clients: the bound is 1/M with M the number of clients",
            why="The text calls 1/M the chance level, but M is the number of clients; chance is 1/K.",
            source="thesis 6.4, definition of alpha'_i; federated_ham10k.md section 3",
        ),
    ),
)


class Chance(StrEnum):
    """What bounds the training accuracy from below."""

    classes = "classes"
    clients = "clients"


@dataclass
class INTRAC(Weighting):
    """Inverse training accuracy, measured by the client on its own training set in evaluation mode.

    Args:
        chance: The lower bound of an accuracy: one over classes, or one over clients.
    """

    card: ClassVar[Card] = CARD
    official: ClassVar = {"chance": Chance.clients}
    precedence: ClassVar[int] = 20

    chance: Chance = Chance.classes

    def recipe(self) -> dict[str, Any]:
        """Clients measure their training accuracy."""
        return {"train-accuracy": True}

    def coefficients(self, updates: Sequence[Update], federation: Federation) -> np.ndarray:
        """Z' / max(chance, acc_i), (S,)."""
        floor = 1 / (federation.clients if self.chance is Chance.clients else federation.classes)
        bounded = np.array([max(floor, update.metrics["train-accuracy"]) for update in updates])
        return bounded.sum() / bounded
