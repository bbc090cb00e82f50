"""HAM10000 at 8x8 grey pixels: all real images as `hmnist_8_8_L.csv`, with lesions from the metadata."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench.card import Card
from bench.core import Dataset
from bench.errors import UserError
from bench.pictures import Arrays, Pictures, content_hash, survey
from bench.skin_lesions import METADATA, facts, in_order, phantom_rows, read_metadata, write_rows

CARD = Card(
    title="HAM10000 at 8x8 grey (small variant)",
    family="federated_classification",
    summary="All 10,015 images of HAM10000 shrunk to 8x8 grey pixels: a small variant, not the full images.",
    citation="P. Tschandl, C. Rosendahl, H. Kittler: The HAM10000 dataset, a large collection of "
    "multi-source dermatoscopic images of common pigmented skin lesions. Scientific Data 5, 180161, 2018. "
    "Shrunk by K. Mader: Skin Cancer MNIST: HAM10000, Kaggle, 2018.",
    url="https://www.kaggle.com/datasets/kmader/skin-cancer-mnist-ham10000",
    licence="CC BY-NC 4.0",
    unit="lesion",
    files="hmnist_8_8_L.csv (columns pixel0000 to pixel0063 and label, one row an image) and "
    "HAM10000_metadata (CSV), whose rows are in the same order.",
    classes=("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"),
    notes="The CSV carries no image ids; row i is row i of HAM10000_metadata: the labels agree in all 10,015 "
    "rows (checked at each reading), and 70 original JPEGs shrunk to 8x8 are each nearest to their own row. "
    "The file numbers its classes akiec, bcc, bkl, df, nv, vasc, mel; they are renumbered alphabetically. "
    "Images are sorted by image_id, as in `ham10000`, so a partition of one is a partition of the other. A "
    "number reached on 8x8 pixels says nothing about the full images.",
)

FILE = "hmnist_8_8_L.csv"
SIDE = 8
FILE_ORDER = ("akiec", "bcc", "bkl", "df", "nv", "vasc", "mel")  # what the labels of the file mean
HEADER = [*(f"pixel{i:04d}" for i in range(SIDE * SIDE)), "label"]


class HAM10000Small(Dataset):
    """`hmnist_8_8_L.csv` beside `HAM10000_metadata`."""

    card: ClassVar[Card] = CARD

    def index(self, root: Path) -> Pictures:
        """Ids, labels, lesions and sources from the metadata alone; the CSV of pixels is not opened.

        Returns:
            Pictures sorted by image id, whose `read` raises and whose `content` is empty.

        Raises:
            UserError: The metadata is missing or wrong.
        """
        rows = read_metadata(root)
        return in_order(rows, np.argsort(rows.ids, kind="stable"))

    def load(self, root: Path, progress: Callable[..., Any] | None = None) -> Pictures:
        """Read all pixels into memory and check that CSV and metadata belong together.

        Args:
            root: Folder that holds `hmnist_8_8_L.csv` and `HAM10000_metadata`.
            progress: Wraps the iteration over images: `progress(images, total=..., description=...)`.

        Returns:
            Pictures (8, 8) sorted by image id; groups are lesions, sources those of the metadata.

        Raises:
            UserError: A file is missing or wrong, or the two do not have the same labels row by row.
        """
        rows = read_metadata(root)
        images, labels = read_pixels(root / FILE)
        if len(images) != len(rows):
            raise UserError(
                f"`{root / FILE}` has {len(images)} rows but the metadata beside it {len(rows)}; take both "
                "files of the same release."
            )
        different = np.flatnonzero(labels != rows.labels)
        if len(different):
            at = int(different[0])
            pair = " and ".join(f"`{CARD.classes[own[at]]}`" for own in (labels, rows.labels))
            raise UserError(
                f"`{root / FILE}` and the metadata beside it disagree on the class of {len(different)} "
                f"rows, first in row {at + 1} ({pair}); "
                "take both files of the same release, in their original order."
            )
        order = np.argsort(rows.ids, kind="stable")
        index = in_order(rows, order)
        read = Arrays(images[order])
        pixels = survey(read, index.ids, None, progress)
        content = content_hash(index.ids, index.labels, index.groups, index.classes, pixels)
        return replace(index, read=read, content=content)

    def verify(self, root: Path, progress: Callable[..., Any] | None = None) -> dict[str, str]:
        """Check everything as `load` does and say what was found."""
        pictures = self.load(root, progress)
        return {
            **facts(pictures),
            "image size": "8x8 grey, shrunk",
            "fingerprint": pictures.fingerprint(),
        }

    def write_phantom(
        self,
        root: Path,
        seed: int = 0,
        size: str = "small",
        progress: Callable[..., Any] | None = None,
    ) -> None:
        """Write the lesions of the `ham10000` phantom shrunk to 8x8 grey, as CSV and metadata.

        Args:
            root: A folder that does not exist yet or is empty; it appears whole or not at all.
            seed: The same seed writes the same bytes.
            size: `tiny` (430 images) or `small` (2,948 images, enough for FedAP's 34 clients).
            progress: Wraps the iteration over images.

        Raises:
            UserError: The size is none, or the folder holds something.
        """
        from PIL import Image

        from bench.phantoms.lesions import SIZES, draw, plan
        from bench.phantoms.marker import write_marker
        from bench.phantoms.retina_files import whole_folder
        from bench.phantoms.sizes import named_size

        views = plan(seed, named_size(size, SIZES))
        rows = phantom_rows(views, seed)
        walk = progress(views, total=len(views), description="write the phantom") if progress else views
        lines = []
        with whole_folder(root) as part:
            for view in walk:
                small = (
                    Image.fromarray(draw(view)).convert("L").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
                )
                values = [*np.asarray(small).ravel().tolist(), FILE_ORDER.index(view.dx)]
                lines.append(dict(zip(HEADER, map(str, values), strict=True)))
            write_rows(part / FILE, lines)
            write_rows(part / METADATA[0], rows)
            write_marker(part, "ham10000_8x8", seed, size, sorted({row["lesion_id"] for row in rows}))


def read_pixels(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read `hmnist_8_8_L.csv`.

    Returns:
        Images (N, 8, 8) uint8 and labels (N,) int64 in alphabetical numbering.

    Raises:
        UserError: The file is missing, is no table of 65 whole numbers a row, or holds values out of range.
    """
    if not path.is_file():
        raise UserError(f"`{path}` is missing; copy it beside HAM10000_metadata.")
    try:
        with path.open(encoding="utf-8-sig") as file:
            header = file.readline().strip().replace('"', "").split(",")
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"`{path}` cannot be read as text ({error}); take the original file.") from error
    if header != HEADER:
        raise UserError(
            f"`{path}` must begin with the columns {HEADER[0]} to {HEADER[-2]} and label, got {len(header)} "
            "other columns; take the original file."
        )
    if not lines:
        raise UserError(f"`{path}` has a header but no rows; take the original file.")
    try:
        table = np.loadtxt(lines, np.int64, delimiter=",", ndmin=2)
    except ValueError as error:
        raise UserError(
            f"`{path}` is no table of whole numbers ({error}); take the original file."
        ) from error
    if table.shape[1:] != (len(HEADER),):
        raise UserError(
            f"`{path}` has rows of {table.shape[1]} values, not {len(HEADER)}; take the original."
        )
    values, labels = table[:, :-1], table[:, -1]
    if values.min() < 0 or values.max() > 255:
        raise UserError(
            f"`{path}` must hold grey values from 0 to 255, got {values.min()} to {values.max()}; take the "
            "original file."
        )
    if labels.min() < 0 or labels.max() >= len(FILE_ORDER):
        raise UserError(
            f"`{path}` must hold labels from 0 to {len(FILE_ORDER) - 1}, got {labels.min()} to "
            f"{labels.max()}; take the original file."
        )
    renumbered = np.array([CARD.classes.index(name) for name in FILE_ORDER], np.int64)
    return values.astype(np.uint8).reshape(-1, SIDE, SIDE), renumbered[labels]
