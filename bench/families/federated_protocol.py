"""The protocol of a federated task: how images become clients, what clients do, when the engine looks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from bench.core import Protocol
from bench.errors import UserError
from bench.nn.classifiers import Model
from bench.registry import split_path


class Scheme(StrEnum):
    """How images become clients; see `bench.federated.partition`.

    `fedap`: 34 clients of two packs of 35 images (Table 6.4). `ida`: unbalanced clients (Table 6.3).
    `balanced`: equal clients (Tables 6.1, 6.2). `thousand`: 1,000 small equal clients (Figure 6.3).
    `uneven`: random class sizes, some clients doubled (Figure 6.4).
    """

    fedap = "fedap"
    ida = "ida"
    balanced = "balanced"
    thousand = "thousand"
    uneven = "uneven"


@dataclass(frozen=True)
class FederatedProtocol(Protocol):
    """Partition, recipe and evaluation of a federated task.

    Args:
        partition: How images become clients.
        clients: M.
        classes_per_client: ncc, classes a client holds at most.
        participation: pr, share of the clients asked in a round, rounded down.
        clients_per_round: Clients asked in a round, in place of a share.
        partition_seed: Seed of the partition; the run's `seed` does not touch it.
        model: lenet, vgg11, densenet121, mobilenet_v2, or a network class of yours, `file.py:Class`.
        pretrained: Start from ImageNet weights.
        image_size: (H, W) that images are resized to.
        channels: C; grey is repeated for 3, colour is turned grey for 1.
        mean: Of each channel, of values scaled to [0, 1].
        std: The same.
        rounds: T, communication rounds.
        local_epochs: E, passes over a client's data in a round.
        batch_size: Samples in one step; the last batch of an epoch may be smaller.
        lr: Learning rate of plain SGD: no momentum, no weight decay.
        evaluate_every: Rounds between two points of the curves.
        target_accuracy: What `rounds_to_target` and `bytes_to_target` wait for.
        poisoned: Clients, drawn by the partition seed, that add noise to what they send.
        noise: Standard deviation of that noise.
        max_local_steps: Steps of one client in one piece of local training at most; None for all.
        timeout_s: Seconds after which a client that has not answered counts as failed.
    """

    later: ClassVar[tuple[str, ...]] = ("max_local_steps",)

    partition: Scheme = Scheme.balanced
    clients: int = 10
    classes_per_client: int = 3
    participation: float = 1.0
    clients_per_round: int | None = None
    partition_seed: int = 0
    model: str = "lenet"
    pretrained: bool = False
    image_size: tuple[int, int] = (28, 28)
    channels: int = 1
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.5,)
    rounds: int = 5000
    local_epochs: int = 1
    batch_size: int = 128
    lr: float = 0.05
    evaluate_every: int = 50
    target_accuracy: float = 0.8
    poisoned: int = 0
    noise: float = 1.0
    timeout_s: float = 3600.0
    max_local_steps: int | None = None

    def __post_init__(self) -> None:
        least = {"clients": 1, "classes_per_client": 1, "rounds": 1, "local_epochs": 1, "batch_size": 1}
        for name, low in {**least, "evaluate_every": 1, "partition_seed": 0, "poisoned": 0}.items():
            if getattr(self, name) < low:
                raise UserError(
                    f"`protocol.{name}` takes a whole number from {low}, got {getattr(self, name)}."
                )
        for name in ("lr", "timeout_s", "noise"):
            if not getattr(self, name) > 0:
                raise UserError(f"`protocol.{name}` takes a number above 0, got {getattr(self, name)}.")
        if not 0 < self.participation <= 1:
            raise UserError(
                f"`protocol.participation` takes a share above 0 and up to 1, got {self.participation}."
            )
        for name in ("clients_per_round", "max_local_steps"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise UserError(f"`protocol.{name}` takes a whole number from 1, got {getattr(self, name)}.")
        if self.channels not in (1, 3) or any(len(v) != self.channels for v in (self.mean, self.std)):
            raise UserError(
                f"`protocol.channels` takes 1 or 3 with as many values in `mean` and `std`, got "
                f"{self.channels} "
                f"with {len(self.mean)} and {len(self.std)}."
            )
        if len(self.image_size) != 2 or min(self.image_size) < 1:
            raise UserError(f"`protocol.image_size` takes [height,width] in pixels, got {self.image_size}.")
        if not all(value > 0 for value in self.std):
            raise UserError(f"`protocol.std` takes numbers above 0, got {self.std}.")
        if self.max_val is not None:
            raise UserError(
                "`protocol.max_val` has no meaning here: there is no validation set; leave it out."
            )
        if self.precision not in ("32-true", "bf16-mixed"):
            raise UserError(
                f"`protocol.precision` of a federated task takes 32-true or bf16-mixed, got {self.precision}."
            )
        if split_path(self.model)[0] is None and self.model not in list(Model):
            raise UserError(
                f"`protocol.model` takes {', '.join(Model)} or `file.py:Class`, got `{self.model}`."
            )
        if self.poisoned >= self.clients:
            raise UserError(f"`protocol.poisoned={self.poisoned}` leaves no honest client of {self.clients}.")
