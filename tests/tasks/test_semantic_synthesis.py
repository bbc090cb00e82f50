"""Semantic synthesis from words to record, and images of other programs, on the tiny phantom."""

from __future__ import annotations

import json
import shutil
import zipfile

import jsonschema
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import only_record
from PIL import Image

from bench import registry
from bench.families import synthesis, synthesis_answers, synthesis_score
from bench.images import perceptual
from bench.images.conditions import squashed
from bench.labelled import Labelled
from bench.record import json_schema

METHODS = ("mean_colour", "nearest_layout", "regression")
SIZE = (32, 48)
OWN = """
import torch
from torch import nn


class Grey(nn.Module):
    def __init__(self, in_channels, out_channels, bias: bool = True):
        super().__init__()
        self.last = nn.Conv2d(in_channels, out_channels, 1, bias=bias)

    def forward(self, x):
        return self.last(x)


class Noise:
    def __init__(self, scale: float = 0.5):
        self.scale = scale

    def fit(self, train, ctx):
        self.size = train[0].image.shape[:2]

    def generate(self, conditions):
        return conditions.noise(3, *self.size) * self.scale


class Nothing:
    pass


class Late:
    calls = 0

    def fit(self, train, ctx):
        pass

    def generate(self, conditions):
        type(self).calls += 1
        if type(self).calls == 2:
            raise ArithmeticError("the power is gone")
        return torch.full((len(conditions), 3, *conditions.labels.shape[1:]), 0.1 * conditions.indices[0])


class Cheat:  # looks for test photographs in all that it is given

    def fit(self, train, ctx):
        self.source = train.source

    def generate(self, conditions):
        assert not {entry.split for entry in self.source.entries} & {"val", "test"}
        assert len(self.source) == len(self.source.entries) == len(self.source.contents) == 11
        return torch.zeros(len(conditions), 3, *conditions.labels.shape[1:])


class Global:  # draws from torch's own generator, once broken off in the middle

    calls, breaks = 0, True

    def fit(self, train, ctx):
        torch.randn(5)

    def generate(self, conditions):
        type(self).calls += 1
        if type(self).breaks and type(self).calls == 3:
            raise ArithmeticError("the power is gone")
        return torch.randn(len(conditions), 3, *conditions.labels.shape[1:]).clamp(-1, 1)


class Shadow:
    def __init__(self, predict: bool = True):
        pass

    def fit(self, train, ctx):
        pass

    def generate(self, conditions):
        pass


class Wrong:
    def fit(self, train, ctx):
        pass

    def generate(self, conditions):
        return conditions.noise(3, 8, 8)


class Small(nn.Module):
    def forward(self, x):
        return torch.zeros(1, 8, 8, dtype=torch.int64)


class Beyond(nn.Module):
    def forward(self, x):
        return torch.full((1, *x.shape[2:]), 255)


class Broken(nn.Module):
    def forward(self, x):
        raise ArithmeticError("two\\nlines")


class Brightness(nn.Module):
    def forward(self, x):
        return torch.where(x.mean(1) > 0.5, 156, 123)
"""


@pytest.fixture(scope="module")
def root(bench_home):
    place = bench_home / "phantoms_of_tests" / "coco_stuff"
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        registry.load("dataset", "coco_stuff").target().write_phantom(place, 0, "tiny")
    return place


@pytest.fixture(scope="module")
def samples(root) -> Labelled:
    return registry.load("dataset", "coco_stuff").target().load(root)


@pytest.fixture
def own(tmp_path):
    path = tmp_path / f"own_{abs(hash(tmp_path)) % 10**12}.py"
    path.write_text(OWN)
    return path


