"""Scene graphs in Visual Genome's JSON layout, exactly those given: no thresholds, no aliases, no filter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from bench.files import write_text
from bench.graphs.clean import all_cleaned
from bench.graphs.scene import SceneGraph, SceneGraphs, Vocabulary
from bench.graphs.vg_raw import IMAGES, OBJECTS, RELATIONSHIPS, SPLITS, Progress, raw_images, read_splits


def read_json(root: Path, progress: Progress = None) -> SceneGraphs:
    """Read objects.json and relationships.json, and image_data.json and splits.json where they are there.

    The vocabulary is read from the data, sorted by name. An object is called by its first name and a
    relation by its predicate, as written: `ON` and `on` are two predicates. An image that is listed without
    objects is an empty graph. Graphs are named by image id and cleaned as `bench.graphs.clean` says;
    attributes are not read.

    Args:
        root: Folder of the files.
        progress: Wraps the walk over entries.

    Raises:
        UserError: What `bench.graphs.vg_raw` refuses.
    """
    images = raw_images(root, progress)
    objects = sorted({names[0] for image in images.values() for names in image.names})
    predicates = sorted({told for image in images.values() for _, told, _ in image.relations})
    label = {name: i for i, name in enumerate(objects)}
    predicate = {name: i for i, name in enumerate(predicates)}
    graphs = []
    for key, image in images.items():
        boxes = np.asarray(image.boxes, np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        graphs.append(
            SceneGraph(
                np.asarray([label[names[0]] for names in image.names], np.int64),
                np.asarray([(s, o) for s, _, o in image.relations], np.int64),
                np.asarray([predicate[told] for _, told, _ in image.relations], np.int64),
                str(key),
                boxes,
                size=image.size,
            )
        )
    kept, counts = all_cleaned(graphs)
    splits, source = {}, ""
    if (root / SPLITS).is_file():
        told = read_splits(root / SPLITS, images.keys())
        splits, source = {split: tuple(map(str, ids)) for split, ids in told.items()}, SPLITS
    return SceneGraphs(Vocabulary(tuple(objects), tuple(predicates)), kept, splits, counts, source)


def write_json(root: Path, scenes: SceneGraphs) -> None:
    """Write what `read_json` reads.

    A graph without a whole number as its name is numbered by its place, from 1; so are all where two would
    get the same number. A graph without boxes gets boxes of no size. splits.json and image_data.json are
    written where splits, or the sizes of all images, are known. Attributes are not written.
    """
    ids = image_ids(scenes)
    objects, relations = listed(scenes, ids)
    _write(root / OBJECTS, objects)
    _write(root / RELATIONSHIPS, relations)
    sizes = [graph.size for graph in scenes.graphs]
    if scenes.graphs and all(sizes):
        known = zip(ids, (size for size in sizes if size), strict=True)
        _write(root / IMAGES, [{"image_id": key, "width": w, "height": h} for key, (w, h) in known])
    if scenes.splits:
        place = {graph.name: key for key, graph in zip(ids, scenes.graphs, strict=True)}
        splits = {split: [place[name] for name in own] for split, own in scenes.splits.items()}
        _write(root / SPLITS, splits)


def listed(scenes: SceneGraphs, ids: list[int]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The entries of objects.json and of relationships.json.

    Args:
        scenes: Graphs to write.
        ids: An image id for each of them.
    """
    names = scenes.vocabulary
    objects: list[dict[str, Any]] = []
    relations: list[dict[str, Any]] = []
    number = relation = 0
    for key, graph in zip(ids, scenes.graphs, strict=True):
        boxes = np.zeros((len(graph), 4)) if graph.boxes is None else graph.boxes.astype(float)
        things = []
        for label, (x0, y0, x1, y1) in zip(graph.labels.tolist(), boxes.tolist(), strict=True):
            number += 1
            sides = {"x": _plain(x0), "y": _plain(y0), "w": _plain(x1 - x0), "h": _plain(y1 - y0)}
            things.append({"object_id": number, **sides, "names": [names.objects[label]], "synsets": []})
        objects.append({"image_id": key, "objects": things})
        told = []
        for (s, o), p in zip(graph.edges.tolist(), graph.predicates.tolist(), strict=True):
            relation += 1
            ends = {"subject": things[s], "object": things[o], "synsets": []}
            told.append({"relationship_id": relation, "predicate": names.predicates[p], **ends})
        relations.append({"image_id": key, "relationships": told})
    return objects, relations


def image_ids(scenes: SceneGraphs) -> list[int]:
    """An image id for each graph, all different: its name, or its place from 1."""
    own = [
        int(graph.name) if graph.name.isascii() and graph.name.isdigit() else i
        for i, graph in enumerate(scenes.graphs, 1)
    ]
    return own if len(set(own)) == len(own) else list(range(1, len(own) + 1))


def _plain(number: float) -> float | int:
    return int(number) if number == int(number) else number


def _write(path: Path, told: Any) -> None:
    """JSON without indents, which would double the size of a large file."""
    write_text(path, json.dumps(told, allow_nan=False) + "\n")
