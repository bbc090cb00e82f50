"""Boxes for scenes of the grammar: parts inside their things, above, below and left as the relations say.

An image has 1024 x 768 pixels and every corner a multiple of 4, so that frames of 1024 and 512 pixels hold
the boxes exactly. No side is below 32 pixels. Relations beside those of height and side say nothing of boxes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from bench.phantoms.scene_tables import EXTENT, HIGHER, LEFT, LOWER, Part

SIZE = (1024, 768)
GRID, SMALLEST = 4, 32
_USUAL = (200, 200)  # of a class without an extent
_STEP = 2 * GRID  # between centres that stand in a relation, at least


def boxes_of(
    names: Sequence[str],
    edges: Iterable[tuple[int, str, int]],
    things: int,
    parts: Mapping[str, Sequence[Part]],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """(n, 4) x0, y0, x1, y1 in pixels.

    Args:
        names: Classes: the place, then `things` things, then parts.
        edges: Subject, predicate, object by position.
        things: How many.
        parts: Class of a thing -> what it may have.
        rng: Draws all that the relations leave open.

    Raises:
        ValueError: Relations that no boxes satisfy.
    """
    edges = list(edges)
    found = np.zeros((len(names), 4))
    found[0] = (0, 0, *SIZE)
    between = [(s, told, o) for s, told, o in edges if 0 < o <= things]
    below = [(s, o) for s, told, o in between if told in HIGHER]  # a smaller y is higher up
    below += [(o, s) for s, told, o in between if told in LOWER]
    right = [(s, o) for s, told, o in between if told in LEFT]
    for axis, pairs in enumerate((right, below)):
        centres = _centres(things, pairs, SIZE[axis], rng)
        for i, centre in enumerate(centres, 1):
            longest = EXTENT.get(names[i], _USUAL)[axis] * rng.uniform(0.8, 1.0)
            half = min(longest / 2, centre, SIZE[axis] - centre) // GRID * GRID
            found[i, [axis, 2 + axis]] = centre - half, centre + half
    rules = {(kind, part.name): part.box for kind, own in parts.items() for part in own}
    for owner, _, i in edges:
        if i > things:
            found[i] = _inside(found[owner], rules[names[owner], names[i]])
    return found.astype(np.float32)


def _centres(
    count: int, pairs: Sequence[tuple[int, int]], length: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """A place on the axis for things 1 to `count`, smaller for the first of each pair."""
    margin = 64
    steps = np.arange(margin, length - margin + 1, _STEP)
    places = np.sort(rng.choice(steps, count, replace=False)).astype(float)
    left, centres = set(range(1, count + 1)), np.zeros(count)
    for place in places:
        free = sorted(i for i in left if not any(o == i and s in left for s, o in pairs))
        if not free:
            raise ValueError("relations that contradict each other: no order of the things satisfies them")
        chosen = free[int(rng.integers(len(free)))]
        left.discard(chosen)
        centres[chosen - 1] = place
    return centres


def _inside(box: NDArray[np.float64], shares: tuple[float, float, float, float]) -> NDArray[np.float64]:
    """The box of a part on the grid, at least `SMALLEST` long, inside its thing's."""
    found = np.zeros(4)
    for axis in (0, 1):
        start, end = box[axis], box[2 + axis]
        a = start + np.floor(shares[axis] * (end - start) / GRID) * GRID
        b = start + np.ceil(shares[2 + axis] * (end - start) / GRID) * GRID
        b = min(end, max(b, a + SMALLEST))
        a = max(start, min(a, b - SMALLEST))
        found[[axis, 2 + axis]] = a, b
    return found
