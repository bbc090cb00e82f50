"""The slice cache: no kill, change, damage or second process gives wrong slices; nothing is made twice."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest
from msd_files import SHAPE, everything, same, save, voxels, write_listing, write_task
from refusals import refused

from bench.volumes import pixels
from bench.volumes.blocks import DATA, INDEX
from bench.volumes.build import Build
from bench.volumes.cache import SliceCache

SIZE = (16, 13)
NAMES = ("hippocampus_001", "hippocampus_003", "hippocampus_004")


@pytest.fixture
def task(tmp_path):
    return write_task(tmp_path / "data")


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def built(monkeypatch):
    """Names of the volumes that were decoded and resized."""
    names = []
    real = Build.block

    def block(self, volume, files):
        names.append(volume.name)
        return real(self, volume, files)

    monkeypatch.setattr(Build, "block", block)
    return names


def opened(task, home, **words):
    return SliceCache.open(task, SIZE, words.pop("how", "half"), home, **words)


def the(home, name):
    (path,) = home.rglob(name)
    return path


def test_nothing_is_made_twice(task, home, built):
    one = opened(task, home)
    two = opened(task, home)
    assert built == list(NAMES)
    assert same(everything(one), everything(two))
    assert [one.content(name) for name in NAMES] == [two.content(name) for name in NAMES]
    opened(task, home, how="stretched")
    SliceCache.open(task, (8, 8), "half", home)
    assert built == list(NAMES) * 3


def test_two_homes_hold_the_same_bytes(task, home, tmp_path):
    opened(task, home)
    opened(task, tmp_path / "other")
    assert the(home, DATA).read_bytes() == the(tmp_path / "other", DATA).read_bytes()
    assert the(home, INDEX).read_bytes() == the(tmp_path / "other", INDEX).read_bytes()


def test_a_folder_of_the_same_name_elsewhere_has_a_cache_of_its_own(task, home, tmp_path, built):
    opened(task, home)
    other = write_task(tmp_path / "other")
    opened(other, home)
    assert built == list(NAMES) * 2


@pytest.mark.parametrize("lost", [1, 60, 1500])
def test_killed_while_writing_a_line(task, home, built, lost):
    whole = everything(opened(task, home))
    path = the(home, INDEX)
    before = path.read_bytes()
    path.write_bytes(before[:-lost])
    again = opened(task, home)
    gone = 3 - before[:-lost].count(b"\n")
    assert gone in (1, 2)
    assert built[3:] == list(NAMES[3 - gone :])
    assert same(whole, everything(again))
    assert same(whole, everything(opened(task, home)))
    assert len(built) == 3 + gone


def test_killed_while_writing_a_block(task, home, built):
    whole = everything(opened(task, home))
    index, data = the(home, INDEX), the(home, DATA)
    index.write_bytes(b"".join(index.read_bytes().splitlines(keepends=True)[:2]))
    data.write_bytes(data.read_bytes()[:-50])
    again = opened(task, home)
    assert built[3:] == [NAMES[2]]
    assert same(whole, everything(again))


def test_a_file_cut_short_below_its_index(task, home, built):
    whole = everything(opened(task, home))
    data = the(home, DATA)
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    told = []
    again = opened(task, home, tell=told.append)
    assert not told  # a torn end is no damage
    assert built[3:] == list(NAMES[1:])
    assert same(whole, everything(again))


def test_killed_by_a_fault_between_two_volumes(task, home, built):
    bad = task / "imagesTr" / f"{NAMES[1]}.nii.gz"
    whole = bad.read_bytes()
    bad.write_bytes(whole[:-9])
    refused(lambda: opened(task, home), bad, "cannot be decoded", "protocol.skip_faulty=true")
    bad.write_bytes(whole)
    cache = opened(task, home)
    assert built == list(NAMES)
    assert cache.volumes == NAMES


def test_a_changed_file_is_read_again(task, home, built):
    before = opened(task, home)
    image, _ = voxels(77)
    save(task / "imagesTr" / f"{NAMES[1]}.nii.gz", image)
    after = opened(task, home)
    assert built[3:] == [NAMES[1]]
    assert np.array_equal(after.images(np.array([4]), 0)[0], pixels.image(image[:, :, 1], SIZE)[0])
    assert after.content(NAMES[1]) != before.content(NAMES[1])
    # The file that the first process has mapped has only grown.
    assert np.array_equal(before.images(np.array([4]), 0)[0], pixels.image(voxels(1)[0][:, :, 1], SIZE)[0])
    path = task / "labelsTr" / f"{NAMES[2]}.nii.gz"
    os.utime(path, ns=(0, 0))
    opened(task, home)
    assert built[4:] == [NAMES[2]]


def test_other_declared_labels_are_checked_anew(task, home):
    opened(task, home)
    write_listing(task, NAMES, (0, 1))
    refused(lambda: opened(task, home), "the label 2")


def test_a_damaged_block_is_noticed_told_and_made_again(task, home, built):
    whole = everything(opened(task, home))
    data = the(home, DATA)
    damaged = bytearray(data.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    data.write_bytes(damaged)
    told = []
    again = opened(task, home, tell=told.append)
    assert built[3:] == [NAMES[1]]
    assert len(told) == 1
    assert NAMES[1] in told[0]
    assert "damaged" in told[0]
    assert same(whole, everything(again))


@pytest.mark.parametrize("damage", [b"x", b"9"])
def test_a_damaged_line_of_the_index_is_made_again(task, home, built, damage):
    whole = everything(opened(task, home))
    path = the(home, INDEX)
    lines = path.read_bytes().splitlines(keepends=True)
    at = lines[1].index(b'"position": [') + len(b'"position": [')
    lines[1] = lines[1][:at] + damage + lines[1][at + 1 :]
    path.write_bytes(b"".join(lines))
    again = opened(task, home)
    assert built[3:] == [NAMES[1]]
    assert same(whole, everything(again))


def test_faulty_volumes_are_left_out_when_asked(task, home):
    bad = task / "labelsTr" / f"{NAMES[0]}.nii.gz"
    save(bad, np.zeros(SHAPE, np.uint8))
    (task / "imagesTr" / f"{NAMES[2]}.nii.gz").unlink()
    refused(lambda: opened(task, home), NAMES[2], "not there", "protocol.skip_faulty=true")
    told = []
    cache = opened(task, home, skip_faulty=True, tell=told.append)
    assert cache.skipped == (NAMES[0], NAMES[2])
    assert cache.volumes == (NAMES[1],)
    assert np.array_equal(cache.images(np.array([0]), 0)[0], pixels.image(voxels(1)[0][:, :, 1], SIZE)[0])
    assert [NAMES[2] in told[0], NAMES[0] in told[1], len(told)] == [True, True, 2]
    save(task / "labelsTr" / f"{NAMES[1]}.nii.gz", np.zeros(SHAPE, np.uint8))
    refused(lambda: opened(task, home, skip_faulty=True), task, "No volume")


def test_two_at_once_build_every_volume_once(task, home, built):
    made = []
    workers = [threading.Thread(target=lambda: made.append(opened(task, home))) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(built) == list(NAMES)
    assert same(*map(everything, made))
