"""`bench leaderboard <task>`."""

from __future__ import annotations

from pathlib import Path

from bench.errors import UserError, suggest
from bench.home import runs
from bench.registry import card


def run(
    task: str, how: str, data: str | None, profile: str | None, folder: str | None, committed: bool
) -> int:
    """Print the board of a task in one format."""
    from bench import leaderboard
    from bench.reported import load_rows

    for name, value, options in (
        ("--format", how, tuple(leaderboard.FORMATS)),
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
    print(leaderboard.FORMATS[how](board), end="")
    return 0
