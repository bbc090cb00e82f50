"""How a phantom stays recognisable for ever: a marker beside its files and a sentence in each of them."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Sequence
from pathlib import Path

from bench.files import write_json

MARKER = "PHANTOM.json"
HEADER = "MATLAB 5.0 MAT-file, bench phantom, not real data"
NIFTI_DESCRIPTION = "bench phantom, not real data"  # in the header's `descrip`
TELLTALE = b"bench phantom, not real data"  # of a picture, its comment
_HEADER_BYTES = 116  # length of the free text that opens a .mat file of version 5
_NIFTI_HEADER_BYTES = 348
_PICTURE_BYTES = 1024  # within which Pillow writes a JPEG's comment


def write_marker(root: Path, dataset: str, seed: int, size: str, units: Sequence[str]) -> None:
    """Write `PHANTOM.json`: which phantom this is and which units it holds."""
    write_json(root / MARKER, {"dataset": dataset, "seed": seed, "size": size, "units": list(units)})


def is_phantom(root: Path) -> bool:
    """Whether `root` or a folder right below it holds a marker, or files whose heads say that they are one.

    Reads a few bytes of each .mat, of the first two volumes of each `imagesTr` and of the first photographs
    of COCO-Stuff, and imports nothing heavy.
    """
    folders = _folders(root)
    if any((folder / MARKER).is_file() for folder in folders):
        return True
    if any(_says_phantom(path) for folder in folders for path in folder.glob("*.mat")):
        return True
    if any(_volume_says_phantom(path) for folder in folders for path in _first_volumes(folder)):
        return True
    return any(_says_phantom(path, _PICTURE_BYTES) for folder in folders for path in _first_pictures(folder))


def expected_units(root: Path) -> list[str] | None:
    """Units that the phantom in `root` was written with; None where there is no readable marker."""
    try:
        units = json.loads((root / MARKER).read_text(encoding="utf-8"))["units"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return [str(unit) for unit in units] if isinstance(units, list) else None


def _folders(root: Path) -> list[Path]:
    """`root` and the folders right below it, which is where the loaders look."""
    if not root.is_dir():
        return []
    return [root, *sorted(path for path in root.iterdir() if path.is_dir())]


def _says_phantom(path: Path, head: int = _HEADER_BYTES) -> bool:
    try:
        with path.open("rb") as file:
            return TELLTALE in file.read(head)
    except OSError:
        return False


def _first_volumes(folder: Path) -> list[Path]:
    """The first two images of a folder of the Decathlon, without what macOS leaves beside them."""
    found = (folder / "imagesTr").glob("*.nii.gz")
    return sorted(path for path in found if not path.name.startswith("._"))[:2]


def _first_pictures(folder: Path) -> list[Path]:
    """The first photograph of each half of COCO-Stuff."""
    halves = (min(folder.glob(f"{part}_img/[!.]*.jpg"), default=None) for part in ("train", "val"))
    return [path for path in halves if path is not None]


def _volume_says_phantom(path: Path) -> bool:
    try:
        with gzip.open(path) as file:
            return TELLTALE in file.read(_NIFTI_HEADER_BYTES)
    except (OSError, EOFError, zlib.error):  # damaged: the loader says so
        return False
