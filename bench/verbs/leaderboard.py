"""`bench leaderboard <task>`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.errors import UserError, suggest
from bench.home import runs
from bench.registry import card

HTML = "html"  # needs the folders of runs beside the board, for their pictures


def run(
    task: str,
    how: str,
    data: str | None,
    profile: str | None,
    folder: str | None,
    committed: bool,
    figures: str | None = None,
) -> int:
    """Print the board of a task in one format, and draw its learning curves where asked."""
    from bench import leaderboard
    from bench.reported import load_rows

    for name, value, options in (
        ("--format", how, (*leaderboard.FORMATS, HTML)),
        ("--data", data, ("real", "phantom", "custom")),
        ("--profile", profile, ("clean", "official")),
    ):
        if value is not None and value not in options:
            raise UserError(f"`{name}` takes {', '.join(options)}, got `{value}`.{suggest(value, options)}")
    if folder is not None and not Path(folder).expanduser().is_dir():
        raise UserError(f"`--runs {folder}` is no folder; give the folder that `out=` named.")
    task_card = card("task", task)
    folders = [] if committed else [Path(folder).expanduser() if folder else runs()]
    records = leaderboard.collect(folders, task)
    board = leaderboard.build(task_card, task, records, load_rows(), data=data, profile=profile)
    print(_page(board, folders) if how == HTML else leaderboard.FORMATS[how](board), end="")
    if figures is not None:
        _draw(board, Path(figures).expanduser())
    return 0


def _page(board: Any, folders: Sequence[Path]) -> str:
    from bench.report.embedded import pictures
    from bench.report.html import board_html, findings

    return board_html(board, findings(board.task), pictures(board, folders))


def _draw(board: Any, folder: Path) -> None:
    from bench.report.along import courses
    from bench.report.course import draw_courses

    if folder.exists() and not folder.is_dir():
        raise UserError(f"`--figures {folder}` is a file; give a folder.")
    found = draw_courses(folder, list(courses(board.sections, board.primary)), board.task)
    for path in found:
        print(f"figure {path}", file=sys.stderr)
    if not found:
        print("No figure: nothing was run at two values of one axis.", file=sys.stderr)
