"""Learning curves as pictures: the primary metric of every method along one number of the setting."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bench.axes import word
from bench.files import safe_name, write_bytes
from bench.report.along import Course

WRAP = 100  # letters of a line of the caption
APART = 0.06  # of the way to the next value: methods stand beside each other, so that bars do not overlap


def draw_courses(folder: Path, courses: Sequence[Course], task: str) -> list[Path]:
    """Draw one PNG a course, values evenly spaced, bars for the 95 % interval over units.

    Args:
        folder: Where the files go; made if need be.
        courses: What to draw.
        task: Begins every file's name.

    Returns:
        The files written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for number, course in enumerate(courses, 1):
        path = folder / f"{safe_name(task)}_{safe_name(course.axis)}_{number}.png"
        write_bytes(path, _picture(course))
        found.append(path)
    return found


def _picture(course: Course) -> bytes:
    figure = Figure(figsize=(8, 5.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    colours = colormaps["tab10"].colors  # pyright: ignore[reportAttributeAccessIssue]
    middle = (len(course.lines) - 1) / 2
    for i, (label, cells) in enumerate(course.lines.items()):
        have = [j for j, cell in enumerate(cells) if cell.value is not None]
        x = np.array(have, float) + (i - middle) * APART
        y = np.array([cells[j].value for j in have], float)
        low = np.array([_or(cells[j].low, cells[j].value) for j in have], float)
        high = np.array([_or(cells[j].high, cells[j].value) for j in have], float)
        axes.errorbar(
            x,
            y,
            yerr=np.abs(np.stack([y - low, high - y])),
            color=colours[i % len(colours)],
            marker="os^Dv"[i % 5],
            capsize=3,
            label=label.replace("$", r"\$"),
        )
    axes.set_xticks(range(len(course.values)), [word(value) for value in course.values])
    axes.set_xlabel(course.axis)
    axes.set_ylabel(course.metric)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=8)
    told = [course.title, *(term.replace("Brackets:", "Bars:") for term in course.terms)]
    figure.suptitle("\n".join(line for text in told for line in textwrap.wrap(text, WRAP)), fontsize=7)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    return buffer.getvalue()


def _or(value: float | None, other: float | None) -> float | None:
    return other if value is None else value
