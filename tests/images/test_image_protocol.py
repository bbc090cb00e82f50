"""Protocols: what they do to pixels, when two are the same, and what a badge says."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from bench.errors import UserError
from bench.images.protocol import ALL, FILTERS, ImageProtocol, all_protocols, apply, stretched

RNG = np.random.default_rng(1)
IMAGE = RNG.integers(30, 200, (40, 60, 3), np.uint8)


def test_as_they_are_is_the_same_array() -> None:
    assert apply(IMAGE, ImageProtocol()) is IMAGE
    assert apply(IMAGE, ImageProtocol(size=(40, 60))) is IMAGE


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("size", [16, 40, 100, (24, 32)])
def test_sizes_by_pillow(name: str, size: int | tuple[int, int]) -> None:
    height, width = (size, size) if isinstance(size, int) else size
    found = apply(IMAGE, ImageProtocol(resize=name, size=size))
    assert found.dtype == np.uint8
    expected = Image.fromarray(IMAGE).resize((width, height), getattr(Image.Resampling, name.upper()))
    np.testing.assert_array_equal(found, np.asarray(expected))


def test_filters_that_shrink_average_and_nearest_does_not() -> None:
    board = np.indices((64, 64)).sum(0) % 2 * 255
    board = np.repeat(board[:, :, None], 3, 2).astype(np.uint8)
    assert np.ptp(apply(board, ImageProtocol(resize="box", size=16))) == 0
    assert set(np.unique(apply(board, ImageProtocol(resize="nearest", size=21)))) == {0, 255}


def test_jpeg_is_quality_75_and_comes_before_the_resize() -> None:
    packed = io.BytesIO()
    Image.fromarray(IMAGE).save(packed, "JPEG", quality=75)
    expected = Image.open(packed)
    np.testing.assert_array_equal(apply(IMAGE, ImageProtocol(format="jpeg")), np.asarray(expected))
    small = expected.resize((20, 20), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(apply(IMAGE, ImageProtocol(format="jpeg", size=20)), np.asarray(small))


def test_stretch_spans_the_bytes_and_comes_first() -> None:
    found = apply(IMAGE, ImageProtocol(stretch="stretch"))
    low, high = int(IMAGE.min()), int(IMAGE.max())
    expected = (IMAGE.astype(np.int64) - low) * 255 // (high - low)
    np.testing.assert_array_equal(found, expected)
    assert (found.min(), found.max()) == (0, 255)
    np.testing.assert_array_equal(stretched(found), found)
    flat = np.full((4, 4, 3), 77, np.uint8)
    np.testing.assert_array_equal(stretched(flat), flat)
    both = apply(IMAGE, ImageProtocol(stretch="stretch", format="jpeg"))
    np.testing.assert_array_equal(both, apply(found, ImageProtocol(format="jpeg")))


def test_every_part_changes_the_digest() -> None:
    base = ImageProtocol(size=128)
    others = [
        replace(base, extractor="inception-tv"),
        replace(base, resize="bilinear"),
        replace(base, size=64),
        replace(base, size=(128, 64)),
        replace(base, size=(64, 128)),
        replace(base, size=None),
        replace(base, format="jpeg"),
        replace(base, stretch="stretch"),
    ]
    assert len({base.digest(), *(other.digest() for other in others)}) == len(others) + 1


def test_one_protocol_has_one_digest() -> None:
    assert ImageProtocol(resize="bicubic") == ImageProtocol(resize="none")
    assert ImageProtocol(resize="lanczos").digest() == ImageProtocol(resize="none").digest()
    assert ImageProtocol(size=(64, 64)) == ImageProtocol(size=64)
    own = [ImageProtocol(f"{place}/net.py:Net").digest() for place in ("/home/a", "/home/b")]
    assert own[0] == own[1]


def test_the_digest_is_held() -> None:
    # Published values carry it: a change of `apply` must raise the version, a change here is a mistake.
    digest = "c8ab8429ad054278d5f1ec698fd921f7acea2e69ea179259543c04bd376f8432"
    assert ImageProtocol(size=128).digest() == digest


def test_badges() -> None:
    protocol = ImageProtocol(size=128)
    assert protocol.badge("fid", 5088, 5088, "test") == "fid[inception-tf | bicubic | 128 | test 5088 | png]"
    unequal = "kid[inception-tf | bicubic | 128x256 | test 5088 : 2048 generated | png]"
    assert replace(protocol, size=(128, 256)).badge("kid", 5088, 2048, "test") == unequal
    odd = ImageProtocol("/home/me/net.py:Net", format="jpeg", stretch="stretch")
    assert odd.badge("is", 9, 9, "val") == "is[net.py:Net | none | native | val 9 | jpeg | stretch]"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"resize": "bicubical", "size": 4}, "Did you mean `bicubic`"),
        ({"format": "webp"}, "`format=webp` is not known"),
        ({"stretch": "yes"}, "`stretch=yes` is not known"),
        ({"size": 0}, "`size=0` is no size"),
        ({"size": 2.5}, "is no size"),
        ({"size": True}, "is no size"),
        ({"size": (3, 4, 5)}, "is no size"),
        ({"size": 64, "resize": "none"}, "leave `size` out"),
    ],
)
def test_words_that_are_refused(words: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        ImageProtocol(**words)


def test_all_protocols_are_distinct_and_cover_every_filter_format_and_stretch() -> None:
    found = all_protocols(["inception-tf", "squeezenet-caffe"])
    assert len(found) == 2 * len(ALL) == len(set(found)) == len({p.digest() for p in found})
    assert {p.resize for p in found} == {"none", *FILTERS}
    assert {p.format for p in found} == {"png", "jpeg"}
    assert {p.stretch for p in found} == {"clamp", "stretch"}
    sizes = {
        name: {p.size for p in found if p.extractor == name} for name in ("inception-tf", "squeezenet-caffe")
    }
    assert sizes == {"inception-tf": {None, 64, 128, 299}, "squeezenet-caffe": {None, 64, 128, 227}}


def test_a_network_that_takes_any_size_has_no_protocols_at_its_own() -> None:
    found = all_protocols({"net.py:Net": None})
    assert {p.size for p in found} == {None, 64, 128}
    assert len(all_protocols(["random"])) == len(ALL) - 1  # its own side is 64, which is there already
