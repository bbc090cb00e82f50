"""Scene graphs in the layout of VG150 (Xu et al. 2017): VG-SGG.h5 with its dictionaries.

Rows: R images; box and relation rows of image r run from `img_to_first_*[r]` to `img_to_last_*[r]`, both
inclusive, -1 where there are none. Labels and predicates are counted from 1, relations name box rows of the
whole file, boxes are centre x, centre y, width, height with the longer side of the image scaled to 1024 or
512.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import UserError
from bench.graphs.clean import all_cleaned
from bench.graphs.json_files import entries, read_json, value
from bench.graphs.scene import SceneGraph, SceneGraphs, Vocabulary
from bench.graphs.vg_h5_write import write_h5 as write_h5  # the layout's two halves have one name
from bench.graphs.vg_raw import IMAGES, Progress

FILES = ("VG-SGG.h5", "VG-SGG-with-attri.h5")
DICTS = ("VG-SGG-dicts.json", "VG-SGG-dicts-with-attri.json")
# Images of the list that the makers of the file skipped as damaged.
SKIPPED = {1592, 1722, 4616, 4617}
TRAIN, VAL, TEST, NEITHER = 0, 1, 2, -1
# The release marks no validation images: those who train on it take the first 5,000 of 62,723.
VAL_IMAGES, USABLE = 5_000, 62_723


def holds(folder: Path) -> bool:
    """Whether a folder holds an .h5 file of this layout."""
    return any((folder / name).is_file() for name in FILES)


def read_h5(root: Path, progress: Progress = None) -> SceneGraphs:
    """Read every image as a graph, and the splits as the Scene Graph Benchmark code makes them.

    Splits hold images with a box and a relation, which leaves 57,723 / 5,000 / 26,446 of the released file.
    Where no image is marked as validation (1), the first of the training images (0) in the order of the file
    are: 5,000, or in a smaller file the same share, 5,000 of 62,723, rounded. Test images are marked 2,
    images that belong nowhere -1. Images without a relation are graphs of no split.

    Boxes are in pixels where image_data.json gives sizes, otherwise in the frame of the file (longer side
    1024, or 512 where only those are there). Names are image ids, without image_data.json row numbers.

    Args:
        root: The folder, or the .h5 file itself; the dictionaries and image_data.json lie beside it.
        progress: Wraps the walk over images.

    Raises:
        UserError: Missing or damaged files, box rows out of range, labels or predicates that the dictionaries
            do not have, relations between boxes of different images.
    """
    path = root if root.is_file() else _first(root, FILES)
    vocabulary = _vocabulary(_first(path.parent, DICTS))
    table = _table(path)
    names, sizes = _images(path, len(table["split"]))
    graphs = []
    rows = range(len(names))
    for row in progress(rows, description=f"read {path.name}") if progress else rows:
        graphs.append(_graph(path, table, row, names[row], sizes[row], vocabulary))
    kept, counts = all_cleaned(graphs)
    return SceneGraphs(vocabulary, kept, _splits(path, table, names), counts, f"`split` of {path.name}")


def _first(folder: Path, wanted: tuple[str, ...]) -> Path:
    for name in wanted:
        if (folder / name).is_file():
            return folder / name
    raise UserError(f"`{folder}` lacks {' or '.join(f'`{name}`' for name in wanted)}; put it there.")


def _vocabulary(path: Path) -> Vocabulary:
    told = read_json(path, dict)
    kinds = {"objects": "label_to_idx", "predicates": "predicate_to_idx", "attributes": "attribute_to_idx"}
    found = {}
    for kind, key in kinds.items():
        if kind == "attributes" and key not in told:
            continue
        index = value(told, key, dict, f"`{path}`")
        if sorted(map(str, index.values())) != sorted(map(str, range(1, len(index) + 1))):
            raise UserError(f"`{path}`: `{key}` must number its {len(index)} names from 1 without gaps.")
        found[kind] = tuple(sorted(index, key=lambda name: int(index[name])))
    return Vocabulary(**found)


def _table(path: Path) -> dict[str, NDArray[Any]]:
    """The columns of the file as int64, or float64 for boxes, checked against one another."""
    import h5py

    try:
        with h5py.File(path) as file:
            boxes = [name for name in ("boxes_1024", "boxes_512") if name in file][:1]
            extra = [name for name in ("attributes",) if name in file]
            found = {name: _column(path, file, name) for name in (*_COLUMNS, *boxes, *extra)}
    except OSError as error:
        raise UserError(f"`{path}` is no readable HDF5 file, or cut off; fetch it again.") from error
    for what, columns in {
        "box": ("labels", *boxes, *extra),
        "relation": ("predicates", "relationships"),
    }.items():
        if len({len(found[name]) for name in columns}) > 1:
            told = ", ".join(f"{len(found[name]):,} in `{name}`" for name in columns)
            raise UserError(f"`{path}` has different numbers of {what} rows: {told}; fetch it again.")
    if len({len(found[name]) for name in _COLUMNS if name.startswith(("img", "split"))}) > 1:
        raise UserError(f"`{path}` has `split` and `img_to_*` of different lengths; fetch it again.")
    found["frame"] = np.asarray([1024 if boxes == ["boxes_1024"] else 512])
    return found


_COLUMNS: dict[str, int] = {
    "labels": 1,
    "predicates": 1,
    "relationships": 2,
    "img_to_first_box": 0,
    "img_to_last_box": 0,
    "img_to_first_rel": 0,
    "img_to_last_rel": 0,
    "split": 0,
}


def _column(path: Path, file: Any, name: str) -> NDArray[Any]:
    if name not in file or not hasattr(file[name], "shape"):
        raise UserError(f"`{path}` lacks `{name}`; it has {', '.join(sorted(file)) or 'nothing'}.")
    found = np.asarray(file[name])
    box = name.startswith("boxes")
    if found.dtype.kind not in ("iuf" if box else "iu"):
        raise UserError(f"`{path}`: `{name}` holds {found.dtype}; whole numbers are needed.")
    width = 4 if box else _COLUMNS.get(name, -1)
    right = found.ndim == 1 if width == 0 else found.ndim == 2 and width in (-1, found.shape[1])
    if not right and not (width == 1 and found.ndim == 1):
        wanted = "(R,)" if width == 0 else f"(rows, {width})"
        raise UserError(f"`{path}`: `{name}` has shape {found.shape}; {wanted} is needed.")
    found = found.astype(np.float64 if box else np.int64)
    return found.reshape(-1) if width == 1 else found


def _images(path: Path, rows: int) -> tuple[list[str], list[tuple[int, int] | None]]:
    """Name and size of each row."""
    listing = path.parent / IMAGES
    if not listing.is_file():
        return [str(row) for row in range(rows)], [None] * rows
    names, sizes = [], []
    for number, entry in enumerate(entries(listing)):
        where = f"`{listing}`: entry {number}"
        names.append(value(entry, "image_id" if "image_id" in entry else "id", int, where))
        sizes.append((value(entry, "width", int, where), value(entry, "height", int, where)))
    if len(names) != rows:
        left = [i for i, name in enumerate(names) if name not in SKIPPED]
        if len(left) != rows:
            raise UserError(
                f"`{listing}` lists {len(names):,} images, but `{path.name}` has {rows:,}; take both from "
                "one release."
            )
        names, sizes = [names[i] for i in left], [sizes[i] for i in left]
    if len(set(names)) != len(names):
        raise UserError(f"`{listing}` names an image twice; fetch it again.")
    if sizes and min(map(min, sizes)) < 1:
        raise UserError(
            f"`{listing}` gives an image a side of {min(map(min, sizes))} pixels; fetch it again."
        )
    return list(map(str, names)), list(sizes)


def _graph(
    path: Path,
    table: dict[str, NDArray[Any]],
    row: int,
    name: str,
    size: tuple[int, int] | None,
    vocabulary: Vocabulary,
) -> SceneGraph:
    where = f"`{path}`: image {name} (row {row})"
    first, last = _rows(table, row, "box", len(table["labels"]), where)
    labels = _known(table["labels"][first:last], len(vocabulary.objects), "label", "objects", where)
    start, end = _rows(table, row, "rel", len(table["predicates"]), where)
    predicates = _known(
        table["predicates"][start:end], len(vocabulary.predicates), "predicate", "predicates", where
    )
    edges = table["relationships"][start:end]
    outside = edges[(edges < first) | (edges >= last)]
    if outside.size:
        raise UserError(
            f"{where}: a relation names box {int(outside[0])}, but the boxes of the image are {first} to "
            f"{last - 1}; fetch the file again."
        )
    boxes = None
    for key in ("boxes_1024", "boxes_512"):
        if key in table:
            x, y, w, h = table[key][first:last].T
            scale = max(size) / table["frame"][0] if size else 1.0
            boxes = np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 1)
            boxes = (boxes * scale).astype(np.float32)
    return SceneGraph(
        labels, edges - first, predicates, name, boxes, _has(table, first, last, vocabulary, where), size
    )


def _rows(table: dict[str, NDArray[Any]], row: int, kind: str, count: int, where: str) -> tuple[int, int]:
    """Rows of an image's boxes or relations, from and up to but without."""
    first, last = (int(table[f"img_to_{end}_{kind}"][row]) for end in ("first", "last"))
    if first == last == -1:
        return 0, 0
    if not 0 <= first <= last < count:
        raise UserError(f"{where}: `img_to_*_{kind}` says {first} to {last}, but there are {count} rows.")
    return first, last + 1


