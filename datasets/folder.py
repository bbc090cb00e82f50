"""A user's own scans: image and mask pairs in a folder, with `splits.csv` and `classes.json`."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from bench.card import Card
from bench.core import Dataset
from bench.errors import UserError
from bench.scans import SPLITS, Scan, Scans

CARD = Card(
    title="A folder of your own scans",
    family="segmentation",
    summary="images/ and masks/ with one file each a scan, splits.csv and classes.json.",
    licence="yours",
    unit="patient",
    files='images/<file>, masks/<file>; splits.csv: file,unit,split; classes.json: {"0": "background", ...}',
    notes="Records on it say `custom`. Intervals resample the column `unit`: put the patient there.",
)

COLUMNS = ("file", "unit", "split")
SHOWN = 5
READABLE = (".png", ".tif", ".tiff", ".bmp", ".jpg", ".jpeg", ".npy")


class Folder(Dataset):
    """Pairs `images/<file>` and `masks/<file>`; a mask may have another ending than its image."""

    card: ClassVar[Card] = CARD
    has_phantom: ClassVar[bool] = False

    def load(self, root: Path, progress: Callable[..., Any] | None = None) -> Scans:
        """Read every pair named in `splits.csv`.

        Raises:
            UserError: One sentence naming everything of one kind that is wrong.
        """
        classes = read_classes(root / "classes.json")
        rows = read_rows(root / "splits.csv")
        faults: dict[str, list[str]] = {}
        scans = []
        for row in progress(rows, "read scans", len(rows)) if progress else rows:
            try:
                scans.append(_scan(root, row, len(classes)))
            except _Fault as fault:
                faults.setdefault(fault.kind, []).append(f"`{row['file']}`{fault.detail}")
        if faults:
            told = "; ".join(f"{kind}: {_some(names)}" for kind, names in faults.items())
            raise UserError(f"The scans in `{root}` cannot be used ({told}); mend or leave out these files.")
        return Scans(tuple(sorted(scans, key=lambda s: (SPLITS.index(s.split), s.id))), classes)

    def verify(self, root: Path) -> list[str]:
        """Facts about the folder, files that no row of `splits.csv` names among them."""
        listed = {row["file"] for row in read_rows(root / "splits.csv")}
        extra = sorted(p.name for p in (root / "images").iterdir() if p.is_file() and p.name not in listed)
        told = f"not in splits.csv and not read: {_some(extra)}" if extra else "every image is in splits.csv"
        return [*super().verify(root), told]


class _Fault(Exception):
    def __init__(self, kind: str, detail: str = ""):
        super().__init__(kind)
        self.kind, self.detail = kind, detail


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def read_classes(path: Path) -> tuple[str, ...]:
    """Class names in label order from `{"0": "background", "1": ...}`.

    Raises:
        UserError: The file is missing, no such JSON, or its labels do not run from 0 without a gap.
    """
    if not path.is_file():
        raise UserError(
            f'`{path}` is missing; write the classes into it, as {{"0": "background", "1": "fluid"}}.'
        )
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(
            f"`{path}` is no valid JSON ({error}); write label and name of each class."
        ) from error
    labels = [str(k) for k in range(len(found))] if isinstance(found, dict) else []
    names = [found.get(label) for label in labels] if isinstance(found, dict) else []
    if (
        len(labels) < 2
        or not all(isinstance(name, str) and name for name in names)
        or len(set(names)) < len(names)
    ):
        raise UserError(
            f'`{path}` must map labels "0", "1", ... without a gap to at least two different names, got {found!r}.'
        )
    return tuple(names)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of `splits.csv`, checked.

    Raises:
        UserError: The file or a column is missing, a split is unknown or empty, a scan stands in it twice.
    """
    if not path.is_file():
        raise UserError(f"`{path}` is missing; write one row a scan with the columns {','.join(COLUMNS)}.")
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = [column for column in COLUMNS if column not in (reader.fieldnames or [])]
        if missing:
            raise UserError(f"`{path}` lacks the column {', '.join(missing)}; it needs {','.join(COLUMNS)}.")
        rows = [{column: (row[column] or "").strip() for column in COLUMNS} for row in reader]
    seen: dict[str, dict[str, str]] = {}
    for number, row in enumerate(rows, 2):
        file, split = row["file"], row["split"]
        if not all(row.values()):
            raise UserError(f"Line {number} of `{path}` is incomplete; give file, unit and split.")
        if PurePath(file).name != file or "\\" in file or file in (".", ".."):
            raise UserError(
                f"Line {number} of `{path}` names `{file}`; give a plain file name inside images/."
            )
        if split not in SPLITS:
            raise UserError(
                f"Line {number} of `{path}` has the split `{split}`; it takes {', '.join(SPLITS)}."
            )
        stem = PurePath(file).stem
        if stem in seen:
            where = (
                f"in {seen[stem]['split']} and {split}"
                if seen[stem]["split"] != split
                else f"twice in {split}"
            )
            raise UserError(f"`{path}` lists the scan `{stem}` {where}; a scan belongs to one split, once.")
        seen[stem] = row
    empty = [split for split in SPLITS if not any(row["split"] == split for row in rows)]
    if empty:
        raise UserError(f"`{path}` gives no scan to {', '.join(empty)}; every split needs at least one.")
    return rows


