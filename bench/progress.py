"""Progress bars with an ETA on standard error; silent when it is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


class Progress:
    """Bars for people; nothing at all for log files.

    Args:
        shown: Draw bars; None draws them when standard error is a terminal.
    """

    def __init__(self, shown: bool | None = None):
        self.shown = sys.stderr.isatty() if shown is None else shown
        self._live: Any = None

    def __call__(
        self, items: Iterable[T], description: str = "", total: int | None = None, start: int = 0
    ) -> Iterator[T]:
        """Iterate over `items` behind a bar."""
        if total is None and hasattr(items, "__len__"):
            total = len(items)  # pyright: ignore[reportArgumentType]
        with self.bar(description, total, start) as advance:
            for item in items:
                yield item
                advance()

    @contextmanager
    def bar(self, description: str, total: int | None, start: int = 0) -> Iterator[Any]:
        """A bar of `total` steps; yields `advance(**notes)`."""
        if not self.shown:
            yield lambda **notes: None
            return
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as RichProgress

        outermost = self._live is None
        if outermost:
            self._live = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
                console=Console(stderr=True, force_terminal=True),
                transient=True,
            )
            self._live.start()
        task = self._live.add_task(description, total=total, completed=start, note="")

        def advance(**notes: float) -> None:
            note = " ".join(f"{name} {value:.3f}" for name, value in notes.items())
            self._live.update(task, advance=1, **({"note": note} if note else {}))

        try:
            yield advance
        finally:
            self._live.remove_task(task)
            if outermost:
                self._live.stop()
                self._live = None
