"""A finished run beside the printed numbers its method and dataset answer to."""

from __future__ import annotations

from typing import Any

from bench.axes import flat, same
from bench.card import Reported
from bench.plan import Plan, make_official, plain
from bench.record import Comparison, MetricPart, Record
from bench.reported import MEAN, ReportedRow, at_setting, load_rows, our_class, our_metric, pairs


def compared(record: Record, plan: Plan) -> list[Comparison]:
    """One comparison for each reported row of the same dataset, setting, method and configuration."""
    mapping = plan.task.card.reported
    if mapping is None:
        return []
    defaults = _defaults(plan)
    found = []
    for row in load_rows():
        if not answers(row, mapping, record, defaults):
            continue
        metric = record.metrics.get(our_metric(row, mapping))
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
    method = type(plan.method)()
    if plan.profile == "official":
        make_official(method)
    return plain(method)


def answers(row: ReportedRow, mapping: Reported, record: Record, defaults: dict[str, Any]) -> bool:
    """Whether a reported row speaks of the record's dataset, setting, method and configuration.

    Fields that the row's variant does not name must be at their defaults; those of a composed method's parts
    are named `part.field`.
    """
    if row.task != mapping.task or mapping.datasets.get(row.dataset) != record.data.dataset:
        return False
    if record.method.source != "builtin" or mapping.methods.get(row.method) != record.method.name:
        return False
    if row.variant not in mapping.variants or not at_setting(row, mapping, record.task.setting):
        return False
    wanted = pairs(mapping.variants[row.variant])
    config, usual = flat(record.method.config), flat(defaults)
    if not all(name in config and same(config[name], value) for name, value in wanted.items()):
        return False
    rest = (config.keys() | usual.keys()) - wanted.keys()
    return all(name in config and name in usual and config[name] == usual[name] for name in rest)


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
