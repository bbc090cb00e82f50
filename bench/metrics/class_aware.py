"""Metrics of sets within each class, where images have classes: means over classes, each class alike.

A metric of whole sets does not see that an image shows the wrong class, as long as some other image shows it:
two sets with the same images under shuffled labels are at distance 0. Within classes they are not.

Shapes: N generated, M reference images, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core import MetricValue
from bench.metrics.image_sets import GROUPS, Found, compare, undefined
from bench.splits import some

Real = NDArray[np.floating]
SUFFIX = "_by_class"
# The Inception Score asks that classes differ: within one class it has no meaning.
APPLICABLE = tuple(group for group in GROUPS if group != "is")


def class_aware(
    generated: Real,
    reference: Real,
    classes: tuple[Sequence[str | None], Sequence[str | None]],
    groups: Sequence[str] = APPLICABLE,
    seed: int = 0,
    progress: Callable[..., Any] | None = None,
) -> Found:
    """Every metric of the groups within each class that both sides have.

    Args:
        generated: (N, D) features, memory-mapped where large; those of one class are held in memory.
        reference: (M, D) features.
        classes: N and M names of classes; None for an image without one, which is left out.
        groups: Keys of `GROUPS`; the Inception Score is passed over.
        seed: As of `compare`.
        progress: Puts a bar around the classes.

    Returns:
        `<metric>_by_class`: mean over the classes in which it is defined, `n` of them, and each by name; None
        where there is none.

    Raises:
        ValueError: Not a class for each image.
    """
    for features, own in zip((generated, reference), classes, strict=True):
        if len(features) != len(own):
            raise ValueError(f"{len(own)} classes for {len(features)} images")
    rows = [_rows(own) for own in classes]
    common = sorted(rows[0].keys() & rows[1].keys())
    chosen = [group for group in groups if group in APPLICABLE]
    found, within = Found(), {}
    for side, own, other in (("generated", *rows), ("reference", *rows[::-1])):
        if alone := sorted(own.keys() - other.keys()):
            found.warnings.append(
                f"{len(alone)} classes are on the {side} side alone and left out by class: {some(alone)}."
            )
    for name, own in zip(("generated", "reference"), classes, strict=True):
        if loose := sum(one is None for one in own):
            found.warnings.append(f"{loose} {name} images have no class and are left out by class.")
    for name in common if progress is None else progress(common, "classes"):
        parts = generated[rows[0][name]], reference[rows[1][name]]
        within[name] = compare(*parts, None, chosen, seed).metrics
    if common:
        least = min(len(side[name]) for side in rows for name in common)
        found.warnings.append(
            f"The smallest of {len(common)} classes has {least} images on a side: FID by class is biased "
            "upwards all the more, compare it at equal numbers only; KID is not."
        )
    for metric in (metric for group in chosen for metric in GROUPS[group]):
        held = {name: values[metric] for name, values in within.items() if values[metric].value is not None}
        found.metrics[metric + SUFFIX] = _mean(metric, held, common)
        if len(held) < len(common):
            found.warnings.append(f"{metric}{SUFFIX}: undefined in {len(common) - len(held)} classes.")
    return found


def _rows(classes: Sequence[str | None]) -> dict[str, NDArray[np.int64]]:
    """Class -> positions."""
    found: dict[str, list[int]] = {}
    for i, name in enumerate(classes):
        if name is not None:
            found.setdefault(name, []).append(i)
    return {name: np.asarray(positions) for name, positions in found.items()}


def _mean(metric: str, held: dict[str, MetricValue], common: Sequence[str]) -> MetricValue:
    if not held:
        return undefined(metric)
    first = next(iter(held.values()))
    mean = float(np.mean([one.value for one in held.values() if one.value is not None]))
    return MetricValue(mean, len(held), first.unit, first.direction, per_class=held)
