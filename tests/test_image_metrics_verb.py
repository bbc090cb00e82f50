"""`bench metrics images` through the command line, with the trial extractor."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
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
    assert set(found) == {"metrics"}
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
