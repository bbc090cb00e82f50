"""`bench metrics images` through the command line, with the trial extractor."""

from __future__ import annotations

import json
import shutil
import signal
import zipfile

import numpy as np
import pytest
import torch
from conftest import python
from PIL import Image

RANDOM = ("--extractor", "random")


def write(root, count=12, seed=0, size=(40, 48), suffix=".png", noise=0.0):
    """Soft colour gradients, all different."""
    root.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for i in range(count):
        y, x = np.mgrid[: size[0], : size[1]] / max(size)
        a, b = rng.random((2, 3))
        pixels = 255 * np.clip(y[..., None] * a + x[..., None] * b, 0, 1)
        pixels = pixels + noise * np.random.default_rng(i).normal(size=pixels.shape)
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(root / f"{i:03d}{suffix}")
    return root


@pytest.fixture
def sides(tmp_path):
    return write(tmp_path / "a"), write(tmp_path / "b", seed=1)


def words(sides, *more):
    return ("metrics", "images", "--generated", sides[0], "--reference", sides[1], *RANDOM, *more)


def test_json_holds_the_metrics_and_nothing_else(bench, sides):
    answer = bench(*words(sides, "--json"))
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert set(found) == {"metrics", "protocols"}
    (protocol,) = found["protocols"]
    assert protocol["metrics"] == list(found["metrics"])
    assert protocol["kid_subset"] == 12
    keys = {"value", "ci_low", "ci_high", "n", "unit", "direction", "variant", "per_class"}
    assert all(set(value) == keys for value in found["metrics"].values())
    assert found["metrics"]["fid"]["value"] > 0
    assert found["metrics"]["fid"]["n"] == 12
    assert "never compare" in answer.err
    assert "fewer than 5,000" in answer.err


def test_the_table_carries_the_protocol(bench, sides):
    answer = bench(*words(sides, "--metrics", "fid,kid", "--size", "32", "--split", "test"))
    assert answer.code == 0, answer.err
    assert "[random | bicubic | 32 | test 12 | png]" in answer.out
    assert "kid_x1e3" in answer.out
    assert "precision" not in answer.out


def test_the_same_set_is_near_zero_and_said(bench, sides):
    answer = bench(*words((sides[0], sides[0]), "--json", "--metrics", "fid"))
    assert json.loads(answer.out)["metrics"]["fid"]["value"] == pytest.approx(0, abs=1e-6)
    assert "Both sets hold the same images." in answer.err


def test_all_protocols_name_their_values(bench, sides):
    answer = bench(*words(sides, "--metrics", "fid", "--under", "all-protocols", "--json"))
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)["metrics"]
    fids = {name: value["value"] for name, value in found.items() if name.startswith("fid[")}
    assert len(fids) >= 8
    assert any("| jpeg]" in name for name in fids)
    assert len(set(fids.values())) > 4
    assert bench(*words(sides, "--metrics", "ssim", "--under", "all-protocols")).code == 2


def test_pairs_clean_and_official(bench, tmp_path):
    first, second = write(tmp_path / "a"), write(tmp_path / "b", noise=6.0)
    answer = bench(*words((first, second), "--metrics", "mae,ssim,psnr", "--json"))
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)["metrics"]
    assert set(found) == {"mae", "ssim", "psnr", "mae@official", "ssim@official", "psnr@official"}
    (protocol,) = json.loads(answer.out)["protocols"]
    assert protocol["badge"] == "*[pixels | none | native | reference 12 | png]"
    assert 3 < found["mae"]["value"] < 6  # mean absolute value of noise of 6, clipped at black
    assert 0 < found["ssim"]["value"] < 1
    assert found["ssim@official"]["variant"] == "official"


def test_pairs_need_the_same_names_and_sizes(bench, tmp_path):
    first, second = write(tmp_path / "a"), write(tmp_path / "b", count=11)
    answer = bench(*words((first, second), "--metrics", "mae"))
    assert answer.code == 2
    assert "`011`" in answer.err
    write(tmp_path / "c", size=(30, 30))
    answer = bench(*words((first, tmp_path / "c"), "--metrics", "mae"))
    assert answer.code == 2
    assert "48x40" in answer.err
    assert "30x30" in answer.err
    assert bench(*words((first, tmp_path / "c"), "--metrics", "mae", "--size", "32")).code == 0


