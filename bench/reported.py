"""Numbers printed in papers: read, judged for what they are worth, never averaged.

One CSV a printed table in `leaderboards/reported/`, one row a printed number. A row is named by its file and
its place in it, `thesis_tab8.1:045`.
"""

from __future__ import annotations

import csv
import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bench
from bench.axes import same
from bench.card import Card, Reported

MEAN = ""  # class name of a metric's overall value
FOLDER = Path(bench.__file__).parent / "leaderboards" / "reported"
_NOT_A_TABLE = "protocols.csv"

# Methods that a paper presents as its own: measured by its authors, even where no note says so.
_OWN = {
    "sgdiff": {"SGDiff", "SGDiff encoder"},
    "sggig": {"SGG-IG"},
    "retrievegan": {"RetrieveGAN"},
    "sdm": {"SDM"},
    "thesis": {
        "DisPositioNet",
        "FedAP",
        "FedAP+HC",
        "IDA",
        "IDA+FedAvg",
        "IDA+INTRAC",
        "MIGS",
        "MetaMedSeg",
        "SIMSG",
        "SceneGraphGen",
        "Y-Net",
    },
}
_BY_AUTHORS = ("retrained", "own retraining", "own implementation")
_COPIED = ("quoted from", "number identical to")

# Settings that one table prints and others imply: without ground-truth boxes a model places its own.
_IMPLIED = {("boxes", "predicted")}


@dataclass(frozen=True)
class ReportedRow:
    """One printed number.

    Args:
        row_id: `<file stem>:<three digits>`, the place of the row in its file counted from 001.
        paper: sgdiff, sggig, thesis, retrievegan or sdm.
        table: Label as printed.
        task: One of the task names of the reported files.
        dataset: Canonical dataset name of the reported files.
        setting: What identifies the column or block, such as `{"class": "Fluid"}`.
        method: Canonical method name.
        variant: `key=value` pairs joined by `;`, or empty.
        metric: Canonical metric name.
        unit: Unit as printed: percent, fraction, score, x1e3, pixel_intensity.
        direction: higher, lower or none.
        value: The number as printed, in `unit`.
        printed: The characters as printed.
        std: Printed standard deviation, in `unit`.
        n: Number of runs, where the text says so.
        note: What is known about the cell.
        measured: `authors` (of the paper it stands in), `copied` from elsewhere, or `unknown`.
        doubtful: The value or its meaning is in question.
        inferred: Setting or meaning was deduced.
        printed_std: The characters of the standard deviation as printed, or empty.
    """

    row_id: str
    paper: str
    table: str
    task: str
    dataset: str
    setting: dict[str, str]
    method: str
    variant: str
    metric: str
    unit: str
    direction: str
    value: float
    printed: str
    std: float | None
    n: int | None
    note: str
    measured: str
    doubtful: bool
    inferred: bool
    printed_std: str = ""

    @property
    def file(self) -> str:
        """Stem of the file the row stands in."""
        return self.row_id.partition(":")[0]

    @property
    def scale(self) -> float:
        """Factor from the printed unit to ours: shares are fractions in records."""
        return 0.01 if self.unit == "percent" else 1.0

    @property
    def decimals(self) -> int:
        """Digits printed after the point."""
        return len(self.printed.partition(".")[2])

    @property
    def tolerance(self) -> float:
        """Half a unit of the last printed digit, in `unit`."""
        return 0.5 * 10.0**-self.decimals

    @property
    def text(self) -> str:
        """The cell as printed, with its standard deviation where it has one: `60.52 ± 9.20`."""
        return f"{self.printed} ± {self.printed_std}" if self.printed_std else self.printed

    @property
    def block_setting(self) -> dict[str, str]:
        """The setting without the class, which is a column of its own."""
        return {name: value for name, value in self.setting.items() if name != "class"}

    @property
    def reason(self) -> str:
        """Why the cell is doubtful; empty if it is not."""
        return self.note.partition("doubtful")[2].lstrip(" ,:") if self.doubtful else ""


@functools.cache
def load_rows(folder: Path = FOLDER) -> tuple[ReportedRow, ...]:
    """Every reported row, by file name and place.

    Raises:
        ValueError: A row does not hold a number where one must stand.
    """
    rows: list[ReportedRow] = []
    for path in sorted(folder.glob("*.csv")):
        if path.name == _NOT_A_TABLE:
            continue
        with path.open(newline="", encoding="utf-8") as file:
            for number, cells in enumerate(csv.DictReader(file), start=1):
                rows.append(_row(f"{path.stem}:{number:03d}", cells))
    return tuple(rows)


