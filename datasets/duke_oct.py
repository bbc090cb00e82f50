"""Duke SD-OCT DME (Chiu et al. 2015): ten volumes, 110 annotated B-scans, seven layers and fluid.

Reads the official `Subject_XX.mat`; every rule is one of section 1 of the OCT specification.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench.card import Card
from bench.core import Dataset
from bench.errors import UserError
from bench.matfile import grey, numbers, read_mat, shape_of, write_mat
from bench.phantoms.marker import HEADER, expected_units, write_marker
from bench.scans import SPLITS, Scan, Scans
from bench.splits import read_splits, some

CARD = Card(
    title="Duke SD-OCT DME",
    family="segmentation",
    summary="110 annotated B-scans of 10 patients with diabetic macular edema: seven layers and fluid.",
    citation="S. J. Chiu, M. J. Allingham, P. S. Mettu, S. W. Cousins, J. A. Izatt, S. Farsiu: Kernel "
    "regression based segmentation of optical coherence tomography images with diabetic macular edema. "
    "Biomedical Optics Express 6(4), 1172-1194, 2015.",
    url="https://people.duke.edu/~sf59/Chiu_BOE_2014_dataset.htm",
    licence="free for research, no redistribution",
    unit="patient",
    files="Subject_01.mat to Subject_10.mat (MATLAB v5), each with images (496,768,61) uint8, manualLayers1 "
    "(8,768,61) with NaN where unlabelled, and manualFluid1 (496,768,61); further variables are not read.",
    download="https://people.duke.edu/~sf59/Datasets/2015_BOE_Chiu2.zip",
    classes=("background", "ILM", "NFL-IPL", "INL", "OPL", "ONL-ISM", "ISE", "OS-RPE", "fluid"),
    notes="Labels are those of expert 1. Columns are cropped to those that hold a boundary in any labelled "
    "scan of the patient, so the width differs from patient to patient; a column without labels in one scan "
    "is background there, even over retina. Fluid outside the layers counts as fluid. Boundary rows are "
    "MATLAB's (from 1) used as first rows from 0, as the official code does. Patients 1-6 train, 7-8 "
    "validate, 9-10 test.",
)

KEYS = ("images", "manualLayers1", "manualFluid1")
BOUNDARIES = 8
BELOW, FLUID = 8, 8  # what the fill calls "below the retina"; what fluid is called in the end
SCANS = 61
LABELLED = (11, 16, 21, 26, 29, 31, 33, 36, 41, 46, 51)  # counted from 1, as in the real volumes
SIZES = {"tiny": (64, 96), "small": (124, 192), "official": (496, 768)}  # of the phantom
TINY = ("Subject_01", "Subject_02", "Subject_03", "Subject_07", "Subject_09")
_NAME = re.compile(r"Subject_\d+\.mat")


class DukeOCT(Dataset):
    """The ten official .mat files, found in the folder given or in one right below it."""

    card: ClassVar[Card] = CARD

    def load(self, root: Path, progress: Callable[..., Any] | None = None) -> Scans:
        """Read all labelled B-scans.

        Args:
            root: Folder that holds `Subject_XX.mat`, or whose one subfolder does.
            progress: Wraps the iteration over files: `progress(files, total=..., description=...)`.

        Returns:
            Scans named `Subject_XX_NN`, NN the B-scan counted from 1; images and masks (H, W) uint8.

        Raises:
            UserError: A subject is missing or unknown, or a file is damaged or not of the official format.
        """
        files, split_of = _files(root)
        walk = progress(files, total=len(files), description="read OCT volumes") if progress else files
        scans = [scan for path in walk for scan in read_subject(path, split_of[path.stem])]
        scans.sort(key=lambda scan: (SPLITS.index(scan.split), scan.id))
        return Scans(tuple(scans), CARD.classes, CARD.unit)

    def write_phantom(
        self,
        root: Path,
        seed: int = 0,
        size: str = "small",
        progress: Callable[..., Any] | None = None,
    ) -> None:
        """Write a phantom: `Subject_XX.mat` with keys, dtypes and shapes of the official files.

        Args:
            root: A folder that does not exist yet or is empty; it appears whole or not at all.
            seed: The same seed writes the same bytes.
            size: `tiny` (64x96, five subjects), `small` (124x192), `official` (496x768), or `HxW`.
            progress: Wraps the iteration over subjects.

        Raises:
            UserError: The size is none, or the folder holds something.
        """
        from bench.phantoms.retina_files import parse_size, whole_folder

        shape = parse_size(size, SIZES)
        kept = [unit for unit in splits() if size != "tiny" or unit in TINY]
        walk = progress(kept, total=len(kept), description="write the phantom") if progress else kept
        with whole_folder(root) as part:
            for unit in walk:
                write_mat(part / f"{unit}.mat", phantom_volume(shape, seed, unit), HEADER)
            write_marker(part, "duke_oct", seed, size, kept)


def splits() -> dict[str, str]:
    """Unit -> split of the committed split file."""
    rows = read_splits(Path(__file__).with_name("duke_oct.splits.csv"), ("unit", "split"))
    return {row["unit"]: row["split"] for row in rows}


def _files(root: Path) -> tuple[list[Path], dict[str, str]]:
    """The files to read, sorted, and the split of each unit."""
    if not root.is_dir():
        raise UserError(
            f"`{root}` is no folder; give the folder that holds Subject_01.mat to Subject_10.mat."
        )
    below = sorted(path for path in root.iterdir() if path.is_dir())
    holders = [folder for folder in (root, *below) if _subjects(folder)]
    if not holders:
        raise UserError(
            f"`{root}` holds no Subject_XX.mat, nor does a folder right below it; give the folder unpacked "
            f"from {CARD.download.rsplit('/', 1)[-1]}."
        )
    if len(holders) > 1 and holders[0] != root:
        raise UserError(
            f"`{root}` holds several sets of subjects ({some([folder.name for folder in holders])}); "
            "give one of these folders."
        )
    folder = holders[0]
    split_of = splits()
    found = {path.stem: path for path in _subjects(folder)}
    wanted = expected_units(folder) or list(split_of)
    unknown = [f"{name}.mat" for name in found if name not in wanted or name not in split_of]
    if unknown:
        raise UserError(f"`{folder}` holds {some(unknown)}, which no split names; take the file away.")
    missing = [f"{name}.mat" for name in wanted if name not in found]
    if missing:
        raise UserError(f"`{folder}` lacks {some(missing)}; copy the missing subject there.")
    return [found[name] for name in sorted(found)], split_of


def _subjects(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name) and path.is_file())


def read_subject(path: Path, split: str) -> list[Scan]:
    """Read the labelled B-scans of one file, cropped to the columns labelled in any of them."""
    images, layers, fluid = _checked(path, read_mat(path, KEYS))
    height, width, _ = images.shape
    kept = np.flatnonzero(layers.sum(axis=(0, 1)))
    if not len(kept):
        raise UserError(f"`{path}` has no labelled B-scan in `manualLayers1`; take the official file.")
    columns = np.flatnonzero((layers[:, :, kept] != 0).any(axis=(0, 2)))
    crop = slice(int(columns[0]), int(columns[-1]) + 1)
    return [
        Scan(
            id=f"{path.stem}_{i + 1:02d}",
            unit=path.stem,
            split=split,
            image=np.ascontiguousarray(images[:, crop, i]),
            mask=label_map(layers[:, crop, i], fluid[:, crop, i]),
            full_size=(height, width),
            window=(0, crop.start),
        )
        for i in kept
    ]


def label_map(layers: np.ndarray, fluid: np.ndarray) -> np.ndarray:
    """Build the label map of one B-scan (specification, section 1, steps 2 to 4 and the remap).

    Args:
        layers: Boundary rows, (8, W) whole numbers from 0 to H; 0 where a layer is missing.
        fluid: (H, W); positive where there is fluid.

    Returns:
        (H, W) uint8: 0 background above and below the retina, 1 to 7 layers, 8 fluid.
    """
    # Repairing from left to right what falls below its predecessor is a running maximum.
    monotone = np.maximum.accumulate(layers, axis=0)  # (8, W)
    rows = np.arange(fluid.shape[0])[:, None]
    mask = np.zeros(fluid.shape, np.uint8)
    for boundary in monotone:  # layer k holds the rows from b[k-1] on: k is how many boundaries lie above
        mask += rows >= boundary
    mask[mask == BELOW] = 0
    mask[fluid > 0] = FLUID
    return mask


def _checked(path: Path, found: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images uint8 (H, W, N), boundary rows int32 (8, W, N), fluid uint16 (H, W, N); NaN becomes 0."""
    images, layers, fluid = (found[key] for key in KEYS)
    if images.ndim != 3 or 0 in images.shape:
        raise UserError(
            f"`images` in `{path}` must be (H,W,N), got {shape_of(images)}; take the official file."
        )
    height, width, count = images.shape
    for key, array, wanted in (
        ("manualLayers1", layers, (BOUNDARIES, width, count)),
        ("manualFluid1", fluid, (height, width, count)),
    ):
        if array.shape != wanted:
            raise UserError(
                f"`{key}` in `{path}` must be {shape_of(np.empty(wanted, bool))} to fit `images`, "
                f"got {shape_of(array)}; take the official file."
            )
    images = grey(images, f"`images` in `{path}`")
    layers = np.nan_to_num(numbers(layers, f"`manualLayers1` in `{path}`"), nan=0.0)
    if layers.min() < 0 or layers.max() > height:
        raise UserError(
            f"`manualLayers1` in `{path}` must hold rows from 0 to {height}, got {layers.min():g} to "
            f"{layers.max():g}; take the official file."
        )
    fluid = np.nan_to_num(numbers(fluid, f"`manualFluid1` in `{path}`"), nan=0.0)
    if fluid.min() < 0 or fluid.max() > np.iinfo(np.uint16).max:
        raise UserError(
            f"`manualFluid1` in `{path}` must hold component numbers from 0, got {fluid.min():g} to "
            f"{fluid.max():g}; take the official file."
        )
    return images, layers.astype(np.int32), fluid.astype(np.uint16)


