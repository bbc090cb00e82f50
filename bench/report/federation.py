"""Pictures of a federated run: who holds which labels, how each client fares, and the way there.

Shapes: S clients, K classes.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from bench.files import write_bytes

LEGIBLE = 60  # clients drawn one by one; more are sorted into an image, or counted in a histogram
NUMBERED = 40  # clients whose counts still fit into their cells as figures


def federation_gallery(
    folder: Path,
    *,
    train_counts: Any,
    test_counts: Any,
    classes: Sequence[str],
    client_accuracy: Any,
    client_accuracy_trained: Any = None,
    majority_accuracy: float | None,
    curves: Sequence[Mapping[str, Any]],
    caption: str,
) -> list[Path]:
    """Draw the federation's labels, its clients' accuracies and its curves.

    Args:
        folder: Where the PNG files go.
        train_counts: Training images by client and class, integer (S, K).
        test_counts: Test images, the same.
        classes: K class names.
        client_accuracy: (S,) share of its test images that each client's served model answers rightly; NaN or
            None for a client without test images.
        client_accuracy_trained: (S,) the same of the locally trained models; None, or all of it
            None, where there are no such models.
        majority_accuracy: What always answering the most frequent training class reaches, or None.
        curves: Rows as in `curves.csv`. Every column whose name holds `accuracy` is drawn over `round` and
            over `steps` (cumulative training steps); cells and columns may be missing.
        caption: What ran on what; stands above every picture.

    Returns:
        `labels.png`; `clients.png` if any client has an accuracy; `curves.png` if there is a point to draw.

    Raises:
        ValueError: Arrays do not belong to the same clients and classes.
    """
    train, test = np.asarray(train_counts), np.asarray(test_counts)
    own = _shares(client_accuracy)
    after = None if client_accuracy_trained is None else _shares(client_accuracy_trained)
    shape = (len(own), len(classes))
    if train.shape != shape or test.shape != shape or (after is not None and after.shape != own.shape):
        got = [part.shape for part in (train, test, own, after) if part is not None]
        raise ValueError(
            f"{shape[0]} clients and {shape[1]} classes need counts {shape} and accuracies {own.shape}, "
            f"got shapes {got}; pass one row a client."
        )
    pictures = {
        "labels": _labels(train, test, classes),
        "clients": _clients(own, after, majority_accuracy),
        "curves": _curves(curves),
    }
    return [_write(folder / f"{name}.png", drawn, caption) for name, drawn in pictures.items() if drawn]


def _shares(values: Any) -> NDArray[np.float64]:
    return np.array([math.nan if v is None else v for v in values], np.float64)


def _plain(text: str) -> str:
    """Text that is shown as it stands: matplotlib would set what lies between dollars as a formula."""
    return text.replace("$", r"\$")


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _write(path: Path, figure: Figure, caption: str) -> Path:
    figure.suptitle(_plain(caption), fontsize=10, wrap=True)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    write_bytes(path, buffer.getvalue())
    return path


def _order(train: NDArray) -> NDArray[np.int64]:
    """Clients by their most frequent class, then the next ones, so that equal mixtures lie together."""
    if len(train) <= LEGIBLE:
        return np.arange(len(train))
    ranks = np.argsort(-train, axis=1, kind="stable")
    return np.lexsort((-train.sum(axis=1), *ranks.T[::-1]))


def _labels(train: NDArray, test: NDArray, classes: Sequence[str]) -> Figure:
    """Training images by client and class as a heat map; a bar a client for its size beside it."""
    clients, few = len(train), len(train) <= LEGIBLE
    order = _order(train)
    width = 4.5 + 0.5 * min(len(classes), 20)
    figure = _figure(width, 1.9 + max(1.2, 0.22 * clients) if few else 8.0)
    heat, size = figure.subplots(1, 2, sharey=True, width_ratios=(width - 3.5, 2.5))
    # An absent class is white and so told from a rare one.
    most = train.max(initial=1)
    cells = np.ma.masked_equal(train[order], 0)
    image = heat.imshow(cells, cmap="viridis_r", aspect="auto", interpolation="nearest", vmin=0, vmax=most)
    figure.colorbar(image, ax=heat, location="left", label="training images")
    heat.set_xticks(range(len(classes)), [_plain(c) for c in classes], rotation=60, ha="right", fontsize=8)
    heat.set_ylabel("client" if few else f"{clients} clients, sorted by their classes")
    heat.set_yticks(range(clients) if few else [], [str(i) for i in order] if few else [], fontsize=7)
    if clients <= NUMBERED and len(classes) <= 20:
        for row, column in zip(*np.nonzero(train), strict=True):
            count = int(train[row, column])
            color = "white" if count > most / 2 else "black"
            heat.text(column, row, str(count), ha="center", va="center", fontsize=6, color=color)
    rows = np.arange(clients)
    in_train, in_test = train.sum(axis=1)[order], test.sum(axis=1)[order]
    # Gaps between bars that are thinner than a pixel would look like a pattern of their own.
    size.barh(rows, in_train, height=0.8 if few else 1.0, color="tab:blue", label="train")
    size.barh(rows, in_test, height=0.8 if few else 1.0, left=in_train, color="tab:orange", label="test")
    size.set_xlabel("images of the client")
    size.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    size.tick_params(axis="y", left=False, labelleft=False)
    figure.legend(loc="outside lower right", ncols=2, fontsize=8)
    return figure


def _clients(
    own: NDArray[np.float64], after: NDArray[np.float64] | None, majority: float | None
) -> Figure | None:
    """Accuracy of every client from worst to best, or how many clients lie where."""
    scored = np.flatnonzero(~np.isnan(own))
    if not len(scored):
        return None
    scored = scored[np.argsort(own[scored], kind="stable")]
    after = None if after is None or np.isnan(after).all() else after
    series = {"served model": own[scored]}
    if after is not None:
        series["after local training"] = after[scored]
    few = len(scored) <= LEGIBLE
    figure = _figure(max(6.5, 2 + 0.2 * len(scored)) if few else 8.0, 4.2)
    axis = figure.subplots()
    colors = ("tab:blue", "tab:orange")
    line = axis.axhline if few else axis.axvline
    if few:
        places = np.arange(len(scored))
        axis.bar(places, series["served model"], color=colors[0], alpha=0.6, label="served model")
        if after is not None:
            axis.plot(places, after[scored], "o", color=colors[1], label="after local training")
        axis.set_xticks(places, [str(i) for i in scored], fontsize=7, rotation=90)
        axis.set_xlabel("client")
        axis.set_ylabel("accuracy on its own test images")
        axis.set_xlim(-0.8, len(scored) - 0.2)
        axis.set_ylim(0, 1.02)
    else:
        edges = np.linspace(0, 1, 41)
        for (label, shares), color in zip(series.items(), colors, strict=False):
            axis.hist(shares[~np.isnan(shares)], bins=list(edges), color=color, alpha=0.6, label=label)
        axis.set_xlabel("accuracy on the client's own test images")
        axis.set_ylabel(f"clients of {len(scored)}")
        axis.set_xlim(0, 1)
    for (label, shares), color in zip(series.items(), colors, strict=False):
        defined = shares[~np.isnan(shares)]
        if len(defined):
            mean = float(defined.mean())
            line(mean, color=color, linestyle="--", label=f"mean, {label}: {mean:.1%}")
    if majority is not None:
        line(majority, color="black", linestyle=":", label=f"majority class: {majority:.1%}")
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    return figure


def _curves(rows: Sequence[Mapping[str, Any]]) -> Figure | None:
    """Everything called accuracy, over rounds and over cumulative training steps."""
    names = list(dict.fromkeys(name for row in rows for name in row if "accuracy" in name))
    panels = []
    for over, label in (("round", "round"), ("steps", "training steps of all clients")):
        drawn = {name: points for name in names if len(points := _points(rows, over, name))}
        if drawn:
            panels.append((label, drawn))
    if not panels:
        return None
    figure = _figure(5.5 * len(panels), 4.2)
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axis, (label, drawn) in zip(axes, panels, strict=True):
        for name, points in drawn.items():
            color = f"C{names.index(name) % 10}"  # one colour a name, in both panels
            marker = "." if len(points) < LEGIBLE else ""
            axis.plot(points[:, 0], points[:, 1], marker=marker, color=color, label=_plain(name))
        axis.set_xlabel(label)
        axis.set_ylim(0, 1.02)
        axis.grid(alpha=0.3)
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes[0].set_ylabel("accuracy")
    most = max(axes, key=lambda axis: len(axis.get_lines()))
    figure.legend(handles=most.get_lines(), loc="outside lower center", ncols=3, fontsize=8)
    return figure


def _points(rows: Sequence[Mapping[str, Any]], over: str, name: str) -> NDArray[np.float64]:
    """(n, 2) finite points in the order of the rows."""
    pairs = [(row.get(over), row.get(name)) for row in rows]
    found = np.array([(x, y) for x, y in pairs if x not in (None, "") and y not in (None, "")], np.float64)
    return found.reshape(-1, 2)[np.isfinite(found.reshape(-1, 2)).all(axis=1)]