def _scan(root: Path, row: dict[str, str], num_classes: int) -> Scan:
    image = _grey(_read(root / "images" / row["file"], "image missing", "image unreadable"))
    path = root / "masks" / row["file"]
    if not path.is_file():
        others = [path.with_suffix(ending) for ending in READABLE]
        path = next((other for other in others if other.is_file()), path)
    mask = _read(path, "mask missing", "mask unreadable")
    if mask.ndim != 2:
        raise _Fault("mask not single-channel", f" (shape {mask.shape})")
    if mask.shape != image.shape:
        raise _Fault("image and mask differ in size", f" ({image.shape} and {mask.shape})")
    if mask.dtype.kind not in "biu" and not (np.isfinite(mask).all() and (mask == np.round(mask)).all()):
        raise _Fault("mask not whole-numbered")
    low, high = int(mask.min()), int(mask.max())
    if low < 0 or high >= num_classes:
        raise _Fault("label out of range", f" (labels {low} to {high}, classes 0 to {num_classes - 1})")
    height, width = image.shape
    return Scan(
        PurePath(row["file"]).stem, row["unit"], row["split"], image, mask.astype(np.uint8), (height, width)
    )


def _read(path: Path, missing: str, unreadable: str) -> np.ndarray:
    if not path.is_file():
        raise _Fault(missing)
    if path.suffix.lower() not in READABLE:
        raise _Fault(unreadable, f" (ending {path.suffix})")
    try:
        if path.suffix.lower() == ".npy":
            return np.load(path, allow_pickle=False)
        with Image.open(path) as image:
            return np.asarray(image)
    except (OSError, ValueError, EOFError, SyntaxError, Image.DecompressionBombError) as error:
        raise _Fault(unreadable, f" ({type(error).__name__})") from error


def _grey(image: np.ndarray) -> np.ndarray:
    """A single channel; colour images whose channels agree are grey in disguise."""
    if image.ndim == 3 and image.shape[2] in (3, 4) and (image[..., :1] == image[..., :3]).all():
        image = image[..., 0]
    if image.ndim != 2 or not image.size:
        raise _Fault("image not grey", f" (shape {image.shape})")
    if image.dtype.kind not in "biuf":
        raise _Fault("image not numeric", f" ({image.dtype})")
    if not np.isfinite(image).all():
        raise _Fault("image holds NaN or infinity")
    if image.dtype == bool:
        return image.astype(np.uint8) * 255
    return image if image.dtype in (np.uint8, np.uint16) else image.astype(np.float32)
