"""What `bench check` and `bench show` ask of a federated task."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench.core import Context, Dataset, Method, Task
from bench.errors import UserError
from bench.families.federated_answers import Answers
from bench.families.federated_protocol import Scheme
from bench.federated.data import FederatedData
from bench.federated.partition import Partition, Split
from bench.pictures import Pictures


class FederatedTrial(Task):
    """A task on trial: answers one by one, the pace of a step, the facts of its partitions."""

    presets: ClassVar[Mapping[Scheme, Mapping[str, Any]]] = {}

    @abstractmethod
    def divide(self, index: Pictures, protocol: Any) -> Partition:
        """The partition: a function of labels, groups, protocol and `partition_seed`."""

    def labels(self, predictions: Answers) -> np.ndarray:
        """(N,) int64, by the served models."""
        return predictions.served

    def answer_singly(self, method: Method, data: FederatedData) -> np.ndarray:
        """One image at a time, (N,) int64."""
        pairs = zip(data.test.clients.tolist(), data.test.images, strict=True)
        return np.concatenate([method.predict((client, image[None])) for client, image in pairs])

    def portable(self, method: Method) -> str:
        """What the strategy keeps between rounds fits a checkpoint."""
        outcome = getattr(method, "outcome", None)
        if outcome is None or outcome.resumable:
            return "its state between rounds fits a checkpoint: a killed run resumes"
        return "runs, but a killed run starts anew: the strategy keeps what no checkpoint can hold"

    def rehearse(
        self, method: Method, data: FederatedData, ctx: Context, whole: Callable[[], Pictures]
    ) -> str:
        """Steps of one client at the protocol's batch size."""
        from bench.federated.pace import pace

        return pace(data.train, ctx, [len(c.train) for c in self.divide(whole(), ctx.protocol).clients])

    def admit(self, spec: str, node: type[Method]) -> None:
        """A wrapper alone has nothing to wrap."""
        from bench.federated.strategy import Wrapper

        if issubclass(node, Wrapper):
            raise UserError(f"`{spec}` wraps another method; write for instance `method=fedavg+{spec}`.")

    def facts(self, dataset: Dataset, root: Path) -> dict[str, str]:
        """Clients, images and leaks of every partition and split, at partition seed 0; no image is read."""
        if not hasattr(dataset, "index"):
            return {}
        samples = dataset.index(root)  # pyright: ignore[reportAttributeAccessIssue]
        found = {}
        for scheme in self.presets:
            for split in Split:
                p = self.base("clean", "", {"partition": scheme, "split": split})
                parts = self.divide(samples, p)
                train, test = (
                    sum(len(getattr(c, part)) for c in parts.clients) for part in ("train", "test")
                )
                leaks = f", {parts.leaks(samples.groups)} test images whose lesion is in train"
                found[f"partition={scheme} split={split}"] = (
                    f"{len(parts.clients)} clients, {train} train, {test} test{leaks}"
                )
        return found
