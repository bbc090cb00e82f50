"""The family *federated classification*: clients that keep their images, one strategy, one label an image.

`fit` gets a `TrainSet` (every client's training images); there is no validation set, and the last round's
model is the result. `predict` gets one client's test images and answers with the model that this client is
served.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench.core import Context, DataInfo, Method, Scored
from bench.errors import RunFailed, UserError
from bench.families.federated_answers import Answers, first_reached, read_labels
from bench.families.federated_protocol import Scheme
from bench.families.federated_trial import FederatedTrial
from bench.federated import partition as rules
from bench.federated.data import ClientImages, FederatedData, TestSet, TrainSet
from bench.federated.partition import Partition
from bench.federated.recipe import drawn_of
from bench.metrics import classification
from bench.nn.classifiers import find_pretrained, is_official, pretrained_hint
from bench.pictures import Pictures
from bench.registry import split_path

POISON_SEED = 7


class FederatedTask(FederatedTrial):
    """What federated tasks share; a task file adds card, datasets, protocol and presets.

    `presets` holds, by partition scheme, the protocol fields that the papers give with it; `sizes` those
    that a dataset fixes.
    """

    family = "federated_classification"
    axes: ClassVar[tuple[str, ...]] = ("partition", "clients", "classes_per_client", "participation")
    top_level: ClassVar[tuple[str, ...]] = (*axes, "rounds", "grid")
    presets: ClassVar[Mapping[Scheme, Mapping[str, Any]]] = {}
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    small: ClassVar[Mapping[str, Any]] = {
        "rounds": 2,
        "evaluate_every": 1,
        "max_steps": None,
        "batch_size": 4,
        "max_test": 16,
        "clients": 4,
        "clients_per_round": 2,
    }

    def base(self, profile: str, dataset: str, axes: Mapping[str, Any]) -> Any:
        """The protocol of a setting: the scheme's preset, the dataset's sizes, then what the user chose."""
        scheme = axes.get("partition", self.protocol().partition)  # pyright: ignore[reportAttributeAccessIssue]
        if scheme not in self.presets:
            raise UserError(
                f"`partition={scheme}` does not belong to this task; it has {', '.join(self.presets)}."
            )
        fields = {**self.presets[scheme], **self.sizes.get(dataset, {}), **self.profiles[profile]}
        return dataclasses.replace(self.protocol(), **{**fields, "partition": scheme, **axes})

    def schemes(self) -> Mapping[str, Mapping[str, Any]]:
        """Every partition the task has, but the default one."""
        usual = self.protocol().partition  # pyright: ignore[reportAttributeAccessIssue]
        return {f"partition={s}": {"partition": s} for s in self.presets if s != usual}

    def seeds(self, protocol: Any) -> dict[str, int]:
        """The partition has a seed of its own."""
        return {"partition": protocol.partition_seed}

    def available(self, protocol: Any) -> Mapping[str, tuple[Any, str]]:
        """Without ImageNet weights on this machine the network starts at random, and the run says so."""
        if not protocol.pretrained:
            return {}
        if split_path(protocol.model)[0] is not None:
            return {"pretrained": (False, "a network of one's own has no ImageNet weights.")}
        path = find_pretrained(protocol.model)
        if path is None:
            return {"pretrained": (False, pretrained_hint(protocol.model))}
        if not is_official(path):
            why = f"`{path.name}` is not torchvision's file, whose SHA-256 begins as its name ends."
            return {"pretrained": (False, why)}
        return {}

    def divide(self, index: Pictures, protocol: Any) -> Partition:
        """The partition: a function of labels, groups, protocol and `partition_seed`."""
        p = protocol
        most = len(index.classes)
        if p.classes_per_client > most and p.partition is not Scheme.ida:
            raise UserError(
                f"`protocol.classes_per_client={p.classes_per_client}` is more than the {most} classes "
                f"there are."
            )
        seed, own = p.partition_seed, {"clients": p.clients, "classes_per_client": p.classes_per_client}
        if p.partition is Scheme.fedap:
            if p.classes_per_client != 2:
                raise UserError("`partition=fedap` gives every client two classes; use `partition=ida`.")
            return rules.fedap(index.labels, index.groups, p.split, seed, clients=p.clients)
        if p.partition is Scheme.ida:
            return rules.ida(index.labels, index.groups, p.split, seed, **own)
        if p.partition is Scheme.uneven:
            return rules.uneven(index.labels, seed, most_per_class=1000, doubled=p.doubled, **own)
        limit = 500 if p.partition is Scheme.thousand else None
        return rules.balanced(index.labels, seed, most_per_client=limit, **own)

    def load(self, samples: Pictures, protocol: Any) -> FederatedData:
        """Divide, decode and resize; every client's images in memory as bytes."""
        drawn_of(protocol, protocol.clients)
        parts = self.divide(samples, protocol)
        tests = [spread(client.test, protocol.max_test, len(parts.clients)) for client in parts.clients]
        train = []
        for client in parts.clients:
            images = samples.stack(client.train, tuple(protocol.image_size), protocol.channels)
            train.append(ClientImages(images, samples.labels[client.train]))
        every = np.concatenate(tests)
        if not len(every):
            raise UserError("No client has a test image; raise `protocol.max_test` or use more data.")
        test = TestSet(
            images=samples.stack(every, tuple(protocol.image_size), protocol.channels),
            targets=samples.labels[every],
            clients=np.repeat(np.arange(len(tests)), [len(t) for t in tests]),
            ids=tuple(samples.ids[i] for i in every),
        )
        info = DataInfo(
            fingerprint=samples.fingerprint(),
            split_sha256=parts.sha256(samples.ids),
            counts={"train": sum(map(len, train)), "val": 0, "test": len(every)},
            unit="client",
            leaks=parts.leaks(samples.groups),
            classes=samples.classes,
        )
        drawn = np.random.default_rng([protocol.partition_seed, POISON_SEED]).permutation(len(train))
        noisy = {int(client): protocol.noise for client in drawn[: protocol.poisoned]}
        return FederatedData(TrainSet(tuple(train), noisy), test, info, parts, samples.ids)

    def keep(self, folder: Path, data: FederatedData, predictions: Any) -> None:
        """`partition.csv`: which image is whose, in which split; its SHA-256 is the record's split."""
        data.partition.write(folder / "partition.csv", data.image_ids)

    def watch(self, data: FederatedData, ctx: Context) -> Callable[..., None]:
        """A point of the curves: accuracy on the test sets, which no method gets to see."""
        from bench.federated.outcome import labels_by_client
        from bench.federated.recipe import recipe_of

        recipe = recipe_of(ctx)

        def look(row: dict[str, Any], model_of: Callable[[int], Any]) -> None:
            found = labels_by_client(model_of, recipe, data.test.images, data.test.clients)
            right = found == data.test.targets
            by_client = [right[data.test.clients == c].mean() for c in np.unique(data.test.clients)]
            ctx.curve({**row, "accuracy": float(right.mean()), "local_accuracy": float(np.mean(by_client))})

        return look

    def predict(self, method: Method, data: FederatedData, ctx: Context) -> Answers:
        """Labels of the model each client is served and of the one it would send next."""
        outcome = getattr(method, "outcome", None)
        served = np.full(len(data.test.targets), -1, np.int64)
        trained = served.copy() if outcome is not None and outcome.trained else None
        for client in range(len(data.train)):
            own = data.test.clients == client
            if not own.any():
                continue
            y = np.asarray(method.predict((client, data.test.images[own].copy())))
            if y.shape != (own.sum(),) or not np.issubdtype(y.dtype, np.integer):
                raise RunFailed(f"`predict` must return {own.sum()} integer labels, got {y.shape} {y.dtype}.")
            served[own] = y
            if trained is not None and outcome is not None:
                trained[own] = outcome.predict(client, data.test.images[own], trained=True)
        if not 0 <= served.min() <= served.max() < len(data.info.classes):
            raise RunFailed(f"`predict` returned labels outside 0 to {len(data.info.classes) - 1}.")
        rows = ctx.curve.rows  # pyright: ignore[reportFunctionMemberAccess]
        facts = dict(outcome.facts) if outcome is not None else {}
        silent = facts.get("bytes_up", 0) is None  # no rounds of communication to count
        facts |= first_reached([] if silent else rows, ctx.protocol.target_accuracy)
        return Answers(served, trained, facts, [dict(row) for row in rows])

    def bytes_communicated(self, predictions: Answers) -> int | None:
        """Arrays sent down and up in training, without Flower's framing."""
        up, down = (predictions.facts.get(name) for name in ("bytes_up", "bytes_down"))
        return None if up is None or down is None else int(up + down)

    def compose(self, parts: Sequence[tuple[str, type[Method]]]) -> type[Method]:
        """Weightings multiply, wrappers apply from left to right."""
        from bench.federated.compose import composed

        return composed(parts)

    def setting(self, protocol: Any) -> dict[str, Any]:
        """The axes; a fixed number of clients a round stands in place of a share."""
        found = super().setting(protocol)
        if protocol.clients_per_round is not None:
            found.pop("participation")
            found["clients_per_round"] = protocol.clients_per_round
        return {name: value for name, value in found.items() if value not in (None, ())}

    def score(self, predictions: Answers, data: FederatedData, protocol: Any) -> Scored:
        """The classification suite over the clients' test sets."""
        return classification.suite(
            served=predictions.served,
            trained=predictions.trained,
            targets=data.test.targets,
            clients=data.test.clients,
            client_names=client_names(data),
            classes=data.info.classes,
            train_counts=data.train.counts(len(data.info.classes)),
            facts=predictions.facts,
        )

    def scale(self, protocol: Any, fraction: float) -> Mapping[str, Any]:
        """Fewer rounds, fewer steps, and curve points as much closer."""
        rounds = max(1, round(protocol.rounds * fraction))
        scaled = {
            "rounds": rounds,
            "evaluate_every": min(rounds, max(1, round(protocol.evaluate_every * fraction))),
        }
        if protocol.max_steps is not None:
            scaled["max_steps"] = max(1, round(protocol.max_steps * fraction))
        return scaled

    def adapt(self, cls: type, name: str) -> type[Method]:
        """A plain Flower `Strategy` becomes a method under the task's own recipe."""
        from bench.federated.plain import plain_strategy

        return plain_strategy(cls, name)

    def blind(self, data: FederatedData) -> FederatedData:
        """Test labels all 0."""
        test = dataclasses.replace(data.test, targets=np.zeros_like(data.test.targets))
        return dataclasses.replace(data, test=test)

    def read_predictions(self, folder: Path, data: FederatedData) -> Answers:
        """Labels from `predictions.csv`, one line a test image."""
        return read_labels(folder, data.test.ids, data.info.classes)

    def gallery(
        self, folder: Path, predictions: Answers, data: FederatedData, scored: Scored, caption: str
    ) -> Sequence[Path]:
        """The federation's label distribution, every client's accuracy, the curves."""
        from bench.report.federation import federation_gallery

        classes = len(data.info.classes)
        tests = [
            np.bincount(data.test.targets[data.test.clients == c], minlength=classes)
            for c in range(len(data.train))
        ]
        return federation_gallery(
            folder,
            train_counts=data.train.counts(classes),
            test_counts=np.stack(tests),
            classes=data.info.classes,
            client_accuracy=column(scored, "accuracy"),
            client_accuracy_trained=column(scored, "accuracy_trained"),
            majority_accuracy=scored.metrics["majority_accuracy"].value,
            curves=predictions.curves,
            caption=caption,
        )


def client_names(data: FederatedData) -> list[str]:
    """`client_000` and so on."""
    return [f"client_{client:03d}" for client in range(len(data.train))]


def column(scored: Scored, name: str) -> np.ndarray | None:
    """A column of the per-client rows, NaN where undefined; None where there is none."""
    if not scored.units or name not in scored.units[0] or all(row[name] is None for row in scored.units):
        return None
    return np.array([np.nan if row[name] is None else row[name] for row in scored.units], float)


def spread(positions: np.ndarray, most: int | None, clients: int) -> np.ndarray:
    """At most `most / clients` of a client's test images, evenly spaced, at least one."""
    if most is None:
        return positions
    share = max(1, most // clients)
    if share >= len(positions):
        return positions
    return positions[np.linspace(0, len(positions) - 1, share).round().astype(int)]
