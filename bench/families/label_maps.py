"""Label maps that another program wrote: PNG or npy, one file a scan, exactly the test split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.errors import UserError
from bench.families.scan_sets import Interpolation, Place, resize_labels

SUFFIXES = (".png", ".npy")
SHOWN = 5


def read(
    folder: Path, ids: Sequence[str], places: Sequence[Place], size: Sequence[int], num_classes: int
) -> Tensor:
    """Read one label map a test scan.

    A map may have the evaluation size, the size of the evaluated window of its scan, or the scan's full
    size in its file (then the window is cut out); the last two are resized with nearest.

    Args:
        folder: Files named `<scan id>.png` or `<scan id>.npy`.
        ids: N scan names.
        places: N places of the evaluated windows.
        size: (H, W) of the evaluation.
        num_classes: K; labels run from 0 to K - 1.

    Returns:
        (N, H, W) int64.

    Raises:
        UserError: One message naming every missing, extra, unreadable, wrongly sized or out-of-range file.
    """
    if not folder.is_dir():
        raise UserError(f"`predictions={folder}` is no folder; give the folder that holds the label maps.")
    files: dict[str, list[Path]] = {}
    extra = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.suffix.lower() in SUFFIXES and path.stem in set(ids):
            files.setdefault(path.stem, []).append(path)
        else:
            extra.append(path.name)
    problems: dict[str, list[str]] = {
        "missing": [scan for scan in ids if scan not in files],
        "not of the test split": extra,
        "given twice": [scan for scan, paths in files.items() if len(paths) > 1],
    }
    maps = []
    for scan, place in zip(ids, places, strict=True):
        for path in files.get(scan, [])[:1]:
            label_map, problem, detail = _read_one(path, place, size, num_classes)
            if label_map is None:
                problems.setdefault(problem, []).append(f"{path.name}{detail}")
            else:
                maps.append(label_map)
    faults = [f"{kind}: {_some(found)}" for kind, found in problems.items() if found]
    if faults:
        raise UserError(
            f"The predictions in `{folder}` do not answer the test split of {len(ids)} scans "
            f"({'; '.join(faults)}); nothing was scored. Give one PNG or npy for each scan, named as it, "
            f"with labels 0 to {num_classes - 1} at {size[0]}x{size[1]} or at the scan's own size."
        )
    return torch.stack(maps)


def _some(found: list[str]) -> str:
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(found[:SHOWN]) + more


def _read_one(
    path: Path, place: Place, size: Sequence[int], num_classes: int
) -> tuple[Tensor | None, str, str]:
    """The label map of one file, or what is wrong with it."""
    try:
        array = _decode(path)
    except (OSError, ValueError, EOFError, SyntaxError, Image.DecompressionBombError) as error:
        return None, "unreadable", f" ({type(error).__name__})"
    if array.ndim != 2:
        return None, "not a single-channel label map", f" (shape {array.shape})"
    if array.dtype.kind not in "biuf":
        return None, "not a label map", f" (dtype {array.dtype})"
    if not np.isfinite(array).all() or not (array == np.round(array)).all():
        return None, "not whole-numbered", ""
    top, left, height, width = place.window
    sizes = {tuple(size), (height, width), place.full_size}
    if array.shape not in sizes:
        wanted = " or ".join(f"{h}x{w}" for h, w in sorted(sizes))
        return None, "wrongly sized", f" ({array.shape[0]}x{array.shape[1]}, not {wanted})"
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= num_classes:
        return None, "out of range", f" (labels {low} to {high})"
    if array.shape == tuple(size):
        return torch.from_numpy(array.astype(np.int64)), "", ""
    if array.shape != (height, width):
        array = array[top : top + height, left : left + width]
    return resize_labels(array, size, Interpolation.nearest), "", ""


def _decode(path: Path) -> np.ndarray:
    if path.suffix.lower() == ".npy":
        return np.load(path, allow_pickle=False)
    with Image.open(path) as image:
        return np.asarray(image)
