"""A board as plain grids of text; what a terminal and a page both show. Nothing is escaped here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.report.blocks import Block, Line
from bench.report.board import Board, Cell, Row, Section

NONE = "-"
LARGE = 1000
WIDEST = 10  # columns of numbers on one page: beyond, a reader loses sight of the method's name


@dataclass(frozen=True)
class Grid:
    """A table.

    Args:
        title: Heading; empty for a grid that continues the one above.
        terms: Sentences that stand under the heading.
        headers: Column headings; a newline is a soft break, here and in cells.
        rows: Cells.
        notes: Lines that stand under the table.
        keys: Leading columns that say which row it is; repeated where a table is split for width.
        tail: Trailing columns that hold text; the columns between hold numbers.
    """

    title: str
    terms: tuple[str, ...]
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    keys: int = 1
    tail: int = 0

    def is_text(self, column: int) -> bool:
        """Whether a column holds names, which may be anything, rather than numbers of our making."""
        return column < self.keys or column >= len(self.headers) - self.tail


def pages(grid: Grid) -> Iterator[list[int]]:
    """Columns of each table that a wide grid becomes on a page: of equal width, with the keys repeated."""
    keys = list(range(grid.keys))
    numbers = range(grid.keys, len(grid.headers) - grid.tail)
    tail = list(range(len(grid.headers) - grid.tail, len(grid.headers)))
    tables = max(1, math.ceil(len(numbers) / WIDEST))
    size = math.ceil(len(numbers) / tables)
    for table in range(tables):
        last = table == tables - 1
        yield [*keys, *numbers[table * size : (table + 1) * size], *(tail if last else ())]


def number(value: float | None, decimals: int = 3) -> str:
    """Three decimals, none from a thousand on (bytes, steps), a dash where nothing is defined."""
    if value is not None and abs(value) >= LARGE:
        return f"{value:,.0f}"
    return NONE if value is None else f"{value:.{decimals}f}"


def bounds(low: float | None, high: float | None) -> str:
    """`[0.790, 0.830]`, or a dash."""
    return NONE if low is None or high is None else f"[{number(low)}, {number(high)}]"


def cell_text(cell: Cell, full: bool) -> str:
    """The value alone, or with `full` its spread over seeds and, on a second line, its interval."""
    text = number(cell.value)
    if full and cell.std is not None:
        text += f" ± {number(cell.std, 0 if abs(cell.value or 0) >= LARGE else 3)}"
    return f"{text}\n{bounds(cell.low, cell.high)}" if full and cell.low is not None else text


def legend(board: Board) -> list[str]:
    """How to read the numbers."""
    return [
        f"Ranked by `{board.primary}`, inside a section only: rows of different data, variants, splits, "
        "profiles or protocols are not comparable.",
        "Values are means over seeds, ± the standard deviation over seeds. Brackets hold the 95 % "
        "interval over the section's units (of graphs from standard errors, else by bootstrap); for several "
        "seeds, the mean of the seeds' bounds. "
        "The 95 % t-interval over seeds has a column of its own: spread over units and spread over seeds are "
        "never mixed. A seed that was run more than once counts once, by its newest run.",
    ]


def section_grids(section: Section, primary: str, full: bool, limit: int | None = None) -> Iterator[Grid]:
    """Metrics, then classes of the primary metric.

    Args:
        section: What to show.
        primary: The metric that ranks.
        full: Spread and interval in every cell; without, in the cells of the primary metric only.
        limit: Rows shown at most; what is left out is said.
    """
    rows = section.rows[:limit]
    left = len(section.rows) - len(rows)
    more = (f"{left} more rows; `--format csv` lists all.",) if left else ()
    repeated = any(len(row.records) > 1 for row in rows)
    columns: list[tuple[str, Callable[[Row], str]]] = []
    for name in section.metrics:
        columns.append((name, _metric(name, full or name == primary)))
        if name == primary and repeated:
            columns.append((f"{name}\n95 % over seeds", _over_seeds(name)))
    yield Grid(
        title=section.title,
        terms=(*section.terms, section.intervals),
        headers=("rank", "method", "seeds", *(head for head, _ in columns), "parameters", "made by"),
        rows=tuple(
            (
                NONE if row.rank is None else str(row.rank),
                row.label,
                str(len(row.records)),
                *(text(row) for _, text in columns),
                NONE if row.parameters is None else f"{row.parameters:,}",
                _made_by(row),
            )
            for row in rows
        ),
        notes=more,
        keys=2,
        tail=1,
    )
    if section.classes:
        yield Grid(
            title="",
            terms=(f"`{primary}` by class." + (f" {section.intervals}" if full else ""),),
            headers=("rank", "method", *section.classes),
            rows=tuple(
                (
                    NONE if row.rank is None else str(row.rank),
                    row.label,
                    *(cell_text(row.cell(primary, name), full) for name in section.classes),
                )
                for row in rows
            ),
            keys=2,
        )


def _metric(name: str, full: bool) -> Callable[[Row], str]:
    return lambda row: cell_text(row.cell(name), full)


def _over_seeds(name: str) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        cell = row.cell(name)
        return bounds(cell.seed_low, cell.seed_high)

    return text


def _made_by(row: Row) -> str:
    if row.source == "predictions":
        return "predictions, external"
    return f"{row.source}, {row.state}"


def block_grid(block: Block) -> Grid:
    """A printed table, with our numbers where a run is comparable."""
    own = bool(block.headline)  # else our numbers stand in lines of their own only
    rows: list[tuple[str, ...]] = []
    for line in block.lines:
        cells = (line.cells.get(column) for column in block.columns)
        shared = common_marks(line)
        texts = tuple(
            NONE if cell is None else " ".join((cell.row.text, *(() if shared else cell.marks)))
            for cell in cells
        )
        ours = (_ours(line, block.headline),) if own else ()
        rows.append((" ".join((line_name(line), *shared)), *texts, *ours, line.measured))
        if any(cell.ours is not None for cell in line.cells.values()):
            ours = ("",) if own else ()
            rows.append(("ours", *(_ours(line, (c,)) for c in block.columns), *ours, "bench"))
    head = "ours" if len(block.headline) == 1 else "ours (" + "; ".join(block.headline) + ")"
    return Grid(
        title=block.title,
        terms=(block.terms,),
        headers=("method", *map(broken, block.columns), *((broken(head),) if own else ()), "measured by"),
        rows=tuple(rows),
        notes=tuple(f"{mark} {reason}" for mark, reason in block.notes.items()),
        tail=1,
    )


def broken(head: str) -> str:
    """A heading with a soft break after every comma: `ncc=3,` over `pr=0.3`."""
    return head.replace(", ", ",\n")


def line_name(line: Line, setting: bool = True) -> str:
    """Method, variant and, with `setting`, what else the table prints of the row."""
    parts = (line.variant.replace(";", ", "), line.setting if setting else "")
    said = ", ".join(part for part in parts if part)
    return f"{line.method} ({said})" if said else line.method


def common_marks(line: Line) -> tuple[str, ...]:
    """Marks that every cell of a line carries: they stand once, at its name."""
    first, *others = (cell.marks for cell in line.cells.values())
    return first if others and all(marks == first for marks in others) else ()


def _ours(line: Line, columns: tuple[str, ...]) -> str:
    found = [line.cells[column].ours if column in line.cells else None for column in columns]
    if all(value is None for value in found):
        return NONE
    return "; ".join(number(value) for value in found)
