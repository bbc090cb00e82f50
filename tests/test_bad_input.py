"""Every mistake a user can make: one sentence, exit code 2, no traceback, no record."""

from __future__ import annotations

import csv
import json
import shutil

import pytest
from conftest import python


def refused(answer, *told):
    """One line that names the thing and the remedy."""
    assert answer.code == 2, answer
    assert answer.out == ""
    assert answer.err.count("\n") == 1, answer.err
    assert answer.err.startswith("bench: ")
    assert "Traceback" not in answer.err
    for part in told:
        assert part in answer.err, answer.err


def swap(words, *changes):
    keys = {change.partition("=")[0] for change in changes}
    return [word for word in words if word.partition("=")[0] not in keys] + list(changes)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("task=octt", ["No task `octt`", "Did you mean `oct`?", "bench list tasks"]),
        ("method=ynett", ["No method `ynett`", "Did you mean `ynet`?", "bench list methods"]),
        ("dataset=duke_octt", ["No dataset `duke_octt`", "Did you mean `duke_oct`?"]),
        ("method.widht=3", ["No field `widht`", "Did you mean `width`?", "lr, weight_decay, width"]),
        ("protocol.epoch=3", ["No field `epoch`", "Did you mean `epochs`?"]),
        ("budgt=smoke", ["no key `budgt`", "Did you mean `budget`?"]),
        ("lr=1", ["no key `lr`", "Did you mean `method.lr`?"]),
        ("method.lr=fast", ["method.lr", "fast", "Float"]),
        ("seed=one", ["seed", "one", "Integer"]),
        ("seed=-3", ["seed", "-3", "from 0"]),
        ("data=reel", ["data", "reel", "[auto, real, phantom]"]),
        ("profile=fast", ["profile", "[clean, official]"]),
        ("budget=2", ["budget", "`2`", "smoke"]),
        ("budget=0", ["budget", "`0`"]),
        ("budget=nan", ["budget", "`nan`"]),
        ("protocol.loss=focal", ["protocol.loss", "focal", "dice_ce"]),
        ("protocol.image_size=[8,8]", ["protocol.image_size", "[8, 8]", "16 pixels"]),
        ("protocol.epochs=0", ["protocol.epochs", "0"]),
        ("protocol.precision=7", ["precision=7"]),
        ("device=abacus", ["device=abacus", "bench doctor"]),
        ("data_root=/nowhere", ["data_root=/nowhere", "no folder"]),
        ("data=phantom", ["holds no phantom", "leave one of them out"]),
        ("method=/nowhere/net.py:Net", ["There is no file", "net.py"]),
        ("method.lr=[1", ["method.lr=[1", "cannot be read"]),
        ("hydra.run.dir=/tmp/x", ["no key `hydra.run.dir`"]),
    ],
)
def test_words(bench, small, tmp_path, change, told):
    refused(bench("run", *swap(small, change)), *told)
    assert not list((tmp_path / "runs").rglob("record.json"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], ["needs `task=`"]),
        (["task=oct"], ["needs `method=`", "ynet"]),
        (["task=oct", "method"], ["`method` is no `key=value`"]),
        (["task=oct", "method=ynet", "seed=1", "seed=2"], ["`seed=` is given 2 times"]),
        (["task=oct", "method=ynet", "dataset=folder"], ["has no phantom", "data_root=DIR"]),
        (["task=oct", "method=ynet", "data=real"], ["No real data of `duke_oct`", "bench data prepare"]),
    ],
)
def test_missing_words(bench, words, told):
    refused(bench("run", *words), *told)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["rum"], ["No verb `rum`", "Did you mean `run`?"]),
        (["list", "method"], ["knows no `method`", "Did you mean `methods`?"]),
        (["show", "ynte"], ["Nothing is named `ynte`", "Did you mean `ynet`?"]),
        (["show", "thesis_tab8.1:999"], ["No reported row"]),
        (["data", "fetch"], ["has no `fetch`"]),
        (["data", "verify"], ["needs a dataset"]),
        (["data", "verify", "duke"], ["No dataset `duke`"]),
        (["data", "prepare", "umn_oct"], ["umn_oct", "bench data prepare umn_oct --root DIR"]),
        (["data", "phantom", "folder"], ["no phantom"]),
        (["data", "phantom", "duke_oct", "--size", "huge"], ["huge"]),
        (["leaderboard", "octs"], ["No task `octs`"]),
        (["leaderboard", "oct", "--format", "pdf"], ["--format", "pdf", "md"]),
        (["leaderboard", "oct", "--data", "fake"], ["--data", "fake"]),
        (["check"], ["needs `method=`"]),
        (["run", "--frobnicate"], ["frobnicate"]),
    ],
)
def test_verbs(bench, words, told):
    refused(bench(*words), *told)


