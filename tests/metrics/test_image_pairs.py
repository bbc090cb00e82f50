"""Pair metrics: scikit-image, torchmetrics and MONAI, the published variants written out, laws, edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics.regression import MultiScaleSSIMMetric, SSIMMetric
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    structural_similarity_index_measure,
)
from torchmetrics.functional.image import (
    peak_signal_noise_ratio as torchmetrics_psnr,
)

from bench.metrics import image_pairs
from bench.metrics import ssim as ssim_module
from bench.metrics.image_pairs import CONSTANT, EMPTY, IDENTICAL, mae, pair_metrics, psnr, rmse, stretched
from bench.metrics.regions import Regions, box_means, copies, enlarged
from bench.metrics.ssim import CLEAN, OFFICIAL, Definition, ms_ssim, ssim, ssim_maps

SKIMAGE: Any = {"gaussian_weights": True, "use_sample_covariance": False, "sigma": 1.5, "data_range": 255}


def pairs(count=4, height=40, width=52, noise=25.0, seed=0):
    """Smooth pictures and noisy copies, (B, H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.uniform(0, 255, (count, 3, 5, 5)))
    a = F.interpolate(coarse, size=(height, width), mode="bicubic").permute(0, 2, 3, 1).numpy()
    a = np.clip(a + rng.normal(0, 8, a.shape), 0, 255)
    b = np.clip(a + rng.normal(0, noise, a.shape), 0, 255)
    return a.astype(np.uint8), b.astype(np.uint8)


def regions(image, boxes, official=None):
    boxes = np.asarray(boxes, float)
    return Regions(np.asarray(image, int), boxes, official)


def full_map(x, y) -> Any:
    """scikit-image's SSIM around every pixel and channel."""
    return structural_similarity(x, y, channel_axis=2, full=True, **SKIMAGE)[1]


def planes(x, scale=1.0):
    return torch.from_numpy(x).permute(0, 3, 1, 2).double() * scale


def pytorch_ssim(x, y):
    """The published SSIM with window 3, of (1, 3, h, w) in [0, 1], by a two-dimensional convolution."""
    line = torch.exp(-(torch.arange(-1.0, 2.0).double() ** 2) / 4.5)
    window = torch.outer(line, line) / torch.outer(line, line).sum()
    window = window.expand(3, 1, 3, 3)

    def smooth(z):
        return F.conv2d(z, window, padding=1, groups=3)

    mx, my = smooth(x), smooth(y)
    vx, vy, cov = smooth(x * x) - mx**2, smooth(y * y) - my**2, smooth(x * y) - mx * my
    top = (2 * mx * my + 1e-4) * (2 * cov + 9e-4)
    return float((top / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))).mean())


def published_stretch(x):
    """`imagenet_deprocess_batch` on one image: rescale, times 255, clamp, byte."""
    x = torch.from_numpy(x).float()
    x = x.sub(x.min()).div(x.max() - x.min())
    return x.mul(255).clamp(0, 255).byte().numpy()


# References.


def test_errors_are_those_of_numpy():
    a, b = pairs()
    gap = a.astype(float) - b
    assert mae(a, b) == pytest.approx(np.abs(gap).mean((1, 2, 3)), rel=1e-12)
    assert rmse(a, b) == pytest.approx(np.sqrt((gap**2).mean((1, 2, 3))), rel=1e-12)


def test_psnr_is_that_of_scikit_image_and_torchmetrics():
    a, b = pairs()
    found = psnr(a, b)
    assert found == pytest.approx(
        [peak_signal_noise_ratio(x, y, data_range=255) for x, y in zip(a, b, strict=True)]
    )
    theirs = torchmetrics_psnr(planes(b), planes(a), data_range=(0.0, 255.0), reduction="none", dim=(1, 2, 3))
    assert found == pytest.approx(theirs.numpy(), rel=1e-6)


@pytest.mark.parametrize("noise", [2.0, 25.0, 120.0])
def test_clean_ssim_is_that_of_scikit_image(noise):
    a, b = pairs(noise=noise)
    expected = [structural_similarity(x, y, channel_axis=2, **SKIMAGE) for x, y in zip(a, b, strict=True)]
    assert ssim(a, b) == pytest.approx(expected, abs=1e-10)
    maps = [full_map(x, y).mean(2) for x, y in zip(a, b, strict=True)]
    assert ssim_maps(torch.from_numpy(a), torch.from_numpy(b)).numpy() == pytest.approx(
        np.stack(maps), abs=1e-9
    )


