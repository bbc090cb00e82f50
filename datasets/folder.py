"""A user's own scans: image and mask pairs in a folder, with `splits.csv` and `classes.json`."""

from __future__ import annotations

import json
import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from bench.card import Card
from bench.core import Dataset
from bench.errors import UserError
from bench.scans import SPLITS, Scan, Scans
from bench.splits import read_splits, some

CARD = Card(
    title="A folder of your own scans",
    family="segmentation",
    summary="images/ and masks/ with one file each a scan, splits.csv and classes.json.",
    licence="yours",
    unit="patient",
    files="images/<file> (png, tif, bmp, jpg or npy, grey), masks/<same stem> (png, tif, bmp or npy, class "
    'ids), splits.csv with the columns file,unit,split, classes.json as {"0": "background", "1": ...}.',
    notes="Records on it say `custom`. Intervals resample the column `unit`: put the patient there. Files "
    "that splits.csv does not name are not read; `bench data verify` lists them.",
)

COLUMNS = ("file", "unit", "split")
IMAGES = (".png", ".tif", ".tiff", ".bmp", ".jpg", ".jpeg", ".npy")
MASKS = (".png", ".tif", ".tiff", ".bmp", ".npy")  # no JPEG: its losses invent labels
MOST_CLASSES = 256  # masks are uint8
# What PIL and numpy raise on files that are empty, cut off, damaged, pickled, or claim absurd sizes.
_DAMAGE = (
    OSError,
    ValueError,
    EOFError,
    SyntaxError,
    LookupError,
    TypeError,
    ArithmeticError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


class Folder(Dataset):
    """Pairs `images/<file>` and `masks/<stem>`; a mask may have another ending than its image."""

    card: ClassVar[Card] = CARD
    has_phantom: ClassVar[bool] = False

    def load(self, root: Path, progress: Callable[..., Any] | None = None) -> Scans:
        """Read every pair named in `splits.csv`.

        Args:
            root: The folder.
            progress: Wraps the iteration over scans: `progress(rows, total=..., description=...)`.

        Returns:
            Scans named by the file's stem; images (H, W) uint8, uint16 or float32, masks (H, W) uint8.

        Raises:
            UserError: One sentence naming everything that is wrong with the files, kind by kind.
        """
        classes = read_classes(root / "classes.json")
        rows = read_rows(root / "splits.csv")
        masks = _by_stem(root / "masks")
        faults: dict[str, list[str]] = {}
        scans = []
        for row in progress(rows, total=len(rows), description="read scans") if progress else rows:
            try:
                scans.append(_scan(root, row, masks, len(classes)))
            except _Fault as fault:
                faults.setdefault(fault.kind, []).append(row["file"] + fault.detail)
        if faults:
            told = "; ".join(f"{kind}: {some(names)}" for kind, names in faults.items())
            raise UserError(
                f"{sum(map(len, faults.values()))} of the {len(rows)} scans in `{root}` cannot be used "
                f"({told}); mend these files or take them out of splits.csv."
            )
        return Scans(tuple(sorted(scans, key=lambda s: (SPLITS.index(s.split), s.id))), classes, CARD.unit)

    def verify(self, root: Path, progress: Callable[..., Any] | None = None) -> dict[str, str]:
        """What was established, images that no row of `splits.csv` names among it."""
        facts = super().verify(root, progress)
        listed = {row["file"] for row in read_rows(root / "splits.csv")}
        extra = sorted(path.name for path in (root / "images").iterdir() if path.name not in listed)
        return {**facts, "in images/ but not in splits.csv": some(extra) if extra else "none"}


class _Fault(Exception):
    """Something is wrong with one scan: which kind, and what is particular about this one."""

    def __init__(self, kind: str, detail: str = ""):
        super().__init__(kind)
        self.kind, self.detail = kind, detail


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
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"`{path}` is no valid JSON ({error}); write label and name of each class."
        ) from error
    names = [found.get(str(k), "") for k in range(len(found))] if isinstance(found, dict) else []
    if (
        len(names) < 2
        or not all(isinstance(name, str) and name for name in names)
        or len(set(names)) < len(names)
    ):
        raise UserError(
            f'`{path}` must map labels "0", "1", ... without a gap to two different names or more, '
            f"got {str(found)[:200]}; number the classes from 0."
        )
    if len(names) > MOST_CLASSES:
        raise UserError(f"`{path}` names {len(names)} classes; at most {MOST_CLASSES} are read.")
    return tuple(names)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of `splits.csv` as dicts with `file`, `unit` and `split`, checked.

    Raises:
        UserError: The file or a column is missing, a split is unknown or empty, a scan stands in it twice,
            or a name leads out of `images/`.
    """
    rows = read_splits(path, COLUMNS)
    outside = [row["file"] for row in rows if not _plain(row["file"])]
    if outside:
        raise UserError(f"`{path}` names {some(outside)}; give plain names of files that lie in images/.")
    stems = Counter(PurePosixPath(row["file"]).stem for row in rows)
    twice = [row["file"] for row in rows if stems[PurePosixPath(row["file"]).stem] > 1]
    if twice:
        raise UserError(
            f"`{path}` lists one scan more than once ({some(twice)}); names must differ before the ending."
        )
    return rows


def _plain(name: str) -> bool:
    """Whether a name can only mean a file right inside a folder, on any system."""
    flat = PurePosixPath(name).name == name == PureWindowsPath(name).name
    return flat and name not in (".", "..") and name.isprintable()


def _by_stem(folder: Path) -> dict[str, list[Path]]:
    """Readable masks by the name before their ending."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.suffix.lower() in MASKS:
            found.setdefault(path.stem, []).append(path)
    return found