def rewrite(folder, change):
    path = folder / "splits.csv"
    with path.open() as file:
        rows = list(csv.DictReader(file))
    change(rows)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["file", "unit", "split"])
        writer.writeheader()
        writer.writerows(rows)


def test_a_scan_in_two_splits(bench, small, folder_data):
    rewrite(folder_data, lambda rows: rows.append({"file": "test_0.png", "unit": "p20", "split": "train"}))
    refused(bench("run", *small), "splits.csv", "test_0.png (test, train)", "into two splits")


def test_a_label_out_of_range(bench, small, folder_data):
    (folder_data / "classes.json").write_text(json.dumps({"0": "background", "1": "a", "2": "b"}))
    assert bench("run", *small).code == 0
    from PIL import Image

    path = folder_data / "masks" / "train_1.png"
    Image.open(path).point(lambda label: label + 5).save(path)
    refused(bench("run", *small), "train_1.png (5 to 6)", "0 to 2 of classes.json")


def test_a_missing_scan(bench, small, folder_data):
    (folder_data / "images" / "val_2.png").unlink()
    refused(bench("run", *small), "image missing", "val_2.png")


def test_a_patient_in_two_splits_is_allowed_and_counted(bench, small, folder_data, tmp_path):
    rewrite(folder_data, lambda rows: rows[-1].update(unit="p00"))
    answer = bench("run", *small)
    assert answer.code == 0
    assert "1 patients stand in the test split and in another one" in answer.err
    (record,) = (tmp_path / "runs").rglob("record.json")
    assert json.loads(record.read_text())["data"]["leaks"] == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def broken(:\n", ["SyntaxError", "line 1"]),
        ("import not_a_module_at_all\n", ["ModuleNotFoundError", "not_a_module_at_all"]),
        ("x = 1\n", ["must name one method class, found none"]),
        ("class A:\n    pass\nclass B:\n    pass\n", ["found A, B"]),
        ("class A:\n    pass\n", ["neither a `bench` Method nor an `nn.Module`"]),
        (
            "from torch import nn\nclass A(nn.Module):\n    def __init__(self): pass\n",
            ["(in_channels, num_classes)"],
        ),
    ],
)
def test_a_users_file(bench, small, tmp_path, text, told):
    path = tmp_path / f"user_{abs(hash(text)) % 10**12}.py"
    path.write_text(text)
    refused(bench("run", *swap(small, f"method={path}")), *told)


def test_a_class_that_the_file_does_not_hold(bench, small, tiny_net):
    refused(bench("run", *swap(small, f"method={tiny_net}:TinyNett")), "Did you mean `TinyNet`?")


def test_a_file_hidden_by_a_module_of_the_same_name(bench, small, tmp_path):
    path = tmp_path / "json.py"
    path.write_text("class A: pass\n")
    refused(bench("run", *swap(small, f"method={path}")), "hidden", "rename your file")


def test_a_wrong_value_inside_a_method_leaves_no_record(bench, small, tmp_path):
    answer = bench("run", *swap(small, "method=ynet", "method.alpha=3"))
    refused(answer, "method.alpha", "3")
    assert not list((tmp_path / "runs").rglob("record.json"))


def test_a_damaged_record_is_told_with_a_remedy(bench, small, tmp_path):
    assert bench("run", *small).code == 0
    (record,) = (tmp_path / "runs").rglob("record.json")
    record.write_text(record.read_text()[:100])
    refused(bench("run", *small), "record.json", "rerun=true")
    assert bench("run", *small, "rerun=true").code == 0


def test_data_that_was_prepared_and_then_moved(bench, folder_data, small):
    assert bench("data", "prepare", "folder", "--root", folder_data).code == 0
    words = [word for word in small if not word.startswith("data_root")]
    assert bench("run", *words).code == 0
    shutil.move(folder_data, folder_data.with_name("moved"))
    refused(bench("run", *words), "gone", "bench data prepare folder")
    assert bench("data", "prepare", "folder", "--root", folder_data.with_name("moved")).code == 0


def test_a_closed_pipe_is_no_error():
    import os
    import subprocess
    import sys

    done = subprocess.run(
        f"{sys.executable} -m bench list | true",
        shell=True,
        capture_output=True,
        text=True,
        env=dict(os.environ),
    )
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_an_unexpected_error_is_not_hidden():
    """A fault of the harness itself must show its traceback, not pass for a user's mistake."""
    answer = python(
        "-c",
        "import bench.cli as c\n"
        "def broken(argv): raise ZeroDivisionError('ours')\n"
        "c._dispatch = broken\nc.main([])",
    )
    assert answer.code == 1
    assert "Traceback" in answer.err
