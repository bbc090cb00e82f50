"""Overlap of label maps: Dice and IoU per scan and class, their means, and intervals over patients.

Two conventions for a class absent from reference and prediction (thesis chapter 8, `eval.py` of azadef/ynet):
the clean one counts 1; the official code adds its smoothing before doubling, so such a scan counts 2.0 and a
single false pixel about 0.0002. Both are always computed; a name ending in `@official` is the second.

Shapes: N scans, H rows, W columns, K classes in label order, class 0 the background.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.core import MetricValue, Scored
from bench.metrics.bootstrap import Bools, Floats, Ints, interval, means, resampled_means

SMOOTHING = 1e-4  # eval.py of azadef/ynet


class Counts(NamedTuple):
    """Pixels by scan and class, each (N, K) int64."""

    intersection: Ints
    predicted: Ints
    reference: Ints


def counts(pred: Any, target: Any, num_classes: int) -> Counts:
    """Count the pixels that every overlap measure is made of.

    Args:
        pred: Predicted labels from 0 to K-1, integer (N, H, W), torch tensor or numpy array.
        target: Reference labels, the same.
        num_classes: K, at least 2.

    Raises:
        ValueError: Shapes differ, there is no scan or no pixel, or a label is no class.
    """
    p, t = (_labels(x, name, num_classes) for x, name in ((pred, "pred"), (target, "target")))
    if p.shape != t.shape:
        raise ValueError(f"pred and target must have one shape, got {p.shape} and {t.shape}; resize one.")
    table = np.empty((len(p), num_classes, num_classes), np.int64)
    for i in range(len(p)):
        joint = t[i].astype(np.int64).ravel() * num_classes + p[i].ravel()
        table[i] = np.bincount(joint, minlength=num_classes**2).reshape(num_classes, num_classes)
    return Counts(table.diagonal(axis1=1, axis2=2).copy(), table.sum(axis=1), table.sum(axis=2))


def _labels(x: Any, name: str, num_classes: int) -> NDArray:
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2 (background and one class), got {num_classes}.")
    a = x.detach().cpu().numpy() if hasattr(x, "detach") else np.asarray(x)
    if a.ndim != 3 or not a.size:
        raise ValueError(
            f"{name} must be (N, H, W) with at least one pixel, got shape {a.shape}; pass scans."
        )
    if a.dtype.kind not in "iub":
        raise ValueError(f"{name} must hold integer labels, got {a.dtype}; pass the argmax over classes.")
    low, high = int(a.min()), int(a.max())
    if low < 0 or high >= num_classes:
        raise ValueError(
            f"{name} holds labels from {low} to {high}, classes are 0 to {num_classes - 1}; remap them."
        )
    return a


def dice(c: Counts) -> Floats:
    """2|G∩P| / (|G|+|P|), (N, K); 1 where the class is absent from both."""
    total = c.reference + c.predicted
    return np.divide(2 * c.intersection, total, out=np.ones(total.shape), where=total > 0)


def dice_official(c: Counts) -> Floats:
    """2(|G∩P|+1e-4) / (|G|+|P|+1e-4) as `eval.py` of azadef/ynet, (N, K); 2 where absent from both."""
    return 2 * (c.intersection + SMOOTHING) / (c.reference + c.predicted + SMOOTHING)


def iou(c: Counts) -> Floats:
    """|G∩P| / |G∪P|, (N, K); 1 where the class is absent from both."""
    union = c.reference + c.predicted - c.intersection
    return np.divide(c.intersection, union, out=np.ones(union.shape), where=union > 0)


def selection_score(pred: Any, target: Any, num_classes: int, official: bool) -> float:
    """What the best validation epoch is chosen by.

    Clean: mean Dice over foreground classes. Official (`train.py` of azadef/ynet): mean of the official Dice
    over all classes, background included, which rewards absent classes and can exceed 1.

    Raises:
        ValueError: As `counts`.
    """
    c = counts(pred, target, num_classes)
    return float(dice_official(c).mean() if official else dice(c)[:, 1:].mean())


@dataclass(frozen=True)
class _Measure:
    """One metric before aggregation: a value per scan and class, and which of them enter.

    `overall` (N,) replaces the mean over class means where the definition averages within scans first.
    `decimals` rounds each class mean before the mean over classes.
    """

    name: str
    classes: Sequence[str]
    values: Floats
    valid: Bools
    overall: Floats | None = None
    decimals: int | None = None
    unit: str = "fraction"

    def columns(self) -> tuple[Floats, Bools]:
        """Everything that is averaged over scans, (N, C) or (N, C+1) with `overall` last."""
        if self.overall is None:
            return self.values, self.valid
        every = np.ones((len(self.values), 1), bool)
        return np.column_stack([self.values, self.overall]), np.column_stack([self.valid, every])

    def finish(self, column_means: Floats) -> tuple[Floats, Floats]:
        """(..., columns) -> class values (..., C) and the metric's value (...)."""
        classes = column_means[..., : len(self.classes)]
        if self.decimals is not None:
            classes = np.round(classes, self.decimals)
        if self.overall is not None:
            return classes, column_means[..., -1]
        return classes, means(classes[..., None], ~np.isnan(classes[..., None]))[..., 0]


