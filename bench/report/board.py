"""What a leaderboard is made of: sections of our rows, blocks of reported rows, and cells.

A section holds rows that may be ranked together; nothing else may. Reported rows live in blocks of their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bench.reported import MEAN, ReportedRow

VARIANTS = {
    "real": "real data",
    "custom": "custom data, the user's own",
    "phantom": "PHANTOM, not real data",
}


@dataclass(frozen=True)
class Cell:
    """A metric of one row.

    Args:
        value: Mean over seeds, None where no seed has a value.
        low: Lower bound of the 95 % interval over units; for several seeds, the mean of their bounds.
        high: Upper bound, the same.
        std: Standard deviation over seeds (n - 1 in the denominator), None below two.
        n: Samples that entered.
        seeds: Seeds that have a value.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    std: float | None = None
    n: int = 0
    seeds: int = 0


@dataclass(frozen=True)
class Row:
    """One method in one configuration, over its seeds.

    Args:
        label: What tables call it.
        method: Registry name, class name, or the label given to predictions.
        source: builtin, file, entry_point or predictions.
        state: reimplemented, official_weights, official_code or external.
        parameters: Trainable parameters, or None.
        records: One finished record a seed, as plain dictionaries.
        rank: Place in its section, 1 the best; equal values share a place; None without a value.
    """

    label: str
    method: str
    source: str
    state: str
    parameters: int | None
    records: tuple[Mapping[str, Any], ...]
    rank: int | None = None

    def cell(self, metric: str, class_name: str = MEAN) -> Cell:
        """A metric over the seeds, overall or of one class."""
        found = []
        for record in self.records:
            entry = record["metrics"].get(metric)
            if entry is not None and class_name:
                entry = entry.get("per_class", {}).get(class_name)
            if entry is not None and entry["value"] is not None:
                found.append(entry)
        if not found:
            return Cell(None)
        first = found[0]
        if len(found) == 1:
            return Cell(first["value"], first.get("ci_low"), first.get("ci_high"), None, first["n"], 1)
        values = [entry["value"] for entry in found]
        lows = [entry.get("ci_low") for entry in found]
        highs = [entry.get("ci_high") for entry in found]
        bounded = None not in lows and None not in highs
        mean = _mean(values)
        return Cell(
            value=mean,
            low=_mean(lows) if bounded else None,
            high=_mean(highs) if bounded else None,
            std=math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)),
            n=first["n"],
            seeds=len(found),
        )

    def direction(self, metric: str) -> str:
        """`higher`, `lower` or `none`, as the records say."""
        for record in self.records:
            if metric in record["metrics"]:
                return record["metrics"][metric]["direction"]
        return "none"


@dataclass(frozen=True)
class Key:
    """What rows of one section have in common; rows that differ in any of it are never ranked together."""

    dataset: str
    variant: str
    fingerprint: str
    split_sha256: str
    profile: str
    protocol_hash: str

    @staticmethod
    def of(record: Mapping[str, Any]) -> Key:
        """The key of a record."""
        data, task = record["data"], record["task"]
        return Key(
            data["dataset"],
            data["variant"],
            data["fingerprint"],
            data["split_sha256"],
            task["profile"],
            task["protocol_hash"],
        )


@dataclass(frozen=True)
class Section:
    """Rows that were measured alike, best first.

    Args:
        key: What they have in common.
        unit: What their intervals resample (patient, client, ...).
        test_n: Samples in the test split.
        leaks: Units that stand in the test split and in another one.
        deviations: How the protocol differs from the task's, in words.
        metrics: Metric names, the primary first.
        classes: Classes of the primary metric.
        rows: Ranked rows, then those without a value.
    """

    key: Key
    unit: str
    test_n: int
    leaks: int
    deviations: tuple[str, ...]
    metrics: tuple[str, ...]
    classes: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        """Dataset, variant, profile, protocol, data, split and size, on one line."""
        k = self.key
        return (
            f"{k.dataset} · {VARIANTS.get(k.variant, k.variant)} · profile {k.profile} · "
            f"protocol {k.protocol_hash[:8]} · data {k.fingerprint[:8]} · split {k.split_sha256[:8]} · "
            f"test n={self.test_n}"
        )

    @property
    def terms(self) -> list[str]:
        """Deviations and leaks, one sentence each."""
        told = (
            "Deviates from the task's protocol: " + "; ".join(self.deviations) + "."
            if self.deviations
            else "The task's full protocol, without deviation."
        )
        if not self.leaks:
            return [told]
        return [told, f"Leak: {self.leaks} {self.unit}s stand in the test split and in another one."]


@dataclass(frozen=True)
class ReportedCell:
    """A printed number, its marks, and our number for the same cell where one is comparable."""

    row: ReportedRow
    marks: tuple[str, ...] = ()
    ours: float | None = None


@dataclass(frozen=True)
class Line:
    """A row of a printed table: a method in one variant."""

    method: str
    variant: str
    setting: str
    measured: str
    cells: Mapping[str, ReportedCell]


@dataclass(frozen=True)
class Block:
    """A printed table on one dataset.

    Args:
        file: Stem of the CSV file.
        source: Paper and table.
        dataset: As reported.
        ours: Our dataset of the same name, or None.
        profile: Our profile whose protocol the numbers were made under.
        answers: Reported metric -> our metric that it is set beside.
        columns: Column headings in printed order.
        headline: The columns that our single number is shown for.
        lines: Rows as printed.
        notes: Mark such as `†1` -> its reason.
    """

    file: str
    source: str
    dataset: str
    ours: str | None
    profile: str
    answers: Mapping[str, str]
    columns: tuple[str, ...]
    headline: tuple[str, ...]
    lines: tuple[Line, ...]
    notes: Mapping[str, str]

    @property
    def title(self) -> str:
        """What stands above the block."""
        return f"Reported: {self.dataset}, {self.source}"

    @property
    def terms(self) -> str:
        """Which of our numbers the printed ones answer to."""
        metrics = ", ".join(f"{theirs} to our {ours}" for theirs, ours in self.answers.items())
        where = f"real {self.ours}" if self.ours else "no dataset of ours"
        return f"As printed, not ranked with our rows. Answers: {metrics}, profile {self.profile}, {where}."


@dataclass(frozen=True)
class Board:
    """Everything a leaderboard shows; renderers add nothing to it."""

    task: str
    title: str
    primary: str
    sections: tuple[Section, ...] = ()
    blocks: tuple[Block, ...] = field(default=())


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def ranked(rows: Sequence[Row], metric: str) -> tuple[Row, ...]:
    """Rows best first with ranks; equal values share one; rows without a value, or a direction, have none."""
    valued = [(row, row.cell(metric).value) for row in rows]
    direction = next((row.direction(metric) for row, value in valued if value is not None), "none")
    sign = {"higher": -1.0, "lower": 1.0}.get(direction)
    having = [(value, row) for row, value in valued if value is not None]
    lacking = sorted((row for row, value in valued if value is None), key=lambda row: row.label)
    if sign is None:
        return (*sorted((row for _, row in having), key=lambda row: row.label), *lacking)
    having.sort(key=lambda pair: (sign * pair[0], pair[1].label))
    out: list[Row] = []
    for place, (value, row) in enumerate(having, start=1):
        tied = bool(out) and having[place - 2][0] == value
        out.append(replace(row, rank=out[-1].rank if tied else place))
    return (*out, *lacking)
