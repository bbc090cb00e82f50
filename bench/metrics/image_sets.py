"""Metrics of two sets of images, from their features: which ones, in what unit, and what makes them doubtful.

Names are those of records: `fid` (and `fid_infinity`), `kid_x1e3`, `inception_score`, `precision_f1_8` and
`recall_f8` (Sajjadi), `precision`, `recall`, `density`, `coverage` (nearest neighbours). A value means
nothing without its protocol: see `bench.images.protocol.ImageProtocol.badge`.

Shapes: N generated, M reference images, D features, K logits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core import MetricValue
from bench.metrics import frechet, inception_score, kernel_distance, manifold, prd

Real = NDArray[np.floating]
# What is asked for -> the metrics it gives.
GROUPS: dict[str, tuple[str, ...]] = {
    "fid": ("fid", "fid_infinity"),
    "kid": ("kid_x1e3", "kid_x1e3_std"),
    "is": ("inception_score", "inception_score_std"),
    "prd": ("precision_f1_8", "recall_f8"),
    "pr": ("precision", "recall", "density", "coverage"),
}
FEW = 5000  # images below which FID is known to be far from its limit
INFINITY_NEEDS = 20  # generated images
_BLOCK = 4096  # rows read at once from memory-mapped features


@dataclass
class Found:
    """Values, and sentences about them.

    Args:
        metrics: Name -> value; undefined ones have n 0.
        warnings: What makes values doubtful or undefined, a sentence each.
        facts: What a value depends on beside the protocol, such as `kid_subset`.
    """

    metrics: dict[str, MetricValue] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


def compare(
    generated: Real,
    reference: Real,
    logits: Real | None,
    groups: Sequence[str] = tuple(GROUPS),
    seed: int = 0,
    progress: Callable[..., Any] | None = None,
) -> Found:
    """Every metric of the groups asked for.

    Args:
        generated: (N, D) features, memory-mapped where large.
        reference: (M, D) features.
        logits: (N, K) of the generated images; None leaves the Inception Score undefined.
        groups: Keys of `GROUPS`.
        seed: Of clusterings and of the subsets behind FID-infinity; KID's is torch-fidelity's 2020.
        progress: Puts a bar around the groups.
    """
    found = Found()
    n, m = len(generated), len(reference)
    _doubts(found, generated, reference, groups)
    parts: dict[str, Callable[[], dict[str, MetricValue]]] = {
        "fid": lambda: _fid(found, generated, reference, seed),
        "kid": lambda: _kid(found, generated, reference),
        "is": lambda: _inception(found, logits),
        "prd": lambda: _prd(generated, reference, seed),
        "pr": lambda: _manifold(found, generated, reference),
    }
    for group in groups if progress is None else progress(list(groups), "metrics"):
        alone = group != "is" and min(n, m) < 2
        found.metrics |= {name: undefined(name) for name in GROUPS[group]} if alone else parts[group]()
    return found


def _doubts(found: Found, generated: Real, reference: Real, groups: Sequence[str]) -> None:
    for name, side in (("generated", generated), ("reference", reference)):
        count, width = side.shape
        if count < 2:
            found.warnings.append(f"One {name} image makes no set: metrics of sets are undefined.")
            continue
        if "fid" in groups and count < width:
            found.warnings.append(
                f"{count} {name} images are fewer than the {width} features: the covariance is singular."
            )
        if "fid" in groups and count < FEW:
            found.warnings.append(
                f"{count} {name} images are fewer than {FEW:,}: FID is biased upwards, compare it at equal "
                "numbers only."
            )
        if all((side[i] == side[0]).all() for i in _places(count)) and _identical(side):
            found.warnings.append(f"All {count} {name} images have the same features.")


def _places(count: int) -> list[int]:
    return sorted({int(i) for i in np.linspace(0, count - 1, 8)})


def _identical(side: Real) -> bool:
    return all((block == side[0]).all() for block in _blocks(side))


def _blocks(side: Real) -> Iterator[Real]:
    for start in range(0, len(side), _BLOCK):
        yield side[start : start + _BLOCK]


def _fid(found: Found, generated: Real, reference: Real, seed: int) -> dict[str, MetricValue]:
    value = frechet.frechet(frechet.gathered(_blocks(generated)), frechet.gathered(_blocks(reference)))
    limit = None
    if len(generated) >= INFINITY_NEEDS:
        limit = frechet.extrapolated(generated, reference, seed)
    else:
        found.warnings.append(f"FID-infinity needs {INFINITY_NEEDS} generated images and is undefined.")
    return {
        "fid": _value("fid", value, len(generated)),
        "fid_infinity": _value("fid_infinity", limit, len(generated)),
    }


def _kid(found: Found, generated: Real, reference: Real) -> dict[str, MetricValue]:
    kid = kernel_distance.kernel_distance(generated, reference)
    se = None if kid.se is None else 1000 * kid.se
    found.facts |= {"kid_subset": kid.size, "kid_subsets": kid.subsets, "kid_x1e3_se": se}
    if kid.size < kernel_distance.SIZE:
        found.warnings.append(
            f"KID's subsets have {kid.size} images, not {kernel_distance.SIZE:,}: there are no more"
            + ("." if se is not None else ", and they do not differ: their spread is undefined.")
        )
    return {
        "kid_x1e3": _value("kid_x1e3", 1000 * kid.value, len(generated)),
        "kid_x1e3_std": _value("kid_x1e3_std", None if se is None else 1000 * kid.spread, len(generated)),
    }


def _inception(found: Found, logits: Real | None) -> dict[str, MetricValue]:
    if logits is None:
        found.warnings.append("The extractor has no classes: the Inception Score is undefined.")
        return {name: undefined(name) for name in GROUPS["is"]}
    if len(logits) <= inception_score.SPLITS:
        found.warnings.append(
            f"The Inception Score of {len(logits)} images in {inception_score.SPLITS} splits is undefined: a "
            "split of one image scores 1, whatever it shows."
        )
        return {name: undefined(name) for name in GROUPS["is"]}
    score = inception_score.inception_score(logits)
    found.facts["inception_splits"] = score.splits
    if len(logits) < 2 * score.splits:
        found.warnings.append(
            f"{len(logits)} images in {score.splits} splits leave some with one image, which scores 1: the "
            "Inception Score is pulled there."
        )
    return {
        "inception_score": _value("inception_score", score.value, len(logits)),
        "inception_score_std": _value("inception_score_std", score.spread, len(logits)),
    }


def _prd(generated: Real, reference: Real, seed: int) -> dict[str, MetricValue]:
    values = prd.precision_recall(generated, reference, seed=seed)
    pairs = zip(GROUPS["prd"], values, strict=True)
    return {name: _value(name, value, len(generated)) for name, value in pairs}


def _manifold(found: Found, generated: Real, reference: Real) -> dict[str, MetricValue]:
    least = max(manifold.K_PR, manifold.K_DC) + 1
    if min(len(generated), len(reference)) < least:
        found.warnings.append(f"Precision, recall, density and coverage need {least} images on each side.")
        return {name: undefined(name) for name in GROUPS["pr"]}
    values = manifold.manifold(generated, reference)
    return {name: _value(name, getattr(values, name), len(generated)) for name in GROUPS["pr"]}


def _value(name: str, value: float | None, n: int) -> MetricValue:
    unit = "fraction" if name in (*GROUPS["prd"], "precision", "recall", "coverage") else "score"
    spread = name.endswith("_std")
    lower = name.startswith(("fid", "kid"))
    direction = "none" if spread else "lower" if lower else "higher"
    return MetricValue(value, 0 if value is None else n, unit, direction)


def undefined(name: str) -> MetricValue:
    """A metric of `GROUPS` without a value."""
    return _value(name, None, 0)
