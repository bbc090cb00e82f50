"""Volume metrics against naive definitions, brute-force distances, MONAI, and laws they must obey."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from naive_volumes import naive

from bench.metrics import volumes
from bench.metrics.volumes import asd, compare, hd95, slice_iou, student, surface_distances

SHAPE = (7, 9, 6)
ZOOMS = (0.7, 1.3, 4.0)


def at(*places, shape=SHAPE):
    mask = np.zeros(shape, bool)
    for place in places:
        mask[place] = True
    return mask


RNG = np.random.default_rng(0)
BLOCK = at(np.s_[1:5, 2:7, 1:4])
PAIRS = {
    "overlap": (at(np.s_[2:6, 1:6, 2:5]), BLOCK),
    "equal": (BLOCK, BLOCK),
    "apart": (at(np.s_[6:, 8:, 5:]), BLOCK),
    "empty prediction": (at(), BLOCK),
    "empty reference": (BLOCK, at()),
    "both empty": (at(), at()),
    "full": (~at(), BLOCK),
    "both full": (~at(), ~at()),
    "one voxel": (at((3, 4, 2)), at((3, 4, 2))),
    "one voxel each": (at((0, 0, 0)), at((6, 8, 5))),
    "one voxel within": (at((3, 4, 2)), BLOCK),
    "speckle": (RNG.random(SHAPE) < 0.4, RNG.random(SHAPE) < 0.5),
    "slices apart": (BLOCK & (np.arange(6) % 2 == 0), BLOCK),
    "grid of one voxel": (np.ones((1, 1, 1), bool), np.ones((1, 1, 1), bool)),
}
grid = pytest.mark.parametrize(("pred", "ref"), PAIRS.values(), ids=PAIRS.keys())
sizes = pytest.mark.parametrize("zooms", [(1.0, 1.0, 1.0), ZOOMS, (5.0, 0.3, 0.9)])
both_drawn = {name: pair for name, pair in PAIRS.items() if pair[0].any() and pair[1].any()}
drawn = pytest.mark.parametrize(("pred", "ref"), both_drawn.values(), ids=both_drawn.keys())


@grid
@sizes
def test_a_pair_equals_the_naive_definitions(pred, ref, zooms):
    found = compare(pred, ref, zooms)
    for name, wanted in naive(pred, ref, zooms).items():
        assert found[name] == pytest.approx(math.nan if wanted is None else wanted, rel=1e-6, nan_ok=True)
    assert found["missed"] == (not pred.any())


@drawn
@sizes
def test_distances_equal_monais_metrics_over_the_whole_volume(pred, ref, zooms):
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance
    from monai.metrics.surface_distance import compute_average_surface_distance

    p, g = (torch.from_numpy(mask)[None, None] for mask in (pred, ref))
    options: dict[str, Any] = {"include_background": True, "spacing": list(zooms)}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*always_return_as_numpy", FutureWarning)
        farthest = compute_hausdorff_distance(p, g, percentile=95, **options)
        mean = compute_average_surface_distance(p, g, symmetric=True, **options)
    found = surface_distances(pred, ref, zooms)
    assert hd95(*found) == pytest.approx(farthest.item(), rel=1e-6)
    assert asd(*found) == pytest.approx(mean.item(), rel=1e-5)


@drawn
def test_cutting_to_a_box_changes_no_distance(pred, ref, monkeypatch):
    cut = surface_distances(pred, ref, ZOOMS)
    frame = ((3, 9), (1, 0), (4, 4))
    wide = surface_distances(np.pad(pred, frame), np.pad(ref, frame), ZOOMS)
    monkeypatch.setattr(volumes, "_box", lambda *masks: (slice(None),) * 3)
    whole = surface_distances(pred, ref, ZOOMS)
    for a, b, c in zip(cut, whole, wide, strict=True):
        assert np.array_equal(a, b)
        assert np.array_equal(a, c)


def test_an_empty_mask_has_no_surface():
    with pytest.raises(ValueError, match="no surface"):
        surface_distances(at(), BLOCK, ZOOMS)


masks = hnp.arrays(bool, (4, 5, 3))


@settings(max_examples=40, deadline=None)
@given(masks, masks)
def test_exchange_of_masks_and_identity(a, b):
    one, other, same = compare(a, b, ZOOMS), compare(b, a, ZOOMS), compare(a, a, ZOOMS)
    for name in ("iou", "dice", "hd95"):
        assert one[name] == pytest.approx(other[name], nan_ok=True)
    assert one["asd"] == pytest.approx(other["asd"], nan_ok=True)
    assert one["dice"] == pytest.approx(2 * one["iou"] / (1 + one["iou"]))
    assert (same["iou"], same["dice"]) == (1, 1)
    if a.any():
        assert (same["hd95"], same["asd"]) == (0, 0)


@settings(max_examples=40, deadline=None)
@given(masks, masks, st.floats(0.01, 100), st.permutations(range(3)))
def test_distances_scale_with_the_voxel_and_do_not_care_for_the_order_of_axes(a, b, factor, axes):
    assume(a.any() and b.any())
    one = compare(a, b, ZOOMS)
    scaled = compare(a, b, [factor * z for z in ZOOMS])
    turned = compare(a.transpose(axes), b.transpose(axes), [ZOOMS[axis] for axis in axes])
    for name in ("hd95", "asd"):
        assert scaled[name] == pytest.approx(factor * one[name], rel=1e-5)
        assert turned[name] == pytest.approx(one[name], rel=1e-5)
    assert scaled["reference_mm3"] == pytest.approx(factor**3 * one["reference_mm3"])
    assert scaled["iou"] == one["iou"]


def test_a_shift_is_measured_in_millimetres():
    found = compare(at((1, 1, 1)), at((1, 1, 4)), ZOOMS)
    assert (found["hd95"], found["asd"], found["iou"]) == (pytest.approx(12), pytest.approx(12), 0)
    assert found["reference_mm3"] == pytest.approx(0.7 * 1.3 * 4)


def test_slices_count_as_the_official_code_counts_them():
    pred, ref = np.zeros((2, 3, 2, 2), bool)
    ref[0, 0, 0] = pred[0, 0] = ref[1, 0, 0] = True
    assert slice_iou(pred, ref) == pytest.approx([1.0001 / 2.0001, 1e-4 / 1.0001, 1.0])


@pytest.mark.parametrize(
    ("values", "wanted"),
    [([], None), ([0.4], None), ([0.4, math.nan], None), ([0.4, 0.4, math.nan], (0.4, 0.4))],
)
def test_a_t_interval_needs_two_values(values, wanted):
    assert student(np.array(values, float)) == wanted
