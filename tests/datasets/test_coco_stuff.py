"""COCO-Stuff in SPADE's folders: its phantom of landscapes, a real sample, every bad folder one sentence."""

from __future__ import annotations

import hashlib
import json
import shutil

import numpy as np
import pytest
from coco_folders import ENDING, file, ids, pixels
from PIL import Image
from refusals import refused

from bench import labelled
from bench.datasets.coco_stuff import CARD, INSTANCES, UNLABELLED, CocoStuff, held_out, table
from bench.labelled import ILLEGAL, numbers
from bench.phantoms.landscapes import KINDS, LOOKS, NOBODY, landscape
from bench.phantoms.marker import MARKER, is_phantom
from bench.progress import Progress
from bench.registry import card


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


@pytest.fixture
def sample(shared_data):
    """The real photographs, read only."""
    root = shared_data / "coco_stuff_spade"
    if not root.is_dir():
        pytest.skip("the sample of COCO-Stuff is not here")
    return root


def load(root):
    return CocoStuff().load(root)


def same(one, other):
    return len(one) == len(other) and all(
        np.array_equal(a, b) for i in range(len(one)) for a, b in zip(one.read(i), other.read(i), strict=True)
    )


def test_card_and_classes():
    own = card("dataset", "coco_stuff")  # read from the text, so all of it is literal
    assert own == CARD and own.family == "semantic_synthesis" and own.unit == "image"
    assert len(own.classes) == len(set(own.classes)) == 183 and own.classes[-1] == "unlabelled"
    known = {0: "person", 2: "car", 89: "toothbrush", 90: "hair brush", 91: "banner", 156: "sky-other"}
    assert {number: own.classes[number] for number in known} == known and own.classes[181] == "wood"
    drawn = {own.classes[number] for number in LOOKS}
    stuff = {"sky-other", "clouds", "mountain", "building-other", "tree", "grass", "sand", "road", "sea"}
    assert drawn == stuff | {"person", "car", "boat", "bird", "sheep", "kite"}


def test_things_are_numbered_as_in_coco(shared_data):
    path = shared_data / "coco" / "annotations" / "instances_train2017.json"
    if not path.is_file():
        pytest.skip("the sample of COCO is not here")
    categories = json.loads(path.read_text())["categories"]
    assert len(categories) == 80
    assert all(CARD.classes[one["id"] - 1] == one["name"] for one in categories)


def test_table():
    found = table()
    assert found.dtype == np.int16 and found.shape == (256,)
    assert np.array_equal(found[:182], np.arange(182)) and found[255] == UNLABELLED == 182
    assert (found[182:255] == ILLEGAL).all()


