"""Extractors: what they compute, their digests, and where weights are found, refused and fetched."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.errors import MissingExtra, UserError
from bench.images import nets, weights
from bench.images.decode import decode
from bench.images.extractors import INPUTS, NAMES, Extractor, open_extractor, state_digest, weights_of
from bench.images.files import open_set

CAFFE = "squeezenet1_0_bgr_caffe_torchlayout.pth"


def batch(count: int = 3, height: int = 40, width: int = 56, seed: int = 0) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=source)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, empty caches of torch and of the hub."""
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "torch"))
    folder = tmp_path / "home" / "weights"
    folder.mkdir(parents=True)
    return folder


# The fixed random network


def test_random_is_the_same_everywhere_and_for_ever() -> None:
    found = open_extractor("random")
    assert found.digest == "4e58b26ec8e6f58038cc0dcd790f06b840347b1eba8bfa39f369792e28ea0f1f"
    assert (found.dim, found.classes, found.input_size, found.comparable) == (2048, 1000, 64, False)


def test_random_leaves_the_generators_of_a_run_alone() -> None:
    torch.manual_seed(3)
    np.random.seed(3)
    wanted = torch.rand(3), np.random.rand()
    torch.manual_seed(3)
    np.random.seed(3)
    open_extractor("random")(batch())
    assert torch.equal(wanted[0], torch.rand(3))
    assert wanted[1] == np.random.rand()


def test_random_features_have_unit_scale_on_photographs(shared_data: Path) -> None:
    net = open_extractor("random")
    pooled = []
    for image in open_set(shared_data / "coco" / "images").images:
        pixels, _ = decode(image.read(), image.name)
        pooled.append(net(torch.from_numpy(pixels).permute(2, 0, 1)[None])[0])
    found = torch.cat(pooled)
    assert 0.8 < float(found.square().mean()) < 1.25
    assert torch.linalg.matrix_rank(found - found.mean(0)) == len(found) - 1
    assert (found.std(0) > 0).float().mean() > 0.99


