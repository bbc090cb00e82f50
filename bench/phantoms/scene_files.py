"""Phantoms of scene-graph datasets on disk, each in the layout of the dataset it stands for.

All hold graphs of the built-in grammar. Some files get what real ones have, a self relation or a second
predicate for a pair, which cleaning takes out again, so that what is read is distributed as the grammar says
(VG150 and sg2im leave out graphs without relations, sg2im also those of fewer than 3 objects).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.files import write_text
from bench.graphs.scene import SceneGraph, SceneGraphs
from bench.graphs.sg2im import OBJECT_ALIASES, PREDICATE_ALIASES
from bench.graphs.sg2im import SPLITS as VG_SPLITS
from bench.graphs.vg_h5 import write_h5
from bench.graphs.vg_json import image_ids, listed, write_json
from bench.graphs.vg_raw import ATTRIBUTES, OBJECTS, RELATIONSHIPS, SPLITS
from bench.phantoms.marker import write_marker
from bench.phantoms.retina_files import whole_folder
from bench.phantoms.scenes import Grammar
from bench.phantoms.sizes import named_size

SIZES: Mapping[str, int] = {"tiny": 60, "small": 1_200, "official": 12_000}
_SELF, _REPEATED = 0.04, 0.08  # shares of graphs that get one
# One name in the grammar -> how some files write it.
_OBJECT_ALIAS = {"car": "automobile", "bike": "bicycle", "man": "gentleman"}
_PREDICATE_ALIAS = {"near": "next to", "holding": "grasping"}
_COLOURS = ("white", "black", "green", "blue", "red", "brown")
_RENAMED, _MERGED, _COLOURED = 0.1, 0.05, 0.4


def scenes(size: str, seed: int) -> SceneGraphs:
    """The graphs of a phantom, of ten images seven for training, one for validation, two for test."""
    grammar = Grammar()
    graphs = grammar.sample(named_size(size, SIZES), seed)
    splits = {"train": (0, 1, 2, 3, 4, 5, 6), "val": (7,), "test": (8, 9)}
    named = {
        split: tuple(graph.name for i, graph in enumerate(graphs) if i % 10 in places)
        for split, places in splits.items()
    }
    rng = np.random.default_rng([seed, len(graphs)])
    return SceneGraphs(grammar.vocabulary, tuple(_slipped(graph, rng) for graph in graphs), named)


def _slipped(graph: SceneGraph, rng: np.random.Generator) -> SceneGraph:
    """The graph with what annotators do, for some graphs."""
    edges, predicates = graph.edges.tolist(), graph.predicates.tolist()
    most = int(max(predicates, default=0))
    if rng.random() < _SELF:
        node = int(rng.integers(len(graph)))
        edges.append([node, node])
        predicates.append(most)
    if len(graph.edges) and rng.random() < _REPEATED:
        edges.append(edges[0])
        predicates.append(most)
    return replace(graph, edges=np.asarray(edges, np.int64), predicates=np.asarray(predicates, np.int64))


def write_scenes(root: Path, dataset: str, seed: int, size: str, progress: Callable[..., Any] | None) -> None:
    """Write the phantom of `vg150`, `visual_genome` (JSON, for sg2im's rules) or `vrd` (JSON with splits).

    Args:
        root: A folder that does not exist yet or is empty; it appears whole or not at all.
        dataset: Name of the dataset, which chooses the layout.
        seed: The same seed writes the same graphs.
        size: A name of `SIZES`.
        progress: Not needed; a phantom takes seconds.

    Raises:
        UserError: The size is none, or the folder holds something.
    """
    made = scenes(size, seed)
    write = {"vg150": _vg150, "visual_genome": _visual_genome, "vrd": write_json}[dataset]
    with whole_folder(root) as part:
        write(part, made)
        write_marker(part, dataset, seed, size, [graph.name for graph in made.graphs])


def _vg150(root: Path, made: SceneGraphs) -> None:
    """As the release, which marks no validation images: they are training images."""
    splits = {"train": (*made.splits["train"], *made.splits["val"]), "test": made.splits["test"]}
    write_h5(root, replace(made, splits=splits))


def _visual_genome(root: Path, made: SceneGraphs) -> None:
    """With aliases, capitals, ids of merged objects, `name` beside `names`, and attributes.

    Capitals and aliases of predicates are used in training images alone: elsewhere sg2im's rules would drop
    them.
    """
    rng = np.random.default_rng(len(made))
    write_json(root, made)
    (root / SPLITS).rename(root / VG_SPLITS)
    train = set(map(int, made.splits["train"]))
    objects, relations = listed(made, image_ids(made))
    former = 10**7  # ids that no object has
    attributes = []
    for image, told in zip(objects, relations, strict=True):
        for thing in image["objects"]:
            name = thing["names"][0]
            if name in _OBJECT_ALIAS and rng.random() < _RENAMED:
                thing["names"] = [_OBJECT_ALIAS[name]]
        for relation in told["relationships"]:
            name = str(relation["predicate"])
            if image["image_id"] in train and rng.random() < _RENAMED:
                relation["predicate"] = _PREDICATE_ALIAS.get(name, name).upper()
            for end in ("subject", "object"):
                relation[end] = {**relation[end], "name": relation[end]["names"][0]}
                del relation[end]["names"]
        if told["relationships"] and rng.random() < _MERGED:
            former += 1
            end = told["relationships"][0]["subject"]
            merged = next(one for one in image["objects"] if one["object_id"] == end["object_id"])
            merged["merged_object_ids"] = [former]
            end["object_id"] = former
        coloured = [
            {**thing, "attributes": [_COLOURS[rng.integers(len(_COLOURS))]]}
            for thing in image["objects"]
            if rng.random() < _COLOURED
        ]
        attributes.append({"image_id": image["image_id"], "attributes": coloured})
    for name, entries in ((OBJECTS, objects), (RELATIONSHIPS, relations), (ATTRIBUTES, attributes)):
        write_text(root / name, json.dumps(entries) + "\n")
    for name, aliases in ((OBJECT_ALIASES, _OBJECT_ALIAS), (PREDICATE_ALIASES, _PREDICATE_ALIAS)):
        write_text(root / name, "".join(f"{one},{other}\n" for one, other in aliases.items()))