def _measures(c: Counts, classes: Sequence[str]) -> list[_Measure]:
    front = slice(1, None)
    names = classes[front]
    clean, official, overlap = dice(c), dice_official(c), iou(c)
    present = c.reference > 0
    everywhere = np.ones_like(present)
    per_scan = np.where(present, overlap, 0).sum(axis=1) / present.sum(axis=1)
    without = (c.predicted == 0).astype(np.float64)
    return [
        _Measure("dice", names, clean[:, front], everywhere[:, front]),
        _Measure("dice_present", names, clean[:, front], present[:, front]),
        _Measure("dice@official", names, official[:, front], everywhere[:, front], unit="score"),
        _Measure(
            "dice_mean2@official", names, official[:, front], everywhere[:, front], decimals=2, unit="score"
        ),
        _Measure("miou", classes, overlap, everywhere),
        _Measure("miou@official", classes, overlap, present, overall=per_scan),
        _Measure("absent_clean", names, without[:, front], ~present[:, front]),
    ]


def suite(
    pred: Any,
    target: Any,
    *,
    classes: Sequence[str],
    units: Sequence[str],
    ids: Sequence[str],
    unit_name: str = "patient",
    seed: int = 0,
    resamples: int = 2000,
) -> Scored:
    """Every segmentation metric with 95 % intervals over patients and over scans.

    - `dice`: class means over all scans, then the mean over foreground classes.
    - `dice_present`: class means over the scans whose reference holds the class; classes that never occur
      have no value and do not enter the mean.
    - `dice@official`: as `dice` with the official Dice; up to 2. `dice_mean2@official`: every class mean
      rounded to two decimals before the mean, as the printed tables.
    - `miou`: class means over all scans, then the mean over all classes, background included.
    - `miou@official`: in each scan the mean over the classes of its reference (background included), then
      the mean over scans; per class, the mean over scans whose reference holds it.
    - `absent_clean`: of the scans whose reference lacks the class, the share predicted without it.

    Intervals draw units (and, under `scan`, single scans) with replacement; a resample without any scan of a
    class takes the mean over the other classes. Where fewer than two units hold a value there is no
    interval. Nothing depends on the order of the scans.

    Args:
        pred: Predicted labels, integer (N, H, W), torch or numpy.
        target: Reference labels, the same.
        classes: K names in label order, the background first.
        units: The patient (client, ...) of each scan, N names.
        ids: N distinct scan names.
        unit_name: What a unit is; the key of its intervals.
        seed: Seed of the resampling.
        resamples: Resamples drawn.

    Returns:
        Metrics by name, and one row a scan with its Dice, IoU and pixel counts by class.

    Raises:
        ValueError: As `counts`; or names do not match the scans.
    """
    c = counts(pred, target, len(classes))
    n = len(c.reference)
    if len(units) != n or len(ids) != n:
        raise ValueError(f"{n} scans need {n} units and ids, got {len(units)} and {len(ids)}; pass one each.")
    for what, given in (("scan ids", ids), ("class names", classes)):
        if len(set(given)) != len(given):
            raise ValueError(f"{what} must differ, got {len(set(given))} among {len(given)}; rename them.")
    # One order of scans and units, whatever order they come in: sums and draws are then the same bit by bit.
    order = sorted(range(n), key=lambda i: ids[i])
    ordered = Counts(*(part[order] for part in c))
    unit_index = {unit: i for i, unit in enumerate(sorted(set(units)))}
    groups = {
        "scan": np.arange(n),
        unit_name: np.array([unit_index[units[i]] for i in order], np.int64),
    }
    measures = _measures(ordered, classes)
    columns = [m.columns() for m in measures]
    values, valid = (np.concatenate(parts, axis=1) for parts in zip(*columns, strict=True))
    cuts = np.cumsum([part.shape[1] for part, _ in columns])[:-1]
    samples = {
        name: np.split(resampled_means(values, valid, index, resamples=resamples, seed=seed), cuts, axis=1)
        for name, index in groups.items()
    }
    metrics = {
        m.name: _metric(m, {name: parts[i] for name, parts in samples.items()}, unit_name)
        for i, m in enumerate(measures)
    }
    return Scored(metrics, _rows(c, classes, units, ids))


def _metric(m: _Measure, samples: dict[str, Floats], unit_name: str) -> MetricValue:
    """Value, intervals and classes of one measure; `samples` maps what is drawn to (R, columns)."""
    by_class, value = m.finish(means(*m.columns()))
    drawn = {name: m.finish(part) for name, part in samples.items()}
    n_class = m.valid.sum(axis=0)
    n = int(m.valid.any(axis=1).sum())

    def make(value: float, n: int, intervals: dict[str, tuple[float, float] | None]) -> MetricValue:
        kept = {name: found for name, found in intervals.items() if found is not None}
        low, high = kept.get(unit_name, (None, None))
        defined = None if np.isnan(value) else float(value)
        variant = "official" if m.name.endswith("@official") else "clean"
        return MetricValue(defined, n, unit=m.unit, variant=variant, ci_low=low, ci_high=high, intervals=kept)

    result = make(float(value), n, {name: interval(top) for name, (_, top) in drawn.items()})
    for k, name in enumerate(m.classes):
        spread = {what: interval(classes[:, k]) for what, (classes, _) in drawn.items()}
        result.per_class[name] = make(float(by_class[k]), int(n_class[k]), spread)
    return result


def _rows(
    c: Counts, classes: Sequence[str], units: Sequence[str], ids: Sequence[str]
) -> list[dict[str, Any]]:
    tables: dict[str, NDArray] = {
        "dice": dice(c),
        "dice@official": dice_official(c),
        "iou": iou(c),
        "reference_pixels": c.reference,
        "predicted_pixels": c.predicted,
    }
    return [
        {"id": ids[i], "unit": units[i]}
        | {
            f"{name}/{label}": table[i, k].item()
            for name, table in tables.items()
            for k, label in enumerate(classes)
        }
        for i in range(len(ids))
    ]
