"""Binary segmentation of volumes under several shot selections: overlap, surface distances, two intervals.

The official code (metamedseg, thesis chapter 7) scores slices at the network's resolution, all test slices
alike; the clean metrics compare whole volumes at the resolution of the file. Spread over patients (who is
tested) and over selections (which slices were labelled) are different things: no interval draws both.

Surface distances are MONAI's (`monai.metrics.utils.get_edge_surface_distance`, the base of its Hausdorff and
average surface distance). The surface is the set of foreground voxels that a binary erosion by the six face
neighbours takes away; what lies outside the volume counts as background, so voxels on its border belong to
the surface. A distance goes from the centre of a surface voxel to the nearest such centre of the other
surface, in mm.

Shapes: S selections, N evaluated slices, V volumes (one a patient), H, W the network's resolution,
(H0, W0, D) a volume's own, with every slice that is not evaluated empty.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core import MetricValue, Scored
from bench.metrics.bootstrap import Bools, Floats, Ints, interval, means, resampled_means

SMOOTHING = 1e-4  # the IoU of metamedseg
PERCENTILE = 95
# Columns of the table of (selection, volume) pairs: name -> unit, direction.
MEASURES = {
    "iou": ("fraction", "higher"),
    "dice": ("fraction", "higher"),
    "hd95": ("mm", "lower"),
    "asd": ("mm", "lower"),
    "missed": ("fraction", "lower"),
}


def surface_distances(pred: Bools, ref: Bools, zooms: Sequence[float]) -> tuple[Floats, Floats]:
    """From each surface voxel of one mask to the surface of the other.

    Args:
        pred: Prediction, bool (H0, W0, D), not empty.
        ref: Reference, the same.
        zooms: (3,) size of a voxel in mm.

    Returns:
        Distances in mm of every surface voxel of the prediction, and of the reference.

    Raises:
        ValueError: A mask is empty.
    """
    import torch
    from monai.metrics.utils import get_edge_surface_distance

    if not pred.any() or not ref.any():
        raise ValueError("An empty mask has no surface; leave such a pair out.")
    # MONAI crops as well, but only after several copies of the whole volume. No value depends on the box.
    box = _box(pred, ref)
    p, g = (torch.from_numpy(np.ascontiguousarray(mask[box])) for mask in (pred, ref))
    with warnings.catch_warnings():
        # MONAI 1.6 passes an argument to itself that it has deprecated.
        warnings.filterwarnings("ignore", ".*always_return_as_numpy", FutureWarning)
        _, found, _ = get_edge_surface_distance(p, g, spacing=[float(z) for z in zooms], symmetric=True)
    there, back = (part.numpy().astype(np.float64) for part in found)
    return there, back


def _box(*masks: Bools) -> tuple[slice, ...]:
    """The smallest box that holds the foreground of all masks."""
    found = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        used = np.flatnonzero(np.logical_or.reduce([mask.any(axis=others) for mask in masks]))
        found.append(slice(int(used[0]), int(used[-1]) + 1))
    return tuple(found)


def hd95(there: Floats, back: Floats) -> float:
    """95th percentile (linear between ranks) of either direction's distances, the larger of the two."""
    return float(max(np.percentile(there, PERCENTILE), np.percentile(back, PERCENTILE)))


def asd(there: Floats, back: Floats) -> float:
    """Mean over the distances of both directions together: the larger surface weighs more."""
    return float(np.concatenate([there, back]).mean())


def slice_iou(pred: Bools, ref: Bools) -> Floats:
    """(|G∩P| + 1e-4) / (|G∪P| + 1e-4) of every slice, (N, H, W) -> (N,)."""
    both = np.count_nonzero(pred & ref, axis=(1, 2))
    either = np.count_nonzero(pred | ref, axis=(1, 2))
    return (both + SMOOTHING) / (either + SMOOTHING)


def compare(pred: Bools, ref: Bools, zooms: Sequence[float]) -> dict[str, float]:
    """One prediction against one reference, (H0, W0, D) each.

    Returns:
        `iou`, `dice` (1 if both are empty), `hd95`, `asd` (NaN where either is empty), `missed`, and the
        volumes `reference_mm3` and `predicted_mm3`.
    """
    voxel = math.prod(float(z) for z in zooms)
    g, p, both = (int(np.count_nonzero(mask)) for mask in (ref, pred, ref & pred))
    near = surface_distances(pred, ref, zooms) if g and p else None
    return {
        "iou": both / (g + p - both) if g or p else 1.0,
        "dice": 2 * both / (g + p) if g or p else 1.0,
        "hd95": hd95(*near) if near else math.nan,
        "asd": asd(*near) if near else math.nan,
        "missed": float(p == 0),
        "reference_mm3": g * voxel,
        "predicted_mm3": p * voxel,
    }