def _scan(root: Path, row: dict[str, str], masks: dict[str, list[Path]], num_classes: int) -> Scan:
    path = root / "images" / row["file"]
    if not path.is_file():
        raise _Fault("image missing")
    if path.suffix.lower() not in IMAGES:
        raise _Fault(f"image of a kind that is not read (use {', '.join(IMAGES)})")
    image = _grey(_read(path, "image unreadable", is_mask=False))
    candidates = masks.get(path.stem, [])
    if not candidates:
        raise _Fault("mask missing")
    same = [mask for mask in candidates if mask.name == path.name] or candidates
    if len(same) > 1:
        raise _Fault("more than one mask", f" ({', '.join(mask.name for mask in same)})")
    mask = _labels(_read(same[0], "mask unreadable", is_mask=True), num_classes)
    if mask.shape != image.shape:
        raise _Fault("image and mask differ in size", f" ({_size(image)} and {_size(mask)})")
    height, width = image.shape
    return Scan(path.stem, row["unit"], row["split"], image, mask, (height, width))


def _read(path: Path, unreadable: str, is_mask: bool) -> np.ndarray:
    """Decode a file; a palette means class ids in a mask and colours in an image."""
    try:
        if path.suffix.lower() == ".npy":
            array = np.load(path, allow_pickle=False)
            if not isinstance(array, np.ndarray):  # an .npz under another name
                raise ValueError("an archive, not an array")
            return array
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata is none of our business,
            warnings.simplefilter("error", Image.DecompressionBombWarning)  # absurd sizes are
            with Image.open(path) as image:
                if getattr(image, "n_frames", 1) > 1:
                    raise _Fault("more than one page in the file")
                palette = image.mode in ("P", "PA") and not is_mask
                return np.asarray(image.convert("RGBA") if palette else image)
    except _DAMAGE as error:
        raise _Fault(unreadable, f" ({type(error).__name__})") from error


def _grey(image: np.ndarray) -> np.ndarray:
    """A single channel (H, W); colours whose channels agree are grey in disguise."""
    if image.dtype.kind not in "biuf":
        raise _Fault("image not numeric", f" ({image.dtype})")
    if image.ndim == 3 and image.shape[2] in (2, 4):
        if image[..., -1].size and (image[..., -1] != 255).any():
            raise _Fault("image with transparent pixels")
        image = image[..., :-1]
    if image.ndim == 3 and image.shape[2] in (1, 3):
        if (image != image[..., :1]).any():
            raise _Fault("image in colour, not grey")
        image = image[..., 0]
    if image.ndim != 2 or not image.size:
        raise _Fault("image not (H,W)", f" {image.shape}")
    if not np.isfinite(image).all():
        raise _Fault("image with NaN or infinite pixels")
    if image.dtype == bool:
        return image.astype(np.uint8) * np.uint8(255)
    if image.dtype in (np.uint8, np.uint16):
        return np.ascontiguousarray(image)
    return image.astype(np.float32)


def _labels(mask: np.ndarray, num_classes: int) -> np.ndarray:
    """Class ids (H, W) as uint8."""
    if mask.ndim != 2 or not mask.size:
        raise _Fault("mask not (H,W) class ids", f" {mask.shape}")
    if mask.dtype.kind not in "biuf" or not np.isfinite(mask).all() or (mask != np.trunc(mask)).any():
        raise _Fault("mask not of whole numbers", f" ({mask.dtype})")
    low, high = mask.min(), mask.max()
    if low < 0 or high >= num_classes:
        raise _Fault(f"label outside 0 to {num_classes - 1} of classes.json", f" ({low:g} to {high:g})")
    return mask.astype(np.uint8)


def _size(array: np.ndarray) -> str:
    return "x".join(map(str, array.shape))