def test_random_sees_blur_and_brightness() -> None:
    net = open_extractor("random")
    sharp = batch(1, 64, 64)
    smooth = torch.nn.functional.avg_pool2d(sharp.float(), 3, 1, 1).to(torch.uint8)
    assert (net(sharp)[0] - net(smooth)[0]).abs().mean() > 0.1
    assert (net(sharp)[0] - net(sharp // 2)[0]).abs().mean() > 0.1


# The interface


def test_answers_are_float32_and_do_not_depend_on_the_batch() -> None:
    net = open_extractor("random")
    images = batch(5)
    pooled, logits = net(images)
    assert logits is not None
    assert (pooled.shape, pooled.dtype) == ((5, 2048), torch.float32)
    assert (logits.shape, logits.dtype) == ((5, 1000), torch.float32)
    one = torch.cat([net(images[i : i + 1])[0] for i in range(5)])
    torch.testing.assert_close(one, pooled, rtol=1e-5, atol=1e-5)
    assert not pooled.requires_grad


@pytest.mark.parametrize("wrong", [batch().float(), batch()[0], batch()[:, :2], batch().permute(0, 2, 3, 1)])
def test_other_tensors_are_refused(wrong: Tensor) -> None:
    with pytest.raises(ValueError, match=r"takes \(B, 3, H, W\) uint8"):
        open_extractor("random")(wrong)


def test_a_digest_tells_weights_and_definitions_apart() -> None:
    def made(seed: int, **definition: int) -> str:
        torch.manual_seed(seed)
        return Extractor("x", nn.Sequential(nn.Flatten(), nn.Linear(12, 4)), 4, None, None, definition).digest

    assert made(0, side=1) == made(0, side=1)
    assert len({made(0, side=1), made(1, side=1), made(0, side=2)}) == 3
    one, other = nn.Linear(2, 2), nn.Linear(2, 2)
    other.load_state_dict(one.state_dict())
    assert state_digest(one) == state_digest(other)
    with torch.no_grad():
        other.bias[1] += 1e-6
    assert state_digest(one) != state_digest(other)


def test_unknown_names_are_answered_by_the_nearest() -> None:
    with pytest.raises(UserError, match="Did you mean `squeezenet`"):
        open_extractor("squeezent")
    with pytest.raises(UserError, match="takes no file of weights"):
        open_extractor("random", Path("x.pth"))


# SqueezeNet, both layouts


def test_squeezenet_recognises_photographs_only_with_its_own_input(shared_data: Path) -> None:
    path = shared_data / "weights" / CAFFE
    net = open_extractor("squeezenet-caffe", path)
    assert (net.dim, net.classes, net.input_size) == (512, 1000, 227)
    found = {}
    root = shared_data / "coco"
    (labels,) = sorted((root / "annotations").glob("*.json"))[:1]
    facts = json.loads(labels.read_text())
    by_image: dict[str, set[int]] = {}
    names = {image["id"]: image["file_name"] for image in facts["images"]}
    for row in facts["annotations"]:
        by_image.setdefault(names[row["image_id"]], set()).add(row["category_id"])
    for image in open_set(root / "images").images:
        if by_image.get(image.name.rpartition("/")[2], set()) == {24}:
            pixels, _ = decode(image.read(), image.name)
            logits = net(torch.from_numpy(pixels).permute(2, 0, 1)[None])[1]
            assert logits is not None
            found[image.name] = int(logits.argmax())
    assert set(found.values()) == {340}


def test_the_two_layouts_of_squeezenet_are_not_mixed_up(shared_data: Path, home: Path) -> None:
    path = shared_data / "weights" / CAFFE
    with pytest.raises(UserError, match="holds the weights of `squeezenet-caffe`"):
        open_extractor("squeezenet", path)
    shutil.copy(path, home / CAFFE)
    found = open_extractor("squeezenet-caffe")
    assert found.digest == open_extractor("squeezenet-caffe", path).digest
    with pytest.raises(UserError, match=r"squeezenet1_0-b66bff10\.pth"):
        open_extractor("squeezenet")


def test_squeezenet_prepares_bgr_and_rgb_as_stated(tmp_path: Path) -> None:
    from torchvision.models import squeezenet1_0

    torch.manual_seed(0)
    plain = squeezenet1_0(weights=None).eval()
    path = tmp_path / "own.pth"
    torch.save(plain.state_dict(), path)
    for name, side in (("squeezenet", 224), ("squeezenet-caffe", 227)):
        images = batch(2, side, side)
        if name == "squeezenet":
            mean, std = (
                torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
            )
            prepared = (images / 255 - mean) / std
        else:
            prepared = images.flip(1).float() - torch.tensor([104.0, 117.0, 123.0]).view(3, 1, 1)
        with torch.no_grad():
            expected = plain.features(prepared).mean((2, 3)), plain(prepared)
        found = open_extractor(name, path)(images)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


# The two Inceptions, with random weights in the official names


def random_weights(net: nn.Module, path: Path) -> Path:
    source = torch.Generator().manual_seed(0)
    state = net.state_dict()
    for key, value in state.items():
        if key.endswith("running_var"):
            value.uniform_(0.05, 0.2, generator=source)
        elif value.is_floating_point() and value.ndim > 1:
            value.normal_(0, (1 / value[0].numel()) ** 0.5, generator=source)
        elif value.is_floating_point():
            value.uniform_(0.2, 0.6, generator=source)
    torch.save(state, path)
    return path


@pytest.fixture
def fidelity_net(monkeypatch: pytest.MonkeyPatch) -> Any:
    """torch-fidelity's network without its download."""
    from torch_fidelity import feature_extractor_inceptionv3 as package

    cls = package.FeatureExtractorInceptionV3
    with monkeypatch.context() as patch:
        patch.setattr(package, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(cls, "load_state_dict", lambda *_, **__: None)
        return cls("inception-v3-compat", ["2048", "logits_unbiased"])


def test_inception_tf_is_torch_fidelity(fidelity_net: Any, tmp_path: Path) -> None:
    path = random_weights(fidelity_net, tmp_path / "inception.pth")
    fidelity_net.load_state_dict(torch.load(path, weights_only=True))
    net = open_extractor("inception-tf", path)
    assert (net.dim, net.classes, net.input_size) == (2048, 1008, 299)
    for height, width in ((32, 32), (75, 130), (299, 299), (320, 301)):
        images = batch(2, height, width)
        with torch.no_grad():
            expected = fidelity_net(images)
        for one, other in zip(net(images), expected, strict=True):
            assert one is not None
            assert other.std() > 0
            assert (one - other).abs().max() <= 2e-6 * other.abs().max()


def test_inception_pt_is_pytorch_fid(fidelity_net: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """The same weights, which pytorch-fid publishes under another name, and another way to them."""
    from pytorch_fid import inception as package

    path = random_weights(fidelity_net, tmp_path / "inception.pth")
    state = torch.load(path, weights_only=True)
    monkeypatch.setattr(package, "load_state_dict_from_url", lambda *_, **__: state)
    theirs = package.InceptionV3([package.InceptionV3.BLOCK_INDEX_BY_DIM[2048]]).eval()
    net, other = open_extractor("inception-pt", path), open_extractor("inception-tf", path)
    assert net.digest != other.digest
    for height, width in ((32, 32), (75, 130), (299, 299), (320, 301)):
        images = batch(2, height, width)
        with torch.no_grad():
            expected = theirs(images.float() / 255)[0].flatten(1)
        # Random weights average most of the difference away, but not down to rounding.
        assert (net(images)[0] - expected).abs().max() <= 2e-6 * expected.abs().max()
        assert (other(images)[0] - expected).abs().max() > 2e-5 * expected.abs().max()


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (32, 32), (64, 91), (128, 256), (299, 299), (480, 640)])
def test_the_resize_of_tensorflow_is_bit_exact(shape: tuple[int, int]) -> None:
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

    images = batch(2, *shape).float()
    expected = interpolate_bilinear_2d_like_tensorflow1x(images, size=(299, 299), align_corners=False)
    assert torch.equal(nets.tf_bilinear(images, 299), expected)


def test_inception_tv_is_torchvision(tmp_path: Path) -> None:
    from torchvision.models import inception_v3

    plain = inception_v3(weights=None, aux_logits=True, init_weights=False, transform_input=True)
    path = random_weights(plain, tmp_path / "inception.pth")
    plain.load_state_dict(torch.load(path, weights_only=True))
    plain.eval()
    kept: list[Tensor] = []
    plain.avgpool.register_forward_hook(lambda *words: kept.append(words[2].flatten(1)))
    images = batch(2, 299, 299)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    with torch.no_grad():
        expected = plain((images / 255 - mean) / std)  # the input torchvision asks for
    net = open_extractor("inception-tv", path)
    assert (net.dim, net.classes, net.input_size) == (2048, 1000, 299)
    for one, other in zip(net(images), (kept[0], expected), strict=True):
        assert one is not None
        assert (one - other).abs().max() <= 1e-5 * other.abs().max()
    assert net(batch(2, 50, 70))[0].shape == (2, 2048)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save(nn.Linear(2, 2).state_dict(), path)
    for name in ("inception-tf", "inception-tv", "squeezenet", "squeezenet-caffe"):
        with pytest.raises(UserError, match=rf"other\.pth` does not fit the extractor `{name}`"):
            open_extractor(name, path)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "harm"),)

    path = tmp_path / "bad.pth"
    torch.save({"weight": Harm()}, path)
    for name in ("inception-tf", "squeezenet"):
        with pytest.raises(UserError, match=r"bad\.pth` holds no weights that torch can read"):
            open_extractor(name, path)
    assert not (tmp_path / "harm").exists()
    path.write_bytes(b"")
    with pytest.raises(UserError, match="holds no weights"):
        weights.load_state(path)
    torch.save([1, 2], path)
    with pytest.raises(UserError, match="is no state dict"):
        weights.load_state(path)