def test_clean_ssim_is_that_of_monai():
    a, b = pairs()
    metric = SSIMMetric(spatial_dims=2, data_range=255.0, win_size=11, kernel_sigma=1.5, reduction="none")
    theirs = metric(planes(b), planes(a))
    assert ssim(a, b) == pytest.approx(np.asarray(theirs).ravel(), abs=1e-4)


def test_torchmetrics_has_the_same_ssim_inside_and_counts_a_mirrored_border_too():
    a, b = pairs()
    mean, full = structural_similarity_index_measure(
        planes(b), planes(a), data_range=255.0, reduction="none", return_full_image=True
    )
    assert ssim(a, b) == pytest.approx(full[..., 5:-5, 5:-5].mean((1, 2, 3)).numpy(), abs=1e-10)
    assert np.abs(ssim(a, b) - mean.numpy()).max() > 1e-4


def test_official_ssim_is_pytorch_ssim_with_window_3():
    a, b = pairs()
    expected = [
        pytorch_ssim(planes(x[None], 1 / 255), planes(y[None], 1 / 255)) for x, y in zip(a, b, strict=True)
    ]
    assert ssim(a, b, OFFICIAL) == pytest.approx(expected, abs=1e-10)
    assert np.abs(ssim(a, b) - expected).min() > 0.01  # the definition matters


def test_ms_ssim_is_that_of_monai_and_near_that_of_torchmetrics():
    a, b = pairs(2, 176, 191)
    metric = MultiScaleSSIMMetric(spatial_dims=2, data_range=255.0, reduction="none")
    assert ms_ssim(a, b) == pytest.approx(np.asarray(metric(planes(b), planes(a))).ravel(), abs=1e-4)
    theirs = multiscale_structural_similarity_index_measure(
        planes(b), planes(a), data_range=255.0, reduction="none", normalize="relu"
    )
    assert ms_ssim(a, b) == pytest.approx(theirs.numpy(), abs=0.02)  # a mirrored border enters its last scale


# The published variant.


def test_the_stretch_is_the_published_one_and_not_a_rounding():
    a, _ = pairs()
    a = a // 2 + 30
    found, varied = stretched(a)
    assert varied.all()
    assert np.array_equal(found.numpy(), np.stack([published_stretch(x) for x in a]))
    exact = (a - a.min((1, 2, 3), keepdims=True)) / np.ptp(a, axis=(1, 2, 3))[:, None, None, None] * 255
    assert (np.rint(exact) != found.numpy()).any()


