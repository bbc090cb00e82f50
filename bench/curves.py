"""Training curves: rows of named numbers, kept in memory and mirrored to `curves.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from bench.files import write_text


class Curves:
    """Rows of `curves.csv`; the file always holds whole rows."""

    def __init__(self, path: Path):
        self.path = path
        self.rows: list[dict[str, float | int]] = []

    def __call__(self, row: Mapping[str, float | int]) -> None:
        """Append one row."""
        self.rows.append(dict(row))
        self._write()

    def restore(self, rows: list[dict[str, float | int]]) -> None:
        """Go back to the rows of a checkpoint."""
        self.rows = [dict(row) for row in rows]
        self._write()

    def _write(self) -> None:
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.path, text.getvalue())
