"""Seconds from run folders to a leaderboard, over 2,500, 5,000 and 10,000 records.

Run `python benchmarks/leaderboard.py`. The records are synthetic and of realistic size: 7 metrics with two
intervals each and 9 classes, 3 seeds a row.
Design: 10,000 records under 3 s, and linear.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.leaderboard import FORMATS, build, collect
from bench.registry import card
from bench.reported import load_rows

METRICS = card("task", "oct").metrics
CLASSES = ("background", "ILM", "NFL-IPL", "INL", "OPL", "ONL-ISM", "ISE", "OS-RPE", "fluid")


def record(i: int, rng: random.Random) -> dict:
    """Record number `i`; three in a row are seeds of one configuration."""
    config, seed = divmod(i, 3)

    def entry() -> dict:
        low, value, high = sorted(rng.random() for _ in range(3))
        return {"value": value, "ci_low": low, "ci_high": high, "n": 22}

    def metric(name: str) -> dict:
        top = entry()
        return {
            **top,
            "unit": "fraction",
            "direction": "higher",
            "variant": "official" if "@" in name else "clean",
            "intervals": {"patient": [top["ci_low"], top["ci_high"]], "scan": [0.1, 0.9]},
            "per_class": {label: entry() for label in CLASSES},
        }

    return {
        "schema_version": 1,
        "run_id": f"{i:016x}",
        "status": "done",
        "started": "2026-01-01T00:00:00+00:00",
        "ended": "2026-01-01T01:00:00+00:00",
        "command": "bench run task=oct method=ynet",
        "task": {
            "name": "oct",
            "family": "segmentation",
            "protocol_hash": f"{config % 4:064x}",
            "profile": ("clean", "official")[config % 2],
            "deviations": ["epochs: 8 instead of 80 (budget=0.1)"] if config % 4 > 1 else [],
        },
        "data": {
            "dataset": "duke_oct",
            "variant": ("real", "phantom")[config % 3 == 0],
            "fingerprint": "f" * 64,
            "split_sha256": "5" * 64,
            "counts": {"train": 66, "val": 22, "test": 22},
            "unit": "patient",
            "leaks": 0,
        },
        "method": {
            "name": f"method{config % 40}",
            "source": "builtin",
            "state": "reimplemented",
            "file_sha256": "a" * 64,
            "parameters": 6_925_353,
            "config": {"lr": config * 1e-6, "weight_decay": 1e-4, "alpha": 0.5, "ffc": True},
        },
        "seeds": {"run": seed},
        "environment": {"packages": {f"package{k}": "1.2.3" for k in range(30)}, "device": "cuda"},
        "cost": {"wall_s": 100.0, "fit_s": 90.0, "predict_s": 5.0, "score_s": 5.0},
        "metrics": {name: metric(name) for name in METRICS},
        "compared_to": [],
    }


@contextmanager
def timed(steps: dict[str, tuple[float, float]], name: str) -> Iterator[None]:
    """Wall and processor seconds; they part where other programs share the machine."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    steps[name] = (time.perf_counter() - wall, time.process_time() - cpu)


def main() -> None:
    """Write records, time each step, print one line a step and size."""
    rng = random.Random(0)
    rows = load_rows()
    task_card = card("task", "oct")
    with tempfile.TemporaryDirectory() as place:
        written = 0
        print(f"{'operation':<16}{'records':>8}{'seconds':>10}{'cpu s':>10}{'cpu us a record':>16}")
        for size in (2_500, 5_000, 10_000):
            for i in range(written, size):
                one = record(i, rng)
                folder = Path(place, "oct", "duke_oct", one["method"]["name"], one["run_id"])
                folder.mkdir(parents=True)
                (folder / "record.json").write_text(json.dumps(one, indent=2))
            written = size
            steps: dict[str, tuple[float, float]] = {}
            with timed(steps, "collect"):
                records = collect([Path(place)], "oct", committed=Path(place, "none"))
            assert len(records) == size
            with timed(steps, "build"):
                board = build(task_card, "oct", records, rows)
            assert sum(len(row.records) for section in board.sections for row in section.rows) == size
            for name in ("table", "md", "csv", "json"):
                with timed(steps, f"as {name}"):
                    FORMATS[name](board)
            for name in ("table", "md", "csv", "json"):
                parts = [steps[step] for step in ("collect", "build", f"as {name}")]
                steps[f"all, as {name}"] = (sum(p[0] for p in parts), sum(p[1] for p in parts))
            for name, (wall, cpu) in steps.items():
                print(f"{name:<16}{size:>8}{wall:>10.3f}{cpu:>10.3f}{cpu / size * 1e6:>16.1f}")
            del records, board


if __name__ == "__main__":
    main()
