"""What volume metrics are defined to be, written as plainly as possible."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial import distance_matrix


def surface(mask: Any) -> np.ndarray:
    """Foreground voxels with a face neighbour that is background or beyond the grid, by looking."""
    found = []
    for voxel in zip(*np.nonzero(mask), strict=True):
        around = [
            tuple(v + step * (a == axis) for a, v in enumerate(voxel))
            for axis in range(3)
            for step in (-1, 1)
        ]
        if any(
            not all(0 <= v < s for v, s in zip(n, mask.shape, strict=True)) or not mask[n] for n in around
        ):
            found.append(voxel)
    return np.array(found, float)


def naive(pred: Any, ref: Any, zooms: Any) -> dict[str, float | None]:
    """The definitions, with sets of voxels and the whole matrix of distances."""
    p, g = ({tuple(v) for v in np.argwhere(mask).tolist()} for mask in (pred, ref))
    found: dict[str, float | None] = {
        "iou": len(p & g) / len(p | g) if p | g else 1.0,
        "dice": 2 * len(p & g) / (len(p) + len(g)) if p | g else 1.0,
        "reference_mm3": len(g) * np.prod(zooms),
        "predicted_mm3": len(p) * np.prod(zooms),
        "hd95": None,
        "asd": None,
    }
    if p and g:
        every = distance_matrix(surface(pred) * zooms, surface(ref) * zooms)
        there, back = every.min(axis=1), every.min(axis=0)
        found["hd95"] = max(np.quantile(there, 0.95), np.quantile(back, 0.95))
        found["asd"] = (there.sum() + back.sum()) / (len(there) + len(back))
    return found
