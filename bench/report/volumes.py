"""Pictures of segmented volumes: contours over the image, and every patient's IoU by shot selection."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from bench.core import Scored
from bench.files import write_bytes

SLICES = 5
CELL = 2.5  # inches of one slice
WIDTH = 7.0  # inches a caption needs at least
MARGIN = 0.2  # of the larger side of the object, left around it
LEGIBLE = 40  # patients named one by one
# Apart for colour-blind eyes, and neither lost in grey. The prediction is the thinner line on top.
REFERENCE = {"color": "#17becf", "linewidth": 2.6}
PREDICTION = {"color": "#ff9f1c", "linewidth": 1.4}

Bools = NDArray[np.bool_]


def volume_gallery(
    folder: Path,
    *,
    scored: Scored,
    image: Callable[[str, int], NDArray[Any]],
    reference: Callable[[str], Bools],
    prediction: Callable[[int, str], Bools],
    positions: Mapping[str, Sequence[int]],
    zooms: Mapping[str, Sequence[float]],
    selections: Sequence[str],
    title: str,
    caption: str,
) -> list[Path]:
    """Draw the best, median and worst answer by 3D IoU, and the IoU of all of them.

    Slices lie as they are stored, the first axis down, in the true proportions of their voxels.

    Args:
        folder: Where the PNG files go.
        scored: Rows of `bench.metrics.volumes.suite`.
        image: (volume, position) -> the slice, (H0, W0) real.
        reference: Volume -> bool (H0, W0, D).
        prediction: (selection's index, volume) -> bool (H0, W0, D).
        positions: Evaluated slices of every volume.
        zooms: (3,) voxel size in mm of every volume.
        selections: S names, in the order of their indices.
        title: What is segmented.
        caption: What ran on what (phantom or real); stands above every picture.

    Returns:
        `volumes.png` and `selections.png`.

    Raises:
        ValueError: There is no row, or a row is of no selection or of a volume without evaluated slices.
    """
    rows = sorted(scored.units, key=lambda row: (-row["iou"], row["id"]))
    strange = [
        row["id"] for row in rows if row["selection"] not in selections or not positions.get(row["unit"])
    ]
    if not rows or strange:
        raise ValueError(f"rows must be of the selections and volumes given, got {strange or 'no row'}.")
    picked = _picked(len(rows))
    panels = []
    for i in picked.values():
        row, volume = rows[i], rows[i]["unit"]
        masks = reference(volume), prediction(selections.index(row["selection"]), volume)
        panels.append(_panel(volume, masks, positions[volume], zooms[volume]))
    most = max(len(panel.shown) for panel in panels)
    heights = [CELL * panel.height + 0.55 for panel in panels]
    figure = _figure(max(WIDTH, CELL * most + 0.3), sum(heights) + 0.9)
    parts = figure.subfigures(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, (name, i), panel in zip(parts, picked.items(), panels, strict=True):
        part.suptitle(_plain(_headline(name, rows[i])), fontsize=10)
        _slices(part.subplots(1, most, squeeze=False)[0], panel, image)
    lines = [Line2D([], [], **REFERENCE), Line2D([], [], **PREDICTION)]
    figure.legend(lines, ["reference", "prediction"], loc="outside lower center", ncols=2, fontsize=9)
    what = f"{title}: {', '.join(picked)} of {len(rows)} answers by 3D IoU"
    return [
        _write(folder / "volumes.png", figure, f"{caption}\n{what}"),
        _write(folder / "selections.png", _strips(rows, selections, title), caption),
    ]


def _picked(count: int) -> dict[str, int]:
    """Positions of best, median and worst among rows from best to worst, none twice."""
    if count < 3:
        return {"best": 0, "worst": 1} if count == 2 else {"only": 0}
    return {"best": 0, "median": count // 2, "worst": count - 1}


def _headline(name: str, row: Mapping[str, Any]) -> str:
    if row["hd95"] is not None:
        distance = f"HD95 {row['hd95']:.1f} mm"
    else:
        distance = "no HD95: " + ("empty prediction" if not row["predicted_mm3"] else "empty reference")
    return f"{name}: {row['unit']}, {row['selection']}    IoU {row['iou']:.3f}    {distance}"


@dataclass(frozen=True)
class _Panel:
    """A row of slices: reference and prediction, which slices are shown, and what part of them."""

    volume: str
    masks: tuple[Bools, Bools]
    shown: list[int]
    rows: slice
    columns: slice
    aspect: float  # height of a voxel by its width

    @property
    def height(self) -> float:
        """Of a slice by its width, within what fits on a page."""
        tall, wide = (part.stop - part.start for part in (self.rows, self.columns))
        return float(np.clip(self.aspect * tall / wide, 0.4, 1.5))


def _panel(
    volume: str, masks: tuple[Bools, Bools], positions: Sequence[int], zooms: Sequence[float]
) -> _Panel:
    """Slices spread through the evaluated ones, cut to where the masks are."""
    ordered = sorted(positions)
    places = np.linspace(0, len(ordered) - 1, min(SLICES, len(ordered))).round().astype(int)
    shown = [ordered[i] for i in places]
    touched = np.asarray((masks[0] | masks[1])[..., shown].any(axis=2))
    return _Panel(volume, masks, shown, *_window(touched, zooms), aspect=float(zooms[0] / zooms[1]))


def _slices(axes: Sequence[Axes], panel: _Panel, image: Callable[[str, int], NDArray[Any]]) -> None:
    """Draw a row in one grey scale."""
    part = panel.rows, panel.columns
    grey = [np.asarray(image(panel.volume, at), np.float64)[part] for at in panel.shown]
    low, high = np.percentile(np.concatenate([one.ravel() for one in grey]), [0.5, 99.5])
    for axis in axes:
        axis.set_axis_off()
    for axis, at, one in zip(axes, panel.shown, grey, strict=False):
        axis.imshow(one, cmap="gray", aspect=panel.aspect, vmin=low, vmax=max(high, low + 1e-9))
        axis.set_title(f"slice {at}", fontsize=8)
        for mask, style in zip(panel.masks, (REFERENCE, PREDICTION), strict=True):
            _outline(axis, mask[(*part, at)], style)


def _window(mask: Bools, zooms: Sequence[float]) -> tuple[slice, slice]:
    """Rows and columns of a square in mm around a mask (H0, W0), or everything if it is empty."""
    if not mask.any():
        return slice(0, mask.shape[0]), slice(0, mask.shape[1])
    used = [np.flatnonzero(mask.any(axis=1 - axis)) for axis in (0, 1)]
    side = max((u[-1] + 1 - u[0]) * z for u, z in zip(used, zooms, strict=False)) * (1 + 2 * MARGIN)
    found = []
    for u, z, size in zip(used, zooms, mask.shape, strict=False):
        length = min(size, int(np.ceil(side / z)))
        first = int(np.clip((u[0] + u[-1] + 1 - length) // 2, 0, size - length))
        found.append(slice(first, first + length))
    return found[0], found[1]


def _outline(axis: Axes, mask: Bools, style: Mapping[str, Any]) -> None:
    """Draw a contour, closed at the picture's edge as well."""
    if mask.any():
        framed = np.pad(mask.astype(float), 1)
        y, x = (np.arange(-1, size + 1) for size in mask.shape)
        axis.contour(x, y, framed, levels=[0.5], colors=[style["color"]], linewidths=style["linewidth"])


def _strips(rows: Sequence[Mapping[str, Any]], selections: Sequence[str], title: str) -> Figure:
    """IoU by patient, a dot a selection; beside it by selection, a dot a patient, with means."""
    table: dict[str, dict[str, float]] = {}
    for row in rows:
        table.setdefault(row["unit"], {})[row["selection"]] = row["iou"]
    average = {name: float(np.mean(list(found.values()))) for name, found in table.items()}
    patients = sorted(table, key=lambda name: (-average[name], name))
    few = len(patients) <= LEGIBLE
    wide = float(np.clip(0.28 * len(patients), 3.0, 12.0))
    narrow = float(np.clip(0.55 * len(selections), 1.8, 8.0))
    figure = _figure(wide + narrow + 2.0, 4.6)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(wide, narrow))
    palette = colormaps["tab10" if len(selections) <= 10 else "viridis"].resampled(max(10, len(selections)))
    colours = [palette(s) for s in range(len(selections))]
    offsets = np.linspace(-0.2, 0.2, len(selections)) if len(selections) > 1 else [0.0]
    for s, name in enumerate(selections):
        there = [(x, table[patient][name]) for x, patient in enumerate(patients) if name in table[patient]]
        x, y = np.array(there).reshape(-1, 2).T
        left.scatter(x + offsets[s], y, s=16, color=colours[s], alpha=0.85, linewidths=0, label=name)
        spread = np.linspace(-0.18, 0.18, len(y)) if len(y) > 1 else np.zeros(len(y))
        right.scatter(s + spread, y, s=12, color=colours[s], alpha=0.5, linewidths=0)
        if len(y):
            right.hlines(y.mean(), s - 0.35, s + 0.35, color="black", linewidth=2)
    middle = np.arange(len(patients))
    left.hlines([average[name] for name in patients], middle - 0.35, middle + 0.35, color="black")
    overall = float(np.mean([row["iou"] for row in rows]))
    for axis in (left, right):
        axis.axhline(overall, color="grey", linestyle="--", linewidth=1, zorder=0)
        axis.grid(axis="y", alpha=0.3)
    left.set_ylim(-0.02, 1.02)
    left.set_ylabel("3D IoU")
    left.set_title(f"by patient, mean {overall:.3f}", fontsize=9)
    left.set_xticks(middle if few else [], [_plain(n) for n in patients] if few else [], **_slanted())
    left.set_xlabel("" if few else f"{len(patients)} patients, from best to worst")
    left.set_xlim(-0.7, len(patients) - 0.3)
    right.set_title("by shot selection", fontsize=9)
    right.set_xticks(range(len(selections)), [_plain(n) for n in selections], **_slanted())
    right.set_xlim(-0.7, len(selections) - 0.3)
    figure.supxlabel(_plain(f"{title}: a dot is one patient under one selection; bars are means"), fontsize=9)
    return figure


def _slanted() -> dict[str, Any]:
    return {"rotation": 45, "ha": "right", "rotation_mode": "anchor", "fontsize": 8}


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
