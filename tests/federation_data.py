"""Small federations for tests: phantoms on disk, made-up clients, one run of the engine, sick clients."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from conftest import Answer, only_record

from bench import registry, seeding
from bench.checkpoint import Checkpoint
from bench.core import Context
from bench.curves import Curves
from bench.device import make_fabric
from bench.families.federated_protocol import FederatedProtocol
from bench.federated import client as client_module
from bench.federated.client import partition_of, train_locally
from bench.federated.data import ClientImages, TrainSet
from bench.federated.drive import federate
from bench.federated.flower import Array, ArrayRecord, ConfigRecord
from bench.federated.outcome import Outcome
from bench.federated.recipe import initial_model, recipe_of
from bench.federated.shards import Shard
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


def by_hand(train: TrainSet, alive: Sequence[Sequence[int]], seed: int = 0) -> dict[str, np.ndarray]:
    """FedAvg from the formula: rounds in which the clients of `alive[round - 1]` answer."""
    protocol = FederatedProtocol(batch_size=4, lr=0.1, image_size=(SIDE, SIDE), clients=len(train))
    ctx = SimpleNamespace(
        protocol=protocol, in_channels=1, num_classes=CLASSES, seed=seed, fabric=SimpleNamespace(device="cpu")
    )
    recipe = recipe_of(ctx)  # pyright: ignore[reportArgumentType]
    model = initial_model(recipe, ctx)  # pyright: ignore[reportArgumentType]
    for number, who in enumerate(alive, 1):
        config = ConfigRecord({**recipe, "server-round": number, "purpose": "train"})
        total = sum(len(train.clients[c]) for c in who)
        mean = {name: np.zeros(value.shape) for name, value in model.items()}
        for c in who:
            shard = Shard(train.clients[c].images, train.clients[c].labels, "")
            arrays, _ = train_locally(model, config, shard, c)
            for name, value in arrays.items():
                mean[name] += len(train.clients[c]) / total * value.numpy()
        if who:
            model = ArrayRecord({name: Array(value.astype(np.float32)) for name, value in mean.items()})
    return {name: value.numpy() for name, value in model.items()}


def same(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    """Equal but for the rounding of another order of summation."""
    assert list(ours) == list(theirs)
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5, atol=1e-7, err_msg=name)


def record(out: Path) -> dict[str, Any]:
    """The one record below a folder of runs."""
    return json.loads(only_record(Path(out)).read_text())


def values(found: dict[str, Any]) -> dict[str, Any]:
    """Metric name -> value."""
    return {name: metric["value"] for name, metric in found["metrics"].items()}


def refused(answer: Answer, *told: str) -> None:
    """Exit code 2 and one sentence that says this."""
    assert answer.code == 2, answer
    assert answer.out == ""
    line = answer.err.splitlines()[-1]
    assert line.startswith("bench: ")
    assert "Traceback" not in answer.err
    for part in told:
        assert part in line, line
