"""The U-Net of few-shot segmentation: size, layers, shapes; a user's network in its place."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from torch import nn

from bench.errors import UserError
from bench.nn.unet_cells import UNetCells, build_network

MINE = """
import torch
from torch import nn


class Good(nn.Module):
    def __init__(self, in_channels, num_classes):
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.last = nn.Conv2d(in_channels, num_classes, 1)

    def forward(self, x):
        return torch.dropout(self.last(self.norm(x)), 0.5, self.training)


class Pooled(Good):
    def forward(self, x):
        return super().forward(x)[..., ::2, ::2]


class Pair(Good):
    def forward(self, x):
        return super().forward(x), x


class Three(Good):
    def __init__(self, in_channels, num_classes, width):
        super().__init__(in_channels, num_classes)


class NotANet:
    pass
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / f"own_{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]}.py"
    path.write_text(MINE)
    return path


def test_parameters_are_those_of_the_released_network() -> None:
    net = UNetCells()
    assert sum(p.numel() for p in net.parameters()) == 470_977
    assert not list(net.buffers())  # instance norm keeps no statistics
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [32, 32, 64, 64, 128, 128, 64, 64, 32, 32, 1]
    assert all(m.bias is not None and not m.bias.any() for m in convolutions)


def test_weights_are_drawn_with_deviation_one() -> None:
    torch.manual_seed(0)
    convolutions = [m for m in UNetCells().modules() if isinstance(m, nn.Conv2d)]
    weights = torch.cat([m.weight.detach().flatten() for m in convolutions])
    assert float(weights.mean()) == pytest.approx(0, abs=0.005)
    assert float(weights.std()) == pytest.approx(1, abs=0.005)


@pytest.mark.parametrize("size", [(16, 16), (17, 22), (32, 20), (19, 19)])
def test_any_size_from_sixteen(size: tuple[int, int]) -> None:
    net = UNetCells()
    x = torch.rand(2, 1, *size)
    logits, bottleneck = net.features(x)
    assert logits.shape == (2, 1, *size)
    assert bottleneck.shape == (2, 128, -(-size[0] // 4), -(-size[1] // 4))
    assert torch.equal(logits, net(x))


def test_padding_repeats_the_edge() -> None:
    net = UNetCells()
    x = torch.rand(1, 1, 18, 16)
    padded = torch.cat((x, x[..., -1:, :], x[..., -1:, :]), 2)
    assert torch.equal(net(x), net(padded)[..., :18, :])


def test_slices_do_not_see_one_another_and_training_mode_changes_nothing() -> None:
    net = UNetCells()
    x = torch.rand(3, 1, 16, 16)
    together = net(x)
    torch.testing.assert_close(together[1:2], net(x[1:2]), rtol=1e-4, atol=1e-3)
    assert torch.equal(together, net.eval()(x))


def test_other_channels_and_classes() -> None:
    assert UNetCells(3, 2)(torch.rand(1, 3, 16, 16)).shape == (1, 2, 16, 16)


def test_the_built_in_network_and_a_users(mine: Path) -> None:
    torch.manual_seed(5)
    first = build_network("unet_cells", (16, 16))
    torch.manual_seed(5)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), UNetCells().parameters(), strict=True))
    torch.manual_seed(5)
    net = build_network(f"{mine}:Good", (16, 16))
    after = torch.rand(1)
    torch.manual_seed(5)
    nn.Conv2d(1, 1, 1)
    assert torch.equal(after, torch.rand(1))  # the trial drew nothing
    assert net.training
    assert torch.equal(net.get_buffer("norm.running_var"), torch.ones(1))


@pytest.mark.parametrize(
    ("tail", "sentence"),
    [
        ("", r"names no class; write `.*\.py:Class`"),
        (":Goood", r"no class `Goood`\. Did you mean `Good`"),
        (":NotANet", r"is no `nn\.Module` class"),
        (":Pooled", r"answers slices \(2, 1, 16, 16\) by \(2, 1, 8, 8\) and not by logits \(2, 1, 16, 16\)"),
        (":Pair", r"by tuple and not by logits"),
        (":Three", r"called as `\(1, 1\)` fails.*TypeError.*width"),
    ],
)
def test_a_users_class_is_checked(mine: Path, tail: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        build_network(f"{mine}{tail}", (16, 16))


def test_unknown_names_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"No network `unet`; `protocol\.network` takes `unet_cells`"):
        build_network("unet", (16, 16))
    with pytest.raises(UserError, match=r"There is no file `.*none\.py` for the network"):
        build_network(f"{tmp_path / 'none.py'}:Net", (16, 16))
