"""A board as a Markdown page, as CSV and as JSON: the same for the same board, byte for byte.

Names of methods come from users. What Markdown, a spreadsheet or a terminal would act upon is disarmed.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from bench.axes import said
from bench.report.along import courses
from bench.report.blocks import Block
from bench.report.board import MEAN, VARIANTS, Board, Cell, Row, Section
from bench.report.grids import Grid, block_grid, legend, pages, section_grids

_MARKS = re.compile(r"([\\|`*\[\]])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


def one_line(text: str) -> str:
    """Without line breaks, control characters, and marks that turn the direction of writing."""
    return _CONTROL.sub(" ", text).strip()


def escape_markdown(text: str) -> str:
    """Text that Markdown and the HTML around it show as it is, on one line."""
    plain = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKS.sub(r"\\\1", plain)


def escape_csv(text: str) -> str:
    """Text that a spreadsheet does not take for a formula."""
    plain = one_line(text)
    return f"'{plain}" if plain[:1] in {"=", "+", "-", "@"} else plain


# ---- Markdown


def board_markdown(board: Board, findings: str = "") -> str:
    """Header, findings, our sections, reported blocks.

    Args:
        board: What to show.
        findings: Markdown written by people, put under the header as it is.
    """
    parts = [
        f"# {escape_markdown(board.title)}",
        f"Made by `bench leaderboard {board.task} --format md`; do not edit.",
    ]
    if findings.strip():
        parts.append(findings.strip())
    parts.append("## Runs")
    parts.extend(legend(board) if board.sections else ["No finished run yet."])
    for section in board.sections:
        parts.extend(_markdown_grid(grid) for grid in section_grids(section, board.primary, full=True))
    found = list(courses(board.sections, board.primary))
    if found:
        parts.append("## Side by side")
        parts.append("The sections above along one number of their setting; columns are not ranked together.")
        parts.extend(_markdown_grid(course.grid()) for course in found)
    if board.blocks:
        parts.append("## Reported in papers")
        parts.append(
            "Numbers as printed. † doubtful, ‡ printed differently elsewhere; the reasons are numbered."
        )
        parts.extend(_markdown_grid(block_grid(block)) for block in board.blocks)
    return "\n\n".join(parts) + "\n"


def _markdown_grid(grid: Grid) -> str:
    parts = [f"### {escape_markdown(grid.title)}"] if grid.title else []
    parts += [escape_markdown(term).replace("\\`", "`") for term in grid.terms]
    for columns in pages(grid):
        lines = [_pipes(escape_markdown(grid.headers[i]) for i in columns)]
        lines.append(_pipes("---" if grid.is_text(i) else "---:" for i in columns))
        # Numbers are of our own making: their brackets need no escape.
        lines += [
            _pipes(escape_markdown(row[i]) if grid.is_text(i) else row[i].replace("\n", " ") for i in columns)
            for row in grid.rows
        ]
        parts.append("\n".join(lines))
    parts += [escape_markdown(note) for note in grid.notes]
    return "\n\n".join(parts)


def _pipes(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


# ---- CSV

CSV_COLUMNS = (
    "kind",
    "section",
    "dataset",
    "variant",
    "setting",
    "profile",
    "protocol_hash",
    "fingerprint",
    "split_sha256",
    "rank",
    "row",
    "source",
    "metric",
    "class",
    "value",
    "ci_low",
    "ci_high",
    "std",
    "seed_ci_low",
    "seed_ci_high",
    "n",
    "seeds",
    "printed",
    "unit",
    "ours",
    "note",
    "row_id",
)


def board_csv(board: Board) -> str:
    """Long form: one line a section, row, metric and class; `kind` is `ours` or `reported`.

    An empty class is the metric's overall value. Values keep full precision; a reported value is in the unit
    it was printed in, and so is the `ours` beside it.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for number, section in enumerate(board.sections, start=1):
        for row in section.rows:
            writer.writerows(_ours_lines(number, section, row))
    for block in board.blocks:
        writer.writerows([line[name] for name in CSV_COLUMNS] for line in _reported_lines(block))
    return out.getvalue()


