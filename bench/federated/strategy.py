"""Methods as Flower strategies: weightings that multiply, wrappers around them, and what both may know.

A method of the family states how clients' updates are weighted (`Weighting`), or wraps whatever strategy
stands before it (`Wrapper`). Either becomes one `flwr.serverapp.strategy.Strategy`.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bench.core import Context, Method
from bench.errors import UserError
from bench.federated.flower import (
    Array,
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

FAMILY = "federated_classification"
EXAMPLES = "num-examples"
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Federation:
    """What a strategy may know of the run.

    Args:
        clients: M, the number of clients.
        classes: K.
        drawn: Clients asked in a round.
        rounds: T, communication rounds in all.
        trainable: Names of the trainable arrays; the other arrays are buffers, such as batch norm statistics.
        examples: Training samples of each client.
        tell: Says one line to the person at the terminal and writes it to the log.
    """

    clients: int
    classes: int
    drawn: int
    rounds: int
    trainable: tuple[str, ...]
    examples: tuple[int, ...]
    tell: Callable[[str], None] = print


@dataclass(frozen=True)
class Update:
    """One usable reply.

    Args:
        client: Partition id.
        arrays: The client's state dict after local training.
        examples: N_i, its training samples.
        metrics: What else it measured.
    """

    client: int
    arrays: Arrays
    examples: int
    metrics: Mapping[str, float]


@dataclass
class FederatedMethod(Method):
    """A method of the family: something that gives a Flower strategy.

    `combines` says whether it may stand in an expression `a+b`.
    """

    family: ClassVar[str] = FAMILY
    combines: ClassVar[bool] = True

    @abstractmethod
    def strategy(self, federation: Federation) -> Strategy:
        """The strategy, ready for round 1."""

    def fit(self, train: Any, val: Any, ctx: Context) -> None:
        """Run the federation; there is no validation set, and nothing is chosen by one."""
        from bench.federated.drive import federate

        self.outcome = federate(self.strategy, train, ctx)

    def predict(self, x: Any) -> np.ndarray:
        """Labels of the served models: `x` is (client, images (n, C, H, W) uint8), the answer (n,) int64."""
        return self.outcome.predict(*x)

    def parameters_count(self) -> int | None:
        """Trainable parameters of one model."""
        return self.outcome.parameters


@dataclass
class Weighting(FederatedMethod):
    """How a round's updates are weighted. Weightings multiply: `a+b` weights by the product of both.

    `precedence` gives the canonical order of names in an expression; it changes no number.
    """

    precedence: ClassVar[int] = 100

    @abstractmethod
    def coefficients(self, updates: Sequence[Update], federation: Federation) -> np.ndarray:
        """(S,) positive numbers, one an update; they are normalised to sum 1 afterwards."""

    def recipe(self) -> dict[str, Any]:
        """What clients are asked beside the protocol's recipe, such as a proximal term."""
        return {}

    def step(self, server_round: int, updates: Sequence[Update], federation: Federation) -> float:
        """Server learning rate eta of a round, counted from 1; 1 replaces the global model by the average."""
        return 1.0

    def epochs_of_personalisation(self) -> int:
        """Local epochs each client adds after the last round, on a copy of its own."""
        return 0

    def strategy(self, federation: Federation) -> Strategy:
        """This weighting alone."""
        return Weighted([self], federation)


@dataclass
class Wrapper(FederatedMethod):
    """Something around a strategy: `a+w` is `w` around `a`."""

    @abstractmethod
    def wrap(self, make: Callable[[], Strategy], federation: Federation) -> Strategy:
        """A strategy around those that `make` gives; `make` may be called more than once."""

    def strategy(self, federation: Federation) -> Strategy:
        """A wrapper alone has nothing to wrap."""
        name = type(self).__name__.lower()
        raise UserError(f"`{name}` wraps another method; write for instance `method=fedavg+{name}`.")


