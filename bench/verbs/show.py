"""`bench show <name>`: everything a reader must know of one task, method, dataset or reported row."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any, get_type_hints

from bench.errors import UserError, suggest
from bench.registry import NOUNS, card, known, load, load_method, split_path, task_of
from bench.splits import read_splits


def run(name: str, as_json: bool) -> int:
    """Print the card of whatever has this name."""
    facts = describe(name)
    if as_json:
        print(json.dumps(facts, indent=2))
        return 0
    for key, value in facts.items():
        if value in (None, "", [], {}):
            continue
        if isinstance(value, list):
            print(f"{key}:")
            for item in value:
                print(f"  - {_line(item)}")
        elif isinstance(value, dict):
            print(f"{key}:")
            width = max(len(str(k)) for k in value)
            for k, v in value.items():
                print(f"  {k:<{width}}  {_line(v)}")
        else:
            print(f"{key}: {value}")
    return 0


def _line(value: Any) -> str:
    if isinstance(value, dict) and "switch" in value:
        return (
            f"{value['switch']}\n      clean:    {value['clean']}\n      official: {value['official']}\n"
            f"      why:      {value['why']} [{value['source']}]"
        )
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def describe(name: str) -> dict[str, Any]:
    """Facts of a task, method, dataset or reported row as plain values."""
    if ":" in name and not split_path(name)[0]:
        return _reported_row(name)
    if split_path(name)[0] or "+" in name:
        return _method(name)
    for noun in NOUNS:
        if name in known(noun):
            return {"task": _task, "method": _method, "dataset": _dataset}[noun](name)
    options = [option for noun in NOUNS for option in known(noun)]
    raise UserError(
        f"Nothing is named `{name}`.{suggest(name, options)} `bench list` shows everything that is."
    )


def _reported_row(row_id: str) -> dict[str, Any]:
    from bench.reported import load_rows

    for row in load_rows():
        if row.row_id == row_id:
            return dataclasses.asdict(row)
    raise UserError(
        f"No reported row `{row_id}`; `bench list reported` shows the tables, rows count from 001."
    )


def _card_facts(noun: str, one: Any) -> dict[str, Any]:
    facts = {"kind": noun, **dataclasses.asdict(one)}
    facts["differences"] = [dataclasses.asdict(d) for d in one.differences]
    facts["reported"] = sorted(one.reported.datasets) if one.reported else []
    return {key: list(v) if isinstance(v, tuple) else v for key, v in facts.items()}


def _task(name: str) -> dict[str, Any]:
    from bench.plan import plain

    task = load("task", name).target()
    first = task.card.datasets[0]
    usual = plain(task.base("clean", first, {}))
    schemes = {
        f"protocol with {words}": changed(usual, plain(task.base("clean", first, axes)))
        for words, axes in task.schemes().items()
    }
    return {
        "name": name,
        **_card_facts("task", task.card),
        "protocol": usual,
        "protocol under official": changed(usual, plain(task.base("official", first, {}))),
        **schemes,
        "top level": [*task.top_level, "precision"],
        "splits": {name: found for name in task.card.datasets if (found := splits(name))},
        **{f"splits of {name}": found for name in task.card.datasets if (found := facts(task, name))},
    }


def changed(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The entries of `after` that differ."""
    return {name: value for name, value in after.items() if value != before[name]}


def facts(task: Any, name: str) -> dict[str, str]:
    """What the task tells of its splits, from data that is here: prepared, else a phantom."""
    from bench.data import dataset_named, prepared_root, written_phantom

    dataset = dataset_named(name)
    root, where = prepared_root(name), ""
    if root is None or not root.is_dir():
        root, where = written_phantom(name), " (PHANTOM)"
    if root is None:
        return {}
    return {f"{key}{where}": value for key, value in task.facts(dataset, root).items()}


def splits(dataset: str) -> dict[str, int]:
    """Units in each split by the committed split file; empty where the data brings its own.

    A file for several targets names them in a first column.
    """
    path = Path(__file__).parents[1] / "datasets" / f"{dataset}.splits.csv"
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if "unit" in rows[0]:
        return dict(Counter(row["split"] for row in read_splits(path, ("unit", "split"))))
    return dict(Counter(" ".join((next(iter(row.values())), row["split"])) for row in rows))


def _dataset(name: str) -> dict[str, Any]:
    from bench.data import prepared_root

    facts = {"name": name, **_card_facts("dataset", load("dataset", name).target.card)}
    return {**facts, "splits by unit": splits(name), "found at": str(prepared_root(name) or "")}


def _method(spec: str) -> dict[str, Any]:
    from bench.plan import plain
    from bench.words import family_of, method_node

    found = load_method(spec)
    task_name = task_of(family_of(found.target))
    node = method_node(found, load("task", task_name).target())
    own = getattr(node, "card", None)
    return {
        "name": found.name,
        **(_card_facts("method", own) if own else {"kind": "method", "family": node.family}),
        "source": found.source,
        "fields": fields(node, "method"),
        "official": plain(dict(node.official)),
        "parameters": _parameters(node, task_name),
    }


def fields(node: type, prefix: str) -> dict[str, str]:
    """`method.<field>` or `method.<part>.<field>` -> type and default."""
    from bench.plan import plain

    hints, found = get_type_hints(node), {}
    for f in dataclasses.fields(node):
        name = f"{prefix}.{f.name}"
        if dataclasses.is_dataclass(hints[f.name]):
            found |= fields(hints[f.name], name)
            continue
        kind = getattr(hints[f.name], "__name__", str(hints[f.name]))
        found[name] = f"{kind} = {plain(getattr(node(), f.name))}"
    return found


def _parameters(node: Any, task_name: str) -> str:
    """Parameter count on each dataset of the method's first task, where classes are known."""
    parts = []
    for dataset in card("task", task_name).datasets:
        classes = card("dataset", dataset).classes
        if classes and hasattr(node, "build"):
            made_of = getattr(node, "channels_of", None)  # not from one channel to the classes
            channels, outputs = made_of(len(classes)) if made_of else (1, len(classes))
            net = node().build(channels, outputs)
            count = sum(p.numel() for p in net.parameters() if p.requires_grad)
            told = f"{channels} channels to {outputs}" if made_of else f"1 channel, {outputs} classes"
            parts.append(f"{count:,} ({dataset}: {told})")
    return "; ".join(parts)
