"""Small federations for tests: phantoms on disk, made-up clients, one run of the engine, sick clients."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import registry, seeding
from bench.checkpoint import Checkpoint
from bench.core import Context
from bench.curves import Curves
from bench.device import make_fabric
from bench.families.federated_protocol import FederatedProtocol
from bench.federated import client as client_module
from bench.federated.client import partition_of
from bench.federated.data import ClientImages, TrainSet
from bench.federated.drive import federate
from bench.federated.outcome import Outcome
from bench.federated.strategy import FederatedMethod
from bench.progress import Progress

CLASSES = 3
SIDE = 12  # the smallest images that LeNet takes
# Two rounds of three clients: a run of about a second.
QUICK = {
    "clients": "3",
    "participation": "1",
    "rounds": "2",
    "protocol.batch_size": "32",
    "protocol.evaluate_every": "1",
}
LENET = {"protocol.model": "lenet", "protocol.image_size": "[12,12]", "protocol.pretrained": "false"}


def phantom(name: str, home: Path) -> Path:
    """The tiny phantom of a dataset, written once a session."""
    root = home / "federations" / name
    if not root.exists():
        root.parent.mkdir(exist_ok=True)
        registry.load("dataset", name).target().write_phantom(root, 0, "tiny")
    return root


def words(root: Path, out: Path, **changes: object) -> list[str]:
    """Words of a run on the Fashion-MNIST phantom; a change named `a__b` sets `a.b`."""
    given = {key.replace("__", "."): str(value) for key, value in changes.items()}
    base = {"task": "federated_fashion_mnist", "data_root": root, **QUICK, "out": out}
    return [f"{key}={value}" for key, value in {**base, **given}.items()]


def ham_words(root: Path, out: Path, **changes: object) -> list[str]:
    """Words of a run on the 8x8 lesion phantom: FedAP's partition, four clients, one round of LeNet."""
    given = {key.replace("__", "."): str(value) for key, value in changes.items()}
    base = {
        "task": "federated_ham10k",
        "dataset": "ham10000_8x8",
        "data_root": root,
        "clients": "4",
        "rounds": "1",
        **LENET,
        "out": out,
    }
    return [f"{key}={value}" for key, value in {**base, **given}.items()]


def clients(*sizes: int, seed: int = 0, classes: int = CLASSES, channels: int = 1) -> TrainSet:
    """Random images; label k is a brighter row k."""
    rng = np.random.default_rng(seed)
    found = []
    for size in sizes:
        labels = rng.integers(0, classes, size)
        images = rng.integers(0, 100, (size, channels, SIDE, SIDE), dtype=np.uint8)
        images[np.arange(size), :, 3 * labels] += 150
        found.append(ClientImages(images, labels.astype(np.int64)))
    return TrainSet(tuple(found))


@dataclass
class Trial:
    """What one run of the engine left."""

    outcome: Outcome
    log: list[str]
    told: list[str]

    @property
    def model(self) -> dict[str, np.ndarray]:
        """The model that client 0 is served."""
        return {name: value.numpy() for name, value in self.outcome.served[0].items()}


class Engine:
    """Runs of the engine below one folder, without the command line."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.log: list[str] = []
        self.told: list[str] = []
        self.probe: Callable[..., None] = lambda *looked: None
        self._numbers = itertools.count()

    def __call__(
        self, method: str | FederatedMethod, train: TrainSet, seed: int = 0, **protocol: Any
    ) -> Trial:
        """Train a federation of LeNets; what it logged stays on `self` even when it fails."""
        made = registry.load("method", method).target() if isinstance(method, str) else method
        fields = {
            "rounds": 2,
            "batch_size": 4,
            "lr": 0.1,
            "evaluate_every": 1,
            "image_size": train.clients[0].images.shape[2:],
            "channels": train.clients[0].images.shape[1],
            "clients": len(train),
        }
        folder = self.folder / f"run_{next(self._numbers)}"
        folder.mkdir(parents=True)
        curves = Curves(folder / "curves.csv")
        self.log, self.told = [], []
        labels = np.concatenate([client.labels for client in train.clients])
        ctx = Context(
            seed=seed,
            protocol=FederatedProtocol(**{**fields, **protocol}),
            profile="clean",
            num_classes=max(CLASSES, int(labels.max()) + 1),
            in_channels=train.clients[0].images.shape[1],
            folder=folder,
            fabric=make_fabric("cpu", "32-true"),
            checkpoint=Checkpoint(folder / "checkpoint", curves),
            progress=Progress(),
            log=self.log.append,
            curve=curves,
            probe=self.probe,
            tell=self.told.append,
        )
        seeding.seed_everything(seed)
        return Trial(federate(made.strategy, train, ctx), self.log, self.told)


def sick(monkeypatch: Any, fault: Callable[..., Any], when: Callable[[int, int, str], bool]) -> None:
    """Make clients fail.

    Args:
        monkeypatch: pytest's.
        fault: (app, message, context) -> what stands in place of the reply.
        when: (client, round, purpose) -> whether it fails.
    """
    healthy = client_module.client_app

    def make(shards: Path | None = None) -> Callable[..., Any]:
        app = healthy(shards)

        def call(message: Any, context: Any) -> Any:
            if message.metadata.message_type == "train":
                config = next(iter(message.content.config_records.values()))
                if when(partition_of(context), config["server-round"], config["purpose"]):
                    return fault(app, message, context)
            return app(message, context)

        return call

    monkeypatch.setattr("bench.federated.client.client_app", make)