def test_a_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for package, name, extra in (("torch_fidelity", "inception-tf", "fid"), ("transformers", "clip", "hf")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(MissingExtra, match=rf"fedmedgen-bench\[{extra}\]"):
            open_extractor(name)


# Vision transformers; `transformers` is an extra


@pytest.fixture(scope="session")
def transformer_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    transformers = pytest.importorskip("transformers", reason="the extra `hf` is not installed")
    root = tmp_path_factory.mktemp("transformers")
    torch.manual_seed(0)
    small = {"num_hidden_layers": 1, "num_attention_heads": 2}
    clip = transformers.CLIPVisionConfig(
        hidden_size=32, intermediate_size=32, projection_dim=512, patch_size=32, **small
    )
    transformers.CLIPVisionModelWithProjection(clip).save_pretrained(root / "clip")
    dino = transformers.Dinov2Config(hidden_size=1024, mlp_ratio=1, patch_size=14, image_size=224, **small)
    transformers.Dinov2Model(dino).save_pretrained(root / "dinov2")
    return {name: root / name for name in ("clip", "dinov2")}


@pytest.mark.parametrize(("name", "dim"), [("clip", 512), ("dinov2", 1024)])
def test_transformers_from_a_folder_and_from_the_caches(
    name: str, dim: int, transformer_folders: dict[str, Path], home: Path, tmp_path: Path
) -> None:
    given = open_extractor(name, transformer_folders[name])
    assert (given.dim, given.classes, given.input_size) == (dim, None, 224)
    pooled, logits = given(batch(2, 60, 90))
    assert pooled.shape == (2, dim)
    assert logits is None
    with pytest.raises(UserError, match="are not on this machine"):
        open_extractor(name)
    folder = tmp_path / "hub" / f"models--{weights.WEIGHTS[name].repo.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc\n")
    shutil.copytree(transformer_folders[name], folder / "snapshots" / "abc")
    assert open_extractor(name).digest == given.digest
    shutil.copytree(transformer_folders[name], home / name)
    assert weights.find(name) == home / name


