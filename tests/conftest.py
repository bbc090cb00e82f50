"""A home of its own for every session, tiny data, a tiny network, and the command line in process."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

# One thread a process, set before torch is imported: tests run side by side, one process a core.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
NET = """
import torch
from torch import nn


class TinyNet(nn.Module):
    def __init__(self, in_channels, num_classes, width: int = 4):
        super().__init__()
        self.first = nn.Conv2d(in_channels, width, 3, padding=1)
        self.drop = nn.Dropout(0.2)
        self.last = nn.Conv2d(width, num_classes, 3, padding=1)

    def forward(self, x):
        return self.last(self.drop(torch.relu(self.first(x))))
"""


@pytest.fixture(autouse=True, scope="session")
def bench_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Nothing a test does reaches the user's own data directory."""
    home = tmp_path_factory.mktemp("bench_home")
    before = os.environ.get("BENCH_HOME")
    os.environ["BENCH_HOME"] = str(home)
    yield home
    if before is None:
        del os.environ["BENCH_HOME"]
    else:
        os.environ["BENCH_HOME"] = before


def write_folder(root: Path, per_split: int = 4, size: tuple[int, int] = (32, 48), seed: int = 0) -> Path:
    """Scans whose bright band is class 1; two units a split; the last scan of a split holds no band."""
    rng = np.random.default_rng(seed)
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    rows = []
    for s, split in enumerate(("train", "val", "test")):
        for i in range(per_split):
            mask = np.zeros(size, np.uint8)
            if i < per_split - 1:
                top = int(rng.integers(4, size[0] - 12))
                mask[top : top + 8] = 1
            image = np.clip(60 + 90 * mask + rng.normal(0, 20, size), 0, 255).astype(np.uint8)
            file = f"{split}_{i}.png"
            Image.fromarray(image).save(root / "images" / file)
            Image.fromarray(mask).save(root / "masks" / file)
            rows.append((file, f"p{s}{i % 2}", split))
    with (root / "splits.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "unit", "split"), *rows])
    (root / "classes.json").write_text(json.dumps({"0": "background", "1": "band"}))
    return root


@pytest.fixture
def folder_data(tmp_path: Path) -> Path:
    """A folder dataset of twelve tiny scans, its own to damage."""
    return write_folder(tmp_path / "scans")


@pytest.fixture
def tiny_net(tmp_path: Path) -> Path:
    """A user's file with one plain network, under a name no other test imports."""
    path = tmp_path / f"net_{abs(hash(tmp_path)) % 10**12}.py"
    path.write_text(NET)
    return path


@dataclass
class Answer:
    """What a command line did."""

    code: int
    out: str
    err: str


@pytest.fixture
def bench(capfd: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Run the command line in this process."""

    def call(*words: object) -> Answer:
        from bench.cli import main

        capfd.readouterr()
        code = main([str(word) for word in words])
        out, err = capfd.readouterr()
        return Answer(code, out, err)

    return call


@pytest.fixture
def small(folder_data: Path, tiny_net: Path, tmp_path: Path) -> list[str]:
    """Words of a run that takes a second."""
    return [
        "task=oct",
        "dataset=folder",
        f"data_root={folder_data}",
        f"method={tiny_net}:TinyNet",
        "protocol.image_size=[32,48]",
        "protocol.epochs=2",
        f"out={tmp_path / 'runs'}",
    ]


def python(*words: object, env: dict[str, str] | None = None, cwd: Path | None = None) -> Answer:
    """Run this Python in a process of its own."""
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, **(env or {})},
        cwd=cwd,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of small real datasets beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"the folder of real datasets is not here: {SHARED}")
    return SHARED


def only_record(out: Path) -> Path:
    """The one record below a folder of runs."""
    (found,) = out.rglob("record.json")
    return found
