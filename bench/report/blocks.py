"""Printed tables as a leaderboard shows them: blocks of lines of cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.reported import ReportedRow


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
        ours: Our dataset of the same name.
        profile: Our profile whose protocol the numbers were made under.
        answers: Reported metric -> our metric that it is set beside.
        columns: Column headings in printed order.
        headline: The columns that our single number is shown for; none where they are many.
        lines: Rows as printed.
        notes: Mark such as `†1` -> its reason.
        shared: The part of the setting that holds for the whole block; empty where there is none.
        only: Reported metrics that the task does not measure.
    """

    file: str
    source: str
    dataset: str
    ours: str
    profile: str
    answers: Mapping[str, str]
    columns: tuple[str, ...]
    headline: tuple[str, ...]
    lines: tuple[Line, ...]
    notes: Mapping[str, str]
    shared: str = ""
    only: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What stands above the block."""
        return f"Reported: {self.dataset}, {self.source}"

    @property
    def terms(self) -> str:
        """Which of our numbers the printed ones answer to, and what holds for all of them."""
        told = "As printed, not ranked with our rows. "
        if self.shared:
            told += f"All at {self.shared}. "
        if any(cell.row.std is not None for line in self.lines for cell in line.cells.values()):
            told += "±: the printed standard deviation. "
        return f"{told}{self.answer}, real {self.ours}."

    @property
    def answer(self) -> str:
        """Which of our numbers the printed ones are set beside; some of them beside none."""
        metrics = ", ".join(f"{theirs} to our {ours}" for theirs, ours in self.answers.items())
        alone = f"{', '.join(self.only)} to none of ours" if self.only else ""
        return f"Answers: {', '.join(filter(None, (metrics, alone)))}, profile {self.profile}"