def test_transformers_match_their_own_processing(transformer_folders: dict[str, Path]) -> None:
    transformers = pytest.importorskip("transformers", reason="the extra `hf` is not installed")
    images = batch(2, 224, 224)
    net = transformers.CLIPVisionModelWithProjection.from_pretrained(transformer_folders["clip"])
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
    with torch.no_grad():
        expected = net.eval()(pixel_values=(images / 255 - mean) / std).image_embeds
    found, _ = open_extractor("clip", transformer_folders["clip"])(images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_transformers_with_missing_or_other_weights_are_refused(
    transformer_folders: dict[str, Path], tmp_path: Path
) -> None:
    pytest.importorskip("transformers", reason="the extra `hf` is not installed")
    from safetensors.torch import load_file, save_file

    with pytest.raises(UserError, match="clip`"):
        open_extractor("clip", transformer_folders["dinov2"])
    folder = tmp_path / "clip"
    shutil.copytree(transformer_folders["clip"], folder)
    state = load_file(folder / "model.safetensors")
    state.pop(next(iter(state)))
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match="lacks weights of `clip`"):
        open_extractor("clip", folder)


# A user's own network


def own(tmp_path: Path, body: str) -> str:
    path = tmp_path / f"own_{abs(hash(tmp_path)) % 10**12}.py"
    path.write_text(f"import torch\nfrom torch import nn\n\n\nclass Net(nn.Module):\n{body}")
    return f"{path}:Net"


def test_a_users_network_gets_unit_floats_at_its_size(tmp_path: Path) -> None:
    spec = own(
        tmp_path,
        "    input_size = 24\n\n    def __init__(self):\n        super().__init__()\n"
        "        self.last = nn.Linear(3, 7)\n\n    def forward(self, x):\n"
        "        assert x.shape[2:] == (24, 24) and 0 <= x.min() and x.max() <= 1\n"
        "        return x.mean((2, 3)), self.last(x.mean((2, 3)))\n",
    )
    state = torch.get_rng_state()
    net = open_extractor(spec)
    assert torch.equal(state, torch.get_rng_state())
    assert (net.name, net.dim, net.classes, net.input_size) == (Path(spec).name, 3, 7, 24)
    pooled, _ = net(torch.full((2, 3, 50, 60), 51, dtype=torch.uint8))
    torch.testing.assert_close(pooled, torch.full((2, 3), 0.2))
    assert net.digest == open_extractor(spec).digest  # made under one seed


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("    def forward(self, x):\n        return x\n", "answers two images by"),
        ("    def forward(self, x):\n        return x.mean()\n", "answers two images by"),
        ("    def forward(self, x):\n        return [x.mean((2, 3))] * 3\n", "answers two images by"),
        ("    def forward(self, x):\n        return x[:1].mean((2, 3))\n", "answers two images by"),
        ("    def forward(self, x):\n        raise KeyError('oh')\n", "KeyError: 'oh'"),
        ("    def __init__(self, a):\n        super().__init__()\n", "made without arguments"),
    ],
)
def test_users_networks_that_fail(body: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        open_extractor(own(tmp_path, body))


def test_users_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="names no class"):
        open_extractor(own(tmp_path, "    pass\n").removesuffix(":Net"))
    with pytest.raises(UserError, match="There is no file"):
        open_extractor(f"{tmp_path}/nothing.py:Net")
    path = tmp_path / f"plain_{abs(hash(tmp_path)) % 10**12}.py"
    path.write_text("class Net:\n    pass\n")
    with pytest.raises(UserError, match=r"is no `nn\.Module` class"):
        open_extractor(f"{path}:Net")


# Where weights are


def test_absent_weights_are_one_sentence_with_file_source_and_place(home: Path) -> None:
    assert set(NAMES) == set(INPUTS)
    for name in {weights_of(name) for name in NAMES if name != "random"}:
        with pytest.raises(UserError, match="are not on this machine") as error:
            weights.find(name)
        facts = weights.WEIGHTS[name]
        for word in (facts.repo or facts.files[0], facts.repo or facts.url, str(home)):
            assert word in str(error.value)


