"""Answers to a federated test: labels by the models clients are served, from a run or from a file."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import UserError

FILE = "predictions.csv"
SHOWN = 5


@dataclass(frozen=True)
class Answers:
    """Labels of the test images, and what the run knows of its cost.

    Args:
        served: (N,) int64, by the model each image's client is served.
        trained: (N,) int64, by the client's model one round of local epochs later, or None.
        facts: Costs and findings by metric name.
        curves: Rows of `curves.csv`.
    """

    served: np.ndarray
    trained: np.ndarray | None = None
    facts: Mapping[str, float | int | None] = field(default_factory=dict)
    curves: list[dict[str, Any]] = field(default_factory=list)

    def content(self) -> bytes:
        """What tells two answers apart."""
        return self.served.tobytes() + (b"" if self.trained is None else self.trained.tobytes())


def first_reached(rows: Iterable[Mapping[str, Any]], target: float) -> dict[str, int | None]:
    """Round and bytes of the first curve point at the target accuracy or above; None where it never is."""
    for row in rows:
        if row.get("accuracy", 0.0) >= target:
            return {
                "rounds_to_target": int(row["round"]),
                "bytes_to_target": int(row["bytes_up"] + row["bytes_down"]),
            }
    return {"rounds_to_target": None, "bytes_to_target": None}


def read_labels(folder: Path, ids: Sequence[str], classes: Sequence[str]) -> Answers:
    """Read `predictions.csv` with the columns `id` and `label` (a class name or its number).

    Raises:
        UserError: One message naming every missing, extra, doubled or unreadable line.
    """
    path = folder / FILE
    if not path.is_file():
        raise UserError(f"`predictions={folder}` holds no `{FILE}`; write one with the columns id,label.")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"`{path}` is no CSV in UTF-8 ({error}); write one with the columns id,label."
        ) from error
    if not rows or not {"id", "label"} <= set(rows[0]):
        raise UserError(f"`{path}` needs the columns id,label and a line for each test image.")
    wanted, numbers = set(ids), {name: k for k, name in enumerate(classes)}
    found: dict[str, int] = {}
    problems: dict[str, list[str]] = {"not of the test split": [], "given twice": [], "no class": []}
    for row in rows:
        name, label = (row["id"] or "").strip(), (row["label"] or "").strip()
        if name not in wanted:
            problems["not of the test split"].append(name)
        elif name in found:
            problems["given twice"].append(name)
        elif label in numbers:
            found[name] = numbers[label]
        elif label.isdecimal() and int(label) < len(classes):
            found[name] = int(label)
        else:
            problems["no class"].append(f"{name} ({label})")
    bad = {name.partition(" (")[0] for name in problems["no class"]}
    problems["missing"] = [name for name in ids if name not in found and name not in bad]
    faults = [f"{kind}: {_some(names)}" for kind, names in problems.items() if names]
    if faults:
        raise UserError(
            f"`{path}` does not answer the test split of {len(ids)} images ({'; '.join(faults)}); "
            f"nothing was scored. Give one line a test image with a label of {', '.join(classes)}."
        )
    return Answers(np.array([found[name] for name in ids], np.int64))


def _some(found: list[str]) -> str:
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(found[:SHOWN]) + more
