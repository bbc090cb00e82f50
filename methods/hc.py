"""HC: clients clustered by their updates, one federation a cluster.  Briggs et al., IJCNN 2020 (2004.11791).

Some rounds over all clients give a common start; then every client trains once from it, the updates are
clustered hierarchically, and each cluster goes on alone (thesis 6.5.1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bench.card import Card, Difference
from bench.errors import UserError
from bench.federated import state as held
from bench.federated.flower import (
    ArrayRecord,
    ConfigRecord,
    Grid,
    Message,
    MessageType,
    MetricRecord,
    RecordDict,
    Strategy,
)
from bench.federated.proxy import SubGrid
from bench.federated.strategy import Federation, Wrapper, to_arrays, updates_of, vector

CARD = Card(
    title="Hierarchical clustering of clients",
    family="federated_classification",
    summary="Wraps a method: after some rounds clients are clustered by their updates and each cluster is a "
    "federation of its own.",
    citation="Briggs, Fan, Andras: Federated learning with hierarchical clustering of local updates to "
    "improve "
    "training on non-IID data. IJCNN 2020. Setting: Farshad, thesis, section 6.5.1.",
    url="https://arxiv.org/abs/2004.11791",
    licence="Apache-2.0 (reimplemented; no official code exists)",
    differences=(
        Difference(
            switch="method.hc.buffers",
            clean="false: updates are differences of trainable parameters",
            official="true: batch norm statistics are part of the update",
            why="With lr 0.001 and four steps parameter updates are about 0.1 apart, so a Ward threshold of "
            "5 puts "
            "all clients into one cluster; only with running statistics in the vector is 5 of the right "
            "order.",
            source="thesis 6.5.2; federated_ham10k.md section 7",
        ),
        Difference(
            switch="method.hc.rounds",
            clean="20 rounds of the wrapped method's draws before clustering",
            official="the same",
            why="The text says 20 rounds of FedAvg; whether every client takes part in each is not said.",
            source="thesis 6.5.1 and 6.5.2",
        ),
    ),
    notes="The number of clusters is in the record as `clusters`.",
)


@dataclass
class HC(Wrapper):
    """Ward clustering of updates by Euclidean distance.

    Args:
        rounds: Rounds over all clients before clustering.
        threshold: Ward distance above which clusters are not merged.
        buffers: Whether floating-point buffers (batch norm statistics) are part of an update.
    """

    card: ClassVar[Card] = CARD
    official: ClassVar = {"buffers": True}

    rounds: int = 20
    threshold: float = 5.0
    buffers: bool = False

    def wrap(self, make: Callable[[], Strategy], federation: Federation) -> Strategy:
        """A strategy that splits into one a cluster."""
        if self.rounds < 0 or not self.threshold > 0:
            raise UserError(
                "HC takes `rounds` from 0 and a `threshold` above 0, "
                f"got rounds={self.rounds} and threshold={self.threshold}."
            )
        return Clustered(make, self, federation)


class Clustered(Strategy):
    """First one strategy, then one a cluster.

    Args:
        make: Gives a fresh wrapped strategy.
        settings: Rounds, threshold, buffers.
        federation: What is known of the run.
    """

    def __init__(self, make: Callable[[], Strategy], settings: HC, federation: Federation):
        self.make, self.settings, self.federation = make, settings, federation
        self.first = make()
        self.personal_epochs = getattr(self.first, "personal_epochs", 0)
        self.labels: dict[int, int] = {}
        self.parts: list[Strategy] = []
        self.models: list[ArrayRecord] = []
        self.base: ArrayRecord | None = None
        if federation.rounds <= settings.rounds + 1:
            federation.tell(
                f"Warning: clustering after {settings.rounds} rounds leaves no round to train the clusters "
                f"in a "
                f"run of {federation.rounds}; lower `rounds` of hc."
            )

    def summary(self) -> None:
        """Nothing beyond the record."""

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """All together, everyone once, or cluster by cluster."""
        if not self.labels and server_round <= self.settings.rounds:
            return self.first.configure_train(server_round, arrays, config, grid)
        if not self.labels:
            self.base = arrays
            content = RecordDict({"arrays": arrays, "config": config})
            return [Message(content, node, MessageType.TRAIN) for node in grid.get_node_ids()]
        messages: list[Message] = []
        for cluster, part in enumerate(self.parts):
            nodes = [client + 1 for client, label in sorted(self.labels.items()) if label == cluster]
            own = ConfigRecord(dict(config))
            messages += part.configure_train(server_round, self.models[cluster], own, SubGrid(grid, nodes))
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Aggregate, cluster, or aggregate in each cluster; the global model stays at the split."""
        replies = list(replies)
        if not self.labels and server_round <= self.settings.rounds:
            return self.first.aggregate_train(server_round, replies)
        if not self.labels:
            self._cluster(replies)
            return self.base, None
        for cluster, part in enumerate(self.parts):
            own = [r for r in replies if self.labels.get(r.metadata.src_node_id - 1) == cluster]
            arrays, _ = part.aggregate_train(server_round, own)
            self.models[cluster] = arrays or self.models[cluster]
        return self.base, None

    def _cluster(self, replies: list[Message]) -> None:
        """Split the clients that answered; a client that did not joins the largest cluster."""
        from scipy.cluster.hierarchy import fcluster, linkage

        assert self.base is not None
        updates = updates_of(replies)
        if not updates:
            return  # every client failed: try again next round
        before = to_arrays(self.base)
        names = list(self.federation.trainable)
        if self.settings.buffers:
            names = [name for name, value in before.items() if np.issubdtype(value.dtype, np.floating)]
        start = vector(before, names)
        deltas = np.stack([vector(update.arrays, names) - start for update in updates])
        highest = 0.0
        found = np.ones(len(updates), int)
        if len(updates) > 1:
            tree = linkage(deltas, method="ward", metric="euclidean")
            highest = float(tree[-1, 2])
            found = fcluster(tree, self.settings.threshold, criterion="distance")
        _, labels = np.unique(found, return_inverse=True)
        count = int(labels.max()) + 1
        largest = int(np.bincount(labels).argmax())
        known = {update.client: int(label) for update, label in zip(updates, labels, strict=True)}
        self.labels = {client: known.get(client, largest) for client in range(self.federation.clients)}
        self.parts = [self.make() for _ in range(count)]
        self.models = [self.base] * count
        sizes = sorted(np.bincount(labels).tolist(), reverse=True)
        self.federation.tell(f"Clustering gave {count} clusters of sizes {', '.join(map(str, sizes))}.")
        if count == 1 and len(updates) > 1:
            self.federation.tell(
                f"Warning: one cluster only, so clustering changes nothing: the last merge of the updates "
                f"is at "
                f"Ward distance {highest:.3g}, below `threshold={self.settings.threshold:g}`; distances "
                f"grow with "
                "the learning rate, the local steps and the number of parameters, so lower the threshold."
            )

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The engine evaluates; clients are not asked to."""
        return []

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Nothing to aggregate."""
        return None

    def model_for(self, partition_id: int) -> ArrayRecord | None:
        """The model of the client's cluster; None before the split."""
        return self.models[self.labels[partition_id]] if self.labels else None

    def facts(self) -> dict[str, int | None]:
        """Number of clusters; None before the split."""
        return {"clusters": len(self.parts) or None}

    def state_dict(self) -> dict[str, Any] | None:
        """Labels, cluster models and every part's own state; None where a part's cannot be held."""
        inner = [held.state_of(part) for part in (self.first, *self.parts)]
        if any(state is None for state in inner):
            return None
        return {
            "labels": [[client, label] for client, label in self.labels.items()],
            "models": [held.arrays_out(model) for model in self.models],
            "base": held.arrays_out(self.base) if self.base is not None else None,
            "first": inner[0],
            "parts": inner[1:],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put everything back."""
        self.labels = dict(state["labels"])
        self.models = [held.arrays_in(model) for model in state["models"]]
        self.base = held.arrays_in(state["base"]) if state["base"] is not None else None
        held.restore(self.first, state["first"])
        self.parts = [self.make() for _ in state["parts"]]
        for part, own in zip(self.parts, state["parts"], strict=True):
            held.restore(part, own)
