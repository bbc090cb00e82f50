"""Printed tables as blocks: values as printed, doubts and disputes marked, ours beside where comparable."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from bench.axes import said
from bench.card import Card, Reported
from bench.report.blocks import Block, Line, ReportedCell
from bench.report.board import Row
from bench.reported import MEAN, ReportedRow, at_setting, disputed, our_class, our_metric, source

DOUBTFUL, DISPUTED = "†", "‡"
HEADLINES = (
    2  # our numbers that one column holds; where more are headlines they stand in the line below alone
)
MEASURED = {"authors": "its authors", "copied": "copied", "unknown": "not stated"}


def blocks(card: Card, rows: Sequence[ReportedRow], ours: Iterable[Row]) -> list[Block]:
    """One block for each printed table and dataset that the task's card maps.

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
        if row.task == mapping.task and row.dataset in mapping.datasets:
            tables.setdefault((row.file, row.dataset), []).append(row)
    known = {name.partition("@")[0] for name in card.metrics}
    return [_block(found, mapping, disputes, index, known) for found in tables.values()]


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
    """Whether a record was made on the row's real dataset, setting, profile and full protocol."""
    data, task = record["data"], record["task"]
    return (
        data["variant"] == "real"
        and data["dataset"] == mapping.datasets.get(row.dataset)
        and task["profile"] == mapping.profile
        and not task["deviations"]
        and record["method"]["name"] == mapping.methods.get(row.method)
        and at_setting(row, mapping, task.get("setting") or {})
    )


def our_value(row: ReportedRow, mapping: Reported, candidates: Iterable[Row]) -> float | None:
    """Our number for a printed one, in its unit; of several versions of a method, the newest."""
    fitting = [own for own in candidates if all(answers(record, row, mapping) for record in own.records)]
    if not fitting:
        return None
    newest = max(fitting, key=lambda own: max(record.get("ended") or "" for record in own.records))
    value = newest.cell(our_metric(row, mapping), our_class(row, mapping)).value
    return None if value is None else value / row.scale


def _block(
    rows: Sequence[ReportedRow],
    mapping: Reported,
    disputes: Mapping[str, str],
    index: Mapping[str, list[Row]],
    known: Collection[str],
) -> Block:
    first = rows[0]
    answered = {row.metric: our_metric(row, mapping) for row in rows}
    notes: dict[str, str] = {}  # mark -> reason
    heads = _Heads(rows)
    columns: dict[str, str] = {}
    lines: dict[tuple[str, str, str], dict[str, ReportedCell]] = {}
    measured: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        column = heads.column(row)
        columns[column] = row.setting.get("class", "mean")
        key = (row.method, row.variant, heads.line(row))
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
        ours=mapping.datasets[first.dataset],
        profile=mapping.profile,
        answers={a: b for a, b in answered.items() if b.partition("@")[0] in known},
        only=tuple(a for a, b in answered.items() if b.partition("@")[0] not in known),
        columns=tuple(columns),
        headline=headline if len(headline) <= HEADLINES else (),
        lines=tuple(
            Line(method, variant, setting, ", ".join(dict.fromkeys(measured[key])), cells)
            for key, cells in lines.items()
            for method, variant, setting in [key]
        ),
        notes=notes,
        shared=said(heads.shared),
    )


class _Heads:
    """Where the parts of a setting stand: in a column's heading, beside a line's name, or over the block.

    What all rows share is said once; what changes within a line of the printed table makes its columns; what
    only tells lines apart stays with the line.
    """

    def __init__(self, rows: Sequence[ReportedRow]):
        first, *others = (row.block_setting for row in rows)
        self.shared = {k: v for k, v in first.items() if all(other.get(k) == v for other in others)}
        names = dict.fromkeys(name for row in rows for name in row.block_setting)
        within: dict[tuple[str, str, str, str], list[dict[str, str]]] = {}
        for row in rows:
            within.setdefault(
                (row.method, row.variant, row.metric, row.setting.get("class", MEAN)), []
            ).append(row.block_setting)
        self.columns = [
            name
            for name in names
            if any(len({one.get(name) for one in same}) > 1 for same in within.values())
        ]
        self.metrics = len({row.metric for row in rows}) > 1
        self.classes = any("class" in row.setting for row in rows)

    def column(self, row: ReportedRow) -> str:
        """`dice Fluid`, `ncc=3, pr=0.3`; the metric where nothing else is said."""
        words = [row.metric] if self.metrics else []
        words += [row.setting.get("class", "mean")] if self.classes else []
        parts = [" ".join(words)] if words else []
        setting = row.block_setting
        return ", ".join((*parts, *(f"{n}={setting[n]}" for n in self.columns if n in setting))) or row.metric

    def line(self, row: ReportedRow) -> str:
        """`a=1; b=2`, of what is left."""
        left = {k: v for k, v in row.block_setting.items() if k not in self.columns and k not in self.shared}
        return said(left, "; ")


def mark_for(sign: str, reason: str, notes: dict[str, str]) -> str:
    """The mark of a reason, `†2`; a new reason takes the next number in `notes`."""
    for mark, known in notes.items():
        if known == reason and mark[0] == sign:
            return mark
    mark = f"{sign}{len(notes) + 1}"
    notes[mark] = reason
    return mark