def test_an_archive_is_a_folder(bench, sides, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in sorted(sides[0].iterdir()):
            archive.write(path, path.name)
    plain, packed = (
        json.loads(bench(*words((one, sides[1]), "--metrics", "fid", "--json")).out)["metrics"]["fid"][
            "value"
        ]
        for one in (sides[0], tmp_path / "a.zip")
    )
    assert plain == packed


def test_a_record_is_written_where_asked(bench, sides, tmp_path):
    answer = bench(*words(sides, "--metrics", "fid", "--out", tmp_path / "o", "--json"))
    assert answer.code == 0, answer.err
    found = json.loads((tmp_path / "o" / "images.json").read_text())
    assert found["metrics"] == json.loads(answer.out)["metrics"]
    (protocol,) = found["protocols"]
    assert protocol["badge"].startswith("*[random | none | native")
    assert len(protocol["extractor"]) == 64
    assert str(tmp_path) not in (tmp_path / "o" / "images.json").read_text()


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--metrics", "fidd"), "There is no metric `fidd`"),
        (("--size", "big"), "`--size` takes a side"),
        (("--format", "gif"), "`format=gif` is"),
        (("--under", "everything"), "`--under` takes all-protocols"),
        (("--permutations", "5"), "`--permutations` is no option of `bench metrics images`"),
        (("--metrics", "ds"), "weights"),
        (("--metrics", "mae", "--by-class"), "`--by-class` is for fid, kid"),
        (("--boxes", "b.json"), "`--boxes` is for mae, rmse"),
        (("--metrics", "mae", "--boxes", "absent.json"), "cannot be read as JSON"),
        (("--classes", "3"), "`--classes` is for miou"),
        (("--metrics", "lpips", "--lpips", "vgg19"), "LPIPS has the networks alex, vgg, squeeze"),
        (("--metrics", "miou"), "need `--segmenter`, `--labels`, `--classes`"),
        (("--by-class",), "need the same sub-folders on both sides"),
        (("--seed", "-1"), "`--seed` takes a whole number"),
    ],
)
def test_refusals_are_one_sentence(bench, sides, more, sentence):
    answer = bench(*words(sides, *more))
    assert answer.code == 2
    assert sentence in answer.err
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [("x.png", b""), ("x.png", b"no image at all"), ("x.jpg", b"\xff\xd8\xff\xe0" + b"\0" * 20)],
)
def test_a_file_that_is_no_image_is_named(bench, sides, name, content):
    (sides[0] / name).write_bytes(content)
    answer = bench(*words(sides))
    assert answer.code == 2
    assert name in answer.err
    assert answer.err.strip().count("\n") == 0


def test_a_single_image_has_no_set_metrics(bench, sides, tmp_path):
    one = write(tmp_path / "one", count=1)
    answer = bench(*words((one, sides[1]), "--json"))
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)["metrics"]
    assert found["fid"] == {**found["fid"], "value": None, "n": 0}
    assert "One generated image makes no set" in answer.err


def test_absent_weights_say_what_to_do(bench, sides):
    answer = bench("metrics", "images", "--generated", sides[0], "--reference", sides[1])
    assert answer.code == 2
    assert "inception" in answer.err.lower()
    assert answer.err.count("\n") == 1


def test_metrics_by_class_see_shuffled_classes(bench, tmp_path):
    for i, name in enumerate(("cat", "dog")):
        write(tmp_path / "a" / name, seed=i)
        write(tmp_path / "b" / ("dog" if name == "cat" else "cat"), seed=i)
    straight, shuffled = (
        json.loads(
            bench(*words((tmp_path / "a", other), "--metrics", "fid,kid", "--by-class", "--json")).out
        )["metrics"]
        for other in (tmp_path / "a", tmp_path / "b")
    )
    assert straight["fid"]["value"] == pytest.approx(shuffled["fid"]["value"], abs=1e-6)
    assert straight["fid_by_class"]["value"] == pytest.approx(0, abs=1e-6)
    assert shuffled["fid_by_class"]["value"] > 1e-3
    assert set(shuffled["fid_by_class"]["per_class"]) == {"cat", "dog"}
    assert shuffled["fid_by_class"]["n"] == 2
    assert shuffled["kid_x1e3_by_class"]["value"] > straight["kid_x1e3_by_class"]["value"]


