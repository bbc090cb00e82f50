"""What a federation trains on and what the engine tests it with."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bench.core import DataInfo
from bench.federated.partition import Partition


@dataclass(frozen=True)
class ClientImages:
    """One client's training data.

    Args:
        images: (n, C, H, W) uint8.
        labels: (n,) int64.
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class TrainSet:
    """Training data of all clients; all a method's `fit` gets.

    Args:
        clients: In the order of their partition ids.
        noisy: Poisoned clients and the standard deviation of the noise they add to what they send.
    """

    clients: tuple[ClientImages, ...]
    noisy: dict[int, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.clients)

    def merged(self) -> TrainSet:
        """One client that holds everything; it is honest."""
        images = np.concatenate([client.images for client in self.clients])
        labels = np.concatenate([client.labels for client in self.clients])
        return TrainSet((ClientImages(images, labels),))

    def counts(self, classes: int) -> np.ndarray:
        """Labels of each client, (S, K) int64."""
        return np.stack([np.bincount(client.labels, minlength=classes) for client in self.clients])


@dataclass(frozen=True)
class TestSet:
    """The union of the clients' test sets.

    Args:
        images: (N, C, H, W) uint8, client by client.
        targets: (N,) int64; methods never see them.
        clients: (N,) int64, whose test image it is.
        ids: N image names.
    """

    __test__ = False  # no test case

    images: np.ndarray
    targets: np.ndarray
    clients: np.ndarray
    ids: tuple[str, ...]

    def of(self, client: int) -> np.ndarray:
        """The images of one client, (n, C, H, W) uint8."""
        return self.images[self.clients == client]


@dataclass(frozen=True)
class FederatedData:
    """Train and test of one run. Only the engine holds this object; methods get `train`."""

    train: TrainSet
    test: TestSet
    info: DataInfo
    partition: Partition
    image_ids: tuple[str, ...]
    val: None = None

    @property
    def in_channels(self) -> int:
        """C."""
        return self.test.images.shape[1]
