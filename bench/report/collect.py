"""Finished records from committed results and run folders, as plain dictionaries, checked and fast."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bench
from bench.files import safe_name
from bench.report.board import VARIANTS

LEADERBOARDS = Path(bench.__file__).parent / "leaderboards"
SCHEMA_VERSION = 1
_MANY = 1000  # records, from where on the collector's walk is felt

_NEEDED: dict[str, dict[str, type]] = {
    "": {"run_id": str, "status": str, "seeds": dict, "metrics": dict},
    "task": {"name": str, "profile": str, "protocol_hash": str, "deviations": list},
    "data": {
        "dataset": str,
        "variant": str,
        "fingerprint": str,
        "split_sha256": str,
        "counts": dict,
        "unit": str,
        "leaks": int,
    },
    "method": {"name": str, "source": str, "state": str, "config": dict},
}


def collect(folders: Sequence[Path], task: str, committed: Path = LEADERBOARDS / "results") -> list[dict]:
    """Finished records of a task.

    A file that is no record is skipped with one line on standard error naming it.

    Args:
        folders: Roots of run folders, `<root>/<task>/<dataset>/<method>/<run id>/record.json`.
        task: Task name.
        committed: Folder of `*.jsonl` files with one record a line.

    Returns:
        Records as plain dictionaries, the committed ones first; a run id stands once.
    """
    found: dict[str, dict] = {}
    with _bulk_reading(found):
        for where, text in _texts(folders, task, committed):
            try:
                record = _parse(text)
            except ValueError as error:
                print(f"Skipped `{where}`: it is no record ({error}); repair or remove it.", file=sys.stderr)
                continue
            if record["status"] == "done" and record["task"]["name"] == task:
                found.setdefault(record["run_id"], record)
    return list(found.values())


@contextmanager
def _bulk_reading(found: dict[str, dict]) -> Iterator[None]:
    """Keep the garbage collector from walking through thousands of records that hold no garbage.

    It would take longer than the reading, and as long again in what follows; records hold no cycles, so
    reference counting frees them all the same.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if len(found) >= _MANY:
            gc.freeze()
        if was:
            gc.enable()


def _texts(folders: Sequence[Path], task: str, committed: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(committed.glob("*.jsonl")):
        for number, line in enumerate(path.read_bytes().splitlines(), start=1):
            if line.strip():
                yield f"{path} line {number}", line
    for folder in folders:
        for run in _below(os.path.join(folder, safe_name(task)), 3):  # noqa: PTH118 (10,000 Paths cost 0.3 s)
            path = f"{run}/record.json"
            try:
                with open(path, "rb") as file:  # noqa: PTH123
                    text = file.read()
            except FileNotFoundError:  # a run that has just begun
                continue
            except OSError as error:
                print(f"Skipped `{path}`: {error.strerror}; make it readable or remove it.", file=sys.stderr)
                continue
            yield path, text


def _below(folder: str, depth: int) -> Iterator[str]:
    """Folders exactly `depth` levels below, in name order."""
    if depth == 0:
        yield folder
        return
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir())
    except FileNotFoundError:
        return
    for name in names:
        yield from _below(f"{folder}/{name}", depth - 1)


def _parse(text: bytes) -> dict:
    """A record of this schema version with every part a board needs; unknown keys are left alone.

    Raises:
        ValueError: Saying what is missing or wrong.
    """
    from pydantic_core import from_json  # three times as fast as json.loads

    record = from_json(text, allow_inf_nan=False)
    if not isinstance(record, dict) or record.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"schema_version is not {SCHEMA_VERSION}")
    for part, needed in _NEEDED.items():
        holder = record if part == "" else record.get(part)
        if not isinstance(holder, dict):
            raise ValueError(f"`{part}` is missing")
        for name, kind in needed.items():
            if not isinstance(holder.get(name), kind):
                raise ValueError(f"`{part}.{name}` is missing or of the wrong type".replace("`.", "`"))
    if not isinstance(record["task"].get("setting", {}), dict):
        raise ValueError("`task.setting` is no mapping")
    if record["status"] == "done":
        if record["data"]["variant"] not in VARIANTS:
            raise ValueError("`data.variant` is none of real, phantom, custom")
        if type(record["data"]["counts"].get("test", 0)) is not int:
            raise ValueError("`data.counts.test` is no whole number")
        compared = record.get("compared_to", [])
        if not isinstance(compared, list) or not all(isinstance(c, dict) and "row_id" in c for c in compared):
            raise ValueError("`compared_to` is no list of comparisons")
        for name, metric in record["metrics"].items():
            _check_metric(name, metric)
    return record


def _check_metric(name: str, metric: Any) -> None:
    classes = metric.get("per_class", {}) if isinstance(metric, dict) else None
    if not isinstance(classes, dict) or not isinstance(metric.get("direction"), str):
        raise ValueError(f"metric `{name}` is incomplete")
    for entry in (metric, *classes.values()):
        if not isinstance(entry, dict) or type(entry.get("n")) is not int or "value" not in entry:
            raise ValueError(f"metric `{name}` lacks value or n")
        for key in ("value", "ci_low", "ci_high"):
            if not isinstance(entry.get(key), float | int | None):
                raise ValueError(f"metric `{name}` holds a {key} that is no number")
