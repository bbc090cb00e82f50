"""Local: every client alone, from the same start, with as many steps as the federation gives it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from bench.card import Card, Difference
from bench.federated.flower import (
    ArrayRecord,
    ConfigRecord,
    Grid,
    Message,
    MessageType,
    MetricRecord,
    RecordDict,
    Strategy,
    sample_nodes,
)
from bench.federated.state import arrays_in, arrays_out
from bench.federated.strategy import FederatedMethod, Federation, to_record, updates_of

CARD = Card(
    title="Local training",
    family="federated_classification",
    summary="No federation: each client trains its own model in the rounds it is drawn and shares nothing.",
    citation="Baseline of this project.",
    url="https://arxiv.org/abs/1912.04977",
    licence="Apache-2.0",
    differences=(
        Difference(
            switch="none",
            clean="the same draws and local epochs as FedAvg, without aggregation",
            official="the same: the thesis has no such baseline",
            why="Personalised methods must beat what a client reaches without any federation.",
            source="federated_ham10k.md section 6.6",
        ),
    ),
)


@dataclass
class Local(FederatedMethod):
    """Each client alone."""

    card: ClassVar[Card] = CARD

    def strategy(self, federation: Federation) -> Strategy:
        """Draws as FedAvg does; keeps every client's model apart."""
        return Apart(federation)


class Apart(Strategy):
    """One model a client; nothing is averaged.

    Args:
        federation: What is known of the run.
    """

    def __init__(self, federation: Federation):
        self.federation = federation
        self.own: dict[int, ArrayRecord] = {}
        self.start_arrays: ArrayRecord | None = None

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Each client drawn gets its own model back."""
        self.start_arrays = arrays
        drawn, _ = sample_nodes(grid, 1, self.federation.drawn)
        return [
            Message(
                RecordDict({"arrays": self.own.get(node - 1, arrays), "config": config}),
                node,
                MessageType.TRAIN,
            )
            for node in drawn
        ]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Keep every model; the global one stays as it was."""
        updates = updates_of(replies)
        for update in updates:
            self.own[update.client] = to_record(update.arrays)
        return (self.start_arrays if updates else None), None

    def summary(self) -> None:
        """Nothing beyond the record."""

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The engine evaluates; clients are not asked to."""
        return []

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Nothing to aggregate."""
        return None

    def model_for(self, partition_id: int) -> ArrayRecord | None:
        """The client's own model; None where it was never drawn."""
        return self.own.get(partition_id)

    def facts(self) -> dict[str, int | None]:
        """Nothing is communicated."""
        return {"bytes_up": None, "bytes_down": None}

    def state_dict(self) -> dict[str, Any]:
        """Every client's model."""
        return {"own": {str(client): arrays_out(arrays) for client, arrays in self.own.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put the models back."""
        self.own = {int(client): arrays_in(arrays) for client, arrays in state["own"].items()}