@pytest.fixture
def real(samples, tmp_path):
    """The real test images, as a program would write them that is always right."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    for i in samples.of("test"):
        image = squashed(samples.read(i), SIZE).image
        Image.fromarray(image).save(folder / f"{samples.entries[i].id}.png")
    return folder


def words(root, out, **changes):
    given = {key.replace("__", "."): value for key, value in changes.items()}
    base = {"task": "semantic_synthesis", "data_root": root, "protocol.image_size": "[32,48]", "out": out}
    return [f"{key}={value}" for key, value in {**base, **given}.items()]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_runs_and_says_what_it_ran_on(bench, root, samples, tmp_path, method):
    answer = bench("run", *words(root, tmp_path, method=method, budget="smoke"))
    assert answer.code == 0, answer.err
    assert "PHANTOM" in answer.err
    assert "8 generated images are fewer than 5,000" in answer.err
    assert "`protocol.extractor` is random: The weights of `inception-tf` are not on" in answer.err
    path = only_record(tmp_path)
    found = json.loads(path.read_text())
    jsonschema.validate(found, json_schema())
    assert found["data"] | {"variant": "phantom", "unit": "image", "leaks": 0} == found["data"]
    assert any("extractor: random instead of inception-tf" in line for line in found["task"]["deviations"])
    setting = {"extractor": "random", "size": "32x48", "format": "png", "segmenter": "none", "draws": 1}
    assert found["task"]["setting"] == setting
    assert set(found["metrics"]) <= set(registry.card("task", "semantic_synthesis").metrics)
    assert found["metrics"]["fid"]["value"] > 0
    assert found["metrics"]["fid@official"]["value"] is None  # fewer than the 50 of one batch
    assert (path.parent / "gallery" / "images.png").is_file()
    made = sorted((path.parent / "generated" / "0").glob("*.png"))
    assert [one.stem for one in made] == [samples.entries[i].id for i in samples.of("test")]
    assert len(pd.read_parquet(path.parent / "units.parquet")) == len(made)
    assert "8 generated images are fewer than 5,000" in (path.parent / "log.txt").read_text()
    # Judged again from the folder, as anybody's images would be.
    again = bench("score", *words(root, tmp_path / "again", predictions=path.parent / "generated"), "--json")
    assert again.code == 0, again.err
    once = {name: part["value"] for name, part in found["metrics"].items()}
    assert {name: part["value"] for name, part in json.loads(again.out)["metrics"].items()} == once


def test_real_images_are_perfect_and_an_archive_scores_as_its_folder(bench, root, real, own, tmp_path):
    answer = bench("score", *words(root, tmp_path / "a", predictions=real), "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)["metrics"]
    assert found["fid"]["value"] == pytest.approx(0, abs=1e-6)
    assert found["precision"]["value"] == found["coverage"]["value"] == 1
    assert "miou" not in found
    assert "The images are the real test images, pixel for pixel: these are no predictions." in answer.err
    packed = tmp_path / "theirs.zip"
    with zipfile.ZipFile(packed, "w") as bundle:
        for path in real.iterdir():
            bundle.write(path, path.name)
    seen = f"{own}:Brightness"
    answer = bench("score", *words(root, tmp_path / "b", predictions=packed, segmenter=seen), "--json")
    assert answer.code == 0, answer.err
    other = json.loads(answer.out)["metrics"]
    assert other["fid"] == found["fid"]
    record = json.loads(only_record(tmp_path / "b").read_text())
    assert record["task"]["setting"]["segmenter"] == f"{own.name}:Brightness"
    assert not any("segmenter" in line for line in record["task"]["deviations"])
    # What the segmenter finds in the very same images is the ceiling, exactly; the unlabelled is not scored.
    for name in ("miou", "pixel_accuracy"):
        assert other[name]["value"] == other[f"{name}_real"]["value"] > 0
    assert "unlabelled" not in other["miou"]["per_class"]
    assert "sky-other" in other["miou"]["per_class"]


def test_diversity_is_of_the_draws_of_a_label_map(bench, root, own, tmp_path, monkeypatch):
    class Far:
        """The mean absolute difference of two images, whatever LPIPS would say."""

        net = "alex"

        def __call__(self, first, second):
            return (first - second).abs().mean((1, 2, 3))

    monkeypatch.setattr(synthesis_score, "lacking_lpips", lambda: "")
    monkeypatch.setattr(perceptual, "open_lpips", lambda *words, **named: Far())
    answer = bench("run", *words(root, tmp_path / "r", method=f"{own}:Noise", draws=3, method__scale=0.2))
    assert answer.code == 0, answer.err
    path = only_record(tmp_path / "r")
    found = json.loads(path.read_text())
    assert found["method"]["config"] == {"scale": 0.2}
    assert not any("draws" in line for line in found["task"]["deviations"])
    rows = pd.read_parquet(path.parent / "units.parquet")
    generated = path.parent / "generated"
    stacks = {
        name: np.stack(
            [np.asarray(Image.open(generated / str(d) / f"{name}.png"), np.float64) for d in range(3)]
        )
        for name in rows["id"]
    }
    by_hand = [
        np.mean([np.abs(s[i] - s[j]).mean() for i, j in ((0, 1), (0, 2), (1, 2))]) / 127.5
        for s in stacks.values()
    ]
    np.testing.assert_allclose(rows["lpips"], by_hand, rtol=1e-5)
    value = found["metrics"]["lpips"]
    assert value["value"] == pytest.approx(np.mean(by_hand), rel=1e-5)
    assert value["ci_low"] < value["value"] < value["ci_high"]
    assert found["metrics"]["lpips@official"]["value"] != pytest.approx(value["value"], rel=0.05)
    # Neither fewer draws than asked for nor more can be scored: which would count?
    answer = bench("score", *words(root, tmp_path / "s", predictions=generated / "0", draws=3))
    assert answer.code == 2
    assert "images alone, that is 1 instead of 3 for each label map" in answer.err
    answer = bench("score", *words(root, tmp_path / "s", predictions=generated, draws=2))
    assert answer.code == 2
    assert "sub-folders `0`, `1`, `2`, that is 3 instead of 2" in answer.err
    assert "`draws=3`" in answer.err
    shutil.rmtree(generated / "2")
    answer = bench("score", *words(root, tmp_path / "s", predictions=generated, draws=2), "--json")
    assert answer.code == 0, answer.err
    pair = np.mean([np.abs(s[0] - s[1]).mean() for s in stacks.values()]) / 127.5
    assert json.loads(answer.out)["metrics"]["lpips"]["value"] == pytest.approx(pair, rel=1e-5)


def test_the_official_fid_leaves_out_what_its_last_batch_dropped(bench, root, real, tmp_path, monkeypatch):
    names = sorted(path.name for path in real.iterdir())
    grey = Image.fromarray(np.full((*SIZE, 3), 127, np.uint8))
    for name in names[6:]:
        grey.save(real / name)  # the last two are wrong,
    monkeypatch.setattr(synthesis_score, "BATCH", 3)  # and two batches of three leave them out
    answer = bench("score", *words(root, tmp_path / "n", predictions=real), "--json")
    other = json.loads(answer.out)["metrics"]["fid@official"]
    assert other | {"variant": "official", "value": None, "n": 0} == other  # it knows 256x256 alone
    monkeypatch.setattr(synthesis_score, "OFFICIAL_SIZE", SIZE)
    answer = bench("score", *words(root, tmp_path / "a", predictions=real), "--json")
    found = json.loads(answer.out)["metrics"]
    assert found["fid"]["value"] > 1
    assert found["fid@official"] | {"variant": "official", "n": 6} == found["fid@official"]
    assert found["fid@official"]["value"] == pytest.approx(0, abs=1e-6)


def test_an_interrupted_run_makes_only_what_is_missing(bench, root, own, tmp_path):
    line = words(root, tmp_path / "r", method=f"{own}:Late", protocol__batch_size=3)
    answer = bench("run", *line)
    assert answer.code == 1
    assert "the power is gone" in answer.err
    generated = only_record(tmp_path / "r").parent / "generated" / "0"
    before = {path.name: path.stat().st_mtime_ns for path in generated.iterdir()}
    assert len(before) == 3
    assert bench("run", *line).code == 0
    after = {path.name: path.stat().st_mtime_ns for path in generated.iterdir()}
    assert len(after) == 8
    assert before.items() <= after.items()
    # The first batch of the second call continued where the first call broke off.
    assert np.asarray(Image.open(generated / sorted(after)[3]))[0, 0, 0] == round(127.5 * 1.3)


def test_a_method_that_draws_from_the_global_generator_resumes_to_the_same(bench, root, own, tmp_path):
    import sys

    more = {"method": f"{own}:Global", "protocol.batch_size": 2}
    line = words(root, tmp_path / "r", **more)
    assert bench("run", *line).code == 1
    sys.modules[own.stem].Global.breaks = False
    broken = only_record(tmp_path / "r").parent / "generated" / "0"
    assert len(list(broken.iterdir())) == 4
    damaged = sorted(broken.iterdir())[0]
    damaged.write_bytes(damaged.read_bytes()[:50])  # by a disk, say; its batch is made again
    assert bench("run", *line).code == 0
    assert bench("run", *words(root, tmp_path / "w", **more)).code == 0
    whole = only_record(tmp_path / "w").parent / "generated" / "0"
    for path in whole.iterdir():
        assert path.read_bytes() == (broken / path.name).read_bytes()


def test_nothing_that_a_method_gets_leads_to_the_test_images(bench, root, own, tmp_path):
    answer = bench("run", *words(root, tmp_path, method=f"{own}:Cheat"))
    assert answer.code == 0, answer.err


def test_a_plain_network_follows_the_recipe(bench, root, own, tmp_path):
    answer = bench("run", *words(root, tmp_path, method=f"{own}:Grey", budget="smoke", method__bias="false"))
    assert answer.code == 0, answer.err
    found = json.loads(only_record(tmp_path).read_text())
    assert found["method"]["config"] == {"lr": 2e-4, "bias": False}
    assert found["method"]["parameters"] == 3 * 184  # a plane for each of 183 classes and one for edges
    assert found["cost"]["flops_per_sample"] == 2 * 3 * 184 * SIZE[0] * SIZE[1]


def test_the_card_of_the_recipe_counts_parameters_as_a_run_does(bench):
    from bench.nn.unet import UNet

    count = sum(p.numel() for p in UNet(184, 3, 32).parameters())
    assert f"parameters: {count:,} (coco_stuff: 184 channels to 3)" in bench("show", "regression").out


def test_what_makes_no_images_is_told(bench, root, own, tmp_path):
    answer = bench("run", *words(root, tmp_path, method=f"{own}:Nothing"))
    assert answer.code == 2
    assert "`Nothing` makes no images: it is no `nn.Module`, and lacks `fit` and `generate`" in answer.err
    answer = bench("run", *words(root, tmp_path, method=f"{own}:Shadow"))
    assert answer.code == 2
    assert "`Shadow` has the argument `predict`, which names a part of every method" in answer.err
    answer = bench("run", *words(root, tmp_path, method=f"{own}:Wrong"))
    assert answer.code == 1
    assert "images of shape (8, 3, 32, 48), got (8, 3, 8, 8)" in answer.err


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (torch.zeros(2, 3, 4, 4, dtype=torch.int64), "finite floats in [-1, 1] or uint8, got torch.int64"),
        (torch.full((2, 3, 4, 4), torch.nan), "got torch.float32 with NaN or infinity"),
        (np.zeros((2, 3, 4, 4)), "got ndarray"),
    ],
)
def test_answers_that_are_no_images(answer, told):
    with pytest.raises(Exception, match=r"must return") as caught:
        synthesis.pixels(answer, (2, 4, 4))
    assert told in str(caught.value)


def test_draws_are_taken_in_the_order_of_their_numbers():
    ordered = ["a", "draw2", "draw03", "draw10", "draw" + "7" * 5000, "draw\u00b2", "run1/v10", "run2/v1"]
    mixed = [ordered[i] for i in (3, 0, 5, 7, 1, 4, 2, 6)]
    assert sorted(mixed, key=synthesis_answers._natural) == ordered


def test_floats_are_rounded_to_the_nearest_level_and_bytes_are_kept():
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(1, 3, 16, 16)
    floats = levels.float() / 127.5 - 1
    for given in (levels, floats, floats + 0.003, floats - 0.003):
        assert (synthesis.pixels(given, (1, 16, 16))[..., 0].ravel() == np.arange(256)).all()
    beyond = torch.tensor([-9.0, 9.0]).reshape(1, 1, 1, 2).expand(1, 3, 1, 2)
    assert synthesis.pixels(beyond, (1, 1, 2))[0, 0, :, 0].tolist() == [0, 255]


def test_real_data_are_not_judged_by_random_features(bench, root, tmp_path):
    """Real for the program: the phantom without its marker."""
    copied = tmp_path / "data"
    shutil.copytree(root, copied)
    (copied / "PHANTOM.json").unlink()
    told = bench("data", "verify", "coco_stuff", "--root", copied)
    assert "PHANTOM, not real data" in told.out  # each photograph says what it is
    for path in copied.glob("*_img/*.jpg"):
        Image.open(path).convert("RGB").save(path, quality=95, comment=b"")
    answer = bench("run", *words(copied, tmp_path / "r", method="mean_colour"))
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert "weights-inception-2015-12-05-6726825d.pth" in answer.err
    assert "`extractor=squeezenet-caffe`" in answer.err
    assert not list((tmp_path / "r").rglob("record.json"))


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("draws=2", "`draws=2` measures diversity by LPIPS, and needs its network. The weights of `alexnet`"),
        ("protocol.image_size=[30,64] draws=2", "LPIPS, which needs sides of 31 pixels or more"),
        ("protocol.image_size=[99999,64]", "takes two sides of 16 to 8192 pixels, got [99999, 64]"),
        ("protocol.max_val=0", "`protocol.max_val` takes a whole number from 1, got 0"),
        ("protocol.max_steps=-3", "`protocol.max_steps` takes a whole number from 1, got -3"),
        ("extractor=dinov2", "`protocol.extractor=dinov2` cannot be had here: The weights of `dinov2` are"),
        ("extractor=inception-tf", "`protocol.extractor=inception-tf` cannot be had here: The weights of"),
        ("extractor=inceptoin-tf", "No extractor `inceptoin-tf`. Did you mean `inception-tf`?"),
        ("extractor=./nowhere.py:Net", "There is no file `nowhere.py` for the extractor"),
        ("segmenter=deeplab", "A segmenter is given as `path/to/file.py:Class` of a network, got `deeplab`"),
        ("segmenter=./nowhere.py:Net", "There is no file `nowhere.py` for the segmenter"),
    ],
)
def test_what_cannot_be_judged_is_refused_before_anything_is_made(bench, root, tmp_path, asked, told):
    base = {"method": "mean_colour", "protocol.image_size": "[32,48]"}
    base |= dict(word.split("=", 1) for word in asked.split())
    given = [f"{key}={value}" for key, value in base.items()]
    answer = bench("run", "task=semantic_synthesis", f"data_root={root}", f"out={tmp_path / 'r'}", *given)
    assert answer.code == 2
    assert told in answer.err
    assert answer.err.count("\n") == 1
    assert not list((tmp_path / "r").rglob("generated"))


@pytest.mark.parametrize("net", ["Small", "Beyond", "Broken"])
def test_a_segmenter_that_cannot_judge_is_told_before_images_are_made(bench, root, own, tmp_path, net):
    answer = bench("run", *words(root, tmp_path / "r", method="mean_colour", segmenter=f"{own}:{net}"))
    assert answer.code == 2
    assert "The segmenter failed on `a grey image`" in answer.err
    assert not list((tmp_path / "r").rglob("generated"))


def damage(folder, kind):
    path = sorted(folder.iterdir())[1]
    if kind == "missing":
        path.unlink()
    elif kind == "foreign":
        shutil.copy(path, folder / "train.png")
    elif kind == "twice":
        shutil.copy(path, path.with_suffix(".bmp"))
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("no image")
    elif kind == "size":
        Image.open(path).resize((8, 8)).save(path)
    elif kind in ("JPEG", "WEBP", "GIF"):
        Image.open(path).save(path, kind)  # under its old name
    elif kind == "beside":
        (folder / "0").mkdir()
        shutil.copy(path, folder / "0" / path.name)
    return path


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("missing", "missing: `{stem}`"),
        ("foreign", "not of the test split: `train`"),
        ("twice", "given twice: `{stem}`"),
        ("empty", "unreadable: `{name}`"),
        ("text", "unreadable: `{name}`"),
        ("size", "not 32x48: `{name} (8x8)`"),
        ("beside", "images beside sub-folders"),
        ("JPEG", "of a lossy format, which moves every value (write PNG): `{name}`"),
        ("WEBP", "of a lossy format, which moves every value (write PNG): `{name}`"),
        ("GIF", "of a lossy format, which moves every value (write PNG): `{name}`"),
    ],
)
def test_faulty_images_are_named_and_nothing_is_scored(bench, root, real, tmp_path, kind, told):
    path = damage(real, kind)
    answer = bench("score", *words(root, tmp_path / "r", predictions=real))
    assert answer.code == 2
    assert told.format(stem=path.stem, name=path.name) in answer.err
    assert "nothing was scored" in answer.err
    assert not list((tmp_path / "r").rglob("record.json"))


def test_every_fault_is_in_one_message(bench, root, real, tmp_path):
    for kind in ("size", "foreign"):
        damage(real, kind)
    sorted(real.iterdir())[0].unlink()
    answer = bench("score", *words(root, tmp_path / "r", predictions=real))
    for told in ("missing: ", "not of the test split: `train`", "not 32x48: "):
        assert told in answer.err