def suite(
    *,
    slices_pred: Any,
    slices_ref: Any,
    slice_ids: Sequence[str],
    slice_volumes: Sequence[str],
    volume_pred: Callable[[int, str], Bools],
    volume_ref: Callable[[str], Bools],
    zooms: Mapping[str, Sequence[float]],
    selections: Sequence[str],
    seed: int = 0,
    resamples: int = 2000,
) -> Scored:
    """Every metric of binary volumes, with 95 % intervals over patients and over shot selections.

    - `iou`, `dice`: in 3D at the volume's own resolution, mean over volumes and selections.
    - `iou@official`: per slice at the network's resolution with smoothing 1e-4, mean over all test slices,
      then over selections.
    - `hd95`, `asd`: surface distances in mm, over the pairs whose prediction and reference hold anything.
    - `missed`: share of pairs with an empty prediction, which the distances leave out.
    - `iou_std_selections`: sample standard deviation, over selections, of a selection's mean `iou`.

    `intervals["patient"]` draws patients with replacement, each with all its selections and slices
    (percentile bootstrap); it is also `ci_low` and `ci_high`. `intervals["selection"]` is Student's t
    interval of the selections' means: five values are too few to resample. Its centre is the mean of those
    means (not quite the value of a distance that selections lack for different patients), and it may reach
    beyond the range. Either is left out where fewer than two patients or selections hold a value.
    No number depends on the order of slices, volumes or selections.

    Args:
        slices_pred: Predictions at the network's resolution, bool (S, N, H, W).
        slices_ref: References, bool (N, H, W).
        slice_ids: N distinct names.
        slice_volumes: The volume of each slice, N names; every volume is a patient.
        volume_pred: (selection's index, volume) -> prediction, bool (H0, W0, D). Called once a pair, volume
            by volume, so that one pair is in memory at a time.
        volume_ref: Volume -> reference, the same. Called once a volume.
        zooms: (3,) voxel size in mm of exactly the volumes of `slice_volumes`.
        selections: S distinct names.
        seed: Seed of the resampling.
        resamples: Resamples drawn.

    Returns:
        Metrics by name, and a row for each selection and volume, `None` where a distance is undefined.

    Raises:
        ValueError: Shapes, names or voxel sizes do not fit together, or masks are not bool.
    """
    p, g = np.asarray(slices_pred), np.asarray(slices_ref)
    _check_slices(p, g, slice_ids, slice_volumes, selections)
    sizes = _voxel_sizes(zooms, set(slice_volumes))
    # Sums and draws run over sorted names and are then the same bit by bit, whatever order is given.
    order = sorted(range(len(g)), key=lambda i: slice_ids[i])
    rank = sorted(range(len(selections)), key=lambda i: selections[i])
    volumes = sorted(sizes)
    patient = np.array([volumes.index(slice_volumes[i]) for i in order])
    by_slice = np.stack([slice_iou(one, g)[order] for one in p])
    rows: list[dict[str, float]] = []
    for name in volumes:
        ref = _volume(volume_ref(name), f"volume_ref({name!r})", None)
        rows += [
            compare(_volume(volume_pred(s, name), f"volume_pred({s}, {name!r})", ref), ref, sizes[name])
            for s in range(len(selections))
        ]
    columns = rows[0]
    table = {
        key: np.array([row[key] for row in rows]).reshape(len(volumes), len(selections)).T for key in columns
    }
    pairs = _Samples(np.arange(len(volumes)), np.stack([table[key][rank] for key in MEASURES], axis=-1))
    slices = _Samples(patient, by_slice[rank][..., None])
    found = pairs.metrics([(*MEASURES[key], "clean") for key in MEASURES], seed, resamples)
    metrics = dict(zip(MEASURES, found, strict=True))
    (official,) = slices.metrics([("fraction", "higher", "official")], seed, resamples)
    spread = len(selections) > 1
    std = float(pairs.selection_means()[:, 0].std(ddof=1)) if spread else None
    metrics = {
        "iou": metrics.pop("iou"),
        "iou@official": official,
        **metrics,
        "iou_std_selections": MetricValue(std, len(selections) if spread else 0, direction="none"),
    }
    within = {name: by_slice[:, patient == v] for v, name in enumerate(volumes)}
    units = [
        {
            "id": f"{selection}/{name}",
            "unit": name,
            "selection": selection,
            **{key: _defined(table[key][s, v]) for key in columns if key != "missed"},
            "iou@official": float(within[name][s].mean()),
            "slices": within[name].shape[1],
        }
        for s, selection in enumerate(selections)
        for v, name in enumerate(volumes)
    ]
    return Scored(metrics, units)


