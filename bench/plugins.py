"""Entry points of installed packages, scanned once and cached until the installed packages change."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.home import home


@dataclass(frozen=True)
class EntryPoint:
    """`name = module:attribute` as `package` publishes it."""

    name: str
    module: str
    attribute: str
    package: str


def published(kind: str) -> list[EntryPoint]:
    """Entry points of the group `bench.<kind>`, `kind` being tasks, methods or datasets."""
    return [EntryPoint(**point) for point in _all().get(kind, [])]


def _all() -> dict[str, list[dict[str, str]]]:
    key = _key()
    path = home() / "cache" / "entry_points.json"
    try:
        cached = json.loads(path.read_text())
        if cached["key"] == key:
            return cached["points"]
    except (OSError, ValueError, KeyError, TypeError):
        pass  # no cache, or a damaged one: it is only a cache, scan again
    points = _scan()
    try:
        from bench.files import write_text

        write_text(path, json.dumps({"key": key, "points": points}))
    except OSError:
        pass  # a read-only home costs a scan at each start, nothing else
    return points


def _key() -> list[list[str | int]]:
    """Folders that may hold packages with their change times: installing anything changes one."""
    found: list[list[str | int]] = []
    for entry in sys.path:
        folder = Path(entry or ".")
        try:
            found.append([str(folder.absolute()), folder.stat().st_mtime_ns])
        except OSError:
            continue  # an entry of sys.path that is not there holds no package
    return found


def _scan() -> dict[str, list[dict[str, str]]]:
    from importlib.metadata import distributions

    points: dict[str, list[dict[str, str]]] = {"tasks": [], "methods": [], "datasets": []}
    for distribution in distributions():
        for point in distribution.entry_points:
            kind = point.group.removeprefix("bench.")
            if point.group.startswith("bench.") and kind in points:
                points[kind].append(
                    {
                        "name": point.name,
                        "module": point.module,
                        "attribute": point.attr or "",
                        "package": distribution.name,
                    }
                )
    return {kind: sorted(found, key=lambda point: point["name"]) for kind, found in points.items()}
