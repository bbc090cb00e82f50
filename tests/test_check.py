"""`bench check`: what would not survive the real run is told before it."""

from __future__ import annotations

import json

import pytest

SIZE = "protocol.image_size=[32,48]"
HEAD = "import torch\nfrom torch import nn\n"
NETS = {
    "good": """
class Net(nn.Module):
    def __init__(self, in_channels, num_classes):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, num_classes, 3, padding=1)

    def forward(self, x):
        return self.conv(x)
""",
    "deterministic": """
import os
class Net(nn.Module):
    def __init__(self, in_channels, num_classes):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, num_classes, 3, padding=1)

    def forward(self, x):
        noise = torch.tensor(list(os.urandom(self.conv.out_channels)), dtype=x.dtype)
        return self.conv(x) + noise[:, None, None]
""",
    "independent": """
class Net(nn.Module):
    def __init__(self, in_channels, num_classes):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, num_classes, 3, padding=1)

    def forward(self, x):
        shift = 37 * (x - x.mean(0)).mean((1, 2, 3), keepdim=True)
        classes = torch.arange(self.conv.out_channels)[:, None, None]
        return self.conv(x) + 50 * torch.sin(shift + classes)
""",
    "pickling": """
class Net(nn.Module):
    def __init__(self, in_channels, num_classes):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, num_classes, 3, padding=1)
        self.activation = lambda x: x

    def forward(self, x):
        return self.activation(self.conv(x))
""",
    "shapes": """
class Net(nn.Module):
    def __init__(self, in_channels, num_classes):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, num_classes, 3)

    def forward(self, x):
        return self.conv(x)
""",
}
METHOD = """
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
import os
import torch
from bench.core import Method


@dataclass
class Peeking(Method):
    family: ClassVar[str] = "segmentation"

    def fit(self, train, val, ctx):
        for path in Path(os.environ["BENCH_HOME"]).rglob("*.mat"):
            path.read_bytes()

    def predict(self, x):
        return torch.zeros(x.shape[0], *x.shape[2:], dtype=torch.int64)


@dataclass
class Nothing(Method):
    family: ClassVar[str] = "segmentation"

    def fit(self, train, val, ctx):
        pass

    def predict(self, x):
        return torch.zeros(x.shape[0], *x.shape[2:], dtype=torch.int64)


@dataclass
class Floating(Nothing):
    def predict(self, x):
        return x[:, 0]
"""


def write(tmp_path, kind, text):
    path = tmp_path / f"check_{kind}_{abs(hash(tmp_path)) % 10**9}.py"
    path.write_text(HEAD + text)
    return path


def test_a_good_network_passes_and_its_time_is_estimated(bench, tmp_path):
    answer = bench("check", f"method={write(tmp_path, 'good', NETS['good'])}:Net", SIZE)
    assert answer.code == 0, answer.out
    assert "the full protocol takes about" in answer.out
    assert "Net: would survive the real run" in answer.out


@pytest.mark.parametrize("kind", [kind for kind in NETS if kind != "good"])
def test_each_fault_fails_the_check_of_its_name(bench, tmp_path, kind):
    answer = bench("check", f"method={write(tmp_path, kind, NETS[kind])}:Net", SIZE, "--json")
    assert answer.code == 1, answer.out
    found = json.loads(answer.out)
    assert not found["passed"]
    failed = [check["name"] for check in found["checks"] if not check["passed"]]
    assert any(kind in name for name in failed), found


@pytest.mark.parametrize(
    ("name", "code", "told"),
    [
        ("Peeking", 1, "of the dataset; use only what `fit` is given"),
        ("Nothing", 0, "no parameters"),
        ("Floating", 1, "`predict` must return integer labels"),
    ],
)
def test_a_method_of_ones_own(bench, tmp_path, name, code, told):
    path = write(tmp_path, "method", METHOD)
    answer = bench("check", f"method={path}:{name}", SIZE)
    assert answer.code == code, answer.out
    assert told in answer.out


def test_a_method_of_ones_own_runs(bench, small, tmp_path):
    path = write(tmp_path, "method", METHOD)
    words = [word for word in small if not word.startswith("method=")]
    answer = bench("run", *words, f"method={path}:Nothing", "--json")
    assert answer.code == 0, answer.err
    metrics = json.loads(answer.out)["metrics"]
    assert metrics["absent_clean"]["value"] == 1
    assert metrics["dice_present"]["value"] == 0


def test_nothing_is_left_behind(bench, tmp_path, bench_home):
    before = {path for path in bench_home.rglob("*") if "phantoms" not in path.parts}
    bench("check", f"method={write(tmp_path, 'good', NETS['good'])}:Net", SIZE)
    after = {path for path in bench_home.rglob("*") if "phantoms" not in path.parts}
    assert after - before <= {bench_home / "cache", bench_home / "cache" / "entry_points.json"}