def test_boxes_are_measured_too(bench, tmp_path):
    first, second = write(tmp_path / "a"), write(tmp_path / "b")
    for i in range(12):  # only the left half of the second set is damaged
        pixels = np.asarray(Image.open(second / f"{i:03d}.png")).copy()
        pixels[:, :20] = 255 - pixels[:, :20]
        Image.fromarray(pixels).save(second / f"{i:03d}.png")
    listed = {f"{i:03d}.png": [[30, 5, 44, 30]] for i in range(10)}
    (tmp_path / "right.json").write_text(json.dumps(listed))
    (tmp_path / "left.json").write_text(json.dumps({"003": [[2, 2, 18, 30], [0, 0, 10, 10]]}))
    right, left = (
        json.loads(
            bench(*words((first, second), "--metrics", "mae,ssim", "--json", "--boxes", tmp_path / name)).out
        )["metrics"]
        for name in ("right.json", "left.json")
    )
    assert right["mae_roi"] == {**right["mae_roi"], "value": 0, "n": 10}
    assert right["ssim_roi"]["value"] == pytest.approx(1)
    assert left["mae_roi"]["n"] == 2
    assert left["mae_roi"]["value"] > left["mae"]["value"] > 0
    assert {"mae_roi@official", "ssim_roi@official"} <= set(left)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"nobody": [[0, 0, 5, 5]]}', "boxes for `nobody`, and no pair"),
        ('{"000": [[0, 0, 49, 5]]}', "beyond its 48x40 pixels"),
        ('{"000": [[5, 0, 5, 5]]}', "not [x0, y0, x1, y1]"),
        ('{"000": [[0, 0, 5]]}', "not [x0, y0, x1, y1]"),
        ('{"000": "no"}', "not [x0, y0, x1, y1]"),
        ('{"000": [], "001": []}', "holds no box"),
        ('{"000": [[0, 0, 5, 5]], "000.png": []}', "`000` twice"),
        ("[1]", "must map names"),
        ("{", "cannot be read as JSON"),
    ],
)
def test_boxes_that_are_none(bench, sides, tmp_path, content, sentence):
    (tmp_path / "boxes.json").write_text(content)
    answer = bench(*words(sides, "--metrics", "mae", "--boxes", tmp_path / "boxes.json"))
    assert answer.code == 2
    assert sentence in answer.err
    assert answer.err.count("\n") == 1
    good = json.dumps({"000": [[0, 0, 5, 5]]})
    (tmp_path / "boxes.json").write_text(good)
    answer = bench(*words(sides, "--metrics", "mae", "--size", "32", "--boxes", tmp_path / "boxes.json"))
    assert answer.code == 2
    assert "leave `--size` out" in answer.err


SEGMENTER = """
import torch
from torch import nn

class Bright(nn.Module):
    def forward(self, x):
        return (x.mean(1) > 0.5).long()

class Scores(Bright):
    def forward(self, x):
        return torch.stack([1 - x.mean(1), x.mean(1)], 1)

class Small(Bright):
    def forward(self, x):
        return super().forward(x)[:, ::2]

class Other:
    pass
"""


def segmenter_of(folder):
    return folder / f"segmenter_{folder.name}.py"  # files of one name hide each other


@pytest.fixture
def labelled(tmp_path):
    """Real images that are white where the label map is 1, generated ones that are so in the left half."""
    segmenter_of(tmp_path).write_text(SEGMENTER)
    rng = np.random.default_rng(0)
    for name in ("generated", "real", "labels"):
        (tmp_path / name).mkdir()
    for i in range(4):
        labels = (rng.random((24, 32)) > 0.5).astype(np.uint8)
        shown = labels * 255
        Image.fromarray(labels).save(tmp_path / "labels" / f"{i}.png")
        Image.fromarray(shown).save(tmp_path / "real" / f"{i}.png")
        shown[:, 16:] = 255 - shown[:, 16:]
        Image.fromarray(shown).save(tmp_path / "generated" / f"{i}.png")
    return tmp_path


def agreement(labelled, *more, segmenter="Bright", metrics="miou,pixel_accuracy"):
    return (
        *words((labelled / "generated", labelled / "real"), "--metrics", metrics, "--json"),
        *("--segmenter", f"{segmenter_of(labelled)}:{segmenter}", "--labels", labelled / "labels", *more),
    )


@pytest.mark.parametrize("segmenter", ["Bright", "Scores"])
def test_agreement_stands_beside_its_ceiling(bench, labelled, segmenter):
    answer = bench(*agreement(labelled, "--classes", "2", segmenter=segmenter))
    assert answer.code == 0, answer.err
    (protocol,) = json.loads(answer.out)["protocols"]
    assert protocol["badge"].startswith(f"*[{segmenter_of(labelled).name}:{segmenter} | none")
    found = json.loads(answer.out)["metrics"]
    assert {name: found[name]["value"] for name in found} == {
        "miou": pytest.approx(1 / 3, abs=0.02),
        "miou_real": 1,
        "pixel_accuracy": 0.5,
        "pixel_accuracy_real": 1,
    }
    turned = list(agreement(labelled, "--classes", "2", "--ignore", "0", metrics="miou"))
    turned[3], turned[5] = turned[5], turned[3]
    answer = bench(*turned)
    assert set(json.loads(answer.out)["metrics"]) == {"miou", "miou_real"}
    assert "generated images score above real ones" in answer.err


