"""Printed tables as blocks: values as printed, doubts and disputes marked, ours beside where comparable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.card import Card, Reported
from bench.report.board import Block, Line, ReportedCell, Row
from bench.reported import ReportedRow, disputed, our_class, source

DOUBTFUL, DISPUTED = "†", "‡"
MEASURED = {"authors": "its authors", "copied": "copied", "unknown": "not stated"}


def blocks(card: Card, rows: Sequence[ReportedRow], ours: Iterable[Row]) -> list[Block]:
    """One block for each printed table and dataset that the task's card answers to.

    Args:
        card: The task's card; without a mapping there is no block.
        rows: Reported rows of any task; disputes are looked for among all of them.
        ours: Our rows, of which the comparable ones are set beside.
    """
    mapping = card.reported
    if mapping is None:
        return []
    disputes = disputed(rows)
    index = _comparable(ours)
    tables: dict[tuple[str, str], list[ReportedRow]] = {}
    for row in rows:
        if row.task == mapping.task:
            tables.setdefault((row.file, row.dataset), []).append(row)
    return [_block(found, mapping, disputes, index) for found in tables.values()]


def _comparable(ours: Iterable[Row]) -> dict[str, list[Row]]:
    """Reported row id -> our rows whose own records name it.

    Which rows a run answers was settled when it ran, where the method's defaults were known; the record
    holds it in `compared_to`.
    """
    index: dict[str, list[Row]] = {}
    for row in ours:
        for entry in row.records[0].get("compared_to") or ():
            index.setdefault(entry["row_id"], []).append(row)
    return index


def answers(record: Mapping[str, Any], row: ReportedRow, mapping: Reported) -> bool:
    """Whether a record was made on the row's real dataset, under its profile and the full protocol."""
    data, task = record["data"], record["task"]
    return (
        data["variant"] == "real"
        and data["dataset"] == mapping.datasets.get(row.dataset)
        and task["profile"] == mapping.profile
        and not task["deviations"]
        and record["method"]["name"] == mapping.methods.get(row.method)
    )


def our_value(row: ReportedRow, mapping: Reported, candidates: Iterable[Row]) -> float | None:
    """Our number for a printed one, in its unit; of several versions of a method, the newest."""
    fitting = [own for own in candidates if all(answers(record, row, mapping) for record in own.records)]
    if not fitting:
        return None
    newest = max(fitting, key=lambda own: max(record.get("ended") or "" for record in own.records))
    name = mapping.variant.get(row.metric, row.metric)
    value = newest.cell(name, our_class(row, mapping)).value
    return None if value is None else value / row.scale


def _block(
    rows: Sequence[ReportedRow],
    mapping: Reported,
    disputes: Mapping[str, str],
    index: Mapping[str, list[Row]],
) -> Block:
    first = rows[0]
    metrics = list(dict.fromkeys(row.metric for row in rows))
    notes: dict[str, str] = {}  # mark -> reason
    columns: dict[str, str] = {}
    lines: dict[tuple[str, str, str], dict[str, ReportedCell]] = {}
    measured: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        name = row.setting.get("class", "mean")
        column = name if len(metrics) == 1 else f"{row.metric} {name}"
        columns[column] = name
        setting = "; ".join(f"{k}={v}" for k, v in row.setting.items() if k != "class")
        key = (row.method, row.variant, setting)
        told = ((DOUBTFUL, row.reason), (DISPUTED, disputes.get(row.row_id, "")))
        marks = tuple(mark_for(sign, reason, notes) for sign, reason in told if reason)
        value = our_value(row, mapping, index.get(row.row_id, ()))
        lines.setdefault(key, {})[column] = ReportedCell(row, marks, value)
        measured.setdefault(key, []).append(MEASURED[row.measured])
    headline = tuple(column for column, name in columns.items() if name == "mean") or tuple(columns)
    return Block(
        file=first.file,
        source=source(first),
        dataset=first.dataset,
        ours=mapping.datasets.get(first.dataset),
        profile=mapping.profile,
        answers={metric: mapping.variant.get(metric, metric) for metric in metrics},
        columns=tuple(columns),
        headline=headline,
        lines=tuple(
            Line(method, variant, setting, ", ".join(dict.fromkeys(measured[key])), cells)
            for key, cells in lines.items()
            for method, variant, setting in [key]
        ),
        notes=notes,
    )


def mark_for(sign: str, reason: str, notes: dict[str, str]) -> str:
    """The mark of a reason, `†2`; a new reason takes the next number in `notes`."""
    for mark, known in notes.items():
        if known == reason and mark[0] == sign:
            return mark
    mark = f"{sign}{len(notes) + 1}"
    notes[mark] = reason
    return mark
