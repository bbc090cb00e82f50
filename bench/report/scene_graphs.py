"""Pictures of scene graphs: drawn graphs beside their nearest training graph, and completions.

Lengths are inches; figures are of matplotlib's Agg, without pyplot and its global state.
"""

from __future__ import annotations

import colorsys
import functools
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path as Shape
from matplotlib.textpath import TextPath

from bench.graphs.scene import SceneGraph, Vocabulary
from bench.report.scene_layout import Floats, bows, labelled, placed
from bench.report.scene_sheet import MARGIN, Sheet, plain
from bench.report.scene_statistics import cooccurrence_maps, nll_histograms, occurrence_bars

__all__ = [
    "completion_sheet",
    "cooccurrence_maps",
    "draw_graph",
    "generated_sheet",
    "nll_histograms",
    "occurrence_bars",
]

PANEL = 5.4  # width of a drawn graph
TITLE = 0.3
ADDED = "#d9480f"
GIVEN = "#111111"
PLAIN = "#868e96"
INK = "#343a40"


def draw_graph(axis: Axes, graph: SceneGraph, vocabulary: Vocabulary, given: int = 0) -> None:
    """Draw one scene: a box a node, coloured by its class, and an arrow from subject to object a relation.

    The axis must have its final size, as `Figure.add_axes` gives it. Several predicates on one ordered pair
    share an arrow.

    Args:
        axis: Is cleared of ticks; afterwards one data unit is one inch.
        graph: The scene.
        vocabulary: Of its labels.
        given: Its first nodes, that were given; the others are marked as added. 0 marks nothing.
    """
    figure = axis.get_figure()
    assert figure is not None
    place = axis.get_position()
    room = (place.width * figure.get_figwidth(), place.height * figure.get_figheight())  # pyright: ignore[reportAttributeAccessIssue]
    axis.set(xlim=(0, room[0]), ylim=(0, room[1]), xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set_color("#ced4da")
    n = len(graph)
    if not n:
        axis.text(room[0] / 2, room[1] / 2, "no objects", ha="center", va="center", color=PLAIN)
        return
    size = float(np.clip(10.2 - 0.14 * n, 6.5, 9.5))
    names = [_short(vocabulary.objects[label]) for label in graph.labels]
    sizes = _extents(names, size) + np.array([0.13, 0.09])
    words = _words(graph, vocabulary)
    ends = np.array([*words], np.int64).reshape(-1, 2)
    texts = _extents([*words.values()], size - 1.3) + np.array([0.06, 0.04])
    spots = placed(ends, sizes, texts, room)
    boxes = []
    for i, (name, spot) in enumerate(zip(names, spots, strict=True)):
        edge, width = (PLAIN, 0.7) if not given else (GIVEN, 1.5) if i < given else (ADDED, 1.5)
        boxes.append(
            FancyBboxPatch(
                tuple(spot - sizes[i] / 2),
                *sizes[i],
                boxstyle="round,pad=0,rounding_size=0.06",
                facecolor=colour(int(graph.labels[i])),
                edgecolor=edge,
                linewidth=width,
                zorder=3,
            )
        )
        axis.add_patch(boxes[-1])
        axis.text(spot[0], spot[1], plain(name), ha="center", va="center", fontsize=size, zorder=4)
    pairs = [pair for pair in words if pair[0] != pair[1]]
    bent = bows(spots, pairs)
    for pair, curve in zip(pairs, _curves(spots, sizes, pairs, bent), strict=True):
        _arrow(axis, curve, bool(given) and max(pair) >= given)
    where = labelled(spots, sizes, pairs, bent, texts[ends[:, 0] != ends[:, 1]], room)
    for pair, spot in zip(pairs, where, strict=True):
        _said(axis, spot, words[pair], size - 1.3)
    for subject in [subject for subject, target in words if subject == target]:
        top = spots[subject, 0], spots[subject, 1] + sizes[subject, 1] / 2
        _loop(axis, top, words[subject, subject], size - 1.3)


def _words(graph: SceneGraph, vocabulary: Vocabulary) -> dict[tuple[int, int], str]:
    """Ordered pair of nodes -> the names of its predicates."""
    said: dict[tuple[int, int], list[str]] = {}
    for (subject, target), predicate in zip(graph.edges.tolist(), graph.predicates.tolist(), strict=True):
        said.setdefault((subject, target), []).append(_short(vocabulary.predicates[predicate]))
    return {pair: ", ".join(dict.fromkeys(found)) for pair, found in said.items()}


def _curves(spots: Floats, sizes: Floats, pairs: Sequence[tuple[int, int]], bent: Sequence[float]) -> Floats:
    """Arrows (m, 3, 2) as quadratic curves from the subject's middle to the edge of the object's box.

    Matplotlib's own clipping looks for that edge arrow by arrow, which took most of the time of a picture.
    What lies beneath the subject's box is not seen.
    """
    ends = np.asarray(pairs, np.int64).reshape(-1, 2)
    start, stop = spots[ends[:, 0]], spots[ends[:, 1]]
    gap = (stop - start) * np.asarray(bent, np.float64).reshape(-1, 1)
    middle = (start + stop) / 2 + np.stack([gap[:, 1], -gap[:, 0]], 1)  # as "arc3" bends

    def at(t: Floats) -> Floats:
        return (1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * stop

    low, high = np.zeros((len(ends), 1)), np.ones((len(ends), 1))
    for _ in range(24):
        t = (low + high) / 2
        inside = (np.abs(at(t) - stop) < sizes[ends[:, 1]] / 2).all(1, keepdims=True)
        low, high = np.where(inside, low, t), np.where(inside, t, high)
    return np.stack([start, start + high * (middle - start), at(high)], 1)


def _arrow(axis: Axes, curve: Floats, added: bool) -> None:
    axis.add_patch(
        FancyArrowPatch(
            path=Shape(curve, [Shape.MOVETO, Shape.CURVE3, Shape.CURVE3]),
            arrowstyle="-|>",
            mutation_scale=8,
            color=ADDED if added else INK,
            alpha=0.75,
            linewidth=0.8,
            zorder=1,
        )
    )


def _said(axis: Axes, spot: Floats, words: str, size: float) -> None:
    ground = {"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": "none", "alpha": 0.88}
    style = {"ha": "center", "va": "center", "fontsize": size, "style": "italic", "color": INK, "zorder": 2}
    axis.text(spot[0], spot[1], plain(words), bbox=ground, **style)


def _loop(axis: Axes, top: tuple[float, float], words: str, size: float) -> None:
    """A self relation: a loop over its node, its name in it."""
    style = {"connectionstyle": "arc3,rad=-1.6", "arrowstyle": "-|>", "mutation_scale": 7}
    start, end = (top[0] - 0.09, top[1]), (top[0] + 0.09, top[1])
    axis.add_patch(
        FancyArrowPatch(start, end, **style, shrinkA=0, shrinkB=0, color=INK, linewidth=0.8, zorder=2)
    )
    _said(axis, np.array([top[0], top[1] + 0.2]), words, size)


@functools.lru_cache(maxsize=1024)
def colour(label: int) -> tuple[float, float, float]:
    """A pale colour on which black is legible; the same for a class everywhere, neighbours far apart."""
    hue = (label * 0.618033988749895) % 1.0
    return colorsys.hls_to_rgb(hue, (0.86, 0.79, 0.91)[label % 3], (0.75, 0.6, 0.9)[label % 3])


def _extents(texts: Sequence[str], size: float) -> Floats:
    return np.array([_extent(text, size) for text in texts], np.float64).reshape(-1, 2)


@functools.lru_cache(maxsize=4096)
def _extent(text: str, size: float) -> tuple[float, float]:
    """Width and height of text of so many points, in inches."""
    box = TextPath((0, 0), text, size=size, prop=FontProperties(), usetex=False).get_extents()
    return float(box.width) / 72, size * 1.05 / 72


def _short(text: str) -> str:
    return textwrap.shorten(text, 26, placeholder="…") if " " in text else text[:26]


def _tall(*graphs: SceneGraph) -> float:
    """Height of a panel that holds the largest of these graphs."""
    return float(np.clip(1.5 + 0.13 * max(max(len(g), 0.7 * len(g.edges)) for g in graphs), 1.7, 5.2))


def _count(graph: SceneGraph) -> str:
    objects = "1 object" if len(graph) == 1 else f"{len(graph)} objects"
    relations = "1 relation" if len(graph.edges) == 1 else f"{len(graph.edges)} relations"
    return f"{objects}, {relations}"


def generated_sheet(
    path: Path, pairs: Sequence[tuple[SceneGraph, SceneGraph, float]], vocabulary: Vocabulary, caption: str
) -> Path:
    """Draw each generated graph beside its nearest training graph (thesis Fig. 10.9).

    Args:
        path: The PNG file.
        pairs: Generated graph, its nearest in training, their similarity.
        vocabulary: Of their labels.
        caption: What ran on what; stands above.

    Returns:
        `path`.

    Raises:
        ValueError: There is no pair.
    """
    if not pairs:
        raise ValueError("a sheet needs at least one generated graph")
    heights = [_tall(graph, near) for graph, near, _ in pairs]
    sheet = Sheet(2 * PANEL + 3 * MARGIN, sum(heights) + TITLE * len(pairs), caption)
    y = 0.0
    for (graph, near, similarity), tall in zip(pairs, heights, strict=True):
        y += TITLE
        name = f" {graph.name}" if graph.name else ""
        left = f"generated{name}: {_count(graph)}"
        right = f"nearest in training: {near.name or 'unnamed'}, similarity {similarity:.3f}, {_count(near)}"
        draw_graph(sheet.panel(MARGIN, y, PANEL, tall, left), graph, vocabulary)
        draw_graph(sheet.panel(PANEL + 2 * MARGIN, y, PANEL, tall, right), near, vocabulary)
        y += tall
    return sheet.write(path)


def completion_sheet(
    path: Path, partial: SceneGraph, completions: Sequence[SceneGraph], vocabulary: Vocabulary, caption: str
) -> Path:
    """Draw a partial graph on the left and what became of it on the right (thesis Fig. 10.7).

    Args:
        path: The PNG file.
        partial: What was given.
        completions: Graphs whose first nodes are those of `partial`; their other nodes are marked.
        vocabulary: Of their labels.
        caption: What ran on what; stands above.

    Returns:
        `path`.

    Raises:
        ValueError: There is no completion.
    """
    if not completions:
        raise ValueError("a sheet needs at least one completion")
    columns = 1 if len(completions) <= 3 else 2
    rows = [completions[i : i + columns] for i in range(0, len(completions), columns)]
    heights = [_tall(*row) for row in rows]
    narrow, trunk = 3.0, 0.5
    total = sum(heights) + TITLE * len(rows)
    sheet = Sheet(
        narrow + trunk + columns * (PANEL + MARGIN) + MARGIN,
        total,
        f"{caption} (black outline: given; orange: added)",
    )
    own = _tall(partial)
    middle = max(total / 2, TITLE + own / 2)
    given = sheet.panel(MARGIN, middle - own / 2, narrow, own, f"given: {_count(partial)}")
    draw_graph(given, partial, vocabulary, len(partial))
    y, branch = 0.0, MARGIN + narrow + trunk / 2
    arms = []
    for row, tall in zip(rows, heights, strict=True):
        y += TITLE
        for column, graph in enumerate(row):
            x = narrow + trunk + MARGIN + column * (PANEL + MARGIN)
            axis = sheet.panel(x, y, PANEL, tall, f"completion: {_count(graph)}")
            draw_graph(axis, graph, vocabulary, len(partial))
        arms.append(y + tall / 2)
        sheet.line([(branch, arms[-1]), (branch + trunk / 2, arms[-1])])
        y += tall
    sheet.line([(branch, min(*arms, middle)), (branch, max(*arms, middle))])
    sheet.line([(MARGIN + narrow, middle), (branch, middle)])
    return sheet.write(path)