def test_agreement_refuses(bench, labelled):
    def sentence(*more, **other):
        answer = bench(*agreement(labelled, *more, **other))
        assert answer.code in (1, 2)
        assert answer.err.strip().count("\n") == 0, answer.err
        return answer.err

    assert "holds 0 to 1, and classes go from 0 to 0" in sentence("--classes", "1")
    assert "need `--classes`" in sentence()
    assert "takes a number from 1" in sentence("--classes", "0")
    assert "is no `nn.Module` class" in sentence("--classes", "2", segmenter="Other")
    assert "The segmenter failed on `0`" in sentence("--classes", "2", segmenter="Small")
    Image.new("RGB", (32, 24)).save(labelled / "labels" / "0.png")
    assert "must hold a number a pixel, got Pillow mode `RGB`" in sentence("--classes", "2")
    (labelled / "labels" / "0.png").write_bytes(b"")
    assert "cannot be decoded" in sentence("--classes", "2")
    (labelled / "labels" / "0.png").unlink()
    assert "has no label map `<name>.png` for `0`" in sentence("--classes", "2")


KILLED = """
import os, signal, sys
from bench.images import shelf
append, calls = shelf.Shelf.append, [0]
def dying(self, rows):
    calls[0] += 1
    if calls[0] == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    append(self, rows)
shelf.Shelf.append = dying
from bench.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_killed_comparison_goes_on_where_it_was(bench, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    sides = write(tmp_path / "a", count=20), write(tmp_path / "b", count=20, seed=1)
    (tmp_path / "killed.py").write_text(KILLED)
    answer = python(tmp_path / "killed.py", *words(sides, "--metrics", "fid", "--json"))
    assert answer.code == -signal.SIGKILL
    (rows,) = (tmp_path / "home" / "cache" / "features").rglob("rows.f32")
    kept = rows.read_bytes()
    row = 4 * (2048 + 1000)  # features and logits
    assert len(kept) == 16 * row  # one batch
    after = bench(*words(sides, "--metrics", "fid", "--json"))
    assert rows.read_bytes()[: len(kept)] == kept
    assert rows.stat().st_size == 40 * row
    shutil.rmtree(tmp_path / "home" / "cache" / "features")
    assert bench(*words(sides, "--metrics", "fid", "--json")).out == after.out


def test_lpips_and_ds_name_their_network(bench, tmp_path, monkeypatch):
    from torchvision.models import squeezenet1_1

    from bench.images import perceptual
    from bench.nn.lpips import NETS

    torch.manual_seed(0)
    torch.save(squeezenet1_1(weights=None).features.state_dict(), tmp_path / "squeezenet1_1")
    heads = {f"lin{i}.model.1.weight": torch.rand(1, c, 1, 1) for i, c in enumerate(NETS["squeeze"][1])}
    torch.save(heads, tmp_path / "lpips-squeeze")
    monkeypatch.setattr(perceptual, "find", lambda name, download: tmp_path / name)
    first, second = write(tmp_path / "a" / "same", count=4), write(tmp_path / "b" / "same", 4, noise=9.0)
    more = ("--metrics", "ssim,lpips,ds", "--lpips", "squeeze", "--json")
    answer = bench(*words((first.parent, second.parent), *more))
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert found["metrics"]["lpips"]["value"] > 0
    assert found["metrics"]["ds"]["value"] > 0
    pairs, diversity = found["protocols"]
    assert diversity["badge"].startswith("*[lpips squeeze | none | native")
    assert pairs["lpips"].startswith("LPIPS v0.1 squeeze, weights ")
    assert pairs["lpips"] == diversity["ds"]
    assert pairs["ssim"] == "window 11, sigma 1.5, range 255, border valid"
    assert pairs["ssim@official"] == "window 3, sigma 1.5, range 1, border zero; contrast stretched"


def test_the_names_are_those_of_the_metrics():
    from bench.metrics.image_pairs import UNITS
    from bench.metrics.image_sets import GROUPS
    from bench.verbs.image_metrics import PAIRS, SETS

    assert (tuple(GROUPS), tuple(UNITS)) == (SETS, PAIRS)
