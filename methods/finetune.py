"""Fine-tuning: any method, then a few local epochs on every client before its model is scored.

The baseline that thesis Table 6.4 lacks: FedAP is scored after seven local epochs, FedAvg is not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from bench.card import Card, Difference
from bench.errors import UserError
from bench.federated.flower import Strategy
from bench.federated.strategy import Federation, Wrapper

CARD = Card(
    title="Local fine-tuning",
    family="federated_classification",
    summary="Wraps a method: after its last round every client trains its model for some epochs on its own "
    "data.",
    citation="Baseline of this project; see federated personalisation in Farshad, thesis, section 6.5.",
    url="https://arxiv.org/abs/1912.00818",
    licence="Apache-2.0",
    differences=(
        Difference(
            switch="method.finetune.epochs",
            clean="7, as many as FedAP's personalisation",
            official="the same: the thesis has no such baseline",
            why="Personalised methods are scored after local training; without this row their gain over "
            "FedAvg "
            "cannot be told from the gain of local training alone.",
            source="thesis 6.5.2; federated_ham10k.md section 6.6",
        ),
    ),
)


@dataclass
class Finetune(Wrapper):
    """Local epochs after the last round.

    Args:
        epochs: Local epochs of every client.
    """

    card: ClassVar[Card] = CARD

    epochs: int = 7

    def wrap(self, make: Callable[[], Strategy], federation: Federation) -> Strategy:
        """The wrapped strategy; its clients train on after the last round."""
        if self.epochs < 1:
            raise UserError(f"`epochs` of finetune takes a whole number from 1, got {self.epochs}.")
        strategy = make()
        strategy.personal_epochs = self.epochs  # pyright: ignore[reportAttributeAccessIssue]
        return strategy
