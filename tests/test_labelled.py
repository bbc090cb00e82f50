"""One photograph with its maps: numbers read exactly, every fault one sentence that names the file."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from coco_folders import pixels
from PIL import Image
from refusals import refused

from bench.labelled import ILLEGAL, Entry, decoded, numbers

TABLE = np.full(256, ILLEGAL, np.int16)
TABLE[[0, 1, 255]] = 0, 1, 2


@pytest.fixture
def entry(tmp_path):
    """A photograph of 5x7 pixels with its maps, all its own."""
    rng = np.random.default_rng(0)
    names = {name: tmp_path / f"{name}.png" for name in ("image", "labels", "instances")}
    Image.fromarray(rng.integers(0, 256, (5, 7, 3)).astype(np.uint8)).save(names["image"])
    Image.fromarray(rng.choice(np.array([0, 1, 255], np.uint8), (5, 7))).save(names["labels"])
    Image.fromarray(rng.integers(0, 2**16, (5, 7)).astype(np.uint16)).save(names["instances"])
    return Entry("one", "train", **names)


def test_a_photograph_is_read_exactly(entry):
    image, labels, instances = decoded(entry, TABLE)
    assert instances is not None
    assert (image.dtype, labels.dtype, instances.dtype) == (np.uint8, np.int16, np.int32)
    assert np.array_equal(image, pixels(entry.image))
    assert np.array_equal(labels, TABLE[pixels(entry.labels)]) and set(np.unique(labels)) == {
        0,
        1,
        2,
    }
    assert instances.max() > 2**15 and np.array_equal(instances, numbers(entry.instances))


@pytest.mark.parametrize(("kind", "most"), [(np.uint8, 2**8), (np.uint16, 2**16)])
def test_numbers_of_8_and_16_bits_are_kept(tmp_path, kind, most):
    wanted = np.random.default_rng(1).integers(0, most, (9, 4)).astype(kind)
    wanted[0, 0] = most - 1
    Image.fromarray(wanted).save(tmp_path / "map.png")
    found = numbers(tmp_path / "map.png")
    assert found.dtype == np.int32 and np.array_equal(found, wanted)


def test_of_a_palette_image_the_indices_are_read(tmp_path):
    wanted = np.random.default_rng(2).integers(0, 256, (6, 6)).astype(np.uint8)
    picture = Image.fromarray(wanted).convert("P")
    picture.putpalette(list(range(255, -1, -1)) * 3)
    picture.save(tmp_path / "map.png")
    assert np.array_equal(numbers(tmp_path / "map.png"), wanted)


def test_a_map_that_is_none_is_refused(tmp_path):
    path = tmp_path / "map.png"
    refused(lambda: numbers(path), f"`{path}` is missing")
    Image.new("RGB", (4, 4)).save(path)
    refused(lambda: numbers(path), f"`{path}` must hold a number a pixel", "`RGB`")
    Image.new("L", (400, 400)).save(path)
    path.write_bytes(path.read_bytes()[:60])
    refused(lambda: numbers(path), f"`{path}` cannot be decoded")


@pytest.mark.parametrize("wrong", [2, 254, 256, 60_000])
def test_a_label_that_is_no_class_is_named(entry, wrong):
    raw = pixels(entry.labels).astype(np.uint16)
    raw[2, 3] = wrong
    Image.fromarray(raw).save(entry.labels)
    refused(lambda: decoded(entry, TABLE), f"`{entry.labels}` holds {wrong}, which is no class;")


@pytest.mark.parametrize("part", ["labels", "instances"])
def test_a_map_of_another_size_is_named(entry, part):
    path = getattr(entry, part)
    Image.new("L", (5, 7)).save(path)
    refused(lambda: decoded(entry, TABLE), f"`{path}` is 5x7 pixels and its image `image.png` 7x5;")


@pytest.mark.parametrize("bits", [2, 4])
def test_grey_of_few_bits_is_refused_since_its_numbers_would_be_spread(tmp_path, bits):
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" + bytes([0b00011011]) * (8 * bits // 8)
    parts = (
        chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 1, bits, 0, 0, 0, 0)),
        chunk(b"IDAT", zlib.compress(row)),
        chunk(b"IEND", b""),
    )
    path = tmp_path / "map.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    assert pixels(path).max() > 2**bits  # what Pillow makes of it
    told = refused(lambda: numbers(path))
    assert "L of 2 or 4 bits, whose numbers Pillow spreads to 255" in told


def test_one_bit_is_two_classes(tmp_path):
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "map.png")
    assert numbers(tmp_path / "map.png").tolist() == [[1, 0]]
