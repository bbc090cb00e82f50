"""The project's own layout: `graphs.jsonl`, a line of vocabulary and then a line a graph.

First line: `{"format": "bench scene graphs", "version": 1, "objects": [...], "predicates": [...]}`. Then
`{"name": "...", "labels": [0, ...], "edges": [[subject, predicate, object], ...]}` with labels and predicates
from 0 and nodes by position, and where known `"boxes": [[x0, y0, x1, y1], ...]` in pixels,
`"attributes": [[...], ...]` and `"size": [width, height]`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import UserError
from bench.files import write_text
from bench.graphs.clean import all_cleaned
from bench.graphs.json_files import read_text, value
from bench.graphs.scene import SceneGraph, SceneGraphs, Vocabulary

FILE = "graphs.jsonl"
FORMAT, VERSION = "bench scene graphs", 1


def write_own(root: Path, scenes: SceneGraphs) -> None:
    """Write `graphs.jsonl` into `root` in one step; splits are not kept."""
    vocabulary = scenes.vocabulary
    head = {"format": FORMAT, "version": VERSION}
    head |= {"objects": list(vocabulary.objects), "predicates": list(vocabulary.predicates)}
    if vocabulary.attributes:
        head["attributes"] = list(vocabulary.attributes)
    lines = [head, *map(_line, scenes.graphs)]
    text = "".join(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in lines)
    write_text(root / FILE, text)


def _line(graph: SceneGraph) -> dict[str, Any]:
    edges = np.column_stack([graph.edges[:, 0], graph.predicates, graph.edges[:, 1]])
    found: dict[str, Any] = {"name": graph.name, "labels": graph.labels.tolist(), "edges": edges.tolist()}
    if graph.boxes is not None:
        found["boxes"] = graph.boxes.tolist()
    if graph.attributes is not None:
        found["attributes"] = [list(one) for one in graph.attributes]
    if graph.size is not None:
        found["size"] = list(graph.size)
    return found


def read_own(root: Path) -> SceneGraphs:
    """Read `graphs.jsonl`, cleaned as `bench.graphs.clean` says, without splits.

    Args:
        root: The folder that holds it, or the file itself.

    Raises:
        UserError: Missing, another format or version, a damaged line, or a label outside the vocabulary.
    """
    path = root if root.is_file() else root / FILE
    # Not `splitlines`, which also breaks at characters that JSON allows inside a name.
    lines = [line for line in read_text(path).split("\n") if line.strip()]
    head = _parsed(lines[0], f"`{path}` line 1") if lines else {}
    if head.get("format") != FORMAT:
        raise UserError(f'`{path}` does not begin with a line `{{"format": "{FORMAT}", ...}}`.')
    if head.get("version") != VERSION:
        raise UserError(f"`{path}` is of version {head.get('version')!r}; this program reads {VERSION}.")
    kinds = ("objects", "predicates", *(("attributes",) if "attributes" in head else ()))
    vocabulary = Vocabulary(**{kind: _names(head, kind, f"`{path}` line 1") for kind in kinds})
    graphs = []
    for number, line in enumerate(lines[1:], 2):
        where = f"`{path}` line {number}"
        graphs.append(_graph(_parsed(line, where), vocabulary, where))
    kept, counts = all_cleaned(graphs)
    return SceneGraphs(vocabulary, kept, cleaned=counts)


def _parsed(line: str, where: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is damaged or cut off; write the file again.") from error
    if not isinstance(found, dict):
        raise UserError(f"{where} is no JSON object; write a graph a line.")
    return found


def _names(head: dict[str, Any], kind: str, where: str) -> tuple[str, ...]:
    names = value(head, kind, list, where)
    if not all(isinstance(name, str) for name in names):
        raise UserError(f"{where}: `{kind}` must be a list of names.")
    if len(set(names)) != len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise UserError(f"{where}: `{twice}` stands twice among the {kind}; name each once.")
    return tuple(names)


def _graph(line: dict[str, Any], vocabulary: Vocabulary, where: str) -> SceneGraph:
    name = value(line, "name", str, where)
    where = f"{where} (graph `{name}`)"
    labels = _whole(value(line, "labels", list, where), (-1,), "labels", where)
    edges = _whole(value(line, "edges", list, where), (-1, 3), "edges", where)
    n = len(labels)
    _within(labels, len(vocabulary.objects), "label", "objects", where)
    _within(edges[:, 1], len(vocabulary.predicates), "predicate", "predicates", where)
    _within(edges[:, [0, 2]], n, "node", "nodes", where)
    boxes = None
    if "boxes" in line:
        boxes = _numbers(value(line, "boxes", list, where), (-1, 4), "boxes", where).astype(np.float32)
        _as_many(len(boxes), n, "boxes", where)
    has = None
    if "attributes" in line:
        rows = value(line, "attributes", list, where)
        _as_many(len(rows), n, "attributes", where)
        lists = [_whole(row, (-1,), "attributes", where) for row in rows]
        for one in lists:
            _within(one, len(vocabulary.attributes), "attribute", "attributes", where)
        has = tuple(tuple(one.tolist()) for one in lists)
    size = None
    if "size" in line:
        sides = _whole(value(line, "size", list, where), (-1,), "size", where)
        if len(sides) != 2:
            raise UserError(f"{where}: `size` must be [width, height], got {len(sides)} numbers.")
        size = (int(sides[0]), int(sides[1]))
    return SceneGraph(labels, edges[:, [0, 2]], edges[:, 1], name, boxes, has, size)


def _as_many(got: int, n: int, what: str, where: str) -> None:
    if got != n:
        raise UserError(f"{where} has {got} {what} for {n} nodes; give one a node.")


def _numbers(rows: Any, shape: tuple[int, ...], key: str, where: str) -> np.ndarray:
    wanted = "numbers" if len(shape) == 1 else f"rows of {shape[1]} numbers"
    wrong = UserError(f"{where}: `{key}` must be a list of {wanted}.")
    try:
        found = np.asarray(rows)
    except ValueError as error:  # rows of different lengths
        raise wrong from error
    if not found.size and isinstance(rows, list):
        return np.zeros((0, *shape[1:]), np.int64)
    if found.dtype.kind not in "if" or found.ndim != len(shape) or found.shape[1:] != shape[1:]:
        raise wrong
    if not np.isfinite(found).all():
        raise UserError(f"{where}: `{key}` holds a number that is not finite.")
    return found


def _whole(rows: Any, shape: tuple[int, ...], key: str, where: str) -> np.ndarray:
    found = _numbers(rows, shape, key, where)
    if found.dtype.kind != "i":
        raise UserError(f"{where}: `{key}` must hold whole numbers.")
    return found.astype(np.int64)


def _within(found: np.ndarray, count: int, what: str, among: str, where: str) -> None:
    wrong = found[(found < 0) | (found >= count)]
    if wrong.size:
        raise UserError(f"{where} names {what} {int(wrong[0])}, but there are {count} {among} (from 0).")
