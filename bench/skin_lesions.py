"""The metadata of HAM10000, which its full images and its 8x8 version share: read, checked, written."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.errors import UserError, suggest
from bench.pictures import Pictures, no_pixels
from bench.splits import some

if TYPE_CHECKING:
    from bench.phantoms.lesions import View

METADATA = ("HAM10000_metadata", "HAM10000_metadata.csv")
COLUMNS = ("lesion_id", "image_id", "dx")
CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")


def facts(pictures: Pictures) -> dict[str, str]:
    """Images of each class, lesions and sources, as `verify` shows them."""
    images = Counter(pictures.groups)
    found = {f"images {name}": str(count) for name, count in pictures.counts().items()}
    several = sum(count > 1 for count in images.values())
    found |= {"lesions": str(len(images)), "lesions with several images": str(several)}
    for source, count in sorted(Counter(pictures.sources).items()):
        found[f"images from {source}"] = str(count)
    return found


def in_order(pictures: Pictures, order: np.ndarray) -> Pictures:
    """The same index with its images in another order; `read` is left as it is."""
    places = list(map(int, order))
    return replace(
        pictures,
        labels=pictures.labels[order],
        ids=tuple(pictures.ids[i] for i in places),
        groups=tuple(pictures.groups[i] for i in places),
        sources=tuple(pictures.sources[i] for i in places) if pictures.sources else (),
    )


def read_metadata(root: Path) -> Pictures:
    """Read and check `HAM10000_metadata`.

    Returns:
        An index without pixels in the order of the rows.

    Raises:
        UserError: Missing or unreadable file or column, empty cell, unknown dx, an image listed twice, or a
            lesion with two diagnoses.
    """
    path = _metadata(root)
    rows, columns = _rows(path)
    unknown = sorted({row["dx"] for row in rows} - set(CLASSES))
    if unknown:
        raise UserError(
            f"`{path}` names the unknown dx {some(unknown)}; it knows {', '.join(CLASSES)}."
            f"{suggest(unknown[0], CLASSES)}"
        )
    twice = [name for name, count in Counter(row["image_id"] for row in rows).items() if count > 1]
    if twice:
        raise UserError(
            f"`{path}` lists the image {some(twice)} more than once; keep one row for each image."
        )
    diagnosis: dict[str, str] = {}
    torn = [
        row["lesion_id"] for row in rows if diagnosis.setdefault(row["lesion_id"], row["dx"]) != row["dx"]
    ]
    if torn:
        raise UserError(
            f"`{path}` gives the lesion {some(sorted(set(torn)))} two diagnoses; a lesion has one dx, "
            "correct the rows."
        )
    return Pictures(
        read=no_pixels,
        labels=np.array([CLASSES.index(row["dx"]) for row in rows], np.int64),
        ids=tuple(row["image_id"] for row in rows),
        groups=tuple(row["lesion_id"] for row in rows),
        classes=CLASSES,
        content="",
        sources=tuple(row["dataset"] for row in rows) if "dataset" in columns else (),
    )


def _metadata(root: Path) -> Path:
    if not root.is_dir():
        raise UserError(f"`{root}` is no folder; give the folder that holds HAM10000_metadata.")
    found = [root / name for name in METADATA if (root / name).is_file()]
    if not found:
        raise UserError(f"`{root}` holds no HAM10000_metadata; copy the CSV of the official release there.")
    if len(found) > 1:
        raise UserError(f"`{root}` holds both {METADATA[0]} and {METADATA[1]}; take one of them away.")
    return found[0]


def _rows(path: Path) -> tuple[list[dict[str, str]], tuple[str, ...]]:
    """The rows, without blanks around values, and which of the columns of use there are."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            table = list(reader)
            header = reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"`{path}` cannot be read as a CSV ({error}); take the official file.") from error
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise UserError(
            f"`{path}` lacks the column {some(missing)}; its first line must name {','.join(COLUMNS)}."
        )
    if not table:
        raise UserError(f"`{path}` has a header but no rows; take the official file.")
    columns = (*COLUMNS, "dataset") if "dataset" in header else COLUMNS
    rows = []
    for number, line in enumerate(table, 2):
        row = {name: (line[name] or "").strip() for name in columns}
        blank = [name for name, value in row.items() if not value]
        if blank:
            raise UserError(f"`{path}` leaves {some(blank)} empty in line {number}; fill it in.")
        rows.append(row)
    return rows, columns


def phantom_rows(views: Sequence[View], seed: int) -> list[dict[str, str]]:
    """The metadata of a phantom, with all columns of the newer releases."""
    rng = np.random.default_rng([seed, 3])
    people = [(rng.integers(3, 18) * 5.0, ("female", "male")[rng.integers(2)]) for _ in views]
    return [
        {
            "lesion_id": f"HAM_{view.lesion:07d}",
            "image_id": f"ISIC_{24306 + i:07d}",
            "dx": view.dx,
            "dx_type": "phantom",
            "age": str(people[view.lesion][0]),
            "sex": people[view.lesion][1],
            "localization": "unknown",
            "dataset": view.source,
        }
        for i, view in enumerate(views)
    ]


def write_rows(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write a CSV with the keys of the first row as its header."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([list(rows[0]), *(row.values() for row in rows)])
