"""Few-shot answers from elsewhere (NIfTI label maps), and the pictures of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.core import Scored
from bench.errors import UserError
from bench.families.fewshot import Segmented, at_size
from bench.families.fewshot_data import FewShotData
from bench.splits import some

SUFFIX = ".nii.gz"


def read(folder: Path, data: FewShotData) -> Segmented:
    """Read one label map a test volume and shot selection.

    A map has its volume's shape (H0, W0, D) and holds 0 and 1; slices that are not evaluated are read over.

    Args:
        folder: `<selection>/<volume>.nii.gz`; with one selection also `<volume>.nii.gz`.
        data: Names selections, volumes and their shapes.

    Raises:
        UserError: One message naming every missing, extra, unreadable, wrongly sized or labelled file.
    """
    part, shape = data.test.slices, tuple(data.test.masks.shape[2:])
    flat = len(data.selections) == 1 and not (folder / data.selections[0]).is_dir()
    problems: dict[str, list[str]] = {}
    native: list[tuple[NDArray[np.bool_], ...]] = []
    for selection in data.selections:
        place = folder if flat else folder / selection
        there = {path.name for path in place.iterdir()} if place.is_dir() else set()
        wanted = {f"{volume}{SUFFIX}" for volume in part.patients}
        extra = sorted(name for name in there - wanted if not name.startswith("."))
        problems.setdefault("not of the test split", []).extend(f"{selection}/{name}" for name in extra)
        maps = {}
        for volume in part.patients:
            name = f"{volume}{SUFFIX}"
            if name not in there:
                problems.setdefault("missing", []).append(f"{selection}/{name}")
                continue
            found, problem = _read_one(place / name, data.test.cache.shape(volume))
            if found is None:
                problems.setdefault(problem, []).append(f"{selection}/{name}")
            else:
                maps[volume] = found
        if len(maps) == len(part.patients):
            pairs = zip(part.volumes, part.positions.tolist(), strict=True)
            native.append(tuple(maps[volume][..., position] for volume, position in pairs))
    faults = [f"{kind}: {some(found)}" for kind, found in problems.items() if found]
    if faults:
        raise UserError(
            f"The predictions in `{folder}` do not answer the {len(part.patients)} test volumes in "
            f"{len(data.selections)} shot selections ({'; '.join(faults)}); nothing was scored. Give "
            f"`<selection>/<volume>{SUFFIX}` of the volume's own shape with labels 0 and 1; the selections "
            f"are {', '.join(data.selections)}."
        )
    small = [
        at_size(torch.from_numpy(one.astype(np.float32))[None], shape) for found in native for one in found
    ]
    slices = np.stack(small).reshape(len(data.selections), len(part), *shape)
    return Segmented(slices, tuple(native))


def _read_one(path: Path, shape: tuple[int, ...]) -> tuple[NDArray[np.bool_] | None, str]:
    import nibabel

    try:
        found = np.asarray(nibabel.load(path).dataobj)  # pyright: ignore[reportAttributeAccessIssue, reportPrivateImportUsage]
    except Exception:
        return None, "unreadable"
    if found.shape != tuple(shape):
        return None, "not of its volume's shape"
    if not np.isin(found, (0, 1)).all():
        return None, "holding other labels than 0 and 1"
    return found.astype(bool), ""


def draw(
    folder: Path, predictions: Segmented, data: FewShotData, scored: Scored, caption: str
) -> Sequence[Path]:
    """Best, median and worst volume with contours, and IoU of every patient by selection."""
    from bench.report.volumes import volume_gallery

    part, cache = data.test.slices, data.test.cache
    place = {pair: i for i, pair in enumerate(zip(part.volumes, part.positions.tolist(), strict=True))}

    def image(volume: str, position: int) -> NDArray[Any]:
        x = part.images([place[volume, position]])
        size = cache.shape(volume)[:2]
        return torch.nn.functional.interpolate(x, size=size, mode="bilinear", antialias=True)[0, 0].numpy()

    return volume_gallery(
        folder,
        scored=scored,
        image=image,
        reference=data.test.reference,
        prediction=lambda selection, name: predictions.volume(data, selection, name),
        positions={name: data.test.positions(name) for name in part.patients},
        zooms={name: cache.zooms(name) for name in part.patients},
        selections=data.selections,
        title=part.name,
        caption=caption,
    )
