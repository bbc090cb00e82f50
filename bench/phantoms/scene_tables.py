"""The built-in scene grammar: 33 object classes and 15 predicates with their probabilities.

The vocabulary is smaller than that of any real dataset; its names are those of VG150, but for `left of`,
so that tables by class name cover it. A scene has at most 25 nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Part(NamedTuple):
    """What a thing may have at most one of.

    Args:
        name: Its class.
        share: Probability that a thing has it.
        predicates: Predicate of the edge from thing to part -> probability, summing to 1.
        box: Where it is in the box of its thing, x0, y0, x1, y1 as shares.
    """

    name: str
    share: float
    predicates: Mapping[str, float]
    box: tuple[float, float, float, float]


PLACES: Mapping[str, float] = {"street": 0.3, "beach": 0.2, "room": 0.22, "hill": 0.16, "track": 0.12}

# Place -> thing -> probability of 0, 1, 2, ... of it.
THINGS: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "street": {
        "man": (0.3, 0.45, 0.25),
        "woman": (0.6, 0.4),
        "car": (0.3, 0.4, 0.3),
        "bike": (0.75, 0.25),
        "building": (0.35, 0.65),
        "tree": (0.5, 0.5),
    },
    "beach": {
        "man": (0.35, 0.45, 0.2),
        "woman": (0.5, 0.35, 0.15),
        "dog": (0.75, 0.25),
        "surfboard": (0.45, 0.35, 0.2),
        "bird": (0.6, 0.25, 0.15),
        "umbrella": (0.7, 0.3),
    },
    "room": {
        "man": (0.6, 0.4),
        "woman": (0.6, 0.4),
        "dog": (0.85, 0.15),
        "table": (0.2, 0.8),
        "chair": (0.25, 0.3, 0.25, 0.2),
        "lamp": (0.5, 0.35, 0.15),
        "cup": (0.5, 0.3, 0.2),
    },
    "hill": {
        "man": (0.5, 0.3, 0.2),
        "horse": (0.35, 0.4, 0.25),
        "tree": (0.3, 0.4, 0.3),
        "bird": (0.7, 0.2, 0.1),
    },
    "track": {"train": (0.35, 0.65), "bird": (0.75, 0.25), "tree": (0.8, 0.2)},
}

_HAS: Mapping[str, float] = {"has": 1.0}
_WEARS: Mapping[str, float] = {"wearing": 0.8, "has": 0.2}
PARTS: Mapping[str, tuple[Part, ...]] = {
    "man": (
        Part("head", 0.6, _HAS, (0.3, 0.0, 0.7, 0.3)),
        Part("shirt", 0.5, _WEARS, (0.1, 0.3, 0.9, 0.65)),
        Part("hat", 0.2, _WEARS, (0.25, 0.0, 0.75, 0.2)),
    ),
    "woman": (
        Part("hair", 0.6, _HAS, (0.25, 0.0, 0.75, 0.25)),
        Part("shirt", 0.4, _WEARS, (0.1, 0.3, 0.9, 0.65)),
    ),
    "dog": (Part("tail", 0.4, _HAS, (0.0, 0.2, 0.3, 0.6)),),
    "horse": (
        Part("tail", 0.4, _HAS, (0.0, 0.2, 0.25, 0.6)),
        Part("leg", 0.5, _HAS, (0.3, 0.6, 0.6, 1.0)),
    ),
    "car": (
        Part("wheel", 0.6, _HAS, (0.1, 0.65, 0.4, 1.0)),
        Part("window", 0.4, _HAS, (0.3, 0.1, 0.7, 0.4)),
    ),
    "bike": (Part("wheel", 0.7, _HAS, (0.0, 0.4, 0.5, 1.0)),),
    "building": (Part("window", 0.6, _HAS, (0.2, 0.3, 0.6, 0.6)),),
    "tree": (Part("trunk", 0.4, _HAS, (0.35, 0.5, 0.65, 1.0)),),
    "umbrella": (Part("handle", 0.4, _HAS, (0.4, 0.4, 0.6, 1.0)),),
    "bird": (Part("wing", 0.5, _HAS, (0.2, 0.1, 0.7, 0.6)),),
    "train": (
        Part("engine", 0.5, _HAS, (0.0, 0.2, 0.4, 1.0)),
        Part("window", 0.6, _HAS, (0.45, 0.2, 0.9, 0.5)),
    ),
    "table": (Part("leg", 0.5, _HAS, (0.0, 0.4, 0.25, 1.0)),),
    "cup": (Part("handle", 0.3, _HAS, (0.6, 0.2, 1.0, 0.7)),),
}

# (subject, object) or (place, subject, object), the latter where it stands before the former -> predicate ->
# probability; what is left is no edge. All but `near` and the pairs of a thing with its place leave out what
# would contradict: the classes can be put in one order from left to right and in one from top to bottom.
RELATIONS: Mapping[tuple[str, ...], Mapping[str, float]] = {
    # A thing and its place
    ("man", "street"): {"walking on": 0.55, "on": 0.15},
    ("woman", "street"): {"walking on": 0.6, "on": 0.1},
    ("car", "street"): {"parked on": 0.4, "on": 0.4},
    ("bike", "street"): {"parked on": 0.5, "on": 0.2},
    ("building", "street"): {"near": 0.4},
    ("tree", "street"): {"near": 0.3},
    ("man", "beach"): {"walking on": 0.3, "sitting on": 0.2, "on": 0.2},
    ("woman", "beach"): {"walking on": 0.25, "sitting on": 0.35, "on": 0.1},
    ("dog", "beach"): {"walking on": 0.5, "on": 0.2},
    ("surfboard", "beach"): {"on": 0.5},
    ("umbrella", "beach"): {"on": 0.7},
    ("man", "room"): {"in": 0.5},
    ("woman", "room"): {"in": 0.5},
    ("dog", "room"): {"in": 0.5},
    ("table", "room"): {"in": 0.7},
    ("chair", "room"): {"in": 0.5},
    ("lamp", "room"): {"in": 0.4},
    ("man", "hill"): {"walking on": 0.3, "on": 0.3},
    ("horse", "hill"): {"on": 0.6, "walking on": 0.2},
    ("tree", "hill"): {"on": 0.7},
    ("train", "track"): {"on": 0.95},
    ("bird", "track"): {"above": 0.4},
    ("tree", "track"): {"near": 0.4},
    # Two things
    ("man", "man"): {"near": 0.15, "looking at": 0.05},
    ("woman", "woman"): {"near": 0.2, "looking at": 0.05},
    ("man", "woman"): {"looking at": 0.15, "near": 0.1},
    ("woman", "man"): {"left of": 0.25, "looking at": 0.15, "near": 0.1},
    ("man", "bike"): {"riding": 0.45, "near": 0.1},
    ("woman", "bike"): {"riding": 0.3, "near": 0.15},
    ("man", "car"): {"left of": 0.2, "near": 0.15},
    ("woman", "car"): {"left of": 0.2, "near": 0.1},
    ("car", "car"): {"behind": 0.25},
    ("car", "building"): {"near": 0.25},
    ("building", "tree"): {"behind": 0.5},
    ("building", "man"): {"behind": 0.3},
    ("building", "car"): {"behind": 0.3},
    ("tree", "car"): {"behind": 0.3},
    ("beach", "man", "surfboard"): {"holding": 0.35, "riding": 0.15},
    ("beach", "woman", "surfboard"): {"holding": 0.3, "riding": 0.1},
    ("man", "umbrella"): {"under": 0.4},
    ("woman", "umbrella"): {"under": 0.5},
    ("dog", "man"): {"left of": 0.2, "looking at": 0.3},
    ("dog", "woman"): {"looking at": 0.3},
    ("woman", "dog"): {"looking at": 0.2, "holding": 0.2},
    ("man", "dog"): {"holding": 0.3},
    ("bird", "man"): {"above": 0.4},
    ("bird", "woman"): {"above": 0.3},
    ("bird", "horse"): {"above": 0.4},
    ("bird", "tree"): {"above": 0.3, "on": 0.2},
    ("bird", "train"): {"above": 0.5},
    ("bird", "bird"): {"near": 0.3},
    ("man", "horse"): {"riding": 0.4, "looking at": 0.1},
    ("tree", "horse"): {"behind": 0.3, "left of": 0.15},
    ("horse", "horse"): {"near": 0.25},
    ("tree", "tree"): {"near": 0.2},
    ("tree", "train"): {"behind": 0.4},
    ("man", "chair"): {"sitting on": 0.35},
    ("woman", "chair"): {"sitting on": 0.35},
    ("chair", "table"): {"left of": 0.25, "near": 0.25},
    ("chair", "chair"): {"near": 0.1},
    ("cup", "table"): {"on": 0.75},
    ("man", "cup"): {"holding": 0.25},
    ("woman", "cup"): {"holding": 0.25},
    ("lamp", "table"): {"above": 0.35, "near": 0.15},
    ("lamp", "chair"): {"above": 0.15, "left of": 0.1},
    ("dog", "table"): {"under": 0.4},
    ("dog", "chair"): {"near": 0.15},
    ("man", "table"): {"near": 0.2},
    ("woman", "table"): {"near": 0.2},
}

# Further pairs of things, whatever their classes.
ELSEWHERE: Mapping[str, float] = {"near": 0.03}

# Predicates that put the subject's centre above the object's, below it, or to its left.
HIGHER = frozenset({"above", "on", "riding", "sitting on"})
LOWER = frozenset({"under"})
LEFT = frozenset({"left of"})

# Width and height of a thing in pixels at most, in an image of 1024 x 768.
EXTENT: Mapping[str, tuple[int, int]] = {
    "man": (180, 320),
    "woman": (180, 300),
    "car": (300, 200),
    "bike": (200, 160),
    "building": (420, 380),
    "tree": (200, 320),
    "dog": (180, 140),
    "surfboard": (220, 120),
    "bird": (160, 120),
    "umbrella": (220, 200),
    "table": (320, 200),
    "chair": (160, 200),
    "lamp": (120, 160),
    "cup": (120, 120),
    "horse": (300, 260),
    "train": (520, 240),
}
