"""Writing VG-SGG.h5 and its dictionaries."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import numpy as np

from bench.files import write_bytes, write_json
from bench.graphs.scene import SceneGraphs


def write_h5(root: Path, scenes: SceneGraphs) -> None:
    """Write VG-SGG.h5, VG-SGG-dicts.json and, where every graph has a name and a size, image_data.json.

    Training images are marked 0, validation images 1, test images 2, all others -1. Boxes are whole numbers
    in frames of 1024 and of 512, as in the release, which rounds them; without sizes they are written as they
    are, without boxes as zeros. Graphs whose names are not all different whole numbers lose their names.
    """
    import h5py

    ids = [graph.name for graph in scenes.graphs]
    sizes = [graph.size for graph in scenes.graphs]
    named = bool(ids) and len(set(ids)) == len(ids) and all(one.isascii() and one.isdigit() for one in ids)
    listed = named and all(sizes)
    marks = {
        name: mark
        for mark, kind in enumerate(("train", "val", "test"))
        for name in scenes.splits.get(kind, ())
    }
    graphs = scenes.graphs
    boxes = [np.zeros((len(graph), 4)) if graph.boxes is None else graph.boxes for graph in graphs]
    centred = [
        np.concatenate([(box[:, :2] + box[:, 2:]) / 2, box[:, 2:] - box[:, :2]], 1)
        * (1024 / max(graph.size) if listed and graph.size else 1.0)
        for box, graph in zip(boxes, graphs, strict=True)
    ]
    starts = np.cumsum([0, *(len(graph) for graph in graphs)])
    bounds = {"box": starts, "rel": np.cumsum([0, *(len(graph.edges) for graph in graphs)])}
    whole = np.concatenate([np.zeros((0, 4)), *centred])
    columns = {
        "labels": np.concatenate([[], *(graph.labels for graph in graphs)])[:, None] + 1,
        "predicates": np.concatenate([[], *(graph.predicates for graph in graphs)])[:, None] + 1,
        "relationships": np.concatenate(
            [np.zeros((0, 2)), *(graph.edges + first for graph, first in zip(graphs, starts, strict=False))]
        ),
        "boxes_1024": whole.round(),
        "boxes_512": (whole / 2).round(),
        "split": np.asarray([marks.get(name, -1) for name in ids]),
    }
    for kind, bound in bounds.items():
        there = np.diff(bound) > 0
        columns[f"img_to_first_{kind}"] = np.where(there, bound[:-1], -1)
        columns[f"img_to_last_{kind}"] = np.where(there, bound[1:] - 1, -1)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, column in columns.items():
            file.create_dataset(name, data=column.astype(np.int32))
    write_bytes(root / "VG-SGG.h5", buffer.getvalue())
    write_json(root / "VG-SGG-dicts.json", _dictionaries(scenes))
    if listed:
        listing = [
            {"image_id": int(name), "width": size[0], "height": size[1]}
            for name, size in zip(ids, sizes, strict=True)
            if size
        ]
        write_json(root / "image_data.json", listing)


def _dictionaries(scenes: SceneGraphs) -> dict[str, dict[str, int | str]]:
    found: dict[str, dict[str, int | str]] = {}
    kinds = {"label": ("objects", "labels", "object"), "predicate": ("predicates", "predicates", "predicate")}
    for key, (kind, column, counted) in kinds.items():
        names = getattr(scenes.vocabulary, kind)
        counts = Counter(label for graph in scenes.graphs for label in getattr(graph, column).tolist())
        found[f"{key}_to_idx"] = {name: i for i, name in enumerate(names, 1)}
        found[f"idx_to_{key}"] = {str(i): name for i, name in enumerate(names, 1)}
        found[f"{counted}_count"] = {name: counts[i] for i, name in enumerate(names)}
    return found