def test_the_stretch_hides_a_gain():
    a, _ = pairs()
    dark = (a // 2).astype(np.uint8)
    found = pair_metrics(dark, a)
    clean, official = found["mae"].mean, found["mae@official"].mean
    assert clean is not None and official is not None
    assert clean > 40 > 5 > official


def test_official_measures_are_those_of_stretched_bytes():
    a, b = pairs()
    x, y = (np.stack([published_stretch(z) for z in side]) for side in (a, b))
    found = pair_metrics(a, b)
    assert found["mae@official"].values == pytest.approx(mae(x, y))
    assert found["psnr@official"].values == pytest.approx(psnr(x, y))
    assert found["ssim@official"].values == pytest.approx(ssim(x, y, OFFICIAL))
    assert "ms_ssim@official" not in found


def test_the_published_region_is_another_objects_once_a_small_one_was_passed_over():
    boxes = np.array([[0, 0, 30, 30], [5, 5, 7, 30], [20, 10, 50, 38], [0, 0, 2.6, 2.1], [1, 1, 20, 20]])
    found = copies(boxes, height=40, width=52)
    assert found.masked.tolist() == [0, 2, 4]  # 2.6 pixels are just a twentieth
    assert found.official.tolist() == [0, 1, 2]
    assert found.wrong == 2


def test_boxes_are_enlarged_clamped_and_cut():
    boxes = [[3.9, 5.2, 10.9, 11.5], [0.5, 1.0, 51.0, 39.9], [-9, -9, -5, -5]]
    assert enlarged(boxes, 40, 52).tolist() == [[1, 3, 12, 13], [0, 0, 52, 40], [0, 0, 0, 0]]


def test_regions_measure_their_own_box_and_official_ones_the_wrong_box():
    a, b = pairs()
    right = np.array([[3.3, 4.0, 20.0, 17.8], [30, 2, 51, 39], [10, 10, 13, 12]])
    wrong = np.array([[8, 4, 21, 30.0], [2, 2, 40, 12], [0, 0, 30, 30]])
    image = np.array([2, 0, 2])
    found = pair_metrics(a, b, regions(image, right, wrong))
    gap = np.abs(a.astype(float) - b)
    x, y = (np.stack([published_stretch(z) for z in side]) for side in (a, b))
    for i, (x0, y0, x1, y1) in enumerate(enlarged(right, 40, 52)):
        inside = gap[image[i], y0:y1, x0:x1]
        assert found["mae_roi"].values[i] == pytest.approx(inside.mean(), rel=1e-12)
        assert found["rmse_roi"].values[i] == pytest.approx(np.sqrt((inside**2).mean()), rel=1e-12)
        full = full_map(a[image[i]], b[image[i]])
        assert found["ssim_roi"].values[i] == pytest.approx(full[y0:y1, x0:x1].mean(), abs=1e-9)
    for i, (x0, y0, x1, y1) in enumerate(enlarged(wrong, 40, 52)):
        p, q = x[image[i], y0:y1, x0:x1], y[image[i], y0:y1, x0:x1]
        assert found["mae_roi@official"].values[i] == pytest.approx(np.abs(p.astype(float) - q).mean())
        expected = pytorch_ssim(planes(p[None], 1 / 255), planes(q[None], 1 / 255))
        assert found["ssim_roi@official"].values[i] == pytest.approx(expected, abs=1e-9)


def test_the_whole_image_as_a_region_is_the_whole_image():
    a, b = pairs(2)
    found = pair_metrics(a, b, regions(np.arange(2), np.array([[0, 0, 52, 40]] * 2)))
    for name in ("mae", "rmse", "psnr", "mae@official", "ssim@official"):
        measure, _, variant = name.partition("@")
        roi = f"{measure}_roi@{variant}" if variant else f"{measure}_roi"
        assert found[roi].values == pytest.approx(found[name].values, rel=1e-9)


# Laws.


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(11, 40), st.integers(11, 40))
def test_ssim_of_equal_images_is_one_and_order_does_not_matter(seed, height, width):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 256, (2, 2, height, width, 3), np.uint8)
    for definition in (CLEAN, OFFICIAL, Definition(7, 1.0)):
        assert ssim(a, a, definition) == pytest.approx(1.0, abs=1e-12)
        assert ssim(a, b, definition) == pytest.approx(ssim(b, a, definition), abs=1e-12)
        assert (ssim(a, b, definition) <= 1).all()
    assert mae(a, b) == pytest.approx(mae(b, a))
    assert (rmse(a, b) >= mae(a, b)).all()


def test_equal_images_under_ms_ssim():
    a, b = pairs(2, 180, 176)
    assert ms_ssim(a, a) == pytest.approx(1.0, abs=1e-12)
    assert ms_ssim(a, b) == pytest.approx(ms_ssim(b, a), abs=1e-12)


def test_every_measure_is_worse_under_more_noise():
    rows = []
    for noise in (3.0, 10.0, 30.0, 90.0):
        a, b = pairs(3, 176, 176, noise)
        rows.append({name: column.mean for name, column in pair_metrics(a, b).items()})
    for name in rows[0]:
        sign = -1 if image_pairs.UNITS[name.partition("@")[0]][1] == "higher" else 1
        assert (np.diff([sign * row[name] for row in rows]) > 0).all(), name


def test_values_do_not_depend_on_the_size_of_a_chunk(monkeypatch):
    a, b = pairs(5)
    whole = pair_metrics(a, b, regions([0, 4, 4, 1], [[0, 0, 20, 20.0]] * 4))
    monkeypatch.setattr(ssim_module, "CHUNK", 1)
    parts = pair_metrics(a, b, regions([0, 4, 4, 1], [[0, 0, 20, 20.0]] * 4))
    for name, column in whole.items():
        assert parts[name].values == pytest.approx(column.values, nan_ok=True, rel=1e-12)


def test_batches_of_a_stream_join():
    a, b = pairs(5)
    b[1] = a[1]
    whole, first, second = pair_metrics(a, b), pair_metrics(a[:2], b[:2]), pair_metrics(a[2:], b[2:])
    for name, column in whole.items():
        joined = first[name] + second[name]
        assert joined.values == pytest.approx(column.values, nan_ok=True)
        assert joined.reasons == column.reasons


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_means_in_boxes_are_those_of_slices(seed):
    rng = np.random.default_rng(seed)
    maps = torch.from_numpy(rng.integers(0, 1000, (3, 9, 7)))
    boxes = np.stack([*np.sort(rng.integers(0, 8, (2, 12)), 0), *np.sort(rng.integers(0, 10, (2, 12)), 0)], 1)
    boxes, image = boxes[:, [0, 2, 1, 3]], rng.integers(0, 3, 12)
    for mean, i, (x0, y0, x1, y1) in zip(box_means(maps, image, boxes), image, boxes, strict=True):
        inside = maps[i, y0:y1, x0:x1].double()
        assert np.isnan(mean) if not inside.numel() else mean == float(inside.mean())


