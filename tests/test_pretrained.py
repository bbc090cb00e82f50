"""ImageNet weights on disk: found, loaded but for the head, refused when they do not fit."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from bench.errors import UserError
from bench.nn import classifiers as c


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_no_weights_no_path(hub: Path) -> None:
    assert [c.find_pretrained(name) for name in (*c.Model, "mine.py:Net")] == [None] * 5


def test_weights_are_found_in_either_cache_the_oldest_first(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    second, first = hub / "mobilenet_v2-7ebf99e0.pth", tmp_path / "home/weights/mobilenet_v2-b0353104.pth"
    second.touch()
    assert c.find_pretrained("mobilenet_v2") == second
    first.parent.mkdir(parents=True)
    first.touch()
    assert c.find_pretrained("mobilenet_v2") == first
    assert c.find_pretrained("densenet121") is None
    hint = c.pretrained_hint("mobilenet_v2")
    assert "https://download.pytorch.org/models/mobilenet_v2-b0353104.pth" in hint
    assert str(first.parent) in hint
    assert "no ImageNet weights for the model `lenet`" in c.pretrained_hint("lenet")


def imagenet(name: str, path: Path, old_names: bool = False) -> dict[str, torch.Tensor]:
    """Write a file as torchvision publishes it, with random weights; return them by today's names."""
    from torchvision import models

    if name == "vgg11":  # its three linear layers are half a gigabyte; one of them stands for all
        net: nn.Module = nn.Sequential()
        net.add_module("features", models.vgg.make_layers(models.vgg.cfgs["A"]))
        net.add_module("classifier", nn.Sequential(nn.Linear(3, 2)))
    else:
        net = models.get_model(name, weights=None)
    state = dict(net.state_dict())
    generator = torch.Generator().manual_seed(1)
    for key, value in state.items():
        if value.is_floating_point():
            state[key] = torch.rand(value.shape, generator=generator)
    new_names = dict(state)
    if old_names:
        pattern = re.compile(r"(denselayer\d+\.(?:norm|conv))(?=\d)")
        state = {pattern.sub(r"\1.", k): v for k, v in state.items() if not k.endswith("num_batches_tracked")}
        assert "features.denseblock1.denselayer1.norm.1.weight" in state
    torch.save(state, path, _use_new_zipfile_serialization=not old_names)
    return new_names


@pytest.mark.parametrize(
    ("name", "file", "old"),
    [
        ("densenet121", "densenet121-a639ec97.pth", True),
        ("densenet121", "densenet121-a639ec97.pth", False),
        ("mobilenet_v2", "mobilenet_v2-7ebf99e0.pth", False),
        ("vgg11", "vgg11-8a719046.pth", False),
    ],
)
def test_pretrained_round_trip(name: str, file: str, old: bool, hub: Path) -> None:
    stored = imagenet(name, hub / file, old)
    net = c.build_classifier(name, 3, 7, (64, 64))
    head = {k: v.clone() for k, v in net.state_dict().items() if k.startswith("classifier.")}
    path = hub / file
    assert c.find_pretrained(name) == path
    c.load_pretrained(net, name, path)
    for key, value in net.state_dict().items():
        if key in head:
            assert torch.equal(value, head[key]), key
        elif key.endswith("num_batches_tracked"):
            assert value == 0
        else:
            assert torch.equal(value, stored[key]), key
    assert not c.is_official(path)  # the name states the digits of another file


def test_an_official_file_is_told_by_its_digits(tmp_path: Path) -> None:
    digits = hashlib.sha256(b"weights").hexdigest()[:8]
    path = tmp_path / f"net-{digits}.pth"
    path.write_bytes(b"weights")
    assert c.is_official(path)
    path.write_bytes(b"other")
    assert not c.is_official(path)
    assert not c.is_official(path.rename(tmp_path / "net.pth"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: s.pop("features.0.0.weight"), r"features\.0\.0\.weight is missing; "),
        (lambda s: s.update(extra=torch.zeros(1)), r"extra is not part of the network; "),
        (
            lambda s: s.update({"features.0.0.weight": torch.zeros(32, 1, 3, 3), "extra": torch.zeros(1)}),
            r"extra is not part of the network and 1 more; ",
        ),
        (
            lambda s: s.update({"features.0.0.weight": torch.zeros(32, 1, 3, 3)}),
            r"features\.0\.0\.weight is \(32, 1, 3, 3\) and not \(32, 3, 3, 3\); .*3 channels",
        ),
        (lambda s: s.update(epoch=3), r"is no state dict"),
    ],
)
def test_a_wrong_file_is_refused_and_changes_nothing(change, sentence: str, tmp_path: Path) -> None:
    net = c.build_classifier("mobilenet_v2", 3, 7, (32, 32))
    before = {key: value.clone() for key, value in net.state_dict().items()}
    state = {k: v + 1 for k, v in net.state_dict().items()}
    change(state)
    path = tmp_path / "mobilenet_v2-b0353104.pth"
    torch.save(state, path)
    with pytest.raises(UserError, match=sentence):
        c.load_pretrained(net, "mobilenet_v2", path)
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"PK\x03\x04half", None])
def test_an_unreadable_file_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "lenet.pth"
    if content is not None:
        path.write_bytes(content)
    net = c.build_classifier("lenet", 1, 10, (28, 28))
    with pytest.raises(UserError, match=r"holds no weights that torch can read"):
        c.load_pretrained(net, "lenet", path)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"features.0.weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match="holds no weights that torch can read"):
        c.load_pretrained(c.build_classifier("lenet", 1, 10, (28, 28)), "lenet", tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()
