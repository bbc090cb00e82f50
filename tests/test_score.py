"""`bench score`: predictions that another program made."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from conftest import only_record
from PIL import Image

SIZE = (32, 48)


@pytest.fixture
def predictions(folder_data, tmp_path):
    """The reference itself, as a program that is always right would write it."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    for i in range(4):
        shutil.copy(folder_data / "masks" / f"test_{i}.png", folder / f"test_{i}.png")
    return folder


@pytest.fixture
def words(folder_data, predictions, tmp_path):
    return [
        "task=oct",
        "dataset=folder",
        f"data_root={folder_data}",
        f"predictions={predictions}",
        "protocol.image_size=[32,48]",
        f"out={tmp_path / 'runs'}",
    ]


def test_perfect_predictions_score_one(bench, words, tmp_path):
    answer = bench("score", *words, "--json")
    assert answer.code == 0, answer.err
    metrics = json.loads(answer.out)["metrics"]
    assert metrics["dice"]["value"] == 1
    assert metrics["miou"]["value"] == 1
    # One of four scans holds no band: (3 * 1 + 2) / 4, but for the smoothing of the official formula.
    assert metrics["dice@official"]["value"] == pytest.approx(1.25, abs=1e-4)
    record = json.loads(only_record(tmp_path / "runs").read_text())
    assert record["method"]["source"] == "predictions"
    assert record["method"]["state"] == "external"
    assert record["method"]["name"] == "theirs"
    assert record["seeds"] == {}


def test_a_label_names_the_row(bench, words, tmp_path):
    assert bench("score", *words, "name=My net, v2 [best]").code == 0
    assert json.loads(only_record(tmp_path / "runs").read_text())["method"]["name"] == "My net, v2 [best]"


def test_npy_and_native_size_are_read_too(bench, words, predictions, folder_data):
    """Evaluated at 16x24, predicted at the scan's own 32x48: resized as the reference is."""
    for path in predictions.iterdir():
        np.save(path.with_suffix(".npy"), np.asarray(Image.open(path)))
        path.unlink()
    kept = [w for w in words if not w.startswith("protocol")]
    answer = bench("score", *kept, "protocol.image_size=[16,24]", "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["metrics"]["dice"]["value"] == 1


def damage(folder, kind):
    path = folder / "test_1.png"
    array = np.asarray(Image.open(path))
    if kind == "missing":
        path.unlink()
    elif kind == "extra":
        shutil.copy(path, folder / "train_0.png")
    elif kind == "text":
        (folder / "notes.txt").write_text("hello")
    elif kind == "twice":
        np.save(folder / "test_1.npy", array)
    elif kind == "size":
        Image.fromarray(array[:-3]).save(path)
    elif kind == "range":
        Image.fromarray(array + 7).save(path)
    elif kind == "negative":
        path.unlink()
        np.save(folder / "test_1.npy", array.astype(int) - 1)
    elif kind == "nan":
        path.unlink()
        np.save(folder / "test_1.npy", np.full(SIZE, np.nan))
    elif kind == "fraction":
        path.unlink()
        np.save(folder / "test_1.npy", np.full(SIZE, 0.5))
    elif kind == "pickle":
        path.unlink()
        np.save(folder / "test_1.npy", np.array([{"a": 1}]), allow_pickle=True)
    elif kind == "truncated":
        path.write_bytes(path.read_bytes()[:40])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "rgb":
        Image.fromarray(np.stack([array] * 3, -1)).save(path)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("missing", "missing: test_1"),
        ("extra", "not of the test split: train_0.png"),
        ("text", "not of the test split: notes.txt"),
        ("twice", "given twice: test_1"),
        ("size", "wrongly sized: test_1.png (29x48, not 32x48)"),
        ("range", "out of range: test_1.png (labels 7 to 8)"),
        ("negative", "out of range: test_1.npy (labels -1 to 0)"),
        ("nan", "not whole-numbered: test_1.npy"),
        ("fraction", "not whole-numbered: test_1.npy"),
        ("pickle", "unreadable: test_1.npy (ValueError)"),
        ("truncated", "unreadable: test_1.png"),
        ("empty", "unreadable: test_1.png"),
        ("rgb", "not a single-channel label map: test_1.png"),
    ],
)
def test_faulty_files_are_named_and_nothing_is_scored(bench, words, predictions, tmp_path, kind, told):
    damage(predictions, kind)
    answer = bench("score", *words)
    assert answer.code == 2
    assert told in answer.err
    assert answer.err.count("\n") == 1
    assert not list((tmp_path / "runs").rglob("record.json"))


def test_every_faulty_file_is_named_in_one_message(bench, words, predictions):
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(predictions / "test_0.png")
    damage(predictions, "text")
    damage(predictions, "missing")
    answer = bench("score", *words)
    for told in ("missing: test_1", "notes.txt", "wrongly sized: test_0.png"):
        assert told in answer.err


def test_other_predictions_are_another_run(bench, words, predictions, tmp_path):
    assert bench("score", *words).code == 0
    Image.fromarray(np.zeros(SIZE, np.uint8)).save(predictions / "test_0.png")
    assert bench("score", *words).code == 0
    assert len(list((tmp_path / "runs").rglob("record.json"))) == 2


def test_no_folder(bench, words):
    kept = [w for w in words if not w.startswith("predictions=")]
    assert "`bench score` needs `predictions=`" in bench("score", *kept).err
    answer = bench("score", *kept, "predictions=/nowhere at all")
    assert answer.code == 2
    assert "/nowhere at all" in answer.err
