"""From raw scans to what a network sees, and a plain class to a method."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from bench.errors import UserError
from bench.families.plain import plain_net
from bench.families.scan_sets import Interpolation, resize_labels, scan_set, spread
from bench.families.segmentation import SegmentationProtocol
from bench.scans import Scan, Scans


def scan(mask, image=None, name="a", unit="p", split="test"):
    image = np.zeros_like(mask) if image is None else image
    return Scan(name, unit, split, image, mask, mask.shape)


@pytest.mark.parametrize("size", [(224, 224), (31, 47), (100, 50), (7, 300)])
def test_nearest_takes_pixel_centres_as_pil_does(size):
    mask = np.random.default_rng(0).integers(0, 9, (96, 131)).astype(np.uint8)
    ours = resize_labels(mask, size, Interpolation.nearest).numpy()
    pil = np.asarray(Image.fromarray(mask).resize(size[::-1], Image.Resampling.NEAREST))
    assert (ours == pil).all()


def test_nearest_makes_no_new_class_and_bilinear_does():
    mask = np.zeros((40, 40), np.uint8)
    mask[13:27, 13:27] = 8
    assert set(resize_labels(mask, (56, 56), Interpolation.nearest).unique().tolist()) == {0, 8}
    assert set(resize_labels(mask, (56, 56), Interpolation.bilinear).unique().tolist()) > {0, 8}


def test_bilinear_labels_are_the_rounded_interpolation_of_ids():
    mask = np.array([[0, 8]], np.uint8).repeat(2, 0)
    # Pixel centres of 4 columns in 2: 0, .25, .75, 1 of the way from 0 to 8.
    assert resize_labels(mask, (2, 4), Interpolation.bilinear)[0].tolist() == [0, 2, 6, 8]


def test_images_are_resized_without_antialias_then_normalised():
    image = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    protocol = SegmentationProtocol(image_size=(16, 16), mean=46.3758, std=53.9434)
    found = scan_set([scan(np.zeros((64, 64), np.uint8), image)], protocol)
    x = torch.from_numpy(image)[None, None].float()
    want = nn.functional.interpolate(x, (16, 16), mode="bilinear", align_corners=False)
    assert torch.equal(found.images, (want - 46.3758) / 53.9434)
    assert found.images.dtype == torch.float32
    assert found.masks.dtype == torch.int64


def test_spread_is_even_and_keeps_the_ends():
    assert spread(list(range(22)), 4) == [0, 7, 14, 21]
    assert spread([1, 2], None) == [1, 2]
    assert spread([1, 2], 9) == [1, 2]


def test_the_fingerprint_depends_on_content_and_names_alone():
    mask = np.zeros((20, 20), np.uint8)
    a = Scans((scan(mask, name="a"), scan(mask, name="b")), ("x", "y"))
    b = Scans((scan(mask, name="b"), scan(mask, name="a")), ("x", "y"))
    assert a.fingerprint() == b.fingerprint()
    other = mask.copy()
    other[3, 3] = 1
    assert a.fingerprint() != Scans((scan(other, name="a"), scan(mask, name="b")), ("x", "y")).fingerprint()
    assert a.split_sha256() == b.split_sha256()


def test_a_unit_in_test_and_train_is_a_leak():
    mask = np.zeros((20, 20), np.uint8)
    scans = (
        scan(mask, name="a", unit="p", split="train"),
        scan(mask, name="b", unit="p", split="test"),
        scan(mask, name="c", unit="q", split="test"),
    )
    assert Scans(scans, ("x", "y")).leaks() == 1


class Plain(nn.Module):
    def __init__(self, in_channels, num_classes, width: int = 3, deep: bool = False):
        super().__init__()
        self.net = nn.Conv2d(in_channels, num_classes, width)


class NeedsMore(nn.Module):
    def __init__(self, in_channels, num_classes, something):
        super().__init__()


class OnlyOne(nn.Module):
    def __init__(self, classes):
        super().__init__()


def test_keyword_arguments_of_a_plain_class_become_fields():
    method = plain_net(Plain, "Plain")(width=5, lr=1e-2)  # pyright: ignore[reportCallIssue]
    net = method.build(1, 4)  # pyright: ignore[reportAttributeAccessIssue]
    assert net.net.weight.shape == (4, 1, 5, 5)


@pytest.mark.parametrize("cls", [NeedsMore, OnlyOne, int])
def test_other_classes_are_refused(cls):
    with pytest.raises(UserError, match="in_channels, num_classes"):
        plain_net(cls, cls.__name__)
