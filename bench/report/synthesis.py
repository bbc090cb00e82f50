"""Label maps, real images and generated ones, side by side."""

from __future__ import annotations

import colorsys
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.files import write_bytes

NAMED = 14  # classes in the legend, the largest first


class Row(NamedTuple):
    """One test label map.

    Args:
        name: Of the photograph.
        labels: (H, W) class numbers.
        real: (H, W, 3) uint8.
        made: Draws, each (H, W, 3) uint8.
    """

    name: str
    labels: NDArray[np.int64]
    real: NDArray[np.uint8]
    made: Sequence[NDArray[np.uint8]]


def colour(number: int) -> tuple[float, float, float]:
    """The colour of a class, always the same: hues a golden angle apart, in three brightnesses."""
    return colorsys.hsv_to_rgb(number * 0.618034 % 1, 0.75, (0.95, 0.7, 0.5)[number % 3])


def painted(labels: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """(H, W, 3) colours of class numbers (H, W)."""
    return np.asarray([colour(k) for k in range(classes)])[labels]


def sheet(path: Path, rows: Sequence[Row], classes: Sequence[str], caption: str) -> None:
    """Write a PNG of a line for each label map: the map, the real image, the draws.

    Args:
        path: Of the PNG.
        rows: At least one; each with as many draws.
        classes: K names.
        caption: What ran on what; stands above.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    draws = len(rows[0].made)
    height, width = rows[0].labels.shape
    side = 2.3
    figure = Figure(
        figsize=((2 + draws) * side * max(1, width / height) + 0.3, len(rows) * (side + 0.25) + 1.3),
        layout="constrained",
    )
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), 2 + draws, squeeze=False)
    pixels: Counter[int] = Counter()
    for line, row in zip(axes, rows, strict=True):
        pixels.update(
            dict(zip(*(a.tolist() for a in np.unique(row.labels, return_counts=True)), strict=True))
        )
        pictures = (painted(row.labels, len(classes)), row.real, *row.made)
        titles = (row.name, "real", *(f"made {i}" if draws > 1 else "made" for i in range(1, draws + 1)))
        for axis, picture, title in zip(line, pictures, titles, strict=True):
            axis.imshow(picture, interpolation="nearest")
            axis.set_title(title, fontsize=8)
            axis.set_axis_off()
    patches = [Patch(color=colour(k), label=classes[k]) for k, _ in pixels.most_common(NAMED)]
    figure.legend(handles=patches, loc="outside lower center", ncols=7, fontsize=7)
    figure.suptitle(caption, fontsize=10)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=72)
    write_bytes(path, buffer.getvalue())
