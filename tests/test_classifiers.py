"""Classifiers: published parameter counts, sizes they accept, a user's class."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from torch import nn

from bench.errors import UserError
from bench.nn import classifiers as c

SHAPES = {
    "lenet": (1, 10, (28, 28), 61_706),
    "vgg11": (3, 10, (32, 32), 9_225_610),
    "densenet121": (3, 7, (64, 64), 6_961_031),
    "mobilenet_v2": (3, 7, (64, 64), 2_232_839),
}
MINE = """
import torch
from torch import nn

Answer = None
LOOSE = 3


class Good(nn.Module):
    def __init__(self, in_channels, num_classes):
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.last = nn.Linear(in_channels, num_classes)

    def forward(self, x):
        return self.last(torch.dropout(self.norm(x), 0.5, True).mean((2, 3)))


class Dense(nn.Conv2d):
    def __init__(self, in_channels, num_classes):
        super().__init__(in_channels, num_classes, 1)


class Pair(Good):
    def forward(self, x):
        return super().forward(x), x


class Three(Good):
    def __init__(self, in_channels, num_classes, width):
        super().__init__(in_channels, num_classes)


class NotANet:
    def __init__(self, in_channels, num_classes):
        pass
"""


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / f"own_{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]}.py"
    path.write_text(MINE)
    return path


@pytest.mark.parametrize("name", list(c.Model))
def test_parameters_and_shapes(name: str) -> None:
    channels, classes, size, parameters = SHAPES[name]
    net = c.build_classifier(name, channels, classes, size)
    assert net.training
    assert count(net) == parameters
    assert net.eval()(torch.zeros(2, channels, *size)).shape == (2, classes)


def test_vgg11_features_are_those_of_torchvision() -> None:
    net = c.build_classifier("vgg11", 3, 10, (32, 32))
    assert isinstance(net, c.VGG11)
    assert count(net.features) == 9_220_480
    assert not c.has_batch_norm(net)
    assert not c.has_dropout(net)
    x = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(net(x), net.classifier(net.features(x).flatten(1)), rtol=0, atol=0)


@pytest.mark.parametrize(("size", "maps"), [((32, 32), 6 * 6), ((8 * 4, 28), 6 * 5), ((12, 13), 1)])
def test_lenet_follows_the_image_size(size: tuple[int, int], maps: int) -> None:
    net = c.build_classifier("lenet", 3, 4, size)
    assert isinstance(net, c.LeNet)
    assert net.fc1.in_features == 16 * maps
    assert net(torch.zeros(5, 3, *size)).shape == (5, 4)


@pytest.mark.parametrize("name", list(c.Model))
@pytest.mark.parametrize("channels", [1, 4])
def test_any_number_of_channels(name: str, channels: int) -> None:
    net = c.build_classifier(name, channels, 2, (32, 32)).eval()
    assert net(torch.zeros(1, channels, 32, 32)).shape == (1, 2)


@pytest.mark.parametrize("name", list(c.Model))
def test_the_least_size_is_the_least(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    least = c._LEAST[c.Model(name)]
    net = c.build_classifier(name, 3, 2, (least, least + 3)).eval()
    assert net(torch.zeros(1, 3, least, least + 3)).shape == (1, 2)
    with pytest.raises(UserError, match=rf"at least {least}x{least} pixels.*`protocol\.image_size`"):
        c.build_classifier(name, 3, 2, (least + 3, least - 1))
    monkeypatch.setitem(c._LEAST, c.Model(name), 0)
    with pytest.raises((RuntimeError, ZeroDivisionError, UserWarning)):  # without the check torch trips
        c.build_classifier(name, 3, 2, (least - 1, 64)).eval()(torch.zeros(1, 3, least - 1, 64))


def test_same_seed_same_weights() -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.cat([p.flatten() for p in c.build_classifier("lenet", 1, 10, (28, 28)).parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_unknown_name_is_refused() -> None:
    with pytest.raises(UserError, match=r"No model `densnet121`\. Did you mean `densenet121`\?"):
        c.build_classifier("densnet121", 3, 7, (64, 64))


def test_a_users_class(mine: Path) -> None:
    torch.manual_seed(3)
    net = c.build_classifier(f"{mine}:Good", 3, 5, (8, 8))
    after = torch.rand(1)
    torch.manual_seed(3)
    nn.Linear(3, 5)
    assert torch.equal(after, torch.rand(1))  # the trial on blank images drew nothing
    assert net.training
    assert net(torch.rand(2, 3, 8, 8)).shape == (2, 5)
    assert c.trainable_names(net) == ("norm.weight", "norm.bias", "last.weight", "last.bias")
    assert c.buffer_names(net) == ("norm.running_mean", "norm.running_var", "norm.num_batches_tracked")


def test_the_trial_leaves_running_statistics_alone(mine: Path) -> None:
    net = c.build_classifier(f"{mine}:Good", 3, 5, (8, 8))
    assert torch.equal(net.get_buffer("norm.running_var"), torch.ones(3))


@pytest.mark.parametrize(
    ("tail", "sentence"),
    [
        ("", r"names no class; write `.*\.py:Class`"),
        (":Goood", r"no class `Goood`\. Did you mean `Good`"),
        (":LOOSE", r"no class `LOOSE`"),
        (":NotANet", r"is no `nn\.Module` class"),
        (":Dense", r"answers images \(2, 3, 8, 8\) by \(2, 5, 8, 8\) and not by logits \(2, 5\)"),
        (":Pair", r"by tuple and not by logits \(2, 5\)"),
        (":Three", r"called as `\(3, 5\)` fails.*TypeError.*width"),
    ],
)
def test_a_users_class_is_checked(mine: Path, tail: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        c.build_classifier(f"{mine}{tail}", 3, 5, (8, 8))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no file `.*none\.py` for the model"):
        c.build_classifier(f"{tmp_path / 'none.py'}:Net", 3, 5, (8, 8))


def test_frozen_parameters_and_private_buffers_are_not_named() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.0))
    net[0].weight.requires_grad_(False)
    net[1].register_buffer("scratch", torch.zeros(1), persistent=False)
    assert c.trainable_names(net) == ("0.bias", "1.weight", "1.bias")
    assert c.buffer_names(net) == ("1.running_mean", "1.running_var", "1.num_batches_tracked")
    assert c.has_batch_norm(net)
    assert not c.has_dropout(net)
    assert c.has_dropout(nn.Sequential(nn.Dropout2d(0.1)))


def test_batch_norm_and_dropout_of_the_built_in_networks() -> None:
    has = {name: (c.has_batch_norm(n), c.has_dropout(n)) for name, n in built().items()}
    assert has == {
        "lenet": (False, False),
        "vgg11": (False, False),
        "densenet121": (True, False),
        "mobilenet_v2": (True, True),
    }


def built() -> dict[str, nn.Module]:
    return {name: c.build_classifier(name, *shape[:3]) for name, shape in SHAPES.items()}
