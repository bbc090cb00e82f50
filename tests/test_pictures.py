"""`Pictures`: decoding, resizing, hashing, and what is said of image files that are not as they must be."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from PIL import Image

from bench.errors import UserError
from bench.pictures import (
    Arrays,
    Files,
    Pictures,
    content_hash,
    fit,
    no_pixels,
    read_image,
    survey,
    threaded,
)


def pictures(images, **changes):
    count = len(images)
    fields = {
        "read": images.__getitem__,
        "labels": np.arange(count) % 2,
        "ids": tuple(f"i{n}" for n in range(count)),
        "groups": tuple(f"g{n // 2}" for n in range(count)),
        "classes": ("a", "b"),
        "content": "",
    }
    return Pictures(**{**fields, **changes})


@pytest.fixture
def grey():
    return np.random.default_rng(0).integers(0, 256, (200, 12, 16), np.uint8)


def test_counts_name_every_class_even_one_without_images(grey):
    made = pictures(grey[:3], classes=("a", "b", "c"))
    assert made.counts() == {"a": 2, "b": 1, "c": 0}
    assert len(made) == 3


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"labels": np.zeros(3, int)}, "4 ids but 3 labels"),
        ({"groups": ("g",)}, "4 ids but 1 groups"),
        ({"sources": ("s",)}, "4 ids but 1 sources"),
        ({"ids": ("i", "i", "j", "k")}, "twice"),
        ({"labels": np.array([0, 1, 2, 0])}, "from 0 to 1"),
        ({"labels": np.array([0, -1, 0, 0])}, "from 0 to 1"),
    ],
)
def test_what_does_not_fit_together_is_no_pictures(grey, changes, told):
    with pytest.raises(ValueError, match=told):
        pictures(grey[:4], **changes)


def test_a_stack_keeps_pixels_and_order_where_nothing_is_to_change(grey):
    order = [150, 3, 3, 0, 199]
    stack = pictures(grey).stack(order, None, 1)
    assert stack.dtype == np.uint8
    assert stack.flags["C_CONTIGUOUS"]
    assert np.array_equal(stack, grey[order][:, None])
    assert np.array_equal(pictures(grey).stack(np.array(order), (12, 16), 1), stack)


def test_grey_becomes_three_equal_channels_and_colour_becomes_luma(grey):
    three = pictures(grey).stack(range(200), None, 3)
    assert three.shape == (200, 3, 12, 16)
    assert all(np.array_equal(three[:, c], grey) for c in range(3))
    colour = np.random.default_rng(1).integers(0, 256, (5, 6, 7, 3), np.uint8)
    kept = pictures(colour).stack(range(5), None, 3)
    assert np.array_equal(kept, colour.transpose(0, 3, 1, 2))
    luma = colour @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
    assert np.abs(pictures(colour).stack(range(5), None, 1)[:, 0] - luma).max() <= 1


def test_shrinking_averages_instead_of_picking_pixels():
    stripes = np.zeros((1, 64, 64), np.uint8)
    stripes[:, :, ::2] = 200
    small = pictures(stripes).stack([0], (8, 8), 1)
    assert small.shape == (1, 1, 8, 8)
    assert np.abs(small.astype(int) - 100).max() <= 8


def test_resizing_is_height_by_width_and_equals_pillow(grey):
    want = np.asarray(Image.fromarray(grey[0]).resize((9, 5), Image.Resampling.BILINEAR))
    assert np.array_equal(fit(grey[0], (5, 9), 1), want[None])
    colour = np.random.default_rng(2).integers(0, 256, (12, 16, 3), np.uint8)
    want = np.asarray(Image.fromarray(colour).resize((9, 5), Image.Resampling.BILINEAR))
    assert np.array_equal(fit(colour, (5, 9), 3), want.transpose(2, 0, 1))


def test_images_of_two_sizes_need_a_size():
    mixed = [np.zeros((4, 6), np.uint8), np.zeros((4, 7), np.uint8)]
    with pytest.raises(UserError, match=r"`i1` is 4x7 while `i0` is 4x6; .*protocol.image_size"):
        pictures(mixed).stack([0, 1], None, 1)
    assert pictures(mixed).stack([0, 1], (3, 3), 1).shape == (2, 1, 3, 3)


def test_a_stack_of_nothing_has_the_shape_asked_for(grey):
    assert pictures(grey).stack([], (5, 6), 3).shape == (0, 3, 5, 6)
    with pytest.raises(ValueError, match="no size"):
        pictures(grey).stack([], None, 3)
    with pytest.raises(ValueError, match="1 or 3, got 2"):
        pictures(grey).stack([0], None, 2)


def test_progress_counts_every_image(grey):
    seen = {}

    def progress(items, total, description):
        seen.update(total=total, description=description, counted=0)
        for item in items:
            seen["counted"] += 1
            yield item

    pictures(grey).stack(range(150), None, 1, progress)
    assert (seen["total"], seen["counted"]) == (150, 150)
    survey(grey.__getitem__, [f"i{n}" for n in range(200)], None, progress)
    assert (seen["total"], seen["counted"]) == (200, 200)


def test_threads_keep_the_order_and_pass_on_the_first_problem():
    assert list(threaded(lambda n: n * n, range(1000))) == [n * n for n in range(1000)]

    def work(n):
        if n >= 70:
            raise UserError(f"bad {n}")
        return n

    with pytest.raises(UserError, match="bad 70"):
        list(threaded(work, range(500)))


@pytest.fixture
def files(tmp_path, grey):
    paths = []
    for n in range(3):
        paths.append(tmp_path / f"{n}.png")
        Image.fromarray(grey[n]).save(paths[-1])
    return tuple(paths)


def test_files_are_decoded_on_demand_and_survive_a_pickle(files, grey):
    read = pickle.loads(pickle.dumps(Files(files)))
    assert np.array_equal(read(2), grey[2])
    assert np.array_equal(pickle.loads(pickle.dumps(Arrays(grey)))(5), grey[5])


def test_the_hash_is_of_what_was_decoded_not_of_file_format_or_order(files, grey, tmp_path):
    ids, labels, groups, classes = ["a", "b", "c"], np.array([0, 1, 1]), ["g", "g", "h"], ("x", "y")
    pixels = survey(Files(files), ids)
    one = content_hash(ids, labels, groups, classes, pixels)
    again = []
    for n in range(3):
        again.append(tmp_path / f"{n}.bmp")
        Image.fromarray(grey[n]).save(again[-1])
    assert content_hash(ids, labels, groups, classes, survey(Files(tuple(again)), ids)) == one
    back = [2, 1, 0]
    turned = ([ids[i] for i in back], labels[back], [groups[i] for i in back], classes)
    assert content_hash(*turned, [pixels[i] for i in back]) == one
    other = grey[:3].copy()
    other[1, 5, 5] ^= 1
    changed = [
        content_hash(["a", "b", "d"], labels, groups, classes, pixels),
        content_hash(ids, labels[back], groups, classes, pixels),
        content_hash(ids, labels, ["g", "h", "h"], classes, pixels),
        content_hash(ids, labels, groups, ("x", "z"), pixels),
        content_hash(ids, labels, groups, classes, survey(other.__getitem__, ids)),
        content_hash(ids, labels, groups, classes, survey(grey[:3].reshape(3, 16, 12).__getitem__, ids)),
    ]
    assert len({one, *changed}) == 7


def test_an_image_is_checked_in_order(grey):
    seen = []
    survey(grey.__getitem__, ["a", "b"], lambda name, shape: seen.append((name, shape)))
    assert seen == [("a", (12, 16)), ("b", (12, 16))]


def damage(path, kind, grey):
    if kind == "missing":
        path.unlink()
    elif kind == "truncated":
        path.write_bytes(path.read_bytes()[:90])
    elif kind == "text":
        path.write_text("no image")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    else:
        Image.fromarray(grey[0]).convert(kind).save(path)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("missing", "is missing"),
        ("truncated", "cannot be decoded"),
        ("text", "cannot be decoded"),
        ("empty", "cannot be decoded"),
        ("folder", "cannot be decoded"),
        ("RGBA", "got Pillow mode `RGBA`"),
        ("P", "got Pillow mode `P`"),
    ],
)
def test_a_bad_image_file_is_one_sentence_with_its_name(files, grey, kind, told):
    damage(files[1], kind, grey)
    with pytest.raises(UserError) as error:
        survey(Files(files), ["a", "b", "c"])
    text = str(error.value)
    assert told in text
    assert text.count(str(files[1])) == 1
    assert text.endswith(".")
    assert "\n" not in text


def test_a_truncated_jpeg_is_refused_not_padded_with_grey(tmp_path, grey):
    path = tmp_path / "x.jpg"
    Image.fromarray(np.kron(grey[0], np.ones((8, 8), np.uint8))).save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match="cannot be decoded"):
        read_image(path)


def test_an_index_has_no_pixels(grey):
    with pytest.raises(RuntimeError, match="index without pixels"):
        pictures(grey, read=no_pixels).stack([0], None, 1)
