"""Split files: which unit or file is train, val or test, as a CSV that is committed or given by the user."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from bench.errors import UserError, suggest
from bench.scans import SPLITS

SHOWN = 5


def some(items: Sequence[str]) -> str:
    """The first names in backticks, and how many more there are."""
    shown = ", ".join(f"`{item}`" for item in items[:SHOWN])
    return f"{shown} and {len(items) - SHOWN} more" if len(items) > SHOWN else shown


def read_splits(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Read a split file and check it.

    Args:
        path: A UTF-8 CSV with a header.
        columns: Columns it must have. The first names the thing that is split and may stand only once;
            `split` must be among them. Further columns are read over.

    Returns:
        One dict a row, in the order of the file, with the values of `columns` stripped of blanks.

    Raises:
        UserError: Missing or unreadable file, missing column, empty cell, unknown split name, something
            listed twice or in two splits, or an empty split.
    """
    rows = _rows(path, columns)
    key = columns[0]
    unknown = sorted({row["split"] for row in rows} - set(SPLITS))
    if unknown:
        raise UserError(
            f"`{path}` names the unknown split {some(unknown)}; use train, val or test."
            f"{suggest(unknown[0], SPLITS)}"
        )
    splits: dict[str, list[str]] = {}
    for row in rows:
        splits.setdefault(row[key], []).append(row["split"])
    across = [
        f"{name} ({', '.join(sorted(set(found)))})" for name, found in splits.items() if len(set(found)) > 1
    ]
    if across:
        raise UserError(f"`{path}` puts {some(across)} into two splits; keep each {key} in one split.")
    twice = [name for name, found in splits.items() if len(found) > 1]
    if twice:
        raise UserError(f"`{path}` lists {some(twice)} more than once; keep one row for each {key}.")
    empty = [split for split in SPLITS if split not in {row["split"] for row in rows}]
    if empty:
        raise UserError(
            f"`{path}` puts nothing into {some(empty)}; each of train, val and test needs a {key}."
        )
    return rows


def _rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    wanted = ",".join(columns)
    if not path.is_file():
        raise UserError(f"`{path}` is missing; write it as a CSV with the columns {wanted}.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            table = list(reader)
            header = [name.strip() for name in reader.fieldnames or []]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"`{path}` cannot be read as a CSV ({error}); save it as UTF-8 with the columns {wanted}."
        ) from error
    missing = [name for name in columns if name not in header]
    if missing:
        raise UserError(f"`{path}` lacks the column {some(missing)}; it needs {wanted} in its first line.")
    if not table:
        raise UserError(f"`{path}` has a header but no rows; list every {columns[0]} with its split.")
    rows = []
    for number, line in enumerate(table, 2):
        cells = {(name or "").strip(): value for name, value in line.items() if isinstance(value, str)}
        row = {name: cells.get(name, "").strip() for name in columns}
        blank = [name for name, value in row.items() if not value]
        if blank:
            raise UserError(f"`{path}` leaves {some(blank)} empty in row {number}; fill it in.")
        rows.append(row)
    return rows
