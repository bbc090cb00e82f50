"""What a leaderboard is made of: sections of our rows and their cells, and blocks of reported rows.

A section holds rows that may be ranked together; nothing else may. Reported rows live in blocks of their own
(`blocks.py`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from bench.axes import said
from bench.report.blocks import Block
from bench.reported import MEAN

VARIANTS = {
    "real": "real data",
    "custom": "custom data, the user's own",
    "phantom": "PHANTOM, not real data",
}


class Cell(NamedTuple):
    """A metric of one row. Spread over units and spread over seeds stand apart and never enter one interval.

    Args:
        value: Mean over seeds, None where no seed has a value.
        low: Lower bound of the 95 % interval over units; for several seeds, the mean of their bounds.
        high: Upper bound, the same.
        std: Standard deviation over seeds (n - 1 in the denominator), None below two.
        seed_low: Lower bound of the 95 % t-interval of the mean over seeds, None below two.
        seed_high: Upper bound, the same.
        n: Samples that entered.
        seeds: Seeds that have a value.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    std: float | None = None
    n: int = 0
    seeds: int = 0
    seed_low: float | None = None
    seed_high: float | None = None


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
        count = len(found)
        values = [entry["value"] for entry in found]
        lows = [entry.get("ci_low") for entry in found]
        highs = [entry.get("ci_high") for entry in found]
        bounded = None not in lows and None not in highs
        mean = math.fsum(values) / count
        std = math.sqrt(math.fsum([(v - mean) ** 2 for v in values]) / (count - 1))
        half = _t_quantile(count - 1) * std / math.sqrt(count)
        return Cell(
            value=mean,
            low=math.fsum(lows) / count if bounded else None,
            high=math.fsum(highs) / count if bounded else None,
            std=std,
            n=first["n"],
            seeds=count,
            seed_low=mean - half,
            seed_high=mean + half,
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
        setting: Values of the task's axes; empty where it has none.
    """

    key: Key
    unit: str
    test_n: int
    leaks: int
    deviations: tuple[str, ...]
    metrics: tuple[str, ...]
    classes: tuple[str, ...]
    rows: tuple[Row, ...]
    setting: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Dataset, variant, setting, profile, protocol, data, split and size, on one line."""
        k = self.key
        setting = f"{said(self.setting)} · " if self.setting else ""
        return (
            f"{k.dataset} · {VARIANTS.get(k.variant, k.variant)} · {setting}profile {k.profile} · "
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
        return [told, f"Leak: {leak(self.leaks, self.unit)}"] if self.leaks else [told]

    @property
    def intervals(self) -> str:
        """What the brackets and the ± of the section's tables are spreads over."""
        if all(len(row.records) == 1 for row in self.rows):
            return f"Brackets: 95 % over {self.unit}s."
        return (
            f"Brackets: 95 % over {self.unit}s (mean of the seeds' bounds). ±: standard deviation over seeds."
        )


@dataclass(frozen=True)
class Board:
    """Everything a leaderboard shows; renderers add nothing to it."""

    task: str
    title: str
    primary: str
    sections: tuple[Section, ...] = ()
    blocks: tuple[Block, ...] = field(default=())


@functools.cache
def _t_quantile(freedom: int) -> float:
    """97.5 % quantile of Student's t. SciPy is loaded by boards with repeated seeds only."""
    from scipy.special import stdtrit  # what scipy.stats.t.ppf calls, without the second it takes to import

    return float(stdtrit(freedom, 0.975))


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


def leak(count: int, unit: str) -> str:
    """What the leak count of a record means, in a sentence."""
    if unit == "client":  # a client always stands in both splits; its images must not
        return f"{count} test images show what some client also trained on."
    return f"{count} {unit}s stand in the test split and in another one."
