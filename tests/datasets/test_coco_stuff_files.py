"""COCO-Stuff: every folder that is not as it must be, one sentence."""

from __future__ import annotations

import shutil

import pytest
from coco_folders import ENDING, file, ids
from refusals import refused

from bench.datasets.coco_stuff import CocoStuff


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    """The phantom of 20 photographs, read only."""
    root = tmp_path_factory.mktemp("coco_stuff") / "phantom"
    CocoStuff().write_phantom(root, size="tiny")
    return root


@pytest.fixture
def own(phantom, tmp_path):
    """A copy to damage."""
    return shutil.copytree(phantom, tmp_path / "own")


def load(root):
    return CocoStuff().load(root)


def test_folders_that_lack_something_are_refused(own, tmp_path):
    refused(lambda: load(tmp_path / "none"), "none` is no folder", "train_img")
    (tmp_path / "bare").mkdir()
    refused(lambda: load(tmp_path / "bare"), "lacks `train_img`, `train_label`, `val_img`, `val_label`;")
    shutil.copytree(own, tmp_path / "twice" / "a")
    shutil.copytree(own, tmp_path / "twice" / "b")
    refused(lambda: load(tmp_path / "twice"), "more than once, in `a`, `b`;")
    shutil.rmtree(own / "val_inst")
    refused(lambda: load(own), "has train_inst but no val_inst;")
    shutil.rmtree(own / "val_label")
    refused(lambda: load(own), "lacks `val_label`;")
    for path in (own / "val_img").iterdir():
        path.unlink()
    (own / "val_label").mkdir()
    (own / "val_inst").mkdir()
    refused(lambda: load(own), "val_img` holds no file ending in .jpg or .jpeg or .png;")


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("label", "1 of 12 photographs in `{own}/train_img` have no label map in `train_label`: `{name}`;"),
        ("inst", "1 of 12 photographs in `{own}/train_img` have no instance map in `train_inst`: `{name}`;"),
        ("img", "1 of 12 label maps in `{own}/train_label` have no photograph in `train_img`: `{name}`;"),
    ],
)
def test_photographs_and_maps_that_do_not_match_are_refused(bench, own, kind, told):
    name = ids(own)[5]
    file(own, "train", kind, name).unlink()
    answer = bench("data", "verify", "coco_stuff", "--root", own)
    assert answer.code == 2 and answer.err.count("\n") == 1
    assert told.format(own=own, name=name) in answer.err


def test_many_names_are_cut_short(own):
    for path in (own / "val_label").iterdir():
        path.rename(path.with_name(f"x{path.name}"))
    refused(lambda: load(own), "8 of 8 photographs", "and 3 more;")


def test_names_that_stand_twice_are_refused(own):
    name = ids(own)[1]
    path = file(own, "train", "img", name)
    shutil.copy(path, path.with_suffix(".png"))
    refused(lambda: load(own), f"has `{name}` under two endings;")
    path.with_suffix(".png").unlink()
    for kind in ENDING:
        shutil.copy(file(own, "train", kind, name), own / f"val_{kind}")
    refused(lambda: load(own), f"has `{name}` both in train_img and in val_img;")


def test_one_training_photograph_is_too_few(own):
    for kind in ENDING:
        for name in sorted(path.stem for path in (own / f"train_{kind}").iterdir())[1:]:
            file(own, "train", kind, name).unlink()
    refused(lambda: load(own), "holds one photograph", "at least two")


def test_what_other_programs_leave_is_looked_over(phantom, own):
    (own / "train_img" / "Thumbs.db").write_bytes(b"x")
    (own / "train_img" / "._000000000001.jpg").write_bytes(b"x")
    (own / "val_img" / "notes.txt").write_text("x")
    path = file(own, "val", "img", ids(phantom, "val")[0])
    path.rename(path.with_suffix(".JPEG"))
    assert load(own).fingerprint() == load(phantom).fingerprint()


def test_damaged_photographs_and_maps_are_refused(bench, own):
    path = file(own, "val", "img", ids(own, "val")[0])
    path.write_bytes(path.read_bytes()[:300])
    answer = bench("data", "verify", "coco_stuff", "--root", own)
    assert answer.code == 2 and f"`{path}` cannot be decoded" in answer.err and answer.err.count("\n") == 1