def test_the_names_are_those_torchvision_publishes() -> None:
    from torchvision import models

    published = {
        "inception-tv": models.Inception_V3_Weights.IMAGENET1K_V1,
        "squeezenet": models.SqueezeNet1_0_Weights.IMAGENET1K_V1,
        "squeezenet1_1": models.SqueezeNet1_1_Weights.IMAGENET1K_V1,
        "alexnet": models.AlexNet_Weights.IMAGENET1K_V1,
        "vgg16": models.VGG16_Weights.IMAGENET1K_V1,
    }
    for name, official in published.items():
        assert weights.WEIGHTS[name].url == official.url
        assert official.url.endswith(f"-{weights.WEIGHTS[name].sha256}.pth")


def test_heads_of_lpips_come_with_torchmetrics(home: Path) -> None:
    for name in ("alex", "vgg", "squeeze"):
        path = weights.find(f"lpips-{name}")
        assert path.name == f"{name}.pth"
        assert all(value.shape[:1] == (1,) for value in weights.load_state(path).values())


def test_home_comes_before_torch_and_a_given_path_before_both(home: Path, tmp_path: Path) -> None:
    facts = weights.WEIGHTS["squeezenet"]
    places = [tmp_path / "torch" / "checkpoints" / facts.files[0], home / facts.files[0]]
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"x")
        assert weights.locate("squeezenet") == place
    given = tmp_path / "given.pth"
    given.write_bytes(b"y")
    assert weights.find("squeezenet", given) == given
    with pytest.raises(UserError, match="There is no file"):
        weights.find("squeezenet", tmp_path / "nothing.pth")
    with pytest.raises(UserError, match="is not the official file"):
        weights.find("squeezenet")


def test_the_doctor_sees_what_is_there_what_is_not_and_what_is_wrong(home: Path) -> None:
    (home / "vgg16-397923af.pth").write_bytes(b"half a file")
    rows = {name: (path, sentence) for name, path, sentence in weights.found()}
    assert set(rows) == set(weights.WEIGHTS)
    path, sentence = rows["lpips-alex"]
    assert path is not None
    assert not sentence
    path, sentence = rows["vgg16"]
    assert path is None
    assert "is not the official file" in sentence
    path, sentence = rows["inception-tf"]
    assert path is None
    assert sentence.startswith("Put `weights-inception-2015-12-05-6726825d.pth` from https://")


@pytest.fixture
def server() -> Iterator[str]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == "/net.pth"
            self.send_response(200 if known else 404)
            self.end_headers()
            if known:
                self.wfile.write(b"weights")

        def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


@pytest.mark.parametrize("digits", [8, 64])
def test_downloads_only_when_asked_and_only_what_fits(
    digits: int, server: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hashlib.sha256(b"weights").hexdigest()[:digits]
    facts = weights.Weights("a net", ("net.pth",), digest, f"{server}/net.pth")
    monkeypatch.setitem(weights.WEIGHTS, "net", facts)
    with pytest.raises(UserError, match="are not on this machine"):
        weights.find("net")
    wrong = replace(facts, sha256="0" * digits)
    monkeypatch.setitem(weights.WEIGHTS, "net", wrong)
    with pytest.raises(UserError, match="could not be downloaded"):
        weights.find("net", download=True)
    monkeypatch.setitem(weights.WEIGHTS, "net", replace(facts, url=f"{server}/gone.pth"))
    with pytest.raises(UserError, match="could not be downloaded"):
        weights.find("net", download=True)
    assert list(home.iterdir()) == []
    monkeypatch.setitem(weights.WEIGHTS, "net", facts)
    path = weights.find("net", download=True)
    assert path == home / "net.pth"
    assert path.read_bytes() == b"weights"
    assert [p.name for p in home.iterdir()] == ["net.pth"]
    assert weights.find("net") == path


def test_what_has_no_direct_download_says_so(home: Path) -> None:
    with pytest.raises(UserError, match="cannot be downloaded as they are"):
        weights.find("squeezenet-caffe", download=True)


def test_the_hub_is_asked_only_on_request(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[str] = []

    def fetch(repo: str, allow_patterns: list[str]) -> str:
        asked.append(repo)
        if len(asked) == 1:
            raise OSError("no network")
        return str(home / "made")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    with pytest.raises(UserError, match="are not on this machine"):
        weights.find("clip")
    assert not asked
    with pytest.raises(UserError, match=r"could not be downloaded \(no network\)"):
        weights.find("clip", download=True)
    assert weights.find("clip", download=True) == home / "made"
    assert asked == ["openai/clip-vit-base-patch32"] * 2
