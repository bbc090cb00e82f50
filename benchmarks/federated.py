"""A federation of small clients: `bench` beside a bare loop, Flower's simulation and pfl-research.

Operation: FedAvg of LeNet, ten of twenty clients a round, 512 images 28x28 each, batch 128, one local epoch,
ten rounds, two cores; then how time and memory grow with clients and with the network. Every contender is a
process of its own that trains the same number of steps on the same files; they take turns. A peer that is
not installed is skipped with a line that says so. `federated_work.py` says what is timed; the contenders are
`federated_bench.py`, `federated_flower.py`, `federated_pfl.py`. Run: `python benchmarks/federated.py`, for
pfl with `--pfl-python PYTHON`, a Python that has `pfl==0.6` and this project's libraries.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from federated_work import Work, words

HERE = Path(__file__).parent
GOALS = {"flower": 3.0, "pfl": 1.7}
LIMIT_S = 150.0  # for one contender once


def commands(pfl_python: str) -> dict[str, list[str]]:
    """How each contender is started, short of the work."""
    here, pfl = sys.executable, [pfl_python, "-W", "ignore"]
    file = str(HERE / "federated_pfl.py")
    return {
        "bare": [here, str(HERE / "federated_bench.py"), "bare"],
        "inprocess": [here, str(HERE / "federated_bench.py"), "inprocess"],
        "vmap": [here, str(HERE / "federated_bench.py"), "vmap"],
        "flower": [here, "-W", "ignore", str(HERE / "federated_flower.py")],
        "pfl": [*pfl, file],
        "pfl-2": [*pfl, "-m", "torch.distributed.run", "--nproc_per_node=2", "--no-python", *pfl, file],
    }


class Watch(threading.Thread):
    """Peak resident memory and CPU time of a process and all that it started, looked at ten times a second.

    Resident memory counts a page once for each process that maps it; proportional memory (PSS) once.
    """

    def __init__(self, pid: int):
        super().__init__(daemon=True)
        self.root = psutil.Process(pid)
        self.over = threading.Event()
        self.rss = self.pss = 0
        self.cpu: dict[int, float] = {}

    def run(self) -> None:
        """Look until told to stop."""
        looks = 0
        while not self.over.wait(0.1):
            rss = pss = 0
            with suppress(psutil.Error):
                for process in [self.root, *self.root.children(recursive=True)]:
                    with suppress(psutil.Error):
                        times = process.cpu_times()
                        self.cpu[process.pid] = times.user + times.system
                        rss += process.memory_info().rss
                        if looks % 10 == 0:  # slow to ask for
                            pss += process.memory_full_info().pss
            self.rss, self.pss, looks = max(self.rss, rss), max(self.pss, pss), looks + 1


def contend(command: Sequence[str], work: Work) -> dict[str, Any]:
    """One contender once: its report, memory, CPU time and the machine's load before; or why it failed."""
    env = {**os.environ, "PYTHONPATH": f"{HERE.parent}{os.pathsep}{HERE}", "PFL_PYTORCH_DEVICE": "cpu"}
    env.pop("OMP_NUM_THREADS", None)  # each contender sees to its threads itself
    load = os.getloadavg()[0]
    process = subprocess.Popen(
        [*command, words(work)], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    watch = Watch(process.pid)
    watch.start()
    try:
        out, err = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        family = psutil.Process(process.pid).children(recursive=True)
        for each in [*family, process]:
            with suppress(psutil.Error):
                each.kill()
        process.communicate()
        return {"failed": f"not done after {LIMIT_S:.0f} s"}
    finally:
        watch.over.set()
        watch.join()
    lines = [line for line in out.splitlines() if line.startswith("REPORT ")]
    if process.returncode or not lines:
        last = [line.strip() for line in err.splitlines() if "Error" in line][:1]
        return {"failed": last[0] if last else f"exit code {process.returncode}"}
    report = json.loads(lines[-1].removeprefix("REPORT "))
    if report["steps"] != work.steps:
        return {"failed": f"{report['steps']} steps instead of {work.steps}: not the same work"}
    measured = {"rss_mib": watch.rss / 2**20, "pss_mib": watch.pss / 2**20, "cpu_s": sum(watch.cpu.values())}
    return {**report, **measured, "load": load}


def installed(pfl_python: str) -> dict[str, str]:
    """Peers that cannot run here, and why."""
    missing = {}
    for name, python, module in (
        ("flower", sys.executable, "ray"),
        ("pfl", pfl_python, "pfl.model.pytorch"),
    ):
        asked = [python, "-W", "ignore", "-c", f"import {module}"]
        with suppress(OSError):
            if not subprocess.run(asked, capture_output=True, check=False).returncode:
                continue
        missing[name] = f"`{module.partition('.')[0]}` is not installed for {python}"
    if "pfl" in missing:
        missing["pfl-2"] = missing["pfl"]
    return missing


def speed(run: Any, names: Sequence[str], repeats: int) -> dict[str, list[dict[str, Any]]]:
    """The issue's operation, contenders taking turns."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        work = Work(folder).write()
        for turn in range(repeats):
            for name in names if turn % 2 == 0 else reversed(names):
                if turn == 0 or name != "vmap":  # for information: once
                    found[name].append(run(name, work))
    return found


def growth(run: Any, names: Sequence[str]) -> list[dict[str, Any]]:
    """One round of all clients: 10, 100, 1,000 of 64 images; and four of 64 images by three networks."""
    rows = []
    works: list[dict[str, Any]] = [
        {"clients": k, "drawn": k, "samples": 64, "rounds": 1} for k in (10, 100, 1000)
    ]
    small: dict[str, Any] = {
        "channels": 3,
        "side": 32,
        "clients": 4,
        "drawn": 4,
        "samples": 64,
        "batch": 64,
        "rounds": 1,
    }
    works += [{**small, "model": model, "lr": 0.01} for model in ("lenet", "mobilenet_v2", "vgg11")]
    for fields in works:
        with tempfile.TemporaryDirectory() as folder:
            work = Work(folder, **fields).write()
            for name in names:
                # A network with batch norm cannot be mapped over clients.
                if name == "pfl-2" or (name, work.model) == ("vmap", "mobilenet_v2"):
                    continue
                label = f"{work.model}, {work.clients} clients"
                rows.append({"work": label, "contender": name, **run(name, work)})
    return rows


def show(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Print the operation's table; returns the ratios."""
    print("contender    whole s: min, median   rounds s: min, median   CPU s   RSS MiB   PSS MiB   loss")
    good = {name: [r for r in reports if "failed" not in r] for name, reports in found.items()}
    ratios: dict[str, Any] = {}
    for name, reports in good.items():
        for bad in (r["failed"] for r in found[name] if "failed" in r):
            print(f"{name:<12} failed: {bad}")
        if not reports:
            continue
        columns = {key: [r[key] for r in reports] for key in reports[0]}
        pairs = "".join(
            f"{min(columns[key]):>12.2f}, {statistics.median(columns[key]):>8.2f}"
            for key in ("whole_s", "rounds_s")
        )
        peaks = "".join(f"{max(columns[key]):>10.0f}" for key in ("rss_mib", "pss_mib"))
        print(f"{name:<9}{pairs}{min(columns['cpu_s']):>11.1f}{peaks}{columns['loss'][0]:>8.3f}")
    for name in good:
        if name == "inprocess" or not good[name] or not good.get("inprocess"):
            continue
        ratios[name] = {}
        for key in ("whole_s", "rounds_s", "cpu_s"):
            turns = [
                theirs[key] / our[key]
                for theirs, our in zip(found[name], found["inprocess"], strict=False)
                if "failed" not in theirs and "failed" not in our
            ]
            ratios[name][key] = {"median": statistics.median(turns), "turns": turns}
        said = ", ".join(f"{key[:-2]} {value['median']:.2f}" for key, value in ratios[name].items())
        goal = f" (goal {GOALS[name]:g})" if name in GOALS else ""
        print(f"{name} / inprocess, medians of the turns' ratios: {said}{goal}")
    return ratios


def main() -> None:
    """Run all, print tables, and with `--json` everything measured as one line of JSON at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="contenders")
    parser.add_argument("--no-growth", action="store_true")
    parser.add_argument("--pfl-python", default=os.environ.get("PFL_PYTHON", sys.executable))
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    start = time.monotonic()
    missing = installed(args.pfl_python)
    known = commands(args.pfl_python)
    for name, why in missing.items():
        print(f"{name} is skipped: {why}")
    names = [name for name in args.only or known if name not in missing]

    def run(name: str, work: Work) -> dict[str, Any]:
        report = contend(known[name], work)
        print(f"# {name}: {report.get('failed') or round(report['whole_s'], 2)}", file=sys.stderr, flush=True)
        return report

    found = speed(run, names, args.repeats)
    ratios = show(found)
    rows = [] if args.no_growth else growth(run, names)
    for row in rows:
        if "failed" in row:
            print(f"{row['work']:<26}{row['contender']:<11}failed: {row['failed']}")
        else:
            numbers = f"{row['whole_s']:>8.2f} s{row['cpu_s']:>9.1f} CPU s{row['rss_mib']:>9.0f} MiB RSS"
            print(f"{row['work']:<26}{row['contender']:<11}{numbers}")
    print(f"done in {time.monotonic() - start:.0f} s")
    if args.json:
        print(json.dumps({"speed": found, "ratios": ratios, "growth": rows, "skipped": missing}))


if __name__ == "__main__":
    main()
