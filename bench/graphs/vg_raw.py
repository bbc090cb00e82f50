"""The original JSON of Visual Genome as it stands: images, their objects, relations, attributes, splits.

Nothing is chosen or renamed here; `vg_json` and `sg2im` make graphs of it. Real files write a thing as `name`
in one place and as `names` in another, mix upper and lower case, and let `merged_object_ids` tell which
former ids an object now stands for.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.graphs.json_files import entries, read_json, value

OBJECTS, RELATIONSHIPS, IMAGES = "objects.json", "relationships.json", "image_data.json"
ATTRIBUTES, SPLITS = "attributes.json", "splits.json"
Progress = Callable[..., Any] | None


@dataclass
class RawImage:
    """One image as annotated.

    Args:
        names: Of each of n objects all names as written, at least one.
        boxes: n tuples x, y, w, h in pixels.
        relations: (position of subject, predicate as written, position of object).
        size: Width and height in pixels, or None without image_data.json.
        attributes: Of each object its attributes as written, or None without attributes.json.
    """

    names: list[tuple[str, ...]] = field(default_factory=list)
    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)
    relations: list[tuple[int, str, int]] = field(default_factory=list)
    size: tuple[int, int] | None = None
    attributes: list[tuple[str, ...]] | None = None


def raw_images(root: Path, progress: Progress = None, attributes: bool = False) -> dict[int, RawImage]:
    """Image id -> image, in the order of objects.json.

    Args:
        root: Holds objects.json and relationships.json, and maybe image_data.json.
        progress: Wraps the walk over entries.
        attributes: Also read attributes.json where it is there.

    Raises:
        UserError: A file is missing, damaged or cut off, a key is missing or of the wrong type, an image
            stands twice, or a relation names an object that is not there, merged ids considered.
    """
    images: dict[int, RawImage] = {}
    places: dict[int, dict[int, int]] = {}
    path = root / OBJECTS
    for image, where, entry in _walk(path, progress):
        if image in images:
            raise UserError(f"{where} stands twice; keep one of the two entries.")
        images[image], places[image] = _objects(entry, where)
    _relations(root / RELATIONSHIPS, images, places, progress)
    if (root / IMAGES).is_file():
        for image, where, entry in _walk(root / IMAGES, None):
            sides = [value(entry, side, int, where) for side in ("width", "height")]
            if min(sides) < 1:
                raise UserError(f"{where}: a side of {min(sides)} pixels; both sides must be above 0.")
            if image in images:
                images[image].size = (sides[0], sides[1])
    if attributes and (root / ATTRIBUTES).is_file():
        _attributes(root / ATTRIBUTES, images, places, progress)
    return images


def _walk(path: Path, progress: Progress) -> Iterable[tuple[int, str, dict[str, Any]]]:
    """Image id, words that open a sentence about it, and the entry, for each entry of a file."""
    walk = entries(path)
    for number, entry in enumerate(progress(walk, description=f"read {path.name}") if progress else walk):
        key = "image_id" if "image_id" in entry or "id" not in entry else "id"  # `id` in early releases
        image = value(entry, key, int, f"`{path}`: entry {number}")
        yield image, f"`{path}`: image {image}", entry


def _names(entry: Any, where: str) -> tuple[str, ...]:
    """All names of an object, from `names` or `name`."""
    if isinstance(entry, dict) and "names" not in entry and "name" in entry:
        names = [value(entry, "name", str, where)]
    else:
        names = value(entry, "names", list, where)
    if not names or not all(isinstance(name, str) for name in names):
        raise UserError(f"{where}: `names` must be a list of at least one name.")
    return tuple(sys.intern(name) for name in names)


def _merged(entry: dict[str, Any], where: str) -> list[int]:
    return value(entry, "merged_object_ids", list, where) if "merged_object_ids" in entry else []


def _objects(entry: dict[str, Any], where: str) -> tuple[RawImage, dict[int, int]]:
    """The image, and the position of an object by its id and by those merged into it."""
    found, places, former = RawImage(), {}, {}
    for i, one in enumerate(value(entry, "objects", list, where)):
        key = value(one, "object_id", int, f"{where}, object at position {i}")
        told = f"{where}, object {key}"
        if key in places:
            raise UserError(f"{told} stands twice in its image; give each object an id of its own.")
        places[key] = i
        former |= {old: i for old in _merged(one, told) if isinstance(old, int)}
        found.names.append(_names(one, told))
        x, y, w, h = (value(one, side, (int, float), told) for side in "xywh")
        found.boxes.append((x, y, w, h))
    return found, former | places


def _relations(
    path: Path, images: dict[int, RawImage], places: dict[int, dict[int, int]], progress: Progress
) -> None:
    seen = set()
    for image, where, entry in _walk(path, progress):
        if image in seen:
            raise UserError(f"{where} stands twice; keep one of the two entries.")
        seen.add(image)
        relations = value(entry, "relationships", list, where)
        if image not in images:
            raise UserError(f"{where} has relations but is missing in `{OBJECTS}`; give its objects too.")
        for i, one in enumerate(relations):
            told = f"{where}, relation at position {i}"
            predicate = sys.intern(value(one, "predicate", str, told))
            ends = [_place(one, end, places[image], told) for end in ("subject", "object")]
            images[image].relations.append((ends[0], predicate, ends[1]))


def _place(relation: dict[str, Any], end: str, places: dict[int, int], where: str) -> int:
    """Position of an end of a relation among the objects of its image."""
    if end not in relation and f"{end}_id" in relation:  # a short form of early releases
        key, others = value(relation, f"{end}_id", int, where), []
    else:
        given = value(relation, end, dict, where)
        key, others = value(given, "object_id", int, f"{where}, {end}"), _merged(given, f"{where}, {end}")
    for one in (key, *others):
        if isinstance(one, int) and one in places:
            return places[one]
    raise UserError(
        f"{where}: its {end} is object {key}, which is missing among the {len(places)} object ids of the "
        f"image in `{OBJECTS}`; give both files of one release."
    )


def _attributes(
    path: Path, images: dict[int, RawImage], places: dict[int, dict[int, int]], progress: Progress
) -> None:
    """Attributes of objects; of an object that is not there they say nothing and are left."""
    for image in images.values():
        image.attributes = [()] * len(image.names)
    for image, where, entry in _walk(path, progress):
        if image not in images:
            continue
        has = images[image].attributes or []
        for one in value(entry, "attributes", list, where):
            at = places[image].get(value(one, "object_id", int, where))
            if at is None or "attributes" not in one:
                continue
            words = value(one, "attributes", list, where)
            has[at] += tuple(sys.intern(word) for word in words if isinstance(word, str))


def read_splits(path: Path, known: Container[int]) -> dict[str, tuple[int, ...]]:
    """Split -> image ids, as in `{"train": [1, 2], "val": [3], "test": [4]}`.

    Raises:
        UserError: Another form, an id that is not there, or one that stands in two places.
    """
    found: dict[str, tuple[int, ...]] = {}
    seen: dict[int, str] = {}
    for split, ids in read_json(path, dict).items():
        if not isinstance(ids, list) or not all(type(one) is int for one in ids):
            raise UserError(f"`{path}`: `{split}` must be a list of image ids (whole numbers).")
        for one in ids:
            if one not in known:
                raise UserError(f"`{path}`: `{split}` names image {one}, which is missing in `{OBJECTS}`.")
            if one in seen:
                raise UserError(f"`{path}`: image {one} is in `{seen[one]}` and again in `{split}`.")
            seen[one] = split
        found[split] = tuple(ids)
    return found
