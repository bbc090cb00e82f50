"""`bench list`: names and one line each, read from the cards without importing what they describe."""

from __future__ import annotations

from bench.errors import UserError, suggest
from bench.plugins import published
from bench.registry import NOUNS, card, names

KINDS = ("tasks", "methods", "datasets", "metrics", "reported")


def run(kind: str, as_json: bool) -> int:
    """List one kind, or everything but the reported tables."""
    if kind not in (*KINDS, "all"):
        raise UserError(
            f"`bench list` knows no `{kind}`.{suggest(kind, KINDS)} It lists: {', '.join(KINDS)}."
        )
    found = {name: entries(name) for name in (KINDS[:4] if kind == "all" else (kind,))}
    if as_json:
        import json

        print(json.dumps(found if kind == "all" else found[kind], indent=2))
        return 0
    for name, rows in found.items():
        if kind == "all":
            print(name)
        width = max((len(row["name"]) for row in rows), default=0)
        for row in rows:
            print(f"  {row['name']:<{width}}  {row['title']}")
    return 0


def entries(kind: str) -> list[dict[str, str]]:
    """Name and title of everything of a kind."""
    if kind == "metrics":
        return _metrics()
    if kind == "reported":
        return _reported()
    noun = next(noun for noun, folder in NOUNS.items() if folder == kind)
    own = [
        {
            "name": name,
            "title": card(noun, name).title,
            "family": card(noun, name).family,
            "source": "builtin",
        }
        for name in names(noun)
    ]
    plugged = [
        {"name": point.name, "title": f"from {point.package}", "family": "", "source": "entry_point"}
        for point in published(kind)
    ]
    return own + plugged


def _metrics() -> list[dict[str, str]]:
    tasks: dict[str, list[str]] = {}
    for task in names("task"):
        for metric in card("task", task).metrics:
            tasks.setdefault(metric, []).append(task)
    return [{"name": metric, "title": f"task {', '.join(used)}"} for metric, used in tasks.items()]


def _reported() -> list[dict[str, str]]:
    from bench.reported import load_rows

    tables: dict[str, list[str]] = {}
    for row in load_rows():
        tables.setdefault(row.row_id.partition(":")[0], []).append(
            f"{row.paper} {row.table}, task {row.task}"
        )
    return [{"name": name, "title": f"{rows[0]}, {len(rows)} numbers"} for name, rows in tables.items()]
