"""Tiny folders in the Decathlon's layout, whose voxels a test can compute for itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from skimage.transform import resize

AFFINE = np.array([[0, 1.5, 0, -7], [0.75, 0, 0, 3], [0, 0, 4, 11], [0, 0, 0, 1]], np.float64)
SHAPE = (24, 20, 6)


def save(path: Path, voxels: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    """Write one NIfTI."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.Nifti1Image(voxels, affine).to_filename(path)


def voxels(number: int, shape: Sequence[int] = SHAPE, channels: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """An image with a block of label 1 and one of label 2, and that label map.

    The first slice holds fewer than 100 pixels of each label, the last none.
    """
    rng = np.random.default_rng(number)
    label = np.zeros(shape, np.uint8)
    label[2:14, 1:11, 1:-1] = 1  # 120 pixels
    label[14:23, 3:15, 2:-1] = 2  # 108 pixels
    label[4:8, 5:9, 0] = 1
    image = rng.normal(100, 20, (*shape, channels) if channels else shape)
    image += 80 * (label[..., None] if channels else label)
    image[:2] = 0
    return image.astype(np.float32), label


def write_task(
    root: Path,
    folder: str = "Task04_Hippocampus",
    names: Sequence[str] = ("hippocampus_001", "hippocampus_003", "hippocampus_004"),
    channels: int = 0,
    highest: int = 2,
    listing: bool = True,
) -> Path:
    """Write a TaskNN folder below `root` with one volume a name; its path."""
    path = root / folder
    for number, name in enumerate(names):
        image, label = voxels(number, channels=channels)
        save(path / "imagesTr" / f"{name}.nii.gz", image)
        save(path / "labelsTr" / f"{name}.nii.gz", np.minimum(label, highest))
    if listing:
        write_listing(path, names, range(highest + 1))
    return path


def write_listing(path: Path, names: Sequence[str], labels: Sequence[int] = (0, 1, 2)) -> None:
    """Write `dataset.json`."""
    training = [
        {"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in names
    ]
    content = {"labels": {str(i): f"label {i}" for i in labels}, "training": training}
    (path / "dataset.json").write_text(json.dumps(content))


def resized(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """What scikit-image makes of a slice by its defaults, in double precision."""
    return np.asarray(resize(x.astype(np.float64), size))


def everything(cache) -> list[np.ndarray]:
    """All that the rows of a slice cache of two labels hold."""
    rows = np.arange(len(cache.position))
    return [cache.images(rows, 0), *(cache.masks(rows, label) for label in (1, 2)), cache.levels(rows, 0)]


def same(one: list[np.ndarray], two: list[np.ndarray]) -> bool:
    """Whether two caches hold the same."""
    return all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
