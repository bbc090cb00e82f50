"""Pictures of a run: the best, the median and the worst test samples."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.core import Scored
from bench.files import safe_name, write_bytes

EACH = 2


def ranked(scored: Scored, prefix: str) -> list[int]:
    """Positions of the samples from best to worst by the mean of their columns `<prefix>/<class>`."""

    def mean(row: dict[str, Any]) -> float:
        values = [v for k, v in row.items() if k.startswith(f"{prefix}/") and v is not None]
        return float(np.mean(values)) if values else float("-inf")

    return sorted(range(len(scored.units)), key=lambda i: -mean(scored.units[i]))


def chosen(order: Sequence[int]) -> dict[str, list[int]]:
    """`EACH` positions from the top, the middle and the bottom, none twice."""
    middle = max(0, len(order) // 2 - EACH // 2)
    found: dict[str, list[int]] = {}
    taken: set[int] = set()
    for name, part in (
        ("best", order[:EACH]),
        ("worst", order[-EACH:][::-1]),
        ("median", order[middle : middle + EACH]),
    ):
        found[name] = [i for i in part if i not in taken]
        taken.update(found[name])
    return {name: found[name] for name in ("best", "median", "worst") if found[name]}


def segmentation_gallery(
    folder: Path,
    test: Any,
    predictions: Any,
    *,
    classes: Sequence[str],
    scored: Scored,
    caption: str,
) -> list[Path]:
    """Draw image, reference, prediction and error for the best, median and worst scans.

    Args:
        folder: Where the PNG files go.
        test: The test scans: `images` (N, C, H, W), reference labels `masks` (N, H, W), N `ids`.
        predictions: (N, H, W) predicted labels.
        classes: K class names.
        scored: The per-scan values that rank the scans.
        caption: What ran on what; stands above every picture.

    Returns:
        One PNG for each of best, median and worst.
    """
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import BoundaryNorm, ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    shades = colormaps["tab10" if len(classes) <= 11 else "nipy_spectral"].resampled(
        max(10, len(classes) - 1)
    )
    foreground = [shades(k)[:3] for k in range(len(classes) - 1)]
    palette = ListedColormap([(0.0, 0.0, 0.0), *foreground])
    norm = BoundaryNorm(np.arange(len(classes) + 1) - 0.5, len(classes))
    written = []
    for name, positions in chosen(ranked(scored, "dice")).items():
        figure = Figure(figsize=(13, 3.1 * len(positions) + 0.7), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(len(positions), 4, squeeze=False)
        for row, i in zip(axes, positions, strict=True):
            error = (predictions[i] != test.masks[i]).numpy()
            row[0].imshow(test.images[i, 0].numpy(), cmap="gray")
            row[1].imshow(test.masks[i].numpy(), cmap=palette, norm=norm, interpolation="nearest")
            row[2].imshow(predictions[i].numpy(), cmap=palette, norm=norm, interpolation="nearest")
            row[3].imshow(error, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            titles = (test.ids[i], "reference", "prediction", f"wrong: {error.mean():.1%} of pixels")
            for axis, title in zip(row, titles, strict=True):
                axis.set_title(title, fontsize=9)
                axis.set_axis_off()
        patches = [Patch(color=palette(norm(k)), label=label) for k, label in enumerate(classes)]
        figure.legend(handles=patches, loc="outside lower center", ncols=min(9, len(classes)), fontsize=8)
        figure.suptitle(f"{caption}: {name} test scans by mean Dice", fontsize=10)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=90)
        path = folder / f"{safe_name(name)}.png"
        write_bytes(path, buffer.getvalue())
        written.append(path)
    return written
