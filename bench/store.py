"""Run folders: where they are, who holds them, and which one a command means."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from bench.files import safe_name
from bench.record import Record, read

RECORD = "record.json"


def run_folder(out: Path, task: str, dataset: str, method: str, run_id: str) -> Path:
    """`<out>/<task>/<dataset>/<method>/<run_id>`, every name made safe for the file system."""
    return out / safe_name(task) / safe_name(dataset) / safe_name(method) / safe_name(run_id)


def stored(folder: Path) -> Record | None:
    """The record of a run folder, or None where none was written."""
    path = folder / RECORD
    return read(path) if path.is_file() else None


def pick(folder: Path, rerun: bool) -> Path:
    """The folder a command means: the run itself, or with `rerun` an unfinished or a new repetition."""
    if not rerun:
        return folder
    number = 1
    while True:
        repetition = folder.with_name(f"{folder.name}-r{number}")
        record = stored(repetition)
        if record is None or record.status != "done":
            return repetition
        number += 1


@contextmanager
def held(folder: Path, waiting: str) -> Iterator[None]:
    """Hold a run folder; a second process waits, saying so once. The lock dies with its process.

    Args:
        folder: The run folder; made if missing.
        waiting: What to tell a person while another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        import sys

        print(waiting, file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