# Degenerate input.


def test_an_identical_pair_has_no_psnr_and_says_why():
    a, b = pairs(3)
    b[1] = a[1]
    assert np.isposinf(psnr(a, b)[1])
    column = pair_metrics(a, b)["psnr"]
    assert np.isnan(column.values[1]) and column.n == 2
    assert column.reasons == {IDENTICAL: 1}
    assert column.mean == pytest.approx(psnr(a, b)[[0, 2]].mean())
    none = pair_metrics(a, a)["psnr"]
    assert none.mean is None and none.reasons == {IDENTICAL: 3}
    assert none.metric("psnr").value is None and none.metric("psnr").n == 0


def test_constant_images_have_clean_values_and_no_stretched_ones():
    a, b = pairs(2)
    b[0] = 77
    found = pair_metrics(a, b, regions([0, 1], [[0, 0, 20, 20.0]] * 2))
    assert all(
        np.isfinite(found[name].values).all() for name in ("mae", "psnr", "ssim", "mae_roi", "ssim_roi")
    )
    for name in ("mae@official", "ssim@official", "mae_roi@official"):
        assert np.isnan(found[name].values).tolist() == [True, False]
        assert found[name].reasons == {CONSTANT: 1}
    flat = np.full((1, 20, 20, 3), 9, np.uint8)
    assert ssim(flat, flat) == pytest.approx(1.0)


def test_one_pixel_and_images_smaller_than_the_window():
    a, b = np.full((2, 1, 1, 3), 10, np.uint8), np.full((2, 1, 1, 3), 13, np.uint8)
    found = pair_metrics(a, b)
    assert found["mae"].values == pytest.approx([3, 3])
    assert found["ssim"].mean is None
    assert found["ssim"].reasons == {"a side of 1 pixels is shorter than 11": 2}
    assert found["ms_ssim"].reasons == {"a side of 1 pixels is shorter than 176": 2}
    assert np.isfinite(ssim(a, b, OFFICIAL)).all()
    with pytest.raises(ValueError, match="window of 11 needs 11 pixels"):
        ssim(a, b)
    with pytest.raises(ValueError, match="MS-SSIM needs 176 pixels"):
        ms_ssim(*pairs(1, 175, 300))


def test_a_region_without_a_pixel_has_no_value():
    a, b = pairs(1)
    found = pair_metrics(a, b, regions([0, 0], [[60, 3, 70, 9], [3, 3, 9, 9.0]]))
    for name, column in found.items():
        if "_roi" in name:
            assert np.isnan(column.values).tolist() == [True, False], name
            assert column.reasons == {EMPTY: 1}, name


def test_no_regions_are_no_rows():
    a, b = pairs(1)
    column = pair_metrics(a, b, regions([], np.zeros((0, 4))))["mae_roi"]
    assert (len(column.values), column.mean) == (0, None)


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        (np.zeros((1, 4, 4, 3)), np.zeros((1, 4, 4, 3)), "must be uint8"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.uint8), "must be uint8"),
        (np.zeros((0, 4, 4, 3), np.uint8), np.zeros((0, 4, 4, 3), np.uint8), "with a pixel"),
        (np.zeros((1, 4, 4, 3), np.uint8), np.zeros((1, 4, 5, 3), np.uint8), "one shape"),
        (np.zeros((1, 4, 4, 1), np.uint8), np.zeros((1, 4, 4, 1), np.uint8), "three channels"),
    ],
)
def test_what_is_no_pair_is_refused(a, b, said):
    with pytest.raises(ValueError, match=said):
        pair_metrics(a, b)


def test_regions_and_stretches_that_make_no_sense_are_refused():
    a, b = pairs(1)
    with pytest.raises(ValueError, match="lies in pair 1 of 1"):
        pair_metrics(a, b, regions([1], [[0, 0, 5, 5.0]]))
    with pytest.raises(ValueError, match="must be finite"):
        regions([0], [[0, 0, np.nan, 5]])
    with pytest.raises(ValueError, match="must be finite"):
        regions([0, 0], [[0, 0, 5, 5]])
    with pytest.raises(ValueError, match="must be finite"):
        stretched(np.full((1, 2, 2, 3), np.inf))
