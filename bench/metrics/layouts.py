"""Agreement of a layout with a scene graph: overlap of boxes, and relations that the boxes must bear out.

The relations are the six that sg2im (Johnson et al. 2018) draws from boxes: a box strictly inside another is
`inside`, the other `surrounding`; all else goes by the direction of the subject's centre seen from the
object's, in quarters. Image rows grow downwards.

Shapes: n boxes, m edges. Boxes are x0, y0, x1, y1 in one unit, pixels or shares.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core import MetricValue
from bench.graphs.scene import SceneGraph, Vocabulary

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
RELATIONS = ("left of", "right of", "above", "below", "inside", "surrounding")
NONE = -1
SHARES = (0.3, 0.5)  # overlaps at which recall is customary


def box_iou(predicted: Any, reference: Any) -> Floats:
    """Intersection over union of boxes (n, 4) with boxes (n, 4), pair by pair: (n,) float64.

    A box whose sides are swapped has no area; two boxes without area have no IoU, NaN.

    Raises:
        ValueError: Shapes differ from that, or a coordinate is not finite.
    """
    a, b = _boxes(predicted), _boxes(reference)
    if a.shape != b.shape:
        raise ValueError(f"{len(a)} predicted boxes for {len(b)} reference boxes")
    low, high = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])
    areas = [np.clip(box[:, 2:] - box[:, :2], 0, None).prod(1) for box in (a, b)]
    # A swapped box may still have a positive corner difference with the other.
    shared = np.where((areas[0] > 0) & (areas[1] > 0), np.clip(high - low, 0, None).prod(1), 0)
    union = areas[0] + areas[1] - shared
    return np.divide(shared, union, out=np.full(len(a), np.nan), where=union > 0)


def relations(boxes: Any, edges: Any) -> Ints:
    """Positions in `RELATIONS` of what boxes (n, 4) say of edges (m, 2): (m,) int64.

    `NONE` where the centres coincide and neither box is inside the other.

    Raises:
        ValueError: Boxes that are not finite (n, 4).
    """
    boxes, edges = _boxes(boxes), np.asarray(edges, np.int64).reshape(-1, 2)
    s, o = boxes[edges[:, 0]], boxes[edges[:, 1]]
    gap = (s[:, :2] + s[:, 2:] - o[:, :2] - o[:, 2:]) / 2
    angle = np.arctan2(gap[:, 1], gap[:, 0])
    quarter = np.pi / 4
    surrounds = (s[:, :2] < o[:, :2]).all(1) & (s[:, 2:] > o[:, 2:]).all(1)
    within = (s[:, :2] > o[:, :2]).all(1) & (s[:, 2:] < o[:, 2:]).all(1)
    conditions = [
        surrounds,
        within,
        (gap == 0).all(1),
        np.abs(angle) >= 3 * quarter,
        angle < -quarter,
        angle < quarter,
    ]
    choices = [5, 4, NONE, 0, 2, 1]
    return np.select(conditions, choices, default=3).astype(np.int64)


@dataclass
class Layouts:
    """Boxes of generated layouts against scene graphs, one scene at a time.

    Args:
        vocabulary: Of the graphs' predicates.
        meaning: Predicate -> the one of `RELATIONS` that it states, such as `{"to the left of": "left of"}`;
            by default the predicates that bear those very names. Other predicates are not decided by boxes:
            they are counted and left out.

    Raises:
        ValueError: A meaning that is none of `RELATIONS`.
    """

    vocabulary: Vocabulary
    meaning: Mapping[str, str] | None = None
    scenes: int = 0
    """Scenes taken in."""
    undecided: Counter[str] = field(default_factory=Counter)
    """Predicate -> edges left out since no box decides them."""
    flat: int = 0
    """Pairs of boxes without area on either side."""
    _overlaps: list[Floats] = field(default_factory=list)
    _stated: list[Ints] = field(default_factory=list)
    _shown: list[Ints] = field(default_factory=list)
    _real: list[Ints] = field(default_factory=list)

    def __post_init__(self) -> None:
        meaning = dict.fromkeys(RELATIONS, "") if self.meaning is None else dict(self.meaning)
        meaning = {name: relation or name for name, relation in meaning.items()}
        wrong = [relation for relation in meaning.values() if relation not in RELATIONS]
        if wrong:
            raise ValueError(f"`{wrong[0]}` is none of {', '.join(RELATIONS)}")
        self._states = np.asarray(
            [
                RELATIONS.index(meaning[name]) if name in meaning else NONE
                for name in self.vocabulary.predicates
            ],
            np.int64,
        )

    def add(self, graph: SceneGraph, boxes: Any) -> None:
        """Take in the generated boxes (n, 4) of a graph with n nodes and boxes of its own, in one unit.

        Raises:
            ValueError: The graph has no boxes, or there are not n.
        """
        if graph.boxes is None:
            raise ValueError(f"scene `{graph.name}` has no boxes to compare with")
        overlap = box_iou(boxes, graph.boxes)
        stated = self._states[graph.predicates]
        decided = stated != NONE
        self.undecided.update(self.vocabulary.predicates[i] for i in graph.predicates[~decided])
        edges = graph.edges[decided]
        self.scenes += 1
        self.flat += int(np.isnan(overlap).sum())
        self._overlaps.append(overlap[np.isfinite(overlap)])
        self._stated.append(stated[decided])
        self._shown.append(relations(boxes, edges))
        self._real.append(relations(graph.boxes, edges))

    def metrics(self, shares: Iterable[float] = SHARES) -> dict[str, MetricValue]:
        """Means over all boxes, and over all decided edges, of all scenes.

        Returns:
            `box_iou`; `box_recall_<share>`, boxes that overlap more than that; `relation_accuracy`, edges
            whose relation the generated boxes bear out, by relation too; and `relation_accuracy_real`, the
            same of the graphs' own boxes: its ceiling, below 1 where relations were annotated by other means.
            None where there is no box or no decided edge.
        """
        overlaps = np.concatenate([np.zeros(0), *self._overlaps])
        found = {"box_iou": _mean(overlaps)}
        for share in shares:
            found[f"box_recall_{share:g}"] = _mean(overlaps > share)
        stated, shown, real = (
            np.concatenate([np.zeros(0, np.int64), *parts])
            for parts in (self._stated, self._shown, self._real)
        )
        for name, seen in (("relation_accuracy", shown), ("relation_accuracy_real", real)):
            found[name] = _mean(seen == stated)
            found[name].per_class = {
                relation: _mean((seen == stated)[stated == i])
                for i, relation in enumerate(RELATIONS)
                if (stated == i).any()
            }
        return found

    @property
    def reason(self) -> str | None:
        """Why there is no relation accuracy, if there is none."""
        if any(len(stated) for stated in self._stated):
            return None
        return "no edge states a relation that boxes decide" if self.scenes else "there is no scene"


def _mean(values: NDArray) -> MetricValue:
    return MetricValue(float(values.mean()) if len(values) else None, len(values))


def _boxes(boxes: Any) -> Floats:
    found = np.asarray(boxes, np.float64)
    if found.size == 0:
        found = found.reshape(0, 4)
    if found.ndim != 2 or found.shape[1] != 4 or not np.isfinite(found).all():
        raise ValueError(f"boxes must be finite (n, 4), got {found.shape}")
    return found
