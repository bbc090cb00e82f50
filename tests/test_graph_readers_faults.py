"""Faulty files of scene graphs: each refused with one sentence that names file and place."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from refusals import refused
from test_graph_readers import entry, relation, scenes, vg, write_raw

from bench.graphs.own import read_own, write_own
from bench.graphs.read import read_graphs
from bench.graphs.sg2im import Rules, read_sg2im
from bench.graphs.vg_h5 import read_h5, write_h5
from bench.graphs.vg_json import read_json, write_json


def edit(path: Path, change) -> None:
    told = json.loads(path.read_text())
    changed = change(told)
    path.write_text(json.dumps(told if changed is None else changed))


def column(root: Path, name: str, rows, value) -> None:
    with h5py.File(root / "VG-SGG.h5", "a") as file:
        table = np.asarray(file[name])
        table[rows] = value
        del file[name]
        file[name] = table


@pytest.fixture
def h5(tmp_path):
    write_h5(tmp_path, scenes())
    return tmp_path


@pytest.fixture
def vg_json(tmp_path):
    write_json(tmp_path, scenes())
    return tmp_path


@pytest.fixture
def own(tmp_path):
    write_own(tmp_path, scenes())
    return tmp_path


# ---- h5


@pytest.mark.parametrize(
    ("name", "rows", "value", "words"),
    [
        ("relationships", 1, 10**6, ("VG-SGG.h5", "image 10", "names box 1000000")),
        ("relationships", 1, -1, ("VG-SGG.h5", "image 10", "names box -1")),
        ("labels", 0, 4, ("VG-SGG.h5", "image 100 (row 0)", "label 4", "3 objects")),
        ("labels", 0, 0, ("VG-SGG.h5", "image 100", "label 0")),
        ("predicates", 0, 4, ("VG-SGG.h5", "image 101", "predicate 4", "3 predicates")),
        ("img_to_last_box", 3, 10**5, ("VG-SGG.h5", "image 103", "100000")),
        ("img_to_first_box", 3, -1, ("VG-SGG.h5", "image 103", "-1 to")),
        ("img_to_last_rel", 3, 10**5, ("VG-SGG.h5", "image 103", "img_to_*_rel")),
        ("split", 3, 7, ("VG-SGG.h5", "`split` holds 7")),
    ],
)
def test_numbers_out_of_range(h5, name, rows, value, words):
    column(h5, name, rows, value)
    refused(lambda: read_graphs(h5), *words)


def test_a_relation_to_a_box_of_another_image(h5):
    with h5py.File(h5 / "VG-SGG.h5") as file:
        other = int(np.asarray(file["img_to_first_box"])[5])
    column(h5, "relationships", (0, 1), other)
    refused(lambda: read_h5(h5), "image 101", f"names box {other}", "the boxes of the image are")


@pytest.mark.parametrize(
    "name", ["labels", "predicates", "relationships", "split", "img_to_first_rel", "img_to_last_box"]
)
def test_a_column_is_missing(h5, name):
    with h5py.File(h5 / "VG-SGG.h5", "a") as file:
        del file[name]
    refused(lambda: read_h5(h5), "VG-SGG.h5", f"lacks `{name}`")


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("labels", np.ones((3, 1), np.int32), "different numbers of box rows"),
        ("predicates", np.ones((1, 1), np.int32), "different numbers of relation rows"),
        ("relationships", np.ones((4, 3), np.int32), "shape (4, 3)"),
        ("labels", np.ones((3, 1), np.float32), "`labels` holds float32"),
        ("split", np.zeros(3, np.int32), "different lengths"),
        ("split", np.zeros((3, 2), np.int32), "`split` has shape (3, 2)"),
    ],
)
def test_columns_that_disagree(h5, name, array, words):
    with h5py.File(h5 / "VG-SGG.h5", "a") as file:
        del file[name]
        file[name] = array
    refused(lambda: read_h5(h5), "VG-SGG.h5", words)


def test_no_h5_and_half_an_h5(h5):
    path = h5 / "VG-SGG.h5"
    whole = path.read_bytes()
    for content in (b"not at all", whole[: len(whole) // 2], b""):
        path.write_bytes(content)
        refused(lambda: read_h5(h5), "VG-SGG.h5", "no readable HDF5 file")


def test_the_dictionary_is_missing_or_faulty(h5):
    path = h5 / "VG-SGG-dicts.json"
    good = path.read_text()
    edit(path, lambda told: told["label_to_idx"].update(man=5))
    refused(lambda: read_h5(h5), "VG-SGG-dicts.json", "`label_to_idx`", "from 1 without gaps")
    path.write_text(good)
    edit(path, lambda told: {k: v for k, v in told.items() if k != "predicate_to_idx"})
    refused(lambda: read_h5(h5), "VG-SGG-dicts.json", "lacks `predicate_to_idx`")
    path.write_text(good[:60])
    refused(lambda: read_h5(h5), "VG-SGG-dicts.json", "cut off")
    path.write_text("[]")
    refused(lambda: read_h5(h5), "VG-SGG-dicts.json", "a list where an object")
    path.unlink()
    refused(lambda: read_graphs(h5), "lacks `VG-SGG-dicts.json`")


def test_a_smaller_dictionary_disagrees_with_the_data(h5):
    edit(h5 / "VG-SGG-dicts.json", lambda told: {**told, "label_to_idx": {"cup": 1, "man": 2}})
    refused(lambda: read_h5(h5), "label 3", "the dictionary has 2 objects")


def test_a_list_of_other_images(h5):
    path = h5 / "image_data.json"
    edit(path, lambda told: told[:-1])
    refused(lambda: read_h5(h5), "image_data.json", "lists 11 images", "12")
    edit(path, lambda told: [*told, told[0]])
    refused(lambda: read_h5(h5), "image_data.json", "names an image twice")


# ---- JSON


@pytest.mark.parametrize("name", ["objects.json", "relationships.json", "image_data.json", "splits.json"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_cut_off(vg_json, name, share):
    path = vg_json / name
    text = path.read_text()
    path.write_text(text[: int(share * len(text))])
    told = refused(lambda: read_graphs(vg_json), name)
    assert "cut off" in told or share == 0


@pytest.mark.parametrize("name", ["objects.json", "relationships.json"])
def test_missing_and_unreadable(vg_json, name):
    path = vg_json / name
    path.write_bytes(b"[\xff\xfe]")
    refused(lambda: read_graphs(vg_json), name, "no UTF-8 text")
    path.write_text('{"image_id": 1}')
    refused(lambda: read_graphs(vg_json), name, "where a list `[` is needed")
    path.write_text("[1, 2]")
    refused(lambda: read_graphs(vg_json), name, "entry 0 is a whole number")
    path.write_text("[{} {}]")
    refused(lambda: read_graphs(vg_json), name)
    path.write_text('[{"image_id": 100, "objects": [], "relationships": []} 7]')
    refused(lambda: read_graphs(vg_json), name, "after 1 entries")
    path.unlink()
    refused(lambda: read_graphs(vg_json), name, "missing")


def first_object(told):
    return told[0]["objects"][0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda told: told[0].pop("image_id"), ("entry 0", "lacks `image_id`")),
        (lambda told: told[0].update(image_id="7"), ("entry 0", "`image_id` is a text")),
        (lambda told: told[0].update(image_id=True), ("`image_id` is a truth value",)),
        (lambda told: told[0].pop("objects"), ("image 100", "lacks `objects`")),
        (lambda told: told[0].update(objects={}), ("image 100", "`objects` is an object where a list")),
        (lambda told: told[0].update(objects=[5]), ("image 100", "position 0", "a whole number")),
        (lambda told: first_object(told).pop("object_id"), ("image 100", "lacks `object_id`")),
        (lambda told: first_object(told).pop("names"), ("image 100, object 1", "lacks `names`")),
        (lambda told: first_object(told).update(names=[]), ("image 100, object 1", "at least one name")),
        (lambda told: first_object(told).update(names=[3]), ("image 100, object 1", "at least one name")),
        (lambda told: first_object(told).pop("w"), ("image 100, object 1", "lacks `w`")),
        (lambda told: first_object(told).update(x="0"), ("image 100, object 1", "`x` is a text")),
        (lambda told: told[0]["objects"].append(told[0]["objects"][0]), ("image 100, object 1", "twice")),
        (lambda told: told.append(told[0]), ("image 100", "stands twice")),
    ],
)
def test_faulty_objects(vg_json, change, words):
    edit(vg_json / "objects.json", lambda told: change(told) and None)
    refused(lambda: read_graphs(vg_json), "objects.json", *words)


def first_relation(told):
    return told[1]["relationships"][0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda told: first_relation(told)["object"].update(object_id=10**7),
            ("its object is object 10000000",),
        ),
        (
            lambda told: first_relation(told)["subject"].update(object_id=1),
            ("its subject is object 1,", "missing"),
        ),
        (lambda told: first_relation(told).pop("subject"), ("position 0", "lacks `subject`")),
        (lambda told: first_relation(told)["subject"].pop("object_id"), ("subject lacks `object_id`",)),
        (lambda told: first_relation(told).pop("predicate"), ("lacks `predicate`",)),
        (lambda told: first_relation(told).update(predicate=None), ("`predicate` is nothing (null)",)),
        (lambda told: told[1].pop("relationships"), ("lacks `relationships`",)),
    ],
)
def test_faulty_relations(vg_json, change, words):
    edit(vg_json / "relationships.json", lambda told: change(told) and None)
    refused(lambda: read_json(vg_json), "relationships.json", "image 101", *words)


def test_relations_of_an_image_that_is_not_there(vg_json):
    edit(vg_json / "relationships.json", lambda told: told[3].update(image_id=999))
    refused(lambda: read_json(vg_json), "relationships.json", "image 999", "objects.json")


def test_faulty_sizes_and_splits(vg_json):
    edit(vg_json / "image_data.json", lambda told: told[2].update(width=0))
    refused(lambda: read_json(vg_json), "image_data.json", "image 102", "0 pixels")
    (vg_json / "image_data.json").unlink()
    path = vg_json / "splits.json"
    good = json.loads(path.read_text())
    for told, words in (
        ({**good, "test": [109, 999]}, ("`test` names image 999", "objects.json")),
        ({**good, "test": [101]}, ("image 101 is in `train` and again in `test`",)),
        ({**good, "test": ["109"]}, ("`test` must be a list of image ids",)),
        ([], ("a list where an object",)),
    ):
        path.write_text(json.dumps(told))
        refused(lambda: read_json(vg_json), "splits.json", *words)


# ---- sg2im's files


@pytest.mark.parametrize(
    "name", ["object_alias.txt", "relationship_alias.txt", "vg_splits.json", "image_data.json"]
)
def test_sg2im_needs_its_files(tmp_path, name):
    vg(tmp_path)
    (tmp_path / name).unlink()
    refused(lambda: read_sg2im(tmp_path), f"lacks `{name}`")


def test_sg2im_on_a_part_of_the_data(tmp_path):
    vg(tmp_path)
    refused(lambda: read_sg2im(tmp_path), "no object name that stands 2,000 times", "3 training images")
    rules = Rules(objects=2, predicates=500)
    refused(lambda: read_sg2im(tmp_path, rules=rules), "no predicate name that stands 500 times")


def test_sg2im_splits_and_sizes(tmp_path):
    vg(tmp_path)
    edit(tmp_path / "vg_splits.json", lambda told: told["val"].append(77))
    refused(lambda: read_sg2im(tmp_path), "vg_splits.json", "image 77")
    (tmp_path / "vg_splits.json").write_text('{"test": [1]}')
    refused(lambda: read_sg2im(tmp_path), "vg_splits.json", "has no `train`")
    (tmp_path / "vg_splits.json").write_text('{"train": [1]}')
    edit(tmp_path / "image_data.json", lambda told: told[1:])
    refused(lambda: read_sg2im(tmp_path), "image_data.json", "no size of image 1")


# ---- Our own layout


@pytest.mark.parametrize(
    ("number", "change", "words"),
    [
        (1, lambda line: line.update(format="x"), ("does not begin with a line",)),
        (1, lambda line: line.update(version=2), ("of version 2",)),
        (1, lambda line: line.update(objects="cup"), ("line 1", "`objects` is a text")),
        (1, lambda line: line.update(objects=["a", "a", "b"]), ("line 1", "`a` stands twice")),
        (1, lambda line: line.update(predicates=[1]), ("line 1", "`predicates` must be a list of names")),
        (1, lambda line: line.update(objects=["cup", "man"]), ("names label 2", "2 objects")),
        (3, lambda line: line.pop("labels"), ("line 3", "graph `101`", "lacks `labels`")),
        (3, lambda line: line.pop("name"), ("line 3", "lacks `name`")),
        (3, lambda line: line.update(labels=[[1]]), ("line 3", "`labels` must be a list of numbers")),
        (
            3,
            lambda line: line.update(labels=[0.5, 1, 1, 1, 1]),
            ("line 3", "`labels` must hold whole numbers"),
        ),
        (3, lambda line: line.update(edges=[[0, 1]]), ("line 3", "`edges` must be a list of rows of 3")),
        (
            3,
            lambda line: line.update(edges=[[0, 1, 1], [1]]),
            ("line 3", "`edges` must be a list of rows of 3"),
        ),
        (3, lambda line: line.update(edges=[[0, 1, 9]]), ("line 3", "names node 9")),
        (3, lambda line: line.update(edges=[[-1, 1, 0]]), ("line 3", "names node -1")),
        (3, lambda line: line.update(edges=[[0, 3, 1]]), ("line 3", "names predicate 3", "3 predicates")),
        (3, lambda line: line.update(boxes=[[0, 0, 1, 1]]), ("line 3", "1 boxes for")),
        (3, lambda line: line.update(boxes=[["a"] * 4] * 9), ("line 3", "`boxes` must be")),
        (3, lambda line: line.update(boxes=[[float("nan")] * 4] * 9), ("line 3", "not finite")),
        (3, lambda line: line.update(attributes=[]), ("line 3", "0 attributes for")),
        (3, lambda line: line.update(size=[5]), ("line 3", "`size` must be [width, height]")),
    ],
)
def test_faulty_lines(own, number, change, words):
    path = own / "graphs.jsonl"
    lines = path.read_text().splitlines()
    told = json.loads(lines[number - 1])
    change(told)
    lines[number - 1] = json.dumps(told)
    path.write_text("\n".join(lines) + "\n")
    refused(lambda: read_graphs(own), "graphs.jsonl", *words)


def test_a_line_cut_off_and_an_empty_file(own):
    path = own / "graphs.jsonl"
    text = path.read_text()
    path.write_text(text[: len(text) // 2])
    refused(lambda: read_own(own), "graphs.jsonl", "line", "cut off")
    path.write_text(text.splitlines()[0] + "\n[]\n")
    refused(lambda: read_own(own), "line 2", "no JSON object")
    path.write_text("")
    refused(lambda: read_own(own), "graphs.jsonl", "does not begin with")


# ---- Any layout


def test_none_of_the_layouts(tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        told = refused(lambda path=path: read_graphs(path), path)
        assert "objects.json" in told and "VG-SGG.h5" in told and "graphs.jsonl" in told
    (tmp_path / "x.txt").write_text("")
    refused(lambda: read_graphs(tmp_path / "x.txt"), "x.txt", "graphs.jsonl")


def test_two_layouts_in_one_folder(own):
    write_json(own, scenes())
    refused(lambda: read_graphs(own), "objects.json and graphs.jsonl", "keep one layout")


def test_a_file_without_its_companion(tmp_path):
    write_raw(tmp_path, {1: [entry(1, "a")]}, {1: [relation(1, "x", 1)]})
    assert len(read_graphs(tmp_path)) == 1
    (tmp_path / "relationships.json").unlink()
    refused(lambda: read_graphs(tmp_path), "relationships.json", "missing")
