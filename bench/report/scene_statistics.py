"""Pictures of sets of scene graphs: likelihoods, and which classes occur, alone and together.

Shape legend: N graphs, K object classes.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bench.graphs.scene import SceneGraph, Vocabulary
from bench.metrics.graph_statistics import object_counts, occurrence, predicate_counts, together
from bench.report.scene_sheet import plain, write_figure

CLIP = 0.05  # co-occurrence from which on colours are the same (thesis Fig. 10.10)
MAPPED, BARRED = 30, 30  # most frequent classes that are shown
BINS = 40
TAIL = 99.5  # percentile at which histograms end
SHADES = ("#1b6ca8", "#f2a541", "#d1495b", "#7b2d8b", "#3a7d44")
GENERATED, TEST = "#d9772b", "#1b6ca8"

Floats = NDArray[np.float64]


def nll_histograms(
    path: Path, values: Mapping[int, Floats], areas: Mapping[int, float], caption: str
) -> Path:
    """Draw how likelihoods move with corruption (thesis Fig. 10.6).

    Args:
        path: The PNG file.
        values: Share of corrupted nodes and edges in percent -> (N,) negative log-likelihoods in nats; 0 for
            graphs as they are. Values that are not finite are counted in the legend.
        areas: Share -> area under the ROC curve against share 0.
        caption: What ran on what; stands above.

    Returns:
        `path`.

    Raises:
        ValueError: No value is finite.
    """
    held = {share: np.asarray(found, np.float64) for share, found in sorted(values.items())}
    finite = {share: found[np.isfinite(found)] for share, found in held.items()}
    every = np.concatenate(list(finite.values())) if finite else np.zeros(0)
    if not len(every):
        raise ValueError("a histogram needs at least one finite likelihood")
    low, high = float(every.min()), float(np.percentile(every, TAIL))
    bins: list[float] = np.linspace(low, high if high > low else low + 1, BINS + 1).tolist()
    figure = _figure(8, 5)
    axis = figure.add_subplot()
    for i, (share, found) in enumerate(finite.items()):
        shade, parts = SHADES[i % len(SHADES)], []
        if len(found):
            weights = np.full(len(found), 1 / len(found))
            axis.hist(found, bins, weights=weights, histtype="stepfilled", color=shade, alpha=0.18)
            axis.hist(found, bins, weights=weights, histtype="step", color=shade, linewidth=1.6)
            axis.axvline(found.mean(), color=shade, linestyle=":", linewidth=1.2)
            parts.append(f"mean {found.mean():.1f}")
        if share in areas:
            parts.append(f"AUROC {areas[share]:.3f}")
        if len(found) < len(held[share]):
            parts.append(f"{len(held[share]) - len(found)} not finite")
        name = f"{share} % corrupted" if share else "as they are"
        axis.plot([], [], color=shade, linewidth=1.6, label=f"{name}: {', '.join(parts) or 'none'}")
    axis.set_xlim(bins[0], bins[-1])  # a mean may lie beyond
    beyond = int((every > bins[-1]).sum())
    axis.set_xlabel(
        "negative log-likelihood in nats; dotted: means"
        + (f"; {beyond} lie beyond the right end" if beyond else "")
    )
    axis.set_ylabel("share of graphs")
    axis.grid(axis="y", alpha=0.3)
    axis.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8.5, frameon=False)
    return _written(path, figure, caption)


def cooccurrence_maps(
    path: Path,
    generated: Sequence[SceneGraph],
    test: Sequence[SceneGraph],
    vocabulary: Vocabulary,
    caption: str,
) -> Path:
    """Draw how often two object classes stand in one scene: generated, test, their difference.

    The classes most frequent in the test graphs are shown; colours end at 0.05, as in thesis Fig. 10.10.

    Args:
        path: The PNG file.
        generated: Scenes that a method made.
        test: Scenes they are compared with.
        vocabulary: Of the labels of both.
        caption: What ran on what; stands above.

    Returns:
        `path`.

    Raises:
        ValueError: One side has no graph.
    """
    _some(generated, test)
    k = len(vocabulary.objects)
    maps = [together(graphs, k) / len(graphs) for graphs in (generated, test)]
    order = np.argsort(-np.diag(maps[1]), kind="stable")[:MAPPED]
    ours, theirs = (found[np.ix_(order, order)] for found in maps)
    names = [plain(textwrap.shorten(vocabulary.objects[i], 16, placeholder="…")) for i in order]
    figure = _figure(15, 5)
    axes = figure.subplots(1, 3)
    blank = np.eye(len(order), dtype=bool)
    shown = (
        (ours, f"generated ({len(generated)} graphs)", "viridis", 0.0),
        (theirs, f"test ({len(test)} graphs)", "viridis", 0.0),
        (ours - theirs, "generated minus test", "RdBu_r", -CLIP),
    )
    images = []
    for axis, (found, title, shades, low) in zip(axes, shown, strict=True):
        one = axis.imshow(np.ma.masked_where(blank, found), cmap=shades, vmin=low, vmax=CLIP)
        images.append(one)
        axis.set_title(title, fontsize=10)
        axis.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
        axis.set_yticks(range(len(names)), names, fontsize=7)
        axis.set_facecolor("#dee2e6")
    figure.colorbar(images[1], ax=list(axes[:2]), shrink=0.75, extend="max", label="share of graphs")
    figure.colorbar(images[2], ax=axes[2], shrink=0.75, extend="both", label="difference")
    what = f"two object classes in one graph, the {len(names)} most frequent in test, clipped at {CLIP}"
    return _written(path, figure, f"{caption}: {what}")


def occurrence_bars(
    path: Path,
    generated: Sequence[SceneGraph],
    test: Sequence[SceneGraph],
    vocabulary: Vocabulary,
    caption: str,
) -> Path:
    """Draw the shares of object and predicate classes among all labels, generated beside test.

    Args:
        path: The PNG file.
        generated: Scenes that a method made.
        test: Scenes they are compared with.
        vocabulary: Of the labels of both.
        caption: What ran on what; stands above.

    Returns:
        `path`.

    Raises:
        ValueError: One side has no graph.
    """
    _some(generated, test)
    figure = _figure(12, 7.4)
    left, right = figure.subplots(1, 2)
    for axis, counted, names, kind in (
        (left, object_counts, vocabulary.objects, "objects"),
        (right, predicate_counts, vocabulary.predicates, "predicates"),
    ):
        ours, theirs = (occurrence(counted(side, len(names))) for side in (generated, test))
        _bars(axis, ours, theirs, names, kind)
    left.legend(fontsize=8.5, frameon=False, loc="lower right")
    return _written(path, figure, f"{caption}: share of all labels")


def _bars(axis: Axes, ours: Floats, theirs: Floats, names: Sequence[str], kind: str) -> None:
    order = np.argsort(-theirs, kind="stable")[:BARRED]
    rest = [1 - side[order].sum() if side.any() else 0.0 for side in (ours, theirs)]
    at = np.arange(len(order))
    axis.barh(at - 0.2, ours[order], 0.4, color=GENERATED, label="generated")
    axis.barh(at + 0.2, theirs[order], 0.4, color=TEST, label="test")
    axis.set_yticks(
        at, [plain(textwrap.shorten(names[int(i)], 20, placeholder="…")) for i in order], fontsize=8
    )
    axis.invert_yaxis()
    axis.margins(y=0.01)
    axis.grid(axis="x", alpha=0.3)
    axis.set_axisbelow(True)
    left = len(names) - len(order)
    more = f"; {left} more hold {rest[0]:.1%} (generated) and {rest[1]:.1%} (test)" if left else ""
    axis.set_title(f"{kind}{more}", fontsize=9)


def _some(*sides: Sequence[SceneGraph]) -> None:
    if not all(len(side) for side in sides):
        raise ValueError("statistics are compared between two sets of graphs, and one of them is empty")


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _written(path: Path, figure: Figure, caption: str) -> Path:
    lines = textwrap.wrap(caption, int(figure.get_figwidth() * 13))
    figure.suptitle(plain("\n".join(lines)), fontsize=10)
    return write_figure(path, figure)