class Weighted(Strategy):
    """Sample clients as Flower's FedAvg does, weight by the product of weightings, step the server.

    Args:
        parts: The weightings; none at all weighs every client the same.
        federation: What is known of the run.
    """

    def __init__(self, parts: Sequence[Weighting], federation: Federation):
        self.parts = list(parts)
        self.federation = federation
        self.arrays: ArrayRecord | None = None
        self.weights: dict[int, float] = {}
        self.personal_epochs = max((part.epochs_of_personalisation() for part in self.parts), default=0)

    def summary(self) -> None:
        """Nothing beyond the record."""

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The same content to every client drawn."""
        self.arrays = arrays
        nodes = list(grid.get_node_ids())
        drawn, _ = sample_nodes(grid, 1, min(self.federation.drawn, len(nodes)))
        asked = ConfigRecord({**config, **{k: v for part in self.parts for k, v in part.recipe().items()}})
        content = RecordDict({"arrays": arrays, "config": asked})
        return [Message(content, node, MessageType.TRAIN) for node in drawn]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Theta + eta (sum_i alpha_i theta_i - theta); None where no reply is usable."""
        updates = updates_of(replies)
        if not updates:
            return None, None
        product = np.ones(len(updates))
        for part in self.parts:
            product = product * normalised(part.coefficients(updates, self.federation))
        if not product.sum() > 0:  # every client that answered has weight 0
            return None, None
        weights = normalised(product)
        self.weights = {u.client: float(w) for u, w in zip(updates, weights, strict=True)}
        mean = average([u.arrays for u in updates], weights)
        etas = [part.step(server_round, updates, self.federation) for part in self.parts]
        eta = math.prod(etas)
        if eta != 1.0 and self.arrays is not None:
            before = to_arrays(self.arrays)
            for name in self.federation.trainable:
                theta = before[name].astype(np.float64)
                mean[name] = (theta + eta * (mean[name] - theta)).astype(before[name].dtype)
        return to_record(mean), metric_means(updates, weights)

    def state_dict(self) -> dict[str, Any]:
        """Nothing is remembered from one round to the next."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to put back."""

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The engine evaluates; clients are not asked to."""
        return []

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Nothing to aggregate."""
        return None


def updates_of(replies: Iterable[Message]) -> list[Update]:
    """Usable replies in the order given."""
    found = []
    for reply in replies:
        if reply.has_error():
            continue
        records = reply.content.metric_records.values()
        metrics = {k: v for record in records for k, v in record.items() if not isinstance(v, list)}
        found.append(
            Update(
                client=reply.metadata.src_node_id - 1,
                arrays=to_arrays(next(iter(reply.content.array_records.values()))),
                examples=int(metrics[EXAMPLES]),
                metrics=metrics,
            )
        )
    return found


def normalised(coefficients: np.ndarray) -> np.ndarray:
    """Coefficients that sum to 1; all zero stay zero."""
    coefficients = np.asarray(coefficients, np.float64)
    if not np.isfinite(coefficients).all() or (coefficients < 0).any():
        raise ValueError(f"coefficients must be finite and not negative, got {coefficients}")
    total = coefficients.sum()
    return coefficients / total if total > 0 else coefficients


def average(models: Sequence[Arrays], weights: np.ndarray) -> Arrays:
    """Weighted mean, summed in float64 in the order given.

    Integer arrays, such as the number of batches that batch norm has seen, are counts and not weights: the
    largest is copied. Running statistics are averaged like parameters.
    """
    out: Arrays = {}
    for name, first in models[0].items():
        if np.issubdtype(first.dtype, np.integer):
            out[name] = np.max([model[name] for model in models], axis=0).astype(first.dtype)
        else:
            total = np.zeros(first.shape, np.float64)
            for model, weight in zip(models, weights, strict=True):
                total += weight * model[name]
            out[name] = total.astype(first.dtype)
    return out


def metric_means(updates: Sequence[Update], weights: np.ndarray) -> MetricRecord:
    """Weighted means of what clients measured."""
    names = [name for name in updates[0].metrics if name.startswith("train-")]
    return MetricRecord(
        {
            name: float(sum(w * u.metrics[name] for u, w in zip(updates, weights, strict=True)))
            for name in names
            if all(name in u.metrics for u in updates)
        }
    )


def to_arrays(record: ArrayRecord) -> Arrays:
    """Name -> array, in the order of the state dict."""
    return {name: value.numpy() for name, value in record.items()}


def to_record(arrays: Arrays) -> ArrayRecord:
    """The Flower record of named arrays."""
    return ArrayRecord({name: Array(np.asarray(value)) for name, value in arrays.items()})


def vector(arrays: Arrays, names: Sequence[str]) -> np.ndarray:
    """The named arrays as one float64 vector."""
    return np.concatenate([np.asarray(arrays[name], np.float64).ravel() for name in names])