def _known(found: NDArray[Any], count: int, what: str, among: str, where: str) -> NDArray[Any]:
    """Labels from 0 of labels from 1."""
    wrong = found[(found < 1) | (found > count)]
    if wrong.size:
        raise UserError(
            f"{where} has {what} {int(wrong[0])}, but the dictionary has {count} {among} (from 1); take both "
            "files from one release."
        )
    return found - 1


def _has(
    table: dict[str, NDArray[Any]], first: int, last: int, vocabulary: Vocabulary, where: str
) -> tuple[tuple[int, ...], ...] | None:
    """Attributes of boxes; rows are padded with 0."""
    if "attributes" not in table or not vocabulary.attributes:
        return None
    rows = [row[row != 0] for row in table["attributes"][first:last]]
    count = len(vocabulary.attributes)
    return tuple(tuple(_known(row, count, "attribute", "attributes", where).tolist()) for row in rows)


def _splits(path: Path, table: dict[str, NDArray[Any]], names: list[str]) -> dict[str, tuple[str, ...]]:
    marks = table["split"]
    strange = sorted(set(marks.tolist()) - {TRAIN, VAL, TEST, NEITHER})
    if strange:
        raise UserError(
            f"`{path}`: `split` holds {strange[0]}; 0 (train), 1 (val), 2 (test) or -1 are known."
        )
    usable = (table["img_to_first_box"] >= 0) & (table["img_to_first_rel"] >= 0)
    rows = {mark: np.flatnonzero((marks == mark) & usable).tolist() for mark in (TRAIN, VAL, TEST)}
    if not any(rows.values()):
        return {}
    if not (marks == VAL).any():
        count = min(VAL_IMAGES, round(len(rows[TRAIN]) * VAL_IMAGES / USABLE))
        rows[VAL], rows[TRAIN] = rows[TRAIN][:count], rows[TRAIN][count:]
    kinds = {"train": TRAIN, "val": VAL, "test": TEST}
    return {split: tuple(names[row] for row in rows[mark]) for split, mark in kinds.items()}
