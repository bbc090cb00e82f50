"""Visual Genome under the rules of sg2im (Johnson et al. 2018), which its followers preprocess with.

Every rule is one of section 1, "Visual Genome", of the specification of image manipulation with scene graphs.
The node `__image__` and its relations `__in_image__` belong to models and are not in these graphs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bench.errors import UserError
from bench.graphs.clean import all_cleaned
from bench.graphs.json_files import read_text
from bench.graphs.scene import SceneGraph, SceneGraphs, Vocabulary
from bench.graphs.vg_raw import IMAGES, Progress, RawImage, raw_images, read_splits

SPLITS = "vg_splits.json"
OBJECT_ALIASES, PREDICATE_ALIASES = "object_alias.txt", "relationship_alias.txt"


@dataclass(frozen=True)
class Rules:
    """What is kept; the defaults are the published ones.

    Args:
        objects: Times that a name of objects stands in training images, at least.
        attributes: The same for attributes.
        predicates: The same for predicates between kept objects.
        side: Width and height of an object in pixels, at least.
        image_side: Shorter side of an image in pixels, at least.
        nodes: Objects of a graph, least and most.
        relations: Relations of a graph, least and most, before repeated pairs are dropped.
        quirk: Bring predicates to lower case and one alias in training images only, as the published code
            does and its 5,506 validation and 5,088 test images need; False does so everywhere.
    """

    objects: int = 2000
    attributes: int = 2000
    predicates: int = 500
    side: int = 32
    image_side: int = 200
    nodes: tuple[int, int] = (3, 30)
    relations: tuple[int, int] = (1, 30)
    quirk: bool = True


def read_sg2im(root: Path, progress: Progress = None, rules: Rules | None = None) -> SceneGraphs:
    """Read Visual Genome's JSON, choose names by their frequency, and keep graphs of some size.

    Objects are ordered by how often their name stands in training images, predicates by when they first
    appear there; an object takes the first of its aliased names that is in the vocabulary. Attributes are
    read where there is an attributes.json.

    Args:
        root: Holds objects.json, relationships.json, image_data.json, object_alias.txt,
            relationship_alias.txt, vg_splits.json and maybe attributes.json.
        progress: Wraps the walk over entries.
        rules: Thresholds; the published ones by default.

    Raises:
        UserError: A file is missing or damaged (see `bench.graphs.vg_raw`), an image has no size, or no name
            is frequent enough.
    """
    rules = rules or Rules()
    lacking = [
        name for name in (IMAGES, OBJECT_ALIASES, PREDICATE_ALIASES, SPLITS) if not (root / name).is_file()
    ]
    if lacking:
        raise UserError(f"`{root}` lacks `{lacking[0]}`, which the rules of sg2im need; put it there.")
    images = raw_images(root, progress, attributes=True)
    splits = read_splits(root / SPLITS, images.keys())
    if "train" not in splits:
        raise UserError(f"`{root / SPLITS}` has no `train`, from which the vocabulary is read; add it.")
    for split, ids in splits.items():
        splits[split] = tuple(key for key in ids if _large(root, key, images[key], rules))
    train = [images[key] for key in splits["train"]]
    aliases = _aliases(root / OBJECT_ALIASES), _aliases(root / PREDICATE_ALIASES)
    objects = _frequent(
        (
            dict.fromkeys(aliases[0].get(one, one) for one in names)
            for image in train
            for names in image.names
        ),
        rules.objects,
    )
    has = _frequent(
        (dict.fromkeys(own) for image in train for own in image.attributes or ()), rules.attributes
    )
    kept = {key: _objects(images[key], aliases[0], objects, rules) for ids in splits.values() for key in ids}
    told = Counter(
        _normal(predicate, aliases[1])
        for key in splits["train"]
        for s, predicate, o in images[key].relations
        if s in kept[key] and o in kept[key]
    )
    predicates = {
        name: i for i, name in enumerate(n for n, count in told.items() if count >= rules.predicates)
    }
    if not objects or not predicates:
        what, least = ("object", rules.objects) if not objects else ("predicate", rules.predicates)
        raise UserError(
            f"`{root}` has no {what} name that stands {least:,} times in its {len(train):,} training images; "
            "this is not the whole of Visual Genome."
        )
    graphs = []
    for split, ids in splits.items():
        normal = split == "train" or not rules.quirk
        for key in ids:
            image = images[key]
            named = [(s, _normal(p, aliases[1]) if normal else p, o) for s, p, o in image.relations]
            graph = _graph(str(key), replace(image, relations=named), kept[key], predicates, has)
            if _in(len(graph), rules.nodes) and _in(len(graph.edges), rules.relations):
                graphs.append(graph)
    cleaned, counts = all_cleaned(graphs)
    names = {graph.name for graph in cleaned}
    vocabulary = Vocabulary(tuple(objects), tuple(predicates), tuple(has))
    chosen = {split: tuple(str(key) for key in ids if str(key) in names) for split, ids in splits.items()}
    return SceneGraphs(vocabulary, cleaned, chosen, counts, f"{SPLITS}, sg2im's rules")


def _aliases(path: Path) -> dict[str, str]:
    """Every name of a line -> the first of the line."""
    found = {}
    for line in read_text(path).splitlines():
        names = [name.strip() for name in line.split(",")]
        found |= {name: names[0] for name in names if name}
    return found


def _normal(predicate: str, aliases: Mapping[str, str]) -> str:
    plain = predicate.lower().strip()
    return aliases.get(plain, plain)


def _large(root: Path, key: int, image: RawImage, rules: Rules) -> bool:
    if image.size is None:
        raise UserError(f"`{root / IMAGES}` gives no size of image {key}; take all files from one release.")
    return min(image.size) >= rules.image_side


def _frequent(groups: Iterable[Collection[str]], least: int) -> dict[str, int]:
    """Name -> position, of names in at least so many groups, the most frequent first."""
    counts: Counter[str] = Counter()
    for names in groups:
        counts.update(list(names))  # a mapping would be added to the counts
    return {name: i for i, (name, _) in enumerate((n, c) for n, c in counts.most_common() if c >= least)}


def _objects(
    image: RawImage, aliases: Mapping[str, str], known: Mapping[str, int], rules: Rules
) -> dict[int, int]:
    """Position -> label, of the objects that are kept."""
    found = {}
    for i, (names, (_, _, w, h)) in enumerate(zip(image.names, image.boxes, strict=True)):
        own = [known[name] for name in (aliases.get(one, one) for one in names) if name in known]
        if own and min(w, h) >= rules.side:
            found[i] = own[0]
    return found


def _graph(
    name: str,
    image: RawImage,
    kept: Mapping[int, int],
    predicates: Mapping[str, int],
    attributes: Mapping[str, int],
) -> SceneGraph:
    place = {i: at for at, i in enumerate(kept)}
    edges = [
        (place[s], predicates[p], place[o])
        for s, p, o in image.relations
        if s in place and o in place and p in predicates
    ]
    boxes = np.asarray([image.boxes[i] for i in kept], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    has = None
    if image.attributes is not None:
        words = [dict.fromkeys(image.attributes[i]) for i in kept]
        has = tuple(tuple(attributes[word] for word in own if word in attributes) for own in words)
    return SceneGraph(
        np.asarray(list(kept.values()), np.int64),
        np.asarray([(s, o) for s, _, o in edges], np.int64),
        np.asarray([p for _, p, _ in edges], np.int64),
        name,
        boxes,
        has,
        image.size,
    )


def _in(count: int, limits: tuple[int, int]) -> bool:
    return limits[0] <= count <= limits[1]