def phantom_volume(shape: tuple[int, int], seed: int, unit: str) -> dict[str, np.ndarray]:
    """The seven variables of one phantom subject, for (H, W) = `shape` and N = 61 scans."""
    from bench.phantoms.retina_files import eye_scans

    subject = int(unit.rsplit("_", 1)[1])
    height, width = shape
    scans = dict(zip(LABELLED, eye_scans(shape, seed, subject, LABELLED), strict=True))
    images = np.empty((height, width, SCANS), np.uint8)
    layers = np.full((8, width, SCANS), np.nan)
    fluid = np.zeros((height, width, SCANS))
    for number in range(1, SCANS + 1):
        # Scans that nobody labelled repeat the nearest labelled one in the mirror: no loader reads them.
        near = min(LABELLED, key=lambda known: (abs(known - number), known))
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


def _labelled_columns(seed: int, subject: int, number: int, width: int) -> slice:
    """Columns that expert 1 labelled in this scan; the edge moves a little from scan to scan."""
    from bench.phantoms.retina import eye

    left, right = eye(seed, subject).margin
    if not left:
        return slice(0, width)
    extra = np.random.default_rng([seed, subject, number, 2]).uniform(0, 0.02, 2)
    return slice(int((left + extra[0]) * width), width - int((right + extra[1]) * width))
