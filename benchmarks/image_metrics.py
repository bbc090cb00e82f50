"""Set metrics of images beside pytorch-fid, clean-fid, torch-fidelity and torchmetrics, on the same features.

Operations: the Fréchet distance at 2,048 dimensions from equal statistics, at full rank (flat and falling
spectra) and below; KID, improved precision and recall and the Inception Score of two sets of features beside
torch-fidelity's functions; peak memory of the streamed statistics and of the Inception Score over more and
more rows, each in a process of its own. A peer that is not installed is skipped with a line that says so.

Run: `python benchmarks/image_metrics.py`; goals are the design's.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.metrics.frechet import Statistics, frechet, frechet_of, gathered
from bench.metrics.inception_score import inception_score
from bench.metrics.kernel_distance import kernel_distance
from bench.metrics.manifold import manifold

D, CLASSES = 2048, 1008
GOAL = 10.0
PEERS = {
    "pytorch-fid": ("pytorch_fid.fid_score", "calculate_frechet_distance"),
    "clean-fid": ("cleanfid.fid", "frechet_distance"),
    "torch-fidelity": ("torch_fidelity.metric_fid", "fid_statistics_to_metric"),
    "torchmetrics": ("torchmetrics.image.fid", "_compute_fid"),
}


def timed(work: Callable[[], Any], repeats: int = 1) -> tuple[np.ndarray, Any]:
    """The shortest wall and processor seconds of some, (2,), and the answer.

    They part where other programs share the machine, and where several threads work.
    """
    best, answer = np.full(2, np.inf), None
    for _ in range(repeats):
        start = np.array([time.perf_counter(), time.process_time()])
        with contextlib.redirect_stdout(io.StringIO()):  # some print
            answer = work()
        best = np.minimum(best, np.array([time.perf_counter(), time.process_time()]) - start)
    return best, answer


def compared(case: str, peer: str, ours: np.ndarray, theirs: np.ndarray, gap: float) -> dict[str, Any]:
    """Print a line of wall and processor seconds and their ratios; a row of numbers."""
    wall, cpu = theirs / ours
    print(
        f"  {peer:<15}{theirs[0]:>7.2f} s (cpu {theirs[1]:.2f})   ours {ours[0]:>6.2f} s (cpu {ours[1]:.2f}) "
        f"  ratio {wall:>5.1f} (cpu {cpu:.1f})   difference {gap:.1e}",
        flush=True,
    )
    spent = {"s": theirs.tolist(), "ours_s": ours.tolist(), "ratio": wall, "cpu_ratio": cpu}
    return {"case": case, "peer": peer, **spent, "difference": gap}


def found(module: str, name: str) -> Callable[..., Any] | None:
    """A peer's function, None where it is not installed."""
    try:
        return getattr(importlib.import_module(module), name)
    except ImportError:
        print(f"{module.partition('.')[0]}: not installed, skipped")
        return None


