"""Tables for the terminal: a board, and what `bench run` prints at its end."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from bench.axes import said
from bench.card import Card, Reported
from bench.report.along import courses
from bench.report.blocks import Block, Line
from bench.report.board import VARIANTS, Board, Row
from bench.report.grids import (
    NONE,
    Grid,
    block_grid,
    bounds,
    broken,
    common_marks,
    legend,
    line_name,
    number,
    section_grids,
)
from bench.report.printed import blocks, mark_for
from bench.report.text import one_line
from bench.reported import ReportedRow, at_setting

WIDTH = 150  # where standard output is no terminal
WIDE = 170  # from here on every cell has room for its interval
COMPARABLE = "comparable"
STYLES = ((2, 36), (1, 24))  # blanks between columns and width a name is folded at: the first that fits
ROWS, SECTIONS = 50, 12  # what a person scrolls through; the rest is counted and pointed to


def console() -> Console:
    """Standard output, in colour and at its width where it is a terminal."""
    return Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)


def board_table(board: Board) -> str:
    """A board for the terminal; long sections are cut, saying so."""
    out = Console(
        file=io.StringIO(),
        width=console().width,
        force_terminal=sys.stdout.isatty(),
        highlight=False,
    )
    for part in _board(board, full=out.width >= WIDE):
        out.print(part)
    return out.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]


def _board(board: Board, full: bool) -> Iterator[RenderableType]:
    yield Text(one_line(board.title), style="bold")
    for line in legend(board) if board.sections else ["No finished run yet; `bench run` makes one."]:
        yield Text(line, style="dim")
    for section in board.sections[:SECTIONS]:
        for grid in section_grids(section, board.primary, full, ROWS):
            yield from _grid(grid)
    left = len(board.sections) - SECTIONS
    if left > 0:
        yield Text(f"{left} more sections; `--format csv` lists all, `--data` and `--profile` choose.")
    for course in courses(board.sections, board.primary):
        yield from _grid(course.grid())
    if board.blocks:
        yield Text("\nReported in papers: † doubtful, ‡ printed differently elsewhere.", style="bold")
    for block in board.blocks:
        yield from _grid(block_grid(block))


def _grid(grid: Grid) -> Iterator[RenderableType]:
    yield Text("")
    if grid.title:
        yield Text(one_line(grid.title), style="bold")
    for term in grid.terms:
        yield Text(one_line(term), style="dim")
    yield Fitted(grid)
    for note in grid.notes:
        yield Text(one_line(note), style="dim")


COUNTED = ("count", "bytes", "steps", "rounds")  # units of whole numbers


class Fitted:
    """A grid as a terminal shows it: split over several tables, with its keys repeated, where it is too wide.

    Every cell is `Text`, never markup: a method may be called `[red]`.
    """

    def __init__(self, grid: Grid):
        self.grid = grid
        # A metric's variant stands on a second line of its heading.
        head = ["\n".join(map(one_line, h.replace("@", "\n@").split("\n"))) for h in grid.headers]
        body = [["\n".join(map(one_line, cell.split("\n"))) for cell in row] for row in grid.rows]
        self.lines = [head, *body]
        self.widths = [max(cell_len(part) for row in self.lines for part in row[i].split("\n"))
                       for i in range(len(head))]  # fmt: skip

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        gap, key_width = next((style for style in STYLES if self._room(*style) <= width), STYLES[-1])
        for columns in self._split(width, gap, key_width):
            table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold")
            for i in columns:
                name = self.grid.is_text(i)
                table.add_column(
                    Text(self.lines[0][i]),
                    justify="left" if name else "right",
                    overflow="fold",
                    no_wrap=not name,
                    max_width=key_width if i < self.grid.keys else None,
                )
            for row in self.lines[1:]:
                table.add_row(*(Text(row[i]) for i in columns))
            yield table

    def _room(self, gap: int, key_width: int) -> int:
        keys = self.grid.keys
        folded = [min(w, key_width) if i < keys else w for i, w in enumerate(self.widths)]
        return sum(folded) + gap * (len(folded) - 1)

    def _split(self, width: int, gap: int, key_width: int) -> Iterator[list[int]]:
        keys = list(range(self.grid.keys))
        used = first = sum(min(self.widths[i], key_width) + gap for i in keys)
        columns = list(keys)
        for i in range(self.grid.keys, len(self.widths)):
            if used + self.widths[i] > width and len(columns) > len(keys):
                yield columns
                columns, used = list(keys), first
            columns.append(i)
            used += self.widths[i] + gap
        yield columns


# ---- one run


def run_table(record: Mapping[str, Any], card: Card, rows: Sequence[ReportedRow]) -> list[RenderableType]:
    """What a run found, and below it what papers printed, marked as the other thing it is.

    Args:
        record: The finished record as a plain dictionary.
        card: The task's card.
        rows: Reported rows.

    Returns:
        Renderables in reading order.
    """
    data, task, method = record["data"], record["task"], record["method"]
    what = f"{data['dataset']} · {VARIANTS[data['variant']]} · profile {task['profile']}"
    seeds = ", ".join(f"{name}={seed}" for name, seed in record["seeds"].items())
    if task.get("setting"):
        what += f" · {said(task['setting'])}"
    head = f"{method['name']} on {what} · test n={data['counts'].get('test', 0)}"
    parts: list[RenderableType] = [
        Text(""),
        Text(one_line(f"{head} · seeds {seeds}" if seeds else head), style="bold"),
        Text(one_line(_deviations(task["deviations"])), style="yellow" if task["deviations"] else "dim"),
        _metrics(record),
    ]
    classes = _classes(record)
    if classes is not None:
        parts += [Text(""), Text("by class", style="bold"), classes]
    row = Row("", method["name"], method["source"], method["state"], method.get("parameters"), (record,))
    found = blocks(card, rows, [row])
    # A user's own data has no printed table: the task's first one is shown, as the other dataset it is.
    shown = [block for block in found if block.ours == data["dataset"]] or found[:1]
    if shown and card.reported is not None:
        parts += _papers(shown, record, card.reported)
    return parts


def _deviations(deviations: Sequence[str]) -> str:
    if not deviations:
        return "The task's full protocol, without deviation."
    return "Deviates from the task's protocol: " + "; ".join(map(str, deviations)) + "."


def _metrics(record: Mapping[str, Any]) -> Fitted:
    """One line a metric: value, an interval for each thing that was resampled, and n."""
    metrics = record["metrics"]
    unit = record["data"]["unit"]
    kinds = dict.fromkeys([unit, *(k for m in metrics.values() for k in m.get("intervals") or {})])
    lines = []
    for name, metric in metrics.items():
        held = dict(metric.get("intervals") or {})
        held.setdefault(unit, (metric.get("ci_low"), metric.get("ci_high")))
        spans = (bounds(*held.get(kind, (None, None))) for kind in kinds)
        whole = metric["unit"] in COUNTED and metric["value"] is not None
        value = f"{metric['value']:,.0f}" if whole else number(metric["value"])
        lines.append((name, value, *spans, str(metric["n"])))
    headers = ("metric", "value", *(f"95 % over {kind}s" for kind in kinds), "n")
    return Fitted(Grid("", (), headers, tuple(lines)))


def _classes(record: Mapping[str, Any]) -> Fitted | None:
    """Metrics by classes, values alone; the record holds their intervals."""
    metrics = record["metrics"]
    names = dict.fromkeys(name for m in metrics.values() for name in m.get("per_class") or {})
    if not names:
        return None
    lines = []
    for metric, entry in metrics.items():
        held = entry.get("per_class") or {}
        if held:
            lines.append((metric, *(number(held[n]["value"]) if n in held else "" for n in names)))
    return Fitted(Grid("", (), ("metric", *names), tuple(lines)))


def _papers(shown: Sequence[Block], record: Mapping[str, Any], mapping: Reported) -> list[RenderableType]:
    """Printed lines of several tables in one, with the reason why they are comparable or not.

    Where a card maps settings, a table shows the columns printed at the record's setting, or all if none was.
    """
    parts: list[RenderableType] = []
    setting = record["task"].get("setting") or {}
    alike: dict[tuple[Any, ...], list[Block]] = {}
    for block in shown:
        at = {
            column
            for line in block.lines
            for column, cell in line.cells.items()
            if at_setting(cell.row, mapping, setting)
        }
        columns = tuple(c for c in block.columns if c in at) or block.columns
        told = block.shared if mapping.settings else ""
        alike.setdefault((block.dataset, columns, bool(at), told, *block.answers.items()), []).append(block)
    for (dataset, columns, at, told, *_), same in alike.items():
        first = same[0]
        standing = _standing(first, record, at)
        near = standing == COMPARABLE
        notes: dict[str, str] = {}
        lines = [_paper_line(block, line, columns, near, notes) for block in same for line in block.lines]
        headers = ("method", *map(broken, columns), *(["ours"] if near else []), "printed in", "measured by")
        where = f"All at {told}. " if told else ""
        parts += [
            Text(""),
            Text(one_line(f"Reported on {dataset} (real data): {standing}"), style="bold"),
            Text(one_line(f"As printed. {where}{first.answer}."), style="dim"),
            Fitted(Grid("", (), headers, tuple(lines), tail=2)),
            *(Text(one_line(f"{mark} {reason}"), style="dim") for mark, reason in notes.items()),
        ]
    return parts


def _paper_line(
    block: Block, line: Line, columns: Sequence[str], near: bool, notes: dict[str, str]
) -> tuple[str, ...]:
    """Name, printed cells, our numbers where they are comparable, source and who measured."""
    shared = common_marks(line)
    texts = []
    for column in columns:
        cell = line.cells.get(column)
        own = cell.marks if cell and not shared else ()
        marks = [mark_for(mark[0], block.notes[mark], notes) for mark in own]
        texts.append(" ".join((cell.row.text, *marks)) if cell else NONE)
    ours = [line.cells[c].ours for c in block.headline or columns if c in columns and c in line.cells]
    told = "; ".join(number(value) for value in ours if value is not None) or NONE
    marks = [mark_for(mark[0], block.notes[mark], notes) for mark in shared]
    name = " ".join((line_name(line, setting=False), *marks))
    return (name, *texts, *([told] if near else []), block.source, line.measured)


def _standing(block: Block, record: Mapping[str, Any], at: bool) -> str:
    """Whether the printed numbers may be set beside the run, in words; `at`: some are of its setting."""
    data, task = record["data"], record["task"]
    if data["variant"] == "phantom":
        return "another dataset than this PHANTOM; not comparable"
    if data["variant"] != "real" or data["dataset"] != block.ours:
        return f"another dataset than `{data['dataset']}`; not comparable"
    if not at:
        return f"printed at other settings than {said(task.get('setting') or {})}; not comparable"
    if task["profile"] != block.profile:
        return f"made under profile {block.profile}, this run under {task['profile']}; not comparable"
    if task["deviations"]:
        return "this run deviates from the protocol; not comparable"
    return COMPARABLE
