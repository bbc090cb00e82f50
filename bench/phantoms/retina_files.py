"""Phantom retinas in the official on-disk formats of the Duke and the UMN sets."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from bench.errors import UserError, suggest
from bench.matfile import write_mat
from bench.phantoms.marker import HEADER, write_marker
from bench.phantoms.retina import BScan, bscan, eye

DUKE_SCANS = 61
DUKE_LABELLED = (11, 16, 21, 26, 29, 31, 33, 36, 41, 46, 51)  # counted from 1, as in the real volumes
DUKE_SIZES = {"tiny": (64, 96), "small": (124, 192), "official": (496, 768)}
DUKE_TINY = ("Subject_01", "Subject_02", "Subject_03", "Subject_07", "Subject_09")
UMN_SCANS, UMN_TINY_SCANS = 25, 5
UMN_SIZES = {"tiny": (64, 128), "small": (96, 192), "official": (496, 1024)}
SMALLEST, LARGEST = 32, 2048
_UMN_EYES = 1000  # subjects are numbered from here, so that the two phantoms share no scan


def write_duke(root: Path, seed: int, size: str, units: Sequence[str]) -> None:
    """Write `Subject_XX.mat` for each unit, keys and dtypes as in the official files, and the marker.

    Args:
        root: A folder that does not exist yet or is empty; it appears whole or not at all.
        seed: The same seed writes the same bytes.
        size: `tiny` (five subjects), `small`, `official` or `HxW`.
        units: Unit names that end in the subject's number.

    Raises:
        UserError: The size is none, or the folder holds something.
    """
    shape = parse_size(size, DUKE_SIZES)
    kept = [unit for unit in units if size != "tiny" or unit in DUKE_TINY]
    with _whole_folder(root) as part:
        for unit in kept:
            write_mat(part / f"{unit}.mat", duke_volume(shape, seed, _number(unit)), HEADER)
        write_marker(part, "duke_oct", seed, size, kept)


def write_umn(root: Path, seed: int, size: str, units: Sequence[str]) -> None:
    """Write `UMNDataset.mat` with one cell a unit, and the marker; arguments as for `write_duke`.

    `tiny` has 5 scans a subject instead of 25.
    """
    shape = parse_size(size, UMN_SIZES)
    count = UMN_TINY_SCANS if size == "tiny" else UMN_SCANS
    with _whole_folder(root) as part:
        images = np.empty((1, len(units)), object)
        fluid = np.empty((1, len(units)), object)
        for i, unit in enumerate(units):
            scans = _scans(shape, seed, _UMN_EYES + _number(unit), range(1, count + 1))
            images[0, i] = np.stack([scan.image for scan in scans], -1)
            fluid[0, i] = np.stack([scan.fluid > 0 for scan in scans], -1).astype(np.uint8)
        write_mat(part / "UMNDataset.mat", {"AllSubjects": images, "ManualFluid1": fluid}, HEADER)
        write_marker(part, "umn_oct", seed, size, units)


def parse_size(size: str, named: dict[str, tuple[int, int]]) -> tuple[int, int]:
    """(H, W) of a named size or of `HxW`.

    Raises:
        UserError: Neither, or a side outside 32 to 2048.
    """
    if size in named:
        return named[size]
    match = re.fullmatch(r"(\d{1,6})x(\d{1,6})", size, re.ASCII)
    if not match:
        raise UserError(
            f"`{size}` is no size of a phantom; use {', '.join(named)} or HxW such as 64x96."
            f"{suggest(size, named)}"
        )
    height, width = int(match[1]), int(match[2])
    if not (SMALLEST <= height <= LARGEST and SMALLEST <= width <= LARGEST):
        raise UserError(f"A phantom of {size} is out of range; take sides from {SMALLEST} to {LARGEST}.")
    return height, width


def duke_volume(shape: tuple[int, int], seed: int, subject: int) -> dict[str, np.ndarray]:
    """The seven variables of one subject, for (H, W) = `shape` and N = 61 scans."""
    height, width = shape
    scans = dict(zip(DUKE_LABELLED, _scans(shape, seed, subject, DUKE_LABELLED), strict=True))
    images = np.empty((height, width, DUKE_SCANS), np.uint8)
    layers = np.full((8, width, DUKE_SCANS), np.nan)
    fluid = np.zeros((height, width, DUKE_SCANS))
    for number in range(1, DUKE_SCANS + 1):
        # Scans that nobody labelled repeat the nearest labelled one in the mirror: no loader reads them.
        near = min(DUKE_LABELLED, key=lambda known: (abs(known - number), known))
        images[..., number - 1] = scans[near].image[:, :: 1 if near == number else -1]
    for number, scan in scans.items():
        labelled = _labelled_columns(seed, subject, number, width)
        layers[:, labelled, number - 1] = scan.boundaries[:, labelled] + 1  # MATLAB counts rows from 1
        fluid[:, labelled, number - 1] = scan.fluid[:, labelled]
    rng = np.random.default_rng([seed, subject, 0, 1])
    second = np.clip(layers + rng.integers(-1, 2, layers.shape), 1, height)
    return {
        "images": images,
        "manualLayers1": layers,
        "manualLayers2": second,
        "automaticLayersDME": np.clip(layers + rng.integers(-2, 3, layers.shape), 1, height),
        "automaticLayersNormal": np.clip(layers + rng.integers(-3, 4, layers.shape), 1, height),
        "manualFluid1": fluid,
        "manualFluid2": np.maximum(fluid, np.roll(fluid, 1, axis=0)),
        "automaticFluidDME": np.roll(fluid, 1, axis=1),
    }


def _scans(shape: tuple[int, int], seed: int, subject: int, numbers: Sequence[int]) -> list[BScan]:
    """The scans of a subject; fluid in 70 % of them, and at least one scan without."""
    rng = np.random.default_rng([seed, subject, 0])
    wet = set(rng.permutation(len(numbers))[: round(0.7 * len(numbers))].tolist())
    middle, reach = (numbers[0] + numbers[-1]) / 2, max(1, numbers[-1] - numbers[0]) / 2
    return [
        bscan(shape, seed, subject, number, float(np.exp(-((3 * (number - middle) / reach) ** 2))), i in wet)
        for i, number in enumerate(numbers)
    ]


def _labelled_columns(seed: int, subject: int, number: int, width: int) -> slice:
    """Columns that expert 1 labelled in this scan; the edge moves a little from scan to scan."""
    left, right = eye(seed, subject).margin
    if not left:
        return slice(0, width)
    extra = np.random.default_rng([seed, subject, number, 2]).uniform(0, 0.02, 2)
    return slice(int((left + extra[0]) * width), width - int((right + extra[1]) * width))


def _number(unit: str) -> int:
    return int(unit.rsplit("_", 1)[1])


@contextmanager
def _whole_folder(root: Path) -> Iterator[Path]:
    """A folder to fill that takes the place of `root` once all is written."""
    if root.exists() and not root.is_dir():
        raise UserError(f"`{root}` is a file; give a new or empty folder for the phantom.")
    if root.is_dir() and any(root.iterdir()):
        raise UserError(f"`{root}` already holds files; give a new or empty folder for the phantom.")
    part = root.with_name(f".{root.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        part.rename(root)  # onto nothing or an empty folder
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
