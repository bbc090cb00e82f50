"""A board as plain grids of text; what a terminal and a page both show. Nothing is escaped here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.report.board import Block, Board, Cell, Line, Row, Section

NONE = "-"


@dataclass(frozen=True)
class Grid:
    """A table.

    Args:
        title: Heading; empty for a grid that continues the one above.
        terms: Sentences that stand under the heading.
        headers: Column headings.
        rows: Cells; a newline is a soft break.
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


def number(value: float | None, decimals: int = 3) -> str:
    """Three decimals, or a dash where nothing is defined."""
    return NONE if value is None else f"{value:.{decimals}f}"


def bounds(low: float | None, high: float | None) -> str:
    """`[0.790, 0.830]`, or a dash."""
    return NONE if low is None or high is None else f"[{number(low)}, {number(high)}]"


def cell_text(cell: Cell, full: bool) -> str:
    """The value alone, or with `full` its spread over seeds and, on a second line, its interval."""
    text = number(cell.value)
    if full and cell.std is not None:
        text += f" ± {number(cell.std)}"
    return f"{text}\n{bounds(cell.low, cell.high)}" if full and cell.low is not None else text


def legend(board: Board) -> list[str]:
    """How to read the numbers."""
    return [
        f"Ranked by `{board.primary}`, inside a section only: rows of different data, variants, splits, "
        "profiles or protocols are not comparable.",
        "Values are means over seeds, ± the standard deviation over seeds. Brackets hold the 95 % bootstrap "
        "interval over the section's units; for several seeds, the mean of the seeds' bounds. "
        "A seed that was run more than once counts once, by its newest run.",
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
    interval = f"Brackets: 95 % over {section.unit}s."
    yield Grid(
        title=section.title,
        terms=(*section.terms, interval),
        headers=("rank", "method", "seeds", *section.metrics, "parameters", "made by"),
        rows=tuple(
            (
                NONE if row.rank is None else str(row.rank),
                row.label,
                str(len(row.records)),
                *(cell_text(row.cell(name), full or name == primary) for name in section.metrics),
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
            terms=(f"`{primary}` by class:",),
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


def _made_by(row: Row) -> str:
    if row.source == "predictions":
        return "predictions, external"
    return f"{row.source}, {row.state}"


def block_grid(block: Block) -> Grid:
    """A printed table, with our numbers where a run is comparable."""
    ours_head = "ours" if len(block.headline) == 1 else "ours (" + "; ".join(block.headline) + ")"
    rows: list[tuple[str, ...]] = []
    for line in block.lines:
        cells = (line.cells.get(column) for column in block.columns)
        shared = common_marks(line)
        texts = tuple(
            NONE if cell is None else " ".join((cell.row.printed, *(() if shared else cell.marks)))
            for cell in cells
        )
        rows.append(
            (" ".join((line_name(line), *shared)), *texts, _ours(line, block.headline), line.measured)
        )
        if any(cell.ours is not None for cell in line.cells.values()):
            rows.append(("ours", *(_ours(line, (c,)) for c in block.columns), "", "bench"))
    return Grid(
        title=block.title,
        terms=(block.terms,),
        headers=("method", *block.columns, ours_head, "measured by"),
        rows=tuple(rows),
        notes=tuple(f"{mark} {reason}" for mark, reason in block.notes.items()),
        tail=1,
    )


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
