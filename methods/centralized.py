"""Centralised: one model trained on all clients' images together, for as many steps as a federation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from bench.card import Card, Difference
from bench.core import Context
from bench.federated.drive import federate
from bench.federated.flower import Strategy
from bench.federated.recipe import drawn_of, steps_of
from bench.federated.strategy import FederatedMethod, Federation, Weighted

CARD = Card(
    title="Centralised training",
    family="federated_classification",
    summary="The union of all training sets in one place: what the federation gives up.",
    citation="Baseline of Farshad, thesis, section 6.5.2.",
    url="https://arxiv.org/abs/1602.05629",
    licence="Apache-2.0",
    differences=(
        Difference(
            switch="none",
            clean="plain SGD by the protocol's recipe for the expected steps of the federation; last model",
            official="the same: epochs and selection of the thesis's centralised model are not given",
            why="The thesis chose its hyper-parameters on a validation set that only this model had; here "
            "all "
            "methods share one recipe and none is selected.",
            source="thesis 6.5.2; federated_ham10k.md section 1",
        ),
    ),
)


@dataclass
class Centralized(FederatedMethod):
    """A federation of one client that holds everything."""

    card: ClassVar[Card] = CARD
    combines: ClassVar[bool] = False

    def strategy(self, federation: Federation) -> Strategy:
        """The one client's model is the model."""
        return Weighted([], federation)

    def fit(self, train: Any, val: Any, ctx: Context) -> None:
        """One pass over the union a round, until the steps of the federation are used up."""
        p, clients = ctx.protocol, len(train)
        mean = sum(steps_of(len(c), p) for c in train.clients) / clients
        steps = p.rounds * drawn_of(p, clients) * mean
        merged = train.merged()
        passes = max(1, round(steps / steps_of(len(merged.clients[0]), p)))
        ctx.log(f"{passes} passes over {len(merged.clients[0])} images for {math.ceil(steps)} steps")
        outcome = federate(self.strategy, merged, ctx, rounds=passes)
        outcome.served = dict.fromkeys(range(clients), outcome.served[0])
        outcome.trained = {}
        outcome.facts = {**outcome.facts, "bytes_up": None, "bytes_down": None}  # nothing is communicated
        self.outcome = outcome
