"""A finished run beside the printed numbers its method and dataset answer to."""

from __future__ import annotations

from typing import Any

from bench.card import Reported
from bench.plan import Plan, plain
from bench.record import Comparison, MetricPart, Record
from bench.reported import MEAN, ReportedRow, load_rows, our_class


def compared(record: Record, plan: Plan) -> list[Comparison]:
    """One comparison for each reported row of the same dataset, method and configuration."""
    mapping = plan.task.card.reported
    if mapping is None:
        return []
    defaults = _defaults(plan)
    found = []
    for row in load_rows():
        if not answers(row, mapping, record, defaults):
            continue
        metric = record.metrics.get(mapping.variant.get(row.metric, row.metric))
        value = _value(metric, our_class(row, mapping)) if metric else None
        reason = why_not(record, mapping.profile)
        verdict = f"not comparable: {reason}" if reason else judge(value, row)
        found.append(
            Comparison(
                row_id=row.row_id,
                reported=row.value * row.scale,
                tolerance=row.tolerance * row.scale,
                verdict=verdict,
            )
        )
    return found


def _defaults(plan: Plan) -> dict[str, Any]:
    """The method's configuration in the plan's profile when a user sets nothing."""
    if plan.method is None:
        return {}
    official = plan.method.official if plan.profile == "official" else {}
    return plain({**plain(type(plan.method)()), **official})


def answers(row: ReportedRow, mapping: Reported, record: Record, defaults: dict[str, Any]) -> bool:
    """Whether a reported row speaks of the record's dataset, method and configuration.

    Fields that the row's variant does not name must be at their defaults.
    """
    if row.task != mapping.task or mapping.datasets.get(row.dataset) != record.data.dataset:
        return False
    if record.method.source != "builtin" or mapping.methods.get(row.method) != record.method.name:
        return False
    if row.variant not in mapping.variants:
        return False
    wanted = dict(pair.split("=") for pair in mapping.variants[row.variant].split(";") if pair)
    config = record.method.config
    if not all(_same(config.get(name), value) for name, value in wanted.items()):
        return False
    return all(config.get(name) == value for name, value in defaults.items() if name not in wanted)


def _same(ours: object, theirs: str) -> bool:
    if isinstance(ours, bool):
        return str(ours).lower() == theirs
    if isinstance(ours, int | float):
        return float(ours) == float(theirs)
    return str(ours) == theirs


def _value(metric: MetricPart, name: str) -> float | None:
    if name == MEAN:
        return metric.value
    return metric.per_class[name].value if name in metric.per_class else None


def why_not(record: Record, profile: str) -> str:
    """Why a record cannot be set beside reported rows; empty if it can."""
    if record.data.variant != "real":
        return f"{record.data.variant} data"
    if record.task.profile != profile:
        return f"profile {record.task.profile}, the reported numbers were made under {profile}"
    if record.task.deviations:
        return "; ".join(record.task.deviations)
    return ""


def judge(value: float | None, row: ReportedRow) -> str:
    """`match` within half of the last printed digit, else `above` or `below`."""
    if value is None:
        return "not comparable: the value is undefined"
    gap = value - row.value * row.scale
    if abs(gap) <= row.tolerance * row.scale:
        return "match"
    return "above" if gap > 0 else "below"