def _ours_lines(number: int, section: Section, row: Row) -> Iterator[list[Any]]:
    """Plain lists in the order of `CSV_COLUMNS`: a board of 10,000 records has 200,000 of them."""
    key = section.key
    setting = said(section.setting, ";")
    texts = (key.dataset, key.variant, setting, key.profile, key.protocol_hash, key.fingerprint,
             key.split_sha256)  # fmt: skip
    shared = [
        "ours",
        number,
        *map(escape_csv, texts),
        row.rank,
        escape_csv(row.label),
        escape_csv(row.source),
    ]
    for metric in section.metrics:
        entry = row.records[0]["metrics"].get(metric)
        if entry is None:
            continue
        start = [*shared, escape_csv(metric)]
        end = ["", escape_csv(str(entry.get("unit", ""))), "", "", ""]
        for class_name in (MEAN, *entry.get("per_class", {})):
            c = row.cell(metric, class_name)
            # The csv module writes floats with repr, so nothing is lost; None becomes empty.
            spread = (c.low, c.high, c.std, c.seed_low, c.seed_high)
            yield [*start, escape_csv(class_name), c.value, *spread, c.n, c.seeds, *end]


def _cells(row: Row, section: Section) -> Iterator[tuple[str, str, Cell]]:
    for metric in section.metrics:
        entry = row.records[0]["metrics"].get(metric)
        for class_name in (MEAN, *entry.get("per_class", {})) if entry else ():
            yield metric, class_name, row.cell(metric, class_name)


def _reported_lines(block: Block) -> Iterator[dict[str, Any]]:
    for line in block.lines:
        for cell in line.cells.values():
            row = cell.row
            yield dict.fromkeys(CSV_COLUMNS, "") | {
                "kind": "reported",
                "section": block.source,
                "dataset": escape_csv(row.dataset),
                "variant": "real",
                "setting": escape_csv(said(row.block_setting, ";")),
                "profile": block.profile,
                "row": escape_csv(f"{row.method} ({row.variant})" if row.variant else row.method),
                "source": line.measured,
                "metric": row.metric,
                "class": escape_csv(row.setting.get("class", MEAN)),
                "value": row.value,
                "std": row.std,
                "n": row.n,
                "printed": row.printed,
                "unit": row.unit,
                "ours": cell.ours,
                "note": escape_csv(" ".join((*cell.marks, row.note))),
                "row_id": row.row_id,
            }


# ---- JSON


def board_json(board: Board) -> str:
    """Everything the board holds, `{"task": ..., "sections": [...], "reported": [...]}`."""
    whole = {
        "task": board.task,
        "title": board.title,
        "primary": board.primary,
        "sections": [_section_json(section) for section in board.sections],
        "reported": [_block_json(block) for block in board.blocks],
    }
    # Without indentation: json's C encoder is ten times as fast, and `python -m json.tool` indents.
    return json.dumps(whole, ensure_ascii=False, allow_nan=False) + "\n"


def _section_json(section: Section) -> dict[str, Any]:
    return {
        **vars(section.key),
        "title": section.title,
        "setting": dict(section.setting),
        "variant_in_words": VARIANTS[section.key.variant],
        "unit": section.unit,
        "test_n": section.test_n,
        "leaks": section.leaks,
        "deviations": list(section.deviations),
        "rows": [_row_json(row, section) for row in section.rows],
    }


def _row_json(row: Row, section: Section) -> dict[str, Any]:
    metrics: dict[str, Any] = {}
    for metric, class_name, cell in _cells(row, section):
        shown = {
            "value": cell.value,
            "ci_low": cell.low,
            "ci_high": cell.high,
            "std": cell.std,
            "seed_ci_low": cell.seed_low,
            "seed_ci_high": cell.seed_high,
            "n": cell.n,
            "seeds": cell.seeds,
        }
        if class_name == MEAN:
            entry = row.records[0]["metrics"][metric]
            shown |= {name: entry.get(name) for name in ("unit", "direction", "variant")}
            metrics[metric] = shown | {"per_class": {}}
        else:
            metrics[metric]["per_class"][class_name] = shown
    return {
        "rank": row.rank,
        "label": row.label,
        "method": row.method,
        "source": row.source,
        "state": row.state,
        "parameters": row.parameters,
        "config": row.records[0]["method"]["config"],
        "seeds": [record["seeds"] for record in row.records],
        "run_ids": [record["run_id"] for record in row.records],
        "metrics": metrics,
    }


def _block_json(block: Block) -> dict[str, Any]:
    return {
        "file": block.file,
        "source": block.source,
        "dataset": block.dataset,
        "our_dataset": block.ours,
        "profile": block.profile,
        "shared": block.shared,
        "answers": dict(block.answers),
        "notes": dict(block.notes),
        "cells": [
            {
                **{
                    name: getattr(cell.row, name)
                    for name in ("row_id", "method", "variant", "setting", "metric", "unit", "value")
                },
                "printed": cell.row.printed,
                "std": cell.row.std,
                "measured": cell.row.measured,
                "marks": list(cell.marks),
                "note": cell.row.note,
                "ours": cell.ours,
            }
            for line in block.lines
            for cell in line.cells.values()
        ],
    }
