"""Splits of the Decathlon: the released ones where they are known, a hash elsewhere."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections import Counter

import pytest
from refusals import refused

from bench.volumes.organs import ORGANS
from bench.volumes.split import FILE, by_slice, by_volume, committed

# What the released split names, and as many others as the organ has volumes.
COUNTS = {"heart": 20, "spleen": 41, "prostate_peripheral": 32, "prostate_transitional": 30}
FULL = {
    name: sorted([*committed(name), *(f"other_{i}" for i in range(count - len(committed(name))))])
    for name, count in COUNTS.items()
}


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("heart", (14, 2, 4)),
        ("spleen", (28, 4, 9)),
        ("prostate_peripheral", (22, 3, 7)),
        ("prostate_transitional", (21, 3, 6)),
    ],
)
def test_the_released_volume_splits(name, sizes):
    made = by_volume(ORGANS[name], FULL[name], seed=3)
    assert made.source == "committed"
    assert list(made.split) == FULL[name]
    counts = Counter(made.split.values())
    assert (counts["train"], counts["val"], counts["test"]) == sizes
    assert made == by_volume(ORGANS[name], FULL[name], seed=4)


def test_single_volumes_of_the_released_splits():
    assert committed("heart") == {
        **dict.fromkeys(("la_010", "la_011", "la_014", "la_026"), "test"),
        **dict.fromkeys(("la_017", "la_030"), "val"),
    }
    assert committed("spleen")["spleen_3"] == "test"
    assert committed("prostate_peripheral")["prostate_04"] == "val"
    assert committed("prostate_transitional")["prostate_00"] == "test"
    assert committed("hippocampus_anterior") == {}


def test_the_committed_file_names_each_volume_of_an_organ_once():
    with FILE.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["organ", "volume", "split"]
    assert len({(row["organ"], row["volume"]) for row in rows}) == len(rows) == 38
    assert {row["split"] for row in rows} == {"val", "test"}
    assert set(FULL) == {row["organ"] for row in rows}


def test_a_part_of_the_data_keeps_the_released_test_volumes():
    here = ["la_010", "la_003", "la_004", "la_005"]
    made = by_volume(ORGANS["heart"], here, seed=0)
    assert made.source == "committed"
    assert made.split["la_010"] == "test"
    assert Counter(made.split.values()) == {"test": 1, "val": 1, "train": 2}
    assert by_volume(ORGANS["heart"], [*here, "la_030"], 0).split["la_030"] == "val"


@pytest.mark.parametrize("here", [["la_003", "la_004", "la_005", "la_030"], ["la_010", "la_030", "la_026"]])
def test_without_released_test_or_training_volumes_the_hash_decides(here):
    made = by_volume(ORGANS["heart"], here, seed=0)
    assert made.source == "hash"
    assert set(made.split.values()) == {"train", "val", "test"}


def test_the_hash_looks_at_seed_folder_and_name_only():
    names = [f"hippocampus_{i:03}" for i in range(400)]
    one = by_volume(ORGANS["hippocampus_anterior"], names, 0)
    assert one.source == "hash"
    counts = Counter(one.split.values())
    assert abs(counts["test"] - 80) < 30
    assert abs(counts["val"] - 32) < 20
    two = by_volume(ORGANS["hippocampus_posterior"], names[::-2], 0)
    assert two.split == {name: one.split[name] for name in names[::-2]}
    assert by_volume(ORGANS["hippocampus_anterior"], names, 1) != one
    assert by_volume(ORGANS["lung"], names, 0) != one
    # By sha256sum: u is .815, .278 and .198.
    assert [one.split[f"hippocampus_{i}"] for i in ("001", "014", "006")] == ["train", "val", "test"]


@pytest.mark.parametrize("count", [3, 4, 5, 8])
def test_few_volumes_leave_no_split_empty(count):
    for seed in range(20):
        split = by_volume(ORGANS["lung"], [f"lung_{i}" for i in range(count)], seed).split
        assert set(split.values()) == {"train", "val", "test"}
        assert len(split) == count


def test_a_volume_stands_once():
    with pytest.raises(ValueError, match="twice"):
        by_volume(ORGANS["lung"], ["a", "a"], 0)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("heart", (435, 109, 136)),
        ("spleen", (706, 79, 197)),
        ("prostate_peripheral", (187, 21, 52)),
        ("prostate_transitional", (267, 30, 75)),
        ("colon", (756, 84, 211)),
    ],
)
def test_the_sizes_of_the_released_slice_splits(name, sizes):
    made = by_slice(name, sum(sizes), 0)
    assert tuple(made.count(split) for split in ("train", "val", "test")) == sizes
    assert made == by_slice(name, sum(sizes), 0)
    assert made != by_slice(name, sum(sizes), 1)


def test_slices_are_drawn_for_each_organ_and_three_are_enough():
    assert by_slice("spleen", 99, 0) != by_slice("colon", 99, 0)
    assert sorted(by_slice("lung", 3, 0)) == ["test", "train", "val"]
    refused(lambda: by_slice("lung", 2, 0), "`lung` has 2 slices")


def test_a_split_is_the_same_in_another_process():
    code = (
        "from bench.volumes.organs import ORGANS\nfrom bench.volumes.split import *\n"
        "print(by_volume(ORGANS['lung'], list('abcdef'), 5).split, by_slice('lung', 9, 5))"
    )
    here = by_volume(ORGANS["lung"], list("abcdef"), 5).split, by_slice("lung", 9, 5)
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.strip() == f"{here[0]} {here[1]}"
