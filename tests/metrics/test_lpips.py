"""LPIPS against the package of its authors, with the same weights; laws; files that are no weights."""

from __future__ import annotations

import warnings
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import models

from bench.errors import UserError
from bench.metrics import image_pairs
from bench.metrics.image_pairs import pair_metrics
from bench.metrics.regions import Regions
from bench.nn.lpips import LPIPS, NETS

BUILD = {"alex": models.alexnet, "vgg": models.vgg16, "squeeze": models.squeezenet1_1}


@cache
def backbone(net):
    """Random weights under torchvision's names; ImageNet's are not at hand."""
    with torch.device("meta"):
        features = BUILD[net](weights=None).features
    generator = torch.Generator().manual_seed(1)
    found = {}
    for name, value in features.state_dict().items():
        scale = (2 / value[0].numel()) ** 0.5 if value.ndim > 1 else 0.01
        found[f"features.{name}"] = torch.randn(value.shape, generator=generator) * scale
    return found


def heads(net, seed=2):
    generator = torch.Generator().manual_seed(seed)
    return {
        f"lin{i}.model.1.weight": torch.rand(1, channels, 1, 1, generator=generator)
        for i, channels in enumerate(NETS[net][1])
    }


@cache
def theirs(net):
    """The package with these weights and its own heads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision's old argument `pretrained`
        import lpips

        found = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    own = {}
    for name in found.net.state_dict():
        _, index, *rest = name.split(".")
        own[name] = backbone(net)[".".join(["features", index, *rest])]
    found.net.load_state_dict(own)
    return found


def package_heads(net):
    spec = find_spec("lpips")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "weights" / "v0.1" / f"{net}.pth"


def images(count=3, height=64, width=72, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, count, 3, height, width, generator=generator) * 2 - 1


@pytest.fixture(params=list(NETS))
def net(request):
    return request.param


@torch.no_grad()
def test_distances_and_maps_are_those_of_the_package(net, monkeypatch):
    trunk, (x, y) = backbone(net), images()
    own = LPIPS(net, trunk, package_heads(net))
    package = theirs(net)
    assert own(x, y).numpy() == pytest.approx(package(x, y).flatten().numpy(), abs=1e-6)
    monkeypatch.setattr(package, "spatial", True)
    spatial = package(x, y)[:, 0]
    assert own.maps(x, y).numpy() == pytest.approx(spatial.numpy(), abs=1e-6)
    assert own(x, y).min() > 0.01


def test_the_shared_heads_are_those_of_the_package(net, shared_data):
    trunk, (x, y) = backbone(net), images(1)
    own = LPIPS(net, trunk, shared_data / "weights" / "lpips_v0.1" / f"{net}.pth")
    assert own(x, y).item() == pytest.approx(theirs(net)(x, y).item(), abs=1e-6)


def test_equal_images_are_at_no_distance_and_order_does_not_matter(net):
    own, (x, y) = LPIPS(net, backbone(net), heads(net)), images()
    assert own(x, x).tolist() == [0, 0, 0]
    assert own(x, y).tolist() == own(y, x).tolist()
    assert own(x, y).numpy() == pytest.approx(
        np.concatenate([own(x[i : i + 1], y[i : i + 1]) for i in range(3)])
    )


def test_more_noise_is_further_away(net):
    own, (x, y) = LPIPS(net, backbone(net), heads(net)), images()
    distances = [own(x, x + share * (y - x)).mean().item() for share in (0.05, 0.2, 0.6)]
    assert distances == sorted(distances) and distances[0] > 0


def test_the_smallest_side_is_the_smallest(net):
    own = LPIPS(net, backbone(net), heads(net))
    small = torch.zeros(1, 3, own.least, own.least)
    assert own(small, small).item() == 0
    with pytest.raises(ValueError, match=f"needs {own.least} pixels"):
        own(small[..., 1:], small[..., 1:])
    own.least = 1
    with pytest.raises(RuntimeError):
        own(small[..., 1:], small[..., 1:])
    with pytest.raises(ValueError, match="takes"):
        own(torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64))


def test_it_is_a_measure_and_not_trained():
    own = LPIPS("alex", backbone("alex"), heads("alex"))
    assert not own.train().training and not any(p.requires_grad for p in own.parameters())
    x, y = images(1)
    x.requires_grad_(True)
    own(x, y).sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0  # and still a loss for what makes images


def test_it_joins_the_other_pair_metrics(monkeypatch):
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (2, 3, 40, 48, 3), np.uint8)
    own = LPIPS("squeeze", backbone("squeeze"), heads("squeeze"))
    found = pair_metrics(a, b, Regions(np.array([2]), np.array([[10, 10, 20, 20.0]])), own)
    x, y = (torch.from_numpy(z).permute(0, 3, 1, 2) / 127.5 - 1 for z in (a, b))
    assert found["lpips"].values == pytest.approx(own(x, y).numpy(), rel=1e-6)
    monkeypatch.setattr(image_pairs, "NET", 1)
    one_by_one = pair_metrics(a, b, lpips=own)["lpips"].values
    assert one_by_one == pytest.approx(found["lpips"].values, rel=1e-5)
    inside = own.maps(x, y)[2, 8:22, 8:22].mean().item()
    assert found["lpips_roi"].values == pytest.approx([inside], rel=1e-6)
    assert found["lpips@official"].n == 3
    small = pair_metrics(a[:, :12, :12], b[:, :12, :12], lpips=own)["lpips"]
    assert small.mean is None and small.reasons == {"a side of 12 pixels is shorter than 17": 3}


def test_weights_come_from_files(tmp_path):
    trunk, lines = tmp_path / "alexnet.pth", tmp_path / "alex.pth"
    whole = {**backbone("alex"), "classifier.1.weight": torch.zeros(3)}
    torch.save(whole, trunk)
    torch.save(heads("alex"), lines)
    x, y = images(1)
    assert torch.equal(
        LPIPS("alex", trunk, lines)(x, y), LPIPS("alex", backbone("alex"), heads("alex"))(x, y)
    )


class Harmful:
    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "is no file"),
        (b"", "no file of weights"),
        (b"<html>404</html>", "no file of weights"),
        (Harmful(), "no file of weights"),
        ([1, 2], "no state dict"),
        ({"epoch": 3}, "no state dict"),
        ({"lin0.model.1.weight": torch.zeros(1, 64, 1, 1)}, "`lin1.model.1.weight` is missing"),
        (
            {**heads("alex"), "lin2.model.1.weight": torch.zeros(1, 7, 1, 1)},
            "`lin2.model.1.weight` is missing",
        ),
        ({**heads("alex"), "lin2.model.1.weight": torch.full((1, 384, 1, 1), torch.nan)}, "not finite"),
    ],
)
def test_what_holds_no_heads_is_refused_by_name(tmp_path, capsys, content, said):
    path = tmp_path / "alex.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(UserError, match=r"alex\.pth") as caught:
        LPIPS("alex", backbone("alex"), path)
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert "run" not in capsys.readouterr().out


def test_another_network_and_an_unknown_one_are_refused():
    with pytest.raises(UserError, match="not the alex backbone"):
        LPIPS("alex", backbone("vgg"), heads("alex"))
    with pytest.raises(UserError, match="not `resnet`"):
        LPIPS("resnet", backbone("vgg"), heads("alex"))