@dataclass(frozen=True)
class _Samples:
    """Values by selection: `patient` (M,) from 0, `values` (S, M, C) with NaN where undefined."""

    patient: Ints
    values: Floats

    def selection_means(self) -> Floats:
        """(S, C), NaN where a selection holds no value."""
        return means(self.values, ~np.isnan(self.values))

    def metrics(self, kinds: Sequence[tuple[str, str, str]], seed: int, resamples: int) -> list[MetricValue]:
        """One metric a column; `kinds` are their units, directions and variants."""
        flat = self.values.reshape(-1, self.values.shape[-1])
        valid = ~np.isnan(flat)
        groups = np.tile(self.patient, len(self.values))
        value, counts, by_selection = means(flat, valid), valid.sum(axis=0), self.selection_means()
        drawn = resampled_means(flat, valid, groups, resamples=resamples, seed=seed)
        found = []
        for c, (unit, direction, variant) in enumerate(kinds):
            spans = {"patient": interval(drawn[:, c]), "selection": student(by_selection[:, c])}
            kept = {name: span for name, span in spans.items() if span is not None}
            low, high = kept.get("patient", (None, None))
            n = int(counts[c])
            found.append(MetricValue(_defined(value[c]), n, unit, direction, variant, low, high, kept))
        return found


def student(values: Floats, level: float = 0.95) -> tuple[float, float] | None:
    """Student's t interval of the mean of (n,) values; NaN are left out, None below two values."""
    from scipy.special import stdtrit  # what scipy.stats.t.ppf calls, without the second it takes to import

    defined = values[~np.isnan(values)]
    n = len(defined)
    if n < 2:
        return None
    half = float(stdtrit(n - 1, (1 + level) / 2)) * float(defined.std(ddof=1)) / math.sqrt(n)
    return float(defined.mean()) - half, float(defined.mean()) + half


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _check_slices(
    p: NDArray, g: NDArray, ids: Sequence[str], volumes: Sequence[str], selections: Sequence[str]
) -> None:
    if p.dtype != bool or g.dtype != bool:
        raise ValueError(f"slices must be bool, got {p.dtype} and {g.dtype}; cut probabilities at one half.")
    if g.ndim != 3 or not g.size or p.shape != (len(selections), *g.shape) or not len(selections):
        raise ValueError(
            f"slices_ref must be (N, H, W) with at least one pixel and slices_pred (S, N, H, W) with "
            f"S = {len(selections)} selections, got {g.shape} and {p.shape}."
        )
    if len(ids) != len(g) or len(volumes) != len(g):
        raise ValueError(f"{len(g)} slices need as many ids and volumes, got {len(ids)} and {len(volumes)}.")
    for what, given in (("slice ids", ids), ("selections", selections)):
        if len(set(given)) != len(given):
            raise ValueError(f"{what} must differ, got {len(set(given))} among {len(given)}; rename them.")


def _voxel_sizes(zooms: Mapping[str, Sequence[float]], volumes: set[str]) -> dict[str, list[float]]:
    if set(zooms) != volumes:
        other = ", ".join(sorted(set(zooms) ^ volumes)[:5])
        raise ValueError(
            f"zooms must name the volumes of the slices and no others; one of them lacks {other}."
        )
    sizes = {name: np.asarray(zooms[name], np.float64) for name in volumes}
    for name, size in sizes.items():
        if size.shape != (3,) or not np.isfinite(size).all() or (size <= 0).any():
            raise ValueError(f"zooms[{name!r}] must be three positive sizes in mm, got {size.tolist()}.")
    return {name: size.tolist() for name, size in sizes.items()}


def _volume(mask: Any, what: str, ref: Bools | None) -> Bools:
    mask = np.asarray(mask)
    if mask.dtype != bool or mask.ndim != 3 or not mask.size:
        raise ValueError(f"{what} must be bool (H0, W0, D), got {mask.dtype} {mask.shape}.")
    if ref is not None and mask.shape != ref.shape:
        raise ValueError(f"{what} must have its reference's shape {ref.shape}, got {mask.shape}.")
    return mask
