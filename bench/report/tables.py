"""Tables for the terminal: a board, and what `bench run` prints at its end."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from bench.card import Card
from bench.report.board import VARIANTS, Block, Board, Row
from bench.report.grids import (
    NONE,
    Grid,
    block_grid,
    bounds,
    legend,
    line_name,
    number,
    section_grids,
)
from bench.report.printed import blocks
from bench.report.text import one_line
from bench.reported import ReportedRow

WIDTH = 140  # where standard output is no terminal
WIDE = 170  # from here on every cell has room for its interval
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
    yield _rich(grid.headers, grid.rows, grid.text_columns)
    for note in grid.notes:
        yield Text(one_line(note), style="dim")


def _rich(headers: Sequence[str], rows: Sequence[Sequence[str]], names: int) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for i, header in enumerate(headers):
        justify = "left" if i < names else "right"
        table.add_column(Text(one_line(header)), justify=justify, overflow="fold")
    for row in rows:
        # Text, not markup: a method may be called `[red]`.
        table.add_row(*(Text("\n".join(map(one_line, cell.split("\n")))) for cell in row))
    return table


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
    seeds = ", ".join(f"{name} {seed}" for name, seed in record["seeds"].items())
    head = f"{method['name']} on {what} · test n={data['counts'].get('test', 0)}"
    parts: list[RenderableType] = [
        Text(""),
        Text(one_line(f"{head} · seed {seeds}" if seeds else head), style="bold"),
        Text(one_line(_deviations(task["deviations"])), style="yellow" if task["deviations"] else "dim"),
        _metrics(record),
    ]
    classes = _classes(record)
    if classes is not None:
        parts += [Text(""), Text("by class", style="bold"), classes]
    row = Row("", method["name"], method["source"], method["state"], method.get("parameters"), (record,))
    shown = [b for b in blocks(card, rows, [row]) if b.ours == data["dataset"]]
    # A user's own data has no printed table: the task's first one is shown, as the other dataset it is.
    shown = shown or blocks(card, rows, [row])[:1]
    if shown:
        parts += _papers(shown, record)
    return parts


def _deviations(deviations: Sequence[str]) -> str:
    if not deviations:
        return "The task's full protocol, without deviation."
    return "Deviates from the task's protocol: " + "; ".join(map(str, deviations)) + "."


def _metrics(record: Mapping[str, Any]) -> Table:
    """One line a metric: value, an interval for each thing that was resampled, and n."""
    metrics = record["metrics"]
    unit = record["data"]["unit"]
    kinds = dict.fromkeys([unit, *(k for m in metrics.values() for k in m.get("intervals") or {})])
    lines = []
    for name, metric in metrics.items():
        held = dict(metric.get("intervals") or {})
        held.setdefault(unit, (metric.get("ci_low"), metric.get("ci_high")))
        spans = (bounds(*held.get(kind, (None, None))) for kind in kinds)
        lines.append((name, number(metric["value"]), *spans, str(metric["n"])))
    return _rich(("metric", "value", *(f"95 % over {kind}s" for kind in kinds), "n"), lines, 1)


def _classes(record: Mapping[str, Any]) -> Table | None:
    """Metrics by classes, values alone; the record holds their intervals."""
    metrics = record["metrics"]
    names = dict.fromkeys(name for m in metrics.values() for name in m.get("per_class") or {})
    if not names:
        return None
    lines = []
    for metric, entry in metrics.items():
        held = entry.get("per_class") or {}
        lines.append((metric, *(number(held[n]["value"]) if n in held else "" for n in names)))
    return _rich(("metric", *names), lines, 1)


def _papers(shown: Sequence[Block], record: Mapping[str, Any]) -> list[RenderableType]:
    """Printed lines of several tables in one, with the reason why they are comparable or not."""
    parts: list[RenderableType] = []
    by_dataset: dict[tuple[str, tuple[str, ...]], list[Block]] = {}
    for block in shown:
        by_dataset.setdefault((block.dataset, block.columns), []).append(block)
    for (dataset, columns), same in by_dataset.items():
        first = same[0]
        notes: dict[str, str] = {}
        lines = []
        for block in same:
            for line in block.lines:
                texts = []
                for column in columns:
                    cell = line.cells.get(column)
                    marks = [_renumber(mark, block, notes) for mark in cell.marks] if cell else []
                    texts.append(" ".join((cell.row.printed, *marks)) if cell else NONE)
                ours = [line.cells[c].ours for c in first.headline if c in line.cells]
                told = "; ".join(number(value) for value in ours if value is not None) or NONE
                lines.append((line_name(line), block.source, line.measured, *texts, told))
        answers = ", ".join(f"{a} to our {b}" for a, b in first.answers.items())
        parts += [
            Text(""),
            Text(one_line(f"Reported on {dataset} (real scans): {_standing(first, record)}"), style="bold"),
            Text(one_line(f"As printed. Answers: {answers}, profile {first.profile}."), style="dim"),
            _rich(("method", "printed in", "measured by", *columns, "ours"), lines, 3),
            *(Text(one_line(f"{mark} {reason}"), style="dim") for reason, mark in notes.items()),
        ]
    return parts


def _renumber(mark: str, block: Block, notes: dict[str, str]) -> str:
    """A block's mark (`†2`) under the number that its reason has among several blocks."""
    reason = block.notes[int(mark[1:]) - 1].partition(mark[0])[2].strip()
    return notes.setdefault(reason, f"{mark[0]}{len(notes) + 1}")


def _standing(block: Block, record: Mapping[str, Any]) -> str:
    """Whether the printed numbers may be set beside the run, in words."""
    data, task = record["data"], record["task"]
    if data["variant"] == "phantom":
        return "another dataset than this PHANTOM; not comparable"
    if data["variant"] != "real" or data["dataset"] != block.ours:
        return f"another dataset than `{data['dataset']}`; not comparable"
    if task["profile"] != block.profile:
        return f"made under profile {block.profile}, this run under {task['profile']}; not comparable"
    if task["deviations"]:
        return "this run deviates from the protocol; not comparable"
    return "comparable"
