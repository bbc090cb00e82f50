"""A page of pictures, measured in inches from its upper left corner.

Figures are of matplotlib's Agg, without pyplot and its global state.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.files import write_bytes

MARGIN = 0.12
LINES = "#868e96"


def plain(text: str) -> str:
    """Text that is shown as it stands: matplotlib would set what lies between dollars as a formula."""
    return text.replace("$", r"\$")


class Sheet:
    """A page of panels, laid out from the top in inches."""

    def __init__(self, width: float, height: float, caption: str):
        lines = textwrap.wrap(caption, int(width * 13)) or [""]
        self.top = 0.18 * len(lines) + 0.1
        self.width, self.height = width, height + self.top + MARGIN
        self.figure = Figure(figsize=(self.width, self.height))
        FigureCanvasAgg(self.figure)
        y = 1 - 0.1 / self.height
        self.figure.text(0.5, y, plain("\n".join(lines)), ha="center", va="top", fontsize=10)

    def panel(self, x: float, y: float, width: float, height: float, title: str) -> Axes:
        """An axis whose upper left corner lies `y` below the caption."""
        low = self.height - self.top - y - height
        axis = self.figure.add_axes(
            (x / self.width, low / self.height, width / self.width, height / self.height)
        )
        axis.set_title(plain(title), fontsize=8.5, loc="left", pad=3)
        return axis

    def line(self, points: Sequence[tuple[float, float]]) -> None:
        """A line through points from the upper left, as `panel` counts."""
        x, y = np.array(points).T
        self.figure.add_artist(
            Line2D(x / self.width, (self.height - self.top - y) / self.height, color=LINES, linewidth=1.3)
        )

    def write(self, path: Path) -> Path:
        """Write the page as a PNG."""
        return write_figure(path, self.figure)


def write_figure(path: Path, figure: Figure) -> Path:
    """Write a PNG in one step; the same bytes for the same figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    write_bytes(path, buffer.getvalue())
    return path
