"""Pictures for a page that stands alone: committed ones and those of runs, inside the page as data URIs."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.axes import said
from bench.files import safe_name
from bench.report.board import VARIANTS, Board
from bench.report.collect import LEADERBOARDS

MOST = 48  # pictures of a page,
HEAVIEST, TOGETHER = 2_000_000, 16_000_000  # bytes of one and of all of them
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Picture:
    """One picture.

    Args:
        group: What it belongs to: a row of the board, or the committed pictures.
        caption: What it shows.
        uri: The PNG itself, `data:image/png;base64,...`.
    """

    group: str
    caption: str
    uri: str


@dataclass(frozen=True)
class Pictures:
    """Pictures that a page shows, and how many there was no room for."""

    shown: tuple[Picture, ...] = ()
    left_out: int = 0

    def groups(self) -> dict[str, list[Picture]]:
        """Pictures by what they belong to, in order."""
        found: dict[str, list[Picture]] = {}
        for picture in self.shown:
            found.setdefault(picture.group, []).append(picture)
        return found

    @property
    def note(self) -> str:
        """What was left out, in a sentence; empty where nothing was."""
        if not self.left_out:
            return ""
        many = "1 picture was" if self.left_out == 1 else f"{self.left_out} pictures were"
        return (
            f"{many} left out: a page holds {MOST} pictures of {HEAVIEST / 1e6:.0f} MB each and "
            f"{TOGETHER / 1e6:.0f} MB together; the others lie in the `gallery` folders of their runs and in "
            "`leaderboards/figures`."
        )


def pictures(board: Board, folders: Sequence[Path], committed: Path = LEADERBOARDS / "figures") -> Pictures:
    """Read the pictures that belong to a board.

    Committed ones come first, then the galleries of runs as the board ranks their rows, one run (the first
    seed that has a gallery) a row. A file that is no PNG or cannot be read is skipped with one line on
    standard error.

    Args:
        board: What is shown.
        folders: Roots of run folders, `<root>/<task>/<dataset>/<method>/<run id>/gallery/*.png`.
        committed: Folder of `<task>/*.png`.
    """
    shown: list[Picture] = []
    left_out, size = 0, 0
    for group, caption, path in _files(board, folders, committed):
        try:
            with path.open("rb") as file:
                data = file.read(HEAVIEST + 1)
        except OSError as error:
            print(f"Skipped `{path}`: {error.strerror}; make it readable or remove it.", file=sys.stderr)
            continue
        if not data.startswith(_SIGNATURE):
            print(f"Skipped `{path}`: it is no PNG picture; repair or remove it.", file=sys.stderr)
        elif len(shown) >= MOST or len(data) > HEAVIEST or size + len(data) > TOGETHER:
            left_out += 1
        else:
            size += len(data)
            uri = f"data:image/png;base64,{base64.b64encode(data).decode()}"
            shown.append(Picture(group, caption, uri))
    return Pictures(tuple(shown), left_out)


def _files(board: Board, folders: Sequence[Path], committed: Path) -> Iterator[tuple[str, str, Path]]:
    """Group, caption and file of every picture, in the order in which a page shows them."""
    for path in _pngs(committed / board.task):
        yield "Of this leaderboard", _spoken(path), path
    runs = _runs(folders, board.task)
    for section in board.sections:
        key = section.key
        setting = f" · {said(section.setting)}" if section.setting else ""
        where = f"{key.dataset} · {VARIANTS[key.variant]}{setting} · profile {key.profile}"
        for row in section.rows:
            for record in row.records:
                folder = runs.get(safe_name(record["run_id"]))
                found = _pngs(folder / "gallery") if folder else []
                if found:
                    seeds = ", ".join(f"{name}={seed}" for name, seed in record["seeds"].items())
                    group = f"{row.label} · {where}" + (f" · seed {seeds}" if seeds else "")
                    yield from ((group, _spoken(path), path) for path in found)
                    break


def _runs(folders: Iterable[Path], task: str) -> dict[str, Path]:
    """Run id -> its folder; the first of several stands, as the board takes it."""
    found: dict[str, Path] = {}
    for root in folders:
        for path in sorted((root / safe_name(task)).glob("*/*/*")):
            if path.is_dir():
                found.setdefault(path.name, path)
    return found


def _pngs(folder: Path) -> list[Path]:
    """PNG files of a folder and of those below it, but no link that leads out of it."""
    inside = folder.resolve()
    found = (Path(at) / name for at, _, names in os.walk(folder) for name in names if name.endswith(".png"))
    return sorted(path for path in found if path.resolve().is_relative_to(inside))


def _spoken(path: Path) -> str:
    return path.stem.replace("_", " ")
