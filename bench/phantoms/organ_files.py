"""The Decathlon phantom on disk: TaskNN folders of NIfTI volumes as the official archives are laid out."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from bench.files import write_bytes, write_json
from bench.phantoms.marker import NIFTI_DESCRIPTION, write_marker
from bench.phantoms.organs import draw
from bench.phantoms.retina_files import whole_folder
from bench.phantoms.sizes import named_size


@dataclass(frozen=True)
class Task:
    """What the official folder calls things.

    Args:
        prefix: What volume names begin with.
        modality: One name a channel.
        labels: Names of label 1, 2, ...
        ids: Official volume ids. Those of heart, prostate and spleen lie in all parts of the released splits.
        tiny: Those of them that the tiny phantom has; none leaves the folder out.
        pixel: Range of the size of a pixel, mm.
        between: Range of the distance between slices, mm.
        axes: Where the three axes of the array point, such as `LAS`.
    """

    prefix: str
    modality: tuple[str, ...]
    labels: tuple[str, ...]
    ids: tuple[str, ...]
    tiny: tuple[str, ...] = ()
    pixel: tuple[float, float] = (0.66, 0.9)
    between: tuple[float, float] = (2.5, 5.0)
    axes: str = "RAS"


def _numbers(first: int, count: int) -> tuple[str, ...]:
    return tuple(f"{n:03d}" for n in range(first, first + count))


def _named(ids: str) -> tuple[str, ...]:
    return tuple(ids.split())


TASKS: Mapping[str, Task] = {
    "Task02_Heart": Task(
        "la",
        ("MRI",),
        ("left atrium",),
        _named("003 004 005 007 009 010 011 014 016 017 018 019 026 030"),
        _named("003 004 007 010 017 019"),
        (1.25, 1.25),
        (1.37, 1.37),
    ),
    "Task04_Hippocampus": Task(
        "hippocampus", ("MRI",), ("Anterior", "Posterior"), _numbers(1, 24), _numbers(1, 8), (1, 1), (1, 1)
    ),
    "Task05_Prostate": Task(
        "prostate",
        ("T2", "ADC"),
        ("PZ", "TZ"),
        _named("00 01 02 04 06 07 10 14 16 18 20 21 24 35 44 46"),
        pixel=(0.6, 0.65),
        between=(3, 4),
        axes="LAS",
    ),
    "Task06_Lung": Task("lung", ("CT",), ("cancer",), _numbers(1, 14), axes="LAS"),
    "Task07_Pancreas": Task("pancreas", ("CT",), ("pancreas", "cancer"), _numbers(1, 14)),
    "Task08_HepaticVessel": Task("hepaticvessel", ("CT",), ("Vessel", "Tumour"), _numbers(1, 14), axes="LPS"),
    "Task09_Spleen": Task(
        "spleen",
        ("CT",),
        ("spleen",),
        _named("2 3 6 8 10 12 13 16 17 20 21 22 32 33"),
        _named("2 3 10 12 13 32"),
        axes="LAS",
    ),
}
DEPTHS = {"tiny": (5, 6), "small": (8, 12)}  # fewest and most slices


@dataclass(frozen=True)
class _Patient:
    folder: str
    number: int
    name: str


def write_organs(
    root: Path, seed: int = 0, size: str = "small", progress: Callable[..., Any] | None = None
) -> None:
    """Write TaskNN folders with `imagesTr`, `labelsTr` and `dataset.json`, and a marker in each.

    Args:
        root: A folder that does not exist yet or is empty; it appears whole or not at all.
        seed: The same seed writes the same bytes.
        size: `tiny` (three organs, 20 volumes of 5 to 6 slices) or `small` (seven organs, 110 volumes of 8 to
            12 slices).
        progress: Wraps the iteration over volumes: `progress(volumes, total=..., description=...)`.

    Raises:
        UserError: The size is none, or the folder holds something.
    """
    fewest, most = named_size(size, DEPTHS)
    patients = [
        _Patient(folder, task.ids.index(one), f"{task.prefix}_{one}")
        for folder, task in TASKS.items()
        for one in (task.tiny if size == "tiny" else task.ids)
    ]
    walk = patients
    if progress:
        walk = progress(patients, total=len(patients), description="write the phantom")
    with whole_folder(root) as part:
        for patient in walk:
            _write_volume(part, patient, seed, (fewest, most))
        for folder in dict.fromkeys(patient.folder for patient in patients):
            names = [patient.name for patient in patients if patient.folder == folder]
            write_json(part / folder / "dataset.json", _listing(folder, names))
            write_marker(part / folder, "decathlon", seed, size, names)
        write_marker(part, "decathlon", seed, size, [patient.name for patient in patients])


def _write_volume(root: Path, patient: _Patient, seed: int, depths: tuple[int, int]) -> None:
    rng = np.random.default_rng([seed, int(patient.folder[4:6]), patient.number, 1])
    image, label = draw(patient.folder, seed, patient.number, int(rng.integers(depths[0], depths[1] + 1)))
    affine = _affine(rng, patient, label.shape)
    for kind, voxels in (("imagesTr", image), ("labelsTr", label)):
        write_bytes(root / patient.folder / kind / f"{patient.name}.nii.gz", encode(voxels, affine))


def encode(voxels: NDArray, affine: NDArray) -> bytes:
    """A gzipped NIfTI file that says it is a phantom; the same voxels give the same bytes.

    Args:
        voxels: (H, W, D) or (H, W, D, C), a dtype that NIfTI knows.
        affine: (4, 4) from voxels to mm.
    """
    image = nib.Nifti1Image(voxels, affine)
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = NIFTI_DESCRIPTION
    return gzip.compress(image.to_bytes(), 4, mtime=0)


def _affine(rng: np.random.Generator, patient: _Patient, shape: tuple[int, ...]) -> NDArray:
    """(4, 4): the folder's axes, tilted for every other patient; spacing and origin differ."""
    task = TASKS[patient.folder]
    pixel = rng.uniform(*task.pixel)
    spacing = np.array([pixel, pixel, rng.uniform(*task.between)])
    signs = np.array([1 if axis in "RAS" else -1 for axis in task.axes])
    angles = rng.uniform(4, 14, 3) * rng.choice((-1, 1), 3) * (patient.number % 2)
    turned = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turned @ np.diag(signs * spacing)
    affine[:3, 3] = rng.uniform(-30, 30, 3) - affine[:3, :3] @ (np.array(shape) - 1) / 2
    return affine.round(6)


def _listing(folder: str, names: Sequence[str]) -> dict[str, Any]:
    """The contents of `dataset.json`."""
    task = TASKS[folder]
    return {
        "name": folder.split("_", 1)[1],
        "description": NIFTI_DESCRIPTION,
        "reference": "bench",
        "licence": "public domain",
        "tensorImageSize": "4D" if len(task.modality) > 1 else "3D",
        "modality": {str(i): name for i, name in enumerate(task.modality)},
        "labels": {"0": "background", **{str(i): name for i, name in enumerate(task.labels, 1)}},
        "numTraining": len(names),
        "numTest": 0,
        "training": [
            {"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in names
        ],
        "test": [],
    }
