"""The five nouns as types: Dataset, Task, Method (Metric is a function, Record is in `record.py`).

Shape legend, used in every docstring: B batch, C channels, H height, W width (pixels), K classes,
N samples, S units (patients, clients).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from bench.card import Card
from bench.context import Context as Context
from bench.errors import UserError


@dataclass(frozen=True)
class DataInfo:
    """What a record says of the data.

    Args:
        fingerprint: SHA-256 over ids, units and decoded content of every sample; independent of file format.
        split_sha256: SHA-256 over the assignment of samples to splits.
        counts: Samples in `train`, `val`, `test`.
        unit: What is resampled for intervals: patient, client, image or graph.
        leaks: Units that stand in the test split and in another one.
        classes: Class names in label order.
    """

    fingerprint: str
    split_sha256: str
    counts: dict[str, int]
    unit: str
    leaks: int
    classes: tuple[str, ...]


class Dataset(ABC):
    """Where samples come from: official files on disk, read by one loader.

    `load` checks every file it reads (present, readable, shape, label range, split) and raises
    `UserError` naming the file and the remedy. A phantom is written in the same format.
    """

    card: ClassVar[Card]
    has_phantom: ClassVar[bool] = True

    @abstractmethod
    def load(self, root: Path, progress: Callable[..., Any] | None = None) -> Any:
        """Read everything under `root`; the family says what type is returned."""

    def verify(self, root: Path, progress: Callable[..., Any] | None = None) -> dict[str, str]:
        """Check the data under `root` as `load` does and return what was established, by name."""
        samples = self.load(root, progress)
        counts = {f"samples {split}": str(count) for split, count in samples.counts().items()}
        return {**counts, "leaks": str(samples.leaks()), "fingerprint": samples.fingerprint()}

    def write_phantom(
        self, root: Path, seed: int = 0, size: str = "small", progress: Callable[..., Any] | None = None
    ) -> None:
        """Write a procedurally generated stand-in under `root`, in the official format."""
        raise NotImplementedError(f"{type(self).__name__} has no phantom")


@dataclass(frozen=True)
class Protocol:
    """Every number that makes rows comparable; subclassed and frozen by each task.

    Args:
        precision: Numerical precision of training, a name Lightning Fabric knows (`32-true`, `bf16-mixed`).
        max_steps: Optimiser steps in all; None for no limit below `epochs`.
        max_val: Validation samples looked at, spread evenly; None for all.
        max_test: Test samples scored, spread evenly; None for all.

    Fields named in `later` were added after rows had been committed: at None they mean what was done before,
    and leave the hash as it was.
    """

    later: ClassVar[tuple[str, ...]] = ()

    precision: str = "32-true"
    max_steps: int | None = None
    max_val: int | None = None
    max_test: int | None = None


@dataclass
class Method(ABC):
    """A network or algorithm. Its dataclass fields are its configuration, nothing else is.

    `official` gives the field values of profile `official`; fields set by the user stay as set.
    """

    card: ClassVar[Card]
    family: ClassVar[str] = ""
    official: ClassVar[Mapping[str, Any]] = {}

    @abstractmethod
    def fit(self, train: Any, val: Any, ctx: Context) -> None:
        """Learn from `train`; choose by `val`; keep what `predict` needs on `self`."""

    @abstractmethod
    def predict(self, x: Any) -> Any:
        """Answer test inputs; never sees targets."""

    def parameters_count(self) -> int | None:
        """Trainable parameters, or None where the notion is empty."""
        return None


@dataclass
class MetricValue:
    """One number with all that is needed to defend it.

    Args:
        value: The number, or None where it is undefined (then `n` is 0).
        n: Samples that entered the value.
        unit: `fraction`, `score`, `mm`, ...
        direction: `higher`, `lower` or `none`.
        variant: `clean` or `official`: the formula, nothing else.
        ci_low, ci_high: 95 % bootstrap interval over units (patients, clients).
        intervals: The same and further intervals by what was resampled: `{"patient": (lo, hi)}`.
        per_class: Class name -> value, interval and n.
    """

    value: float | None
    n: int
    unit: str = "fraction"
    direction: str = "higher"
    variant: str = "clean"
    ci_low: float | None = None
    ci_high: float | None = None
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    per_class: dict[str, MetricValue] = field(default_factory=dict)


@dataclass
class Scored:
    """What scoring returns.

    Args:
        metrics: Aggregates.
        units: One row a sample, for `units.parquet`.
        notes: What makes values doubtful or undefined, a sentence each; said and logged.
    """

    metrics: dict[str, MetricValue]
    units: list[dict[str, Any]]
    notes: Sequence[str] = ()


class Task(ABC):
    """Dataset, frozen splits, protocol, metric suite, the metric that ranks, reported tables.

    `axes` are protocol fields that choose the question (which partition, which target) and are no deviation;
    `smoke` and `small` the protocol fields of `budget=smoke` and of `bench check`.
    """

    card: ClassVar[Card]
    family: ClassVar[str]
    protocol: ClassVar[type[Protocol]]
    profiles: ClassVar[Mapping[str, Mapping[str, Any]]] = {"clean": {}, "official": {}}
    smoke: ClassVar[Mapping[str, Any]] = {}
    small: ClassVar[Mapping[str, Any]] = {}
    top_level: ClassVar[tuple[str, ...]] = ()
    axes: ClassVar[tuple[str, ...]] = ()

    def base(self, profile: str, dataset: str, axes: Mapping[str, Any]) -> Any:
        """The protocol of a profile on a dataset with the axes chosen; nothing in it deviates."""
        return replace(self.protocol(), **{**self.profiles[profile], **axes})

    def schemes(self) -> Mapping[str, Mapping[str, Any]]:
        """Axes that bring a protocol of their own, by the words that choose them."""
        return {}

    def setting(self, protocol: Any) -> dict[str, Any]:
        """The axes of a protocol, as records and tables show them."""
        return {name: getattr(protocol, name) for name in self.axes}

    def seeds(self, protocol: Any) -> dict[str, int]:
        """Seeds beside the run's, by what they draw."""
        return {}

    def available(self, protocol: Any) -> Mapping[str, tuple[Any, str]]:
        """Protocol fields that this machine cannot honour: field -> the value in its place, and why.

        A field that the user set is refused with that reason; only a default is replaced.
        """
        return {}

    @abstractmethod
    def load(self, samples: Any, protocol: Any) -> Any:
        """Turn a dataset's samples into train, val and test under `protocol`."""

    def departures(self, data: Any) -> tuple[str, ...]:
        """What the data at hand makes deviate from the protocol, in words."""
        return ()

    @abstractmethod
    def score(self, predictions: Any, data: Any, protocol: Any) -> Scored:
        """Compare predictions with the test targets of `data`."""

    @abstractmethod
    def scale(self, protocol: Any, fraction: float) -> Mapping[str, Any]:
        """Protocol fields at `fraction` of the full budget."""

    @abstractmethod
    def adapt(self, cls: type, name: str) -> type[Method]:
        """Make a Method of a user's plain class (a network, a strategy), or raise `UserError`."""

    @abstractmethod
    def predict(self, method: Method, data: Any, ctx: Context) -> Any:
        """Run `method.predict` over the test inputs."""

    def watch(self, data: Any, ctx: Context) -> Callable[..., None]:
        """What `Context.probe` does: score unfinished models for the curves."""
        return lambda *args: None

    def keep(self, folder: Path, data: Any, predictions: Any) -> None:  # noqa: B027
        """Write what belongs beside the record, such as the partition of a federation or drawn graphs."""

    def bytes_communicated(self, predictions: Any) -> int | None:
        """Bytes that went between server and clients, or None where there are none."""
        return None

    @abstractmethod
    def labels(self, predictions: Any) -> Any:
        """The answers in predictions as one array of integers."""

    @abstractmethod
    def answer_singly(self, method: Method, data: Any) -> Any:
        """The array of `labels` again, each sample answered alone; None where that cannot be asked."""

    @abstractmethod
    def portable(self, method: Method) -> str:
        """Whether what a fitted method holds can be written down, in words; raises where it cannot."""

    @abstractmethod
    def rehearse(self, method: Method, data: Any, ctx: Context, whole: Callable[[], Any]) -> str:
        """Time a piece of the real protocol; what it means for the whole run, in words.

        Args:
            method: Untrained.
            data: The task's data on a tiny phantom.
            ctx: Context of the full protocol.
            whole: Loads the samples of a phantom of full size.
        """

    def facts(self, dataset: Dataset, root: Path) -> dict[str, str]:
        """What `bench show` tells of the task's splits of the data under `root`, by name."""
        return {}

    def admit(self, spec: str, node: type[Method]) -> None:  # noqa: B027
        """Refuse, with a `UserError`, a method of the family that cannot run alone."""

    def compose(self, parts: Sequence[tuple[str, type[Method]]]) -> type[Method]:
        """The method of an expression `a+b+...`; a `UserError` where the family has none."""
        raise UserError(
            f"Methods of the family {self.family} do not combine; name one of them with `method=`."
        )

    @abstractmethod
    def blind(self, data: Any) -> Any:
        """A copy of `data` whose test targets are blank; `bench check` sees whether a method notices."""

    def flops(self, method: Method, data: Any) -> int | None:
        """Floating point operations to answer one sample, or None where they cannot be counted."""
        return None

    @abstractmethod
    def read_predictions(self, folder: Path, data: Any) -> Any:
        """Read predictions made elsewhere, or raise `UserError` naming every faulty file."""

    @abstractmethod
    def gallery(
        self, folder: Path, predictions: Any, data: Any, scored: Scored, caption: str
    ) -> Sequence[Path]:
        """Draw what a person would rather look at, under `caption`; return the files written."""
