"""Few-shot runs of seconds: the tiny phantom at 32x32 pixels, two selections, one epoch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from conftest import only_record

from bench import registry

QUICK = {
    "shots": "2",
    "protocol.shot_seeds": "[1,6]",
    "protocol.image_size": "[32,32]",
    "protocol.epochs": "1",
    "protocol.meta_epochs": "1",
    "protocol.tasks_per_epoch": "2",
    "protocol.meta_shots": "2",
    "protocol.inner_epochs": "1",
    "protocol.pretrain_epochs": "1",
    "protocol.max_source": "3",
}


def phantom(home: Path) -> Path:
    """The tiny phantom, written once a session."""
    root = home / "phantoms_of_tests" / "decathlon"
    if not root.exists():
        root.parent.mkdir(parents=True, exist_ok=True)
        registry.load("dataset", "decathlon").target().write_phantom(root, 0, "tiny")
    return root


def words(root: Path, out: Path, **changes: object) -> list[str]:
    """Words of a run; a change named `a__b` sets `a.b`."""
    given = {key.replace("__", "."): str(value) for key, value in changes.items()}
    base = {"task": "fewshot_decathlon", "method": "supervised", "data_root": root, **QUICK, "out": out}
    return [f"{key}={value}" for key, value in {**base, **given}.items()]


def record(out: Path) -> dict[str, Any]:
    """The one record below a folder of runs."""
    return json.loads(only_record(out).read_text())