def test_held_out():
    assert held_out(1) == held_out(2) == held_out(39) == {0} and held_out(40) == {0, 39}
    assert len(held_out(118_287)) == 500 == len(held_out(10_000))
    for n in (2, 40, 61, 160, 9_999, 10_000, 118_287):
        places = sorted(held_out(n))
        assert len(places) == max(1, min(500, n // 20)) and places[0] == 0 and places[-1] < n
        if len(places) > 1:
            assert places[-1] == n - 1 and np.ptp(np.diff(places)) <= 1
    with pytest.raises(ValueError, match="at least 1"):
        held_out(0)


def test_a_phantom_is_read_like_the_data(phantom):
    data = CocoStuff().load(phantom, Progress(False))
    assert data.counts() == {"train": 11, "val": 1, "test": 8} and len(data) == 20
    assert data.phantom and is_phantom(phantom) and data.has_instances and data.leaks() == 0
    order = [(labelled.SPLITS.index(entry.split), entry.id) for entry in data.entries]
    assert order == sorted(order) and all(len(entry.id) == 12 for entry in data.entries)
    assert data.entries[11].id == ids(phantom)[0]  # the first is held out
    shapes, present = set(), set()
    for index, entry in enumerate(data.entries):
        image, labels, instances = data.read(index)
        assert instances is not None
        assert image.dtype == np.uint8 and labels.dtype == np.int16 and instances.dtype == np.int32
        assert image.shape == (*labels.shape, 3) and instances.shape == labels.shape
        thing = labels < 91
        assert np.array_equal(instances[~thing], numbers(entry.labels)[~thing])  # a label map beneath
        owners = np.unique(instances[thing])
        assert len(owners) and owners.max() < 20
        assert all(len(np.unique(labels[thing & (instances == one)])) == 1 for one in owners)
        assert image.std() > 15 and (labels == UNLABELLED).mean() < 0.2
        shapes.add(labels.shape)
        present |= set(np.unique(labels).tolist())
    assert present == {*LOOKS, UNLABELLED} and data.unlabelled == UNLABELLED
    assert len(shapes) > 10 and {h > w for h, w in shapes} == {True, False}
    for kind in ("label", "inst"):
        with Image.open(file(phantom, "val", kind, ids(phantom, "val")[0])) as picture:
            assert picture.mode == "L"


def test_the_folder_above_will_do(phantom):
    assert load(phantom.parent).fingerprint() == load(phantom).fingerprint()


def test_the_same_seed_writes_the_same_bytes(phantom, tmp_path):
    def whole(root):
        names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.*"))
        return {name: hashlib.sha256((root / name).read_bytes()).hexdigest() for name in names}

    CocoStuff().write_phantom(tmp_path / "a", size="tiny")
    CocoStuff().write_phantom(tmp_path / "b", seed=1, size="tiny")
    assert whole(phantom) == whole(tmp_path / "a") and len(whole(phantom)) == 61
    assert not set(ids(phantom)) & set(ids(tmp_path / "b"))
    marker = json.loads((tmp_path / "b" / MARKER).read_text())
    assert marker == {"dataset": "coco_stuff", "seed": 1, "size": "tiny", "units": []}


def test_scenes_have_light_of_their_own_and_layout():
    scenes = [landscape(0, 0, number, (120, 200), (120, 200)) for number in range(16)]
    assert all(120 <= side <= 200 for scene in scenes for side in scene.labels.shape)
    soil = {"meadow": 123, "coast": 154, "dunes": 153, "street": 148}
    blue = []
    for number, (image, labels, instances) in enumerate(scenes):
        assert image.shape[:2] == labels.shape == instances.shape
        height = len(labels)
        rows = {label: np.nonzero(labels == label)[0].mean() for label in np.unique(labels)}
        ground = soil[KINDS[number % 4]]
        assert rows[156] < 0.4 * height < rows[ground]
        assert all(rows[boat] > rows[156] for boat in {8} & rows.keys())
        assert (labels == NOBODY).mean() < 0.1
        blue.append(image[labels == 156].mean(0))
    assert np.ptp(blue, 0).min() > 40  # the same sky in different light


def test_a_phantom_has_sizes_and_an_empty_folder(bench, phantom, tmp_path):
    refused(lambda: CocoStuff().write_phantom(tmp_path / "x", size="huge"), "`huge`", "tiny or small")
    refused(lambda: CocoStuff().write_phantom(phantom, size="tiny"), "already holds files")
    answer = bench("data", "phantom", "coco_stuff", "--root", tmp_path / "p", "--size", "tiny")
    assert answer.code == 0 and (tmp_path / "p" / MARKER).is_file()


def test_verify(bench, phantom, own):
    facts = json.loads(bench("data", "verify", "coco_stuff", "--root", phantom, "--json").out)
    assert facts["variant"] == "PHANTOM, not real data" and facts["images train"] == "11"
    assert facts["classes present"] == "16 of 183" and facts["instance maps"] == "yes"
    assert facts["leaks"] == "0" and len(facts["fingerprint"]) == 64
    for name in INSTANCES:
        shutil.rmtree(own / name)
    assert CocoStuff().verify(own)["instance maps"] == "no"
    assert load(own).read(0).instances is None


def test_the_real_sample(sample):
    data = load(sample)
    assert data.counts() == {"train": 12, "val": 1, "test": 8} and not data.phantom and data.leaks() == 0
    for index in range(len(data)):
        image, labels, instances = data.read(index)
        assert image.shape == (*labels.shape, 3) and labels.min() >= 0 and labels.max() <= 182
        assert instances is not None and instances.shape == labels.shape
    street = next(i for i, entry in enumerate(data.entries) if entry.id == "000000000785")
    names = {CARD.classes[k] for k in np.unique(data.read(street).labels)}
    assert names == {"person", "skis", "fog", "snow", "unlabelled"}
    facts = CocoStuff().verify(sample)
    assert facts["images test"] == "8 (the complete release has 5,000)"
    assert facts["classes present"] == "88 of 183"


def test_grey_photographs_are_read(own):
    path = file(own, "train", "img", ids(own)[3])
    Image.fromarray(pixels(path)[..., 1]).save(path)
    data = load(own)
    image = next(data.read(i).image for i, entry in enumerate(data.entries) if entry.image == path)
    assert image.shape[2] == 3 and np.array_equal(image[..., 0], image[..., 2])


def test_the_fingerprint_is_of_what_is_decoded(phantom, own):
    before = load(phantom).fingerprint()
    name = ids(own)[2]
    image, label = file(own, "train", "img", name), file(own, "train", "label", name)
    Image.fromarray(pixels(image)).save(image.with_suffix(".png"))
    image.unlink()
    raw = pixels(label).copy()
    coloured = Image.fromarray(raw).convert("P")  # the same numbers with a colour each
    coloured.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    coloured.save(label)
    assert load(own).fingerprint() == before
    raw[0, 0] = 7
    Image.fromarray(raw).save(label)
    assert load(own).fingerprint() != before


def test_splits_enter_their_own_hash_only(own):
    before = load(own)
    last = ids(own)[-1]
    for kind in ENDING:
        file(own, "train", kind, last).rename(file(own, "val", kind, last))
    after = load(own)
    assert after.fingerprint() == before.fingerprint() and after.split_sha256() != before.split_sha256()


def test_a_leak_is_counted(own):
    for kind in ENDING:
        shutil.copy(file(own, "train", kind, ids(own)[4]), file(own, "val", kind, "000000999999"))
    assert load(own).leaks() == 1 and CocoStuff().verify(own)["leaks"] == "1"


@pytest.mark.parametrize("memory", [0, 40_000])
def test_beyond_the_memory_set_aside_the_same_is_read(phantom, monkeypatch, memory):
    kept = load(phantom)
    monkeypatch.setattr(labelled, "KEPT", memory)
    again = load(phantom)
    assert len(kept._kept) == 20 and len(again._kept) == (1 if memory else 0)
    assert same(kept, again) and kept.contents == again.contents
