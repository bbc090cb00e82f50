"""UMN OCT fluid: 29 volumes of 25 B-scans in one official `UMNDataset.mat`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench.card import Card
from bench.core import Dataset
from bench.errors import UserError
from bench.matfile import grey, numbers, read_mat, shape_of, write_mat
from bench.phantoms.marker import HEADER, expected_units, write_marker
from bench.scans import SPLITS, Scan, Scans
from bench.splits import read_splits

CARD = Card(
    title="UMN OCT fluid",
    family="segmentation",
    summary="725 retinal B-scans of 29 patients with diabetic macular edema: intraretinal fluid.",
    citation="A. Rashno, B. Nazari, D. D. Koozekanani, P. M. Drayna, S. Sadri, H. Rabbani, K. K. Parhi: "
    "Fully-automated segmentation of fluid regions in exudative age-related macular degeneration subjects: "
    "kernel graph cut in neutrosophic domain. PLoS ONE 12(10), 2017.",
    url="http://people.ece.umn.edu/users/parhi/.DATA/OCT/DME/UMNDataset.mat",
    licence="none stated",
    unit="patient",
    files="UMNDataset.mat (MATLAB v5) with the cell arrays AllSubjects and ManualFluid1 of shape (1, 29 or "
    "more), each cell (H,W,25); the first 29 cells are read.",
    classes=("background", "fluid"),
    notes="Labels are those of expert 1, taken as class ids. All scans are kept, also those without fluid. "
    "The split is the official code's (19, 5 and 5 patients in file order); the paper gives none.",
)

FILE = "UMNDataset.mat"
KEYS = ("AllSubjects", "ManualFluid1")
SCANS, TINY_SCANS = 25, 5
SIZES = {"tiny": (64, 128), "small": (96, 192), "official": (496, 1024)}  # of the phantom
EYES = 1000  # its subjects are numbered from here, so that it shares no scan with other phantoms


class UMNOCT(Dataset):
    """The official UMNDataset.mat, found in the folder given or in one right below it."""

    card: ClassVar[Card] = CARD

    def load(self, root: Path, progress: Callable[..., Any] | None = None) -> Scans:
        """Read all B-scans.

        Args:
            root: Folder that holds `UMNDataset.mat`, or whose subfolder does.
            progress: Wraps the iteration over subjects: `progress(items, total=..., description=...)`.

        Returns:
            Scans named `Subject_XX_NN`, both counted from 1; images and masks (H, W) uint8.

        Raises:
            UserError: The file is missing, damaged or not of the official format.
        """
        path = _file(root)
        split_of = splits()
        found = read_mat(path, KEYS)
        for key in KEYS:
            _check_cells(path, key, found[key], len(split_of))
        count = SCANS if expected_units(path.parent) is None else None  # a tiny phantom has fewer scans
        items: Iterable[tuple[int, str]] = list(enumerate(split_of))
        if progress:
            items = progress(items, total=len(split_of), description="read OCT volumes")
        scans: list[Scan] = []
        for i, unit in items:
            volume, fluid = (found[key][0, i] for key in KEYS)
            scans += _subject(path, unit, split_of[unit], volume, fluid, count)
        scans.sort(key=lambda scan: (SPLITS.index(scan.split), scan.id))
        return Scans(tuple(scans), CARD.classes, CARD.unit)

    def write_phantom(
        self,
        root: Path,
        seed: int = 0,
        size: str = "small",
        progress: Callable[..., Any] | None = None,
    ) -> None:
        """Write a phantom: `UMNDataset.mat` with one cell a subject.

        Args:
            root: A folder that does not exist yet or is empty; it appears whole or not at all.
            seed: The same seed writes the same bytes.
            size: `tiny` (64x128, 5 scans a subject), `small` (96x192), `official` (496x1024), or `HxW`.
            progress: Wraps the iteration over subjects.

        Raises:
            UserError: The size is none, or the folder holds something.
        """
        from bench.phantoms.retina_files import eye_scans, parse_size, whole_folder

        shape = parse_size(size, SIZES)
        units = list(splits())
        numbers = range(1, (TINY_SCANS if size == "tiny" else SCANS) + 1)
        images, fluid = (np.empty((1, len(units)), object) for _ in KEYS)
        walk = range(len(units))
        with whole_folder(root) as part:
            for i in progress(walk, total=len(units), description="write the phantom") if progress else walk:
                scans = eye_scans(shape, seed, EYES + i + 1, numbers)
                images[0, i] = np.stack([scan.image for scan in scans], -1)
                fluid[0, i] = np.stack([scan.fluid > 0 for scan in scans], -1).astype(np.uint8)
            write_mat(part / FILE, {"AllSubjects": images, "ManualFluid1": fluid}, HEADER)
            write_marker(part, "umn_oct", seed, size, units)


def splits() -> dict[str, str]:
    """Unit -> split of the committed split file, in the order of the cells."""
    rows = read_splits(Path(__file__).with_name("umn_oct.splits.csv"), ("unit", "split"))
    return {row["unit"]: row["split"] for row in rows}


def _file(root: Path) -> Path:
    if not root.is_dir():
        raise UserError(f"`{root}` is no folder; give the folder that holds {FILE}.")
    folders = (root, *sorted(path for path in root.iterdir() if path.is_dir()))
    for folder in folders:
        if (folder / FILE).is_file():
            return folder / FILE
    raise UserError(f"`{root}` holds no {FILE}, nor does a folder right below it; get it from {CARD.url}.")


def _check_cells(path: Path, key: str, cells: np.ndarray, least: int) -> None:
    if cells.dtype != object or cells.ndim != 2 or cells.shape[0] != 1:
        raise UserError(
            f"`{key}` in `{path}` must be a row of cells, got {cells.dtype} {shape_of(cells)}; "
            "take the official file."
        )
    if cells.shape[1] < least:
        raise UserError(
            f"`{key}` in `{path}` must hold at least {least} subjects, got {cells.shape[1]}; "
            "take the official file."
        )


def _subject(path: Path, unit: str, split: str, volume: Any, fluid: Any, count: int | None) -> Iterable[Scan]:
    """The scans of one cell, images and fluid (H, W, N) with N = `count` where that is given."""
    where = f"of `{unit}` in `{path}`"
    volume, fluid = np.asarray(volume), np.asarray(fluid)
    if volume.ndim != 3 or 0 in volume.shape or (count is not None and volume.shape[2] != count):
        raise UserError(
            f"`AllSubjects` {where} must be (H,W,{count or 'N'}), got {shape_of(volume)}; "
            "take the official file."
        )
    if fluid.shape != volume.shape:
        raise UserError(
            f"`ManualFluid1` {where} must be {shape_of(volume)} as the images, got {shape_of(fluid)}; "
            "take the official file."
        )
    volume = grey(volume, f"`AllSubjects` {where}")
    fluid = numbers(fluid, f"`ManualFluid1` {where}")
    wrong = fluid[(fluid != 0) & (fluid != 1)]  # NaN is neither
    if wrong.size:
        raise UserError(
            f"`ManualFluid1` {where} holds the value {wrong[0]:g} where only 0 and 1 may stand; "
            "take the official file."
        )
    return [
        Scan(
            id=f"{unit}_{i + 1:02d}",
            unit=unit,
            split=split,
            image=np.ascontiguousarray(volume[:, :, i]),
            mask=np.ascontiguousarray(fluid[:, :, i]).astype(np.uint8),
            full_size=volume.shape[:2],
        )
        for i in range(volume.shape[2])
    ]