def _row(row_id: str, cells: Mapping[str, str]) -> ReportedRow:
    try:
        value = float(cells["value"])
        std = float(cells["std"]) if cells["std"] else None
        n = int(cells["n"]) if cells["n"] else None
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"Reported row {row_id} needs numbers in value, std and n ({error}).") from error
    if not math.isfinite(value):
        raise ValueError(f"Reported row {row_id} needs a finite value, got {cells['value']}; remove the row.")
    return ReportedRow(
        row_id=row_id,
        setting=pairs(cells["setting"]),
        value=value,
        printed=cells["value"],
        std=std,
        n=n,
        measured=_measured(cells),
        doubtful="doubtful" in cells["note"],
        inferred="inferred" in cells["note"],
        printed_std=cells["std"],
        **{
            name: cells[name]
            for name in (
                "paper",
                "table",
                "task",
                "dataset",
                "method",
                "variant",
                "metric",
                "unit",
                "direction",
                "note",
            )
        },
    )


def pairs(text: str) -> dict[str, str]:
    """`a=1;b=2` as a dictionary; a word without `=` maps to the empty string."""
    split = (part.partition("=") for part in text.split(";") if part.strip())
    return {key.strip(): value.strip() for key, _, value in split}


def _measured(cells: Mapping[str, str]) -> str:
    note = cells["note"]
    if any(phrase in note for phrase in _COPIED):
        return "copied"
    own = cells["method"] in _OWN.get(cells["paper"], ())
    return "authors" if own or any(phrase in note for phrase in _BY_AUTHORS) else "unknown"


def source(row: ReportedRow) -> str:
    """Paper and table, for a reader: `thesis Tab. 8.1`."""
    return f"{row.paper} {row.table}"


def disputed(rows: Iterable[ReportedRow]) -> dict[str, str]:
    """Cells that two tables print differently: row id -> a sentence naming each other value and its source.

    Cells are the same when task, dataset, setting, method, variant and metric are; values differ when
    rounding to the coarser of the two precisions does not reconcile them.
    """
    cells: dict[tuple[object, ...], list[ReportedRow]] = {}
    for row in rows:
        setting = frozenset(item for item in row.setting.items() if item not in _IMPLIED)
        variant = frozenset(pairs(row.variant).items())
        key = (row.task, row.dataset, setting, row.method, variant, row.metric)
        cells.setdefault(key, []).append(row)
    found = {}
    for alike in cells.values():
        for row in alike:
            others = [other for other in alike if other.file != row.file and _differ(row, other)]
            if others:
                told = ", ".join(f"{other.printed} in {source(other)}" for other in others)
                found[row.row_id] = f"disputed: {row.printed} here, {told}."
    return found


def _differ(a: ReportedRow, b: ReportedRow) -> bool:
    gap = abs(a.value * a.scale - b.value * b.scale)
    # A sliver more than half a digit, so that binary fractions do not turn agreement into dispute.
    return gap > max(a.tolerance * a.scale, b.tolerance * b.scale) * (1 + 1e-9)


def claimed(rows: Iterable[ReportedRow], cards: Mapping[str, Card]) -> dict[str, str]:
    """Row id -> the task whose card maps the row's task, dataset, setting, class and method.

    Several tasks may answer one reported task, each for datasets of its own.

    Args:
        rows: Reported rows.
        cards: Task name -> its card.
    """
    found = {}
    for row in rows:
        for name, card in cards.items():
            mapping = card.reported
            if (
                mapping is not None
                and row.task == mapping.task
                and row.dataset in mapping.datasets
                and row.setting.get("class", "mean") in mapping.classes
                and row.method in mapping.methods
                and asked(row, mapping) is not None
            ):
                found[row.row_id] = name
    return found


def our_class(row: ReportedRow, mapping: Reported) -> str:
    """The class of ours that a printed number speaks of; a mean IoU is over classes, whatever its column."""
    name = mapping.classes.get(row.setting.get("class", "mean"), "mean")
    return MEAN if name == "mean" or row.metric == "miou" else name


def our_metric(row: ReportedRow, mapping: Reported) -> str:
    """The metric of ours that a printed number is set beside; a table may mean another than its name says."""
    own = mapping.tables.get(row.table, {})
    return own.get(row.metric) or mapping.variant.get(row.metric, row.metric)


def asked(row: ReportedRow, mapping: Reported) -> dict[str, str] | None:
    """Values of our axes that a printed number was made at, as the card writes them.

    Returns:
        Axis -> value; empty where the card maps no settings; None where it maps others but not this one.
    """
    if not mapping.settings:
        return {}
    printed = row.block_setting
    return next((pairs(ours) for theirs, ours in mapping.settings.items() if pairs(theirs) == printed), None)


def at_setting(row: ReportedRow, mapping: Reported, setting: Mapping[str, Any]) -> bool:
    """Whether a printed number was made at the setting of a record, in every axis that the card names."""
    wanted = asked(row, mapping)
    return wanted is not None and all(
        name in setting and same(setting[name], value) for name, value in wanted.items()
    )
