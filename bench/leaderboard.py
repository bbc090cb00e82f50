"""A leaderboard is what records look like side by side: a pure function of records and reported rows.

Nothing is stored: `collect` reads committed results and run folders, `build` groups and ranks, a renderer of
`FORMATS` writes. Rows that differ in dataset, variant, content, split, profile or protocol never share a
ranking.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.axes import canonical, flat, order, word
from bench.card import Card
from bench.files import write_text
from bench.registry import card, names
from bench.report.board import Board, Key, Row, Section, ranked
from bench.report.collect import LEADERBOARDS, collect
from bench.report.printed import blocks
from bench.reported import ReportedRow, load_rows

__all__ = ["FORMATS", "LEADERBOARDS", "build", "collect", "page"]

Group = list[Mapping[str, Any]]
_SET = re.compile(r"(?:^| )method\.([\w.]+)=")  # method fields on a command line
_REPETITION = re.compile(r"-r\d+$")  # what `rerun=true` appends to a run id


def build(
    task_card: Card,
    task_name: str,
    records: Iterable[Mapping[str, Any]],
    rows: Sequence[ReportedRow],
    data: str | None = None,
    profile: str | None = None,
) -> Board:
    """Group records into sections, rank within each, and set the reported tables beside them.

    Args:
        task_card: Gives the primary metric and the mapping of reported names.
        task_name: What the board calls the task.
        records: Finished records as plain dictionaries.
        rows: Reported rows.
        data: Only sections on this kind of data: real, phantom or custom.
        profile: Only sections of this profile. Neither touches the reported tables.
    """
    by_key: dict[Key, Group] = {}
    for record in records:
        by_key.setdefault(Key.of(record), []).append(record)
    grouped = {key: _groups(found) for key, found in by_key.items()}
    varying = _varying(group for groups in grouped.values() for group in groups)
    ours = {key: [_row(group, varying) for group in groups] for key, groups in grouped.items()}
    sections = [
        _section(key, _distinct(made), task_card)
        for key, made in ours.items()
        if data in (None, key.variant) and profile in (None, key.profile)
    ]
    return Board(
        task=task_name,
        title=task_card.title,
        primary=task_card.primary,
        sections=tuple(sorted(sections, key=lambda section: _order(section, task_card))),
        blocks=tuple(blocks(task_card, rows, [row for made in ours.values() for row in made])),
    )


def _groups(records: Iterable[Mapping[str, Any]]) -> list[Group]:
    """Records of one section by method, file and configuration; one record a seed, the newest."""
    found: dict[tuple[Any, ...], dict[str, Mapping[str, Any]]] = {}
    for record in records:
        method = record["method"]
        config = canonical({k: v for k, v in method["config"].items() if k != "seed"})
        # Predictions carry no configuration that could tell two of them apart.
        own = _REPETITION.sub("", record["run_id"]) if method["source"] == "predictions" else ""
        key = (method["name"], method["source"], method["state"], method.get("file_sha256"), config, own)
        seeds = found.setdefault(key, {})
        seed = canonical(record["seeds"])
        if seed not in seeds or _age(seeds[seed]) < _age(record):
            seeds[seed] = record
    return [[seeds[seed] for seed in sorted(seeds)] for seeds in found.values()]


def _age(record: Mapping[str, Any]) -> tuple[str, str]:
    return (record.get("ended") or "", record["run_id"])


def _varying(groups: Iterable[Group]) -> dict[str, list[str]]:
    """Method name -> the configuration fields that differ between its rows anywhere on the board."""
    seen: dict[str, dict[str, dict[str, int]]] = {}
    total: dict[str, int] = {}
    for group in groups:
        method = group[0]["method"]
        total[method["name"]] = total.get(method["name"], 0) + 1
        fields = seen.setdefault(method["name"], {})
        for name, value in flat(method["config"]).items():
            values = fields.setdefault(name, {})
            text = canonical(value)
            values[text] = values.get(text, 0) + 1
    return {
        method: [
            name
            for name, values in fields.items()
            if name != "seed" and (len(values) > 1 or sum(values.values()) < total[method])
        ]
        for method, fields in seen.items()
    }


def _row(group: Group, varying: Mapping[str, list[str]]) -> Row:
    method = group[0]["method"]
    config = flat(method["config"])
    # What somebody set is said even where every row has it: the row is not the method as it comes.
    told = {*varying.get(method["name"], ()), *_SET.findall(group[0].get("command") or "")}
    said = [f"{name}={word(value)}" for name, value in config.items() if name in told]
    return Row(
        label=f"{method['name']} ({', '.join(said)})" if said else method["name"],
        method=method["name"],
        source=method["source"],
        state=method["state"],
        parameters=method.get("parameters"),
        records=tuple(group),
    )


def _distinct(rows: Sequence[Row]) -> list[Row]:
    """Tell rows of one label apart by their method file where files differ, else by their run."""
    by_label: dict[str, list[Row]] = {}
    for row in rows:
        by_label.setdefault(row.label, []).append(row)
    out = []
    for label, same in by_label.items():
        files = [(row.records[0]["method"].get("file_sha256") or "none")[:8] for row in same]
        for row, file in zip(same, files, strict=True):
            if len(same) == 1:
                mark = ""
            elif files.count(file) == 1:
                mark = f" [file {file}]"
            else:
                mark = f" [run {row.records[0]['run_id']}]"
            out.append(replace(row, label=label + mark))
    return out


def _section(key: Key, rows: Sequence[Row], task_card: Card) -> Section:
    first = rows[0].records[0]
    names = dict.fromkeys([task_card.primary, *task_card.metrics])
    extra = sorted(
        {name for row in rows for record in row.records for name in record["metrics"]} - set(names)
    )
    held = [name for name in names if any(name in row.records[0]["metrics"] for row in rows)]
    classes = dict.fromkeys(
        name
        for row in rows
        for name in row.records[0]["metrics"].get(task_card.primary, {}).get("per_class", {})
    )
    return Section(
        key=key,
        unit=first["data"]["unit"],
        test_n=first["data"]["counts"].get("test", 0),
        leaks=first["data"]["leaks"],
        setting=first["task"].get("setting") or {},
        deviations=tuple(dict.fromkeys(str(d) for row in rows for d in row.records[0]["task"]["deviations"])),
        metrics=(*held, *extra),
        classes=tuple(classes),
        rows=ranked(rows, task_card.primary),
    )


def _order(section: Section, task_card: Card) -> tuple[Any, ...]:
    """Real before custom before phantom, datasets as on the card, full protocols first, then by setting."""
    key = section.key
    datasets = [*task_card.datasets, key.dataset]
    return (
        ("real", "custom", "phantom").index(key.variant),
        datasets.index(key.dataset),
        key.dataset,
        bool(section.deviations),
        order(section.setting),
        len(section.deviations),
        key.profile,
        key.protocol_hash,
        key.fingerprint,
        key.split_sha256,
    )


# ---- renderers


def _table(board: Board) -> str:
    from bench.report.tables import board_table

    return board_table(board)


def _markdown(board: Board) -> str:
    from bench.report.text import board_markdown

    path = LEADERBOARDS / "findings" / f"{board.task}.md"
    return board_markdown(board, path.read_text(encoding="utf-8") if path.is_file() else "")


def _csv(board: Board) -> str:
    from bench.report.text import board_csv

    return board_csv(board)


def _json(board: Board) -> str:
    from bench.report.text import board_json

    return board_json(board)


FORMATS: dict[str, Callable[[Board], str]] = {
    "table": _table,
    "md": _markdown,
    "csv": _csv,
    "json": _json,
}


def page(task_name: str) -> str:
    """The page `leaderboards/<task>.md`: committed results, findings and reported tables, nothing else.

    Raises:
        UserError: There is no such task.
    """
    task_card = card("task", task_name)
    return FORMATS["md"](build(task_card, task_name, collect([], task_name), load_rows()))


if __name__ == "__main__":
    for task in names("task"):
        write_text(LEADERBOARDS.resolve() / f"{task}.md", page(task))