def distance(peer: str, function: Callable[..., Any], stats: list[np.ndarray]) -> float:
    """The distance by a peer, from means and covariances."""
    mean1, c1, mean2, c2 = stats
    if peer == "torch-fidelity":
        both = {"mu": mean1, "sigma": c1}, {"mu": mean2, "sigma": c2}
        return function(*both, verbose=False)["frechet_inception_distance"]
    if peer == "torchmetrics":
        return float(function(*(torch.from_numpy(part) for part in stats)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # both use an argument of SciPy's that it will drop
        return float(np.real(function(*stats)))


def features(rows: int, power: float, seed: int) -> np.ndarray:
    """(rows, D) whose variances fall by a power."""
    rng = np.random.default_rng(seed)
    mix = np.linalg.qr(np.random.default_rng(9).normal(size=(D, D)))[0] * (1 + 0.05 * seed)
    return rng.normal(size=(rows, D)) * np.arange(1, D + 1) ** (-power / 2) @ mix + 0.01 * seed


def frechet_rows(peers: dict[str, Callable[..., Any]]) -> list[dict[str, Any]]:
    """Every spectrum and rank, ours and the peers'."""
    rows = []
    for label, count, power in (
        ("full rank, flat spectrum", 5000, 0.0),
        ("full rank, variances falling as 1/i", 5000, 1.0),
        ("full rank, falling as 1/i²", 5000, 2.0),
        ("1,000 samples", 1000, 1.0),
    ):
        sides = [gathered([features(count, power, seed)]) for seed in (0, 1)]
        stats = [part for side in sides for part in (side.mean, side.covariance)]
        ours_s, ours = timed(lambda s=stats: frechet_of(*s), 3)  # pyright: ignore[reportArgumentType]
        print(f"Fréchet distance, {label}: {ours!r}")
        if count < D:
            print(f"  from statistics {ours_s[0]:.2f} s (cpu {ours_s[1]:.2f}); by the Gram route:")
            ours_s, ours = timed(lambda s=sides: frechet(*s), 3)
        for peer, function in peers.items():
            peer_s, value = timed(lambda p=peer, f=function, s=stats: distance(p, f, s))
            rows.append(compared(label, peer, ours_s, peer_s, abs(value - ours) / ours))
    return rows


def set_rows(count: int) -> list[dict[str, Any]]:
    """KID, precision and recall, and IS beside torch-fidelity."""
    names = {
        "KID": ("torch_fidelity.metric_kid", "kid_features_to_metric"),
        "precision, recall": ("torch_fidelity.metric_prc", "prc_features_to_metric"),
        "IS": ("torch_fidelity.metric_isc", "isc_features_to_metric"),
    }
    peers = {key: found(*value) for key, value in names.items()}
    rng, mix = np.random.default_rng(0), np.random.default_rng(1).normal(size=(64, D)) / 16
    x, y = (
        np.maximum(rng.normal(size=(count, 64)) @ mix * s + 0.3 * rng.normal(size=(count, D)) + 0.2, 0)
        for s in (1.0, 0.95)
    )
    x, y = x.astype(np.float32), y.astype(np.float32)
    logits = (3 * rng.normal(size=(count, CLASSES))).astype(np.float32)
    a, b, c = (torch.from_numpy(part) for part in (x, y, logits))
    ours = {
        "KID": lambda: kernel_distance(x, y).value,
        "precision, recall": lambda: (lambda m: (m.precision, m.recall))(manifold(x, y)),
        "IS": lambda: inception_score(logits, shuffle=2020).value,
    }
    theirs = {
        "KID": lambda f: f(a, b, verbose=False)["kernel_inception_distance_mean"],
        "precision, recall": lambda f: tuple(f(a, b, verbose=False)[k] for k in ("precision", "recall")),
        "IS": lambda f: f(c)["inception_score_mean"],
    }
    rows = []
    for name, function in peers.items():
        ours_s, value = timed(ours[name])
        if function is None:
            continue
        peer_s, other = timed(lambda n=name, f=function: theirs[n](f))
        gap = float(np.max(np.abs(np.subtract(value, other))))
        print(f"{name}, {count} each")
        rows.append(compared(name, "torch-fidelity", ours_s, peer_s, gap))
    return rows


def stream(rows: int) -> None:
    """Statistics and Inception Score of mapped features; prints the private memory they took.

    The files are sparse (all zeros but for a ramp in each block): as large as features, made in no time.
    """
    with tempfile.TemporaryDirectory() as folder:
        pooled = np.memmap(Path(folder, "pooled"), np.float32, "w+", shape=(rows, D))
        logits = np.memmap(Path(folder, "logits"), np.float32, "w+", shape=(rows, CLASSES))
        pooled[::1000, :] = np.arange(D, dtype=np.float32) / D
        logits[::1000, :] = np.arange(CLASSES, dtype=np.float32) / CLASSES
        private = Peak()
        statistics = Statistics()
        for start in range(0, rows, 1024):
            statistics.add(pooled[start : start + 1024])
            private.look()
        score = inception_score(logits, shuffle=2020)
        private.look()
        kernel_distance(pooled, pooled, subsets=5)
        private.look()
        assert statistics.count == rows
    print(json.dumps({"rows": rows, "private_mib": private.mib, "is": score.value}))


class Peak:
    """Most anonymous memory (not mapped files) beyond that at the start, by /proc; 0 elsewhere."""

    def __init__(self) -> None:
        self.first, self.mib = self._now(), 0.0

    def look(self) -> None:
        """Take note."""
        self.mib = max(self.mib, self._now() - self.first)

    @staticmethod
    def _now() -> float:
        status = Path("/proc/self/status")
        lines = status.read_text().splitlines() if status.exists() else []
        return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon")), 0.0)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--samples", type=int, default=5000, help="of KID, precision and recall, IS")
    parser.add_argument("--json", action="store_true", help="print all numbers at the end as one line")
    parser.add_argument("--stream", type=int, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.stream:
        stream(words.stream)
        return
    print(f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}")
    peers = {name: f for name, where in PEERS.items() if (f := found(*where)) is not None}
    rows = frechet_rows(peers)
    for label in dict.fromkeys(row["case"] for row in rows):
        least = [min(row[key] for row in rows if row["case"] == label) for key in ("ratio", "cpu_ratio")]
        print(f"{label}: smallest ratio {least[0]:.1f}, of processor time {least[1]:.1f} (goal {GOAL:g})")
    rows += set_rows(words.samples)
    for count in (10_000, 50_000, 200_000):
        asked = [sys.executable, __file__, "--stream", str(count)]
        memory = json.loads(subprocess.run(asked, check=True, capture_output=True, text=True).stdout)
        rows.append(memory)
        print(f"{count} rows streamed: {memory['private_mib']:.0f} MiB beyond the start")
    if words.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
