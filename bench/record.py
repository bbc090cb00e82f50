"""The record of a run: one JSON, schema version 1, the only thing a leaderboard reads."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from bench.core import MetricValue, Scored
from bench.errors import UserError
from bench.files import write_text

SCHEMA_VERSION = 1


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TaskPart(_Part):
    """Which question was asked, under which rules."""

    name: str
    family: str
    protocol_hash: str
    profile: Literal["clean", "official"]
    deviations: list[str] = []
    setting: dict[str, Any] = {}


class DataPart(_Part):
    """Which data answered it."""

    dataset: str
    variant: Literal["real", "phantom", "custom"]
    fingerprint: str
    split_sha256: str
    counts: dict[str, int]
    unit: Literal["patient", "client", "image", "graph"]
    leaks: int


class MethodPart(_Part):
    """Who answered."""

    name: str
    source: Literal["builtin", "file", "entry_point", "predictions"]
    state: Literal["reimplemented", "official_weights", "official_code", "external"]
    file_sha256: str | None = None
    parameters: int | None = None
    config: dict[str, Any] = {}


class EnvironmentPart(_Part):
    """Where it ran; no absolute path, user or host name."""

    bench: str
    git_sha: str | None
    dirty: bool | None
    python: str
    packages: dict[str, str]
    platform: str
    device: str
    device_count: int
    grid: str | None = None


class CostPart(_Part):
    """What it cost; null where the notion is empty."""

    wall_s: FiniteFloat | None = None
    fit_s: FiniteFloat | None = None
    predict_s: FiniteFloat | None = None
    score_s: FiniteFloat | None = None
    peak_memory_bytes: int | None = None
    flops_per_sample: int | None = None
    bytes_communicated: int | None = None


class ClassPart(_Part):
    """A metric on one class."""

    value: FiniteFloat | None
    ci_low: FiniteFloat | None = None
    ci_high: FiniteFloat | None = None
    n: int


class MetricPart(_Part):
    """A metric: value, 95 % interval over `data.unit`, samples, and every class.

    `intervals` names what was resampled, such as `{"patient": [low, high], "scan": [low, high]}`.
    """

    value: FiniteFloat | None
    ci_low: FiniteFloat | None = None
    ci_high: FiniteFloat | None = None
    n: int
    unit: str
    direction: Literal["higher", "lower", "none"]
    variant: str
    intervals: dict[str, tuple[FiniteFloat, FiniteFloat]] = {}
    per_class: dict[str, ClassPart] = {}


class Comparison(_Part):
    """Our number beside a printed one."""

    row_id: str
    reported: FiniteFloat
    tolerance: FiniteFloat
    verdict: str


class Record(_Part):
    """One run, from identity to numbers."""

    schema_version: Literal[1] = SCHEMA_VERSION
    run_id: str
    status: Literal["running", "done", "failed"]
    started: str
    ended: str | None = None
    command: str
    task: TaskPart
    data: DataPart
    method: MethodPart
    seeds: dict[str, int]
    environment: EnvironmentPart
    cost: CostPart = Field(default_factory=CostPart)
    metrics: dict[str, MetricPart] = {}
    compared_to: list[Comparison] = []

    def write(self, path: Path) -> None:
        """Replace the record on disk in one step."""
        write_text(path, self.model_dump_json(indent=2) + "\n")


def read(path: Path) -> Record:
    """Read and validate a record.

    Raises:
        UserError: The file is no record of this schema version.
    """
    try:
        return Record.model_validate_json(path.read_bytes())
    except ValueError as error:
        raise UserError(
            f"`{path}` is no record of schema version {SCHEMA_VERSION} ({type(error).__name__}); "
            "move it away or add `rerun=true`."
        ) from error


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a record; the copy in `bench/record.schema.json` is tested to be this."""
    return Record.model_json_schema()


def metric_parts(scored: Scored) -> dict[str, MetricPart]:
    """Metric values as the record holds them; an undefined number is null with n 0."""
    return {name: _metric_part(value) for name, value in scored.metrics.items()}


def _metric_part(metric: MetricValue) -> MetricPart:
    return MetricPart(
        value=metric.value,
        ci_low=metric.ci_low,
        ci_high=metric.ci_high,
        n=metric.n,
        unit=metric.unit,
        direction=metric.direction,  # pyright: ignore[reportArgumentType]
        variant=metric.variant,
        intervals=metric.intervals,
        per_class={
            name: ClassPart(value=one.value, ci_low=one.ci_low, ci_high=one.ci_high, n=one.n)
            for name, one in metric.per_class.items()
        },
    )


def now() -> str:
    """The present moment, UTC, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
