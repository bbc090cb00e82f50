"""`duke_oct`: the mask against a literal per-pixel reading of the specification, and every bad file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.io import savemat

from bench.datasets.duke_oct import label_map, read_subject
from bench.errors import UserError

H, W, N = 20, 12, 4
KEYS = ["images", "manualLayers1", "manualFluid1"]


def literal(layers: np.ndarray, fluid: np.ndarray) -> np.ndarray:
    """Steps 2 to 4 of the specification's section 1 and the remap, one pixel after the other."""
    height, width = fluid.shape
    mask = np.full((height, width), 255, np.uint8)
    for column in range(width):
        b = [int(value) for value in layers[:, column]]
        for i in range(1, 8):
            if b[i] < b[i - 1]:
                b[i] = b[i - 1]
        edges = [0, *b, height]
        for k in range(9):
            for row in range(edges[k], edges[k + 1]):
                mask[row, column] = k
        for row in range(height):
            if mask[row, column] == 8:
                mask[row, column] = 0
            if fluid[row, column] > 0:
                mask[row, column] = 8
    return mask


def subject(**changed: Any) -> dict[str, np.ndarray]:
    """A small subject: scans 1 and 3 labelled, columns 2 to 9 at most."""
    rng = np.random.default_rng(3)
    layers = np.full((8, W, N), np.nan)
    layers[:, 3:10, 1] = np.arange(2, 18, 2)[:, None]
    layers[:, 2:8, 3] = np.arange(3, 19, 2)[:, None]
    layers[4, 5, 1] = 1  # falls below its predecessor
    layers[:3, 6, 3] = np.nan  # layers missing at the top
    fluid = np.zeros((H, W, N))
    fluid[6:9, 4:6, 1] = 2
    fluid[0, 0, 3] = np.nan
    found = {
        "images": rng.integers(0, 256, (H, W, N)).astype(np.uint8),
        "manualLayers1": layers,
        "manualFluid1": fluid,
    }
    return found | changed


def write(folder: Path, **changed: Any) -> Path:
    """`Subject_01.mat` with some variables changed, or left out where None."""
    path = folder / "Subject_01.mat"
    savemat(path, {key: value for key, value in subject(**changed).items() if value is not None})
    return path


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_subject(path, "train")
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


# --- the mask


rows = hnp.arrays(np.int32, (8, 7), elements=st.integers(0, 15))
pockets = hnp.arrays(np.uint16, (15, 7), elements=st.integers(0, 3))


@settings(deadline=None, max_examples=60)
@given(rows, pockets)
def test_label_map_is_the_specification_read_pixel_by_pixel(layers: np.ndarray, fluid: np.ndarray) -> None:
    mask = label_map(layers, fluid)
    assert mask.dtype == np.uint8
    assert np.array_equal(mask, literal(layers, fluid))
    assert ((mask == 8) == (fluid > 0)).all()


def test_unlabelled_column_is_background() -> None:
    assert not label_map(np.zeros((8, 3), np.int32), np.zeros((9, 3), np.uint16)).any()


def test_boundaries_out_of_order_are_repaired_from_left_to_right() -> None:
    layers = np.array([[2], [5], [3], [4], [9], [9], [1], [10]], np.int32)
    repaired = np.array([[2], [5], [5], [5], [9], [9], [9], [10]], np.int32)
    fluid = np.zeros((12, 1), np.uint16)
    assert np.array_equal(label_map(layers, fluid), label_map(repaired, fluid))
    assert label_map(layers, fluid)[:, 0].tolist() == [0, 0, 1, 1, 1, 4, 4, 4, 4, 7, 0, 0]


# --- one file


def test_labelled_scans_cropped_to_the_columns_of_all_of_them(tmp_path: Path) -> None:
    data = subject()
    scans = read_subject(write(tmp_path), "val")
    assert [scan.id for scan in scans] == ["Subject_01_02", "Subject_01_04"]
    for scan, i in zip(scans, (1, 3), strict=True):
        assert (scan.unit, scan.split, scan.full_size, scan.window) == ("Subject_01", "val", (H, W), (0, 2))
        assert np.array_equal(scan.image, data["images"][:, 2:10, i])
        layers = np.nan_to_num(data["manualLayers1"][:, 2:10, i])
        assert np.array_equal(scan.mask, literal(layers, np.nan_to_num(data["manualFluid1"][:, 2:10, i])))
        assert scan.image.dtype == scan.mask.dtype == np.uint8
    assert not scans[0].mask[:, 0].any()  # labelled in the other scan only
    assert not scans[1].mask[:, -1].any()


def test_images_stored_as_whole_floats_are_read_as_grey_values(tmp_path: Path) -> None:
    whole = read_subject(write(tmp_path), "train")
    floats = read_subject(write(tmp_path, images=subject()["images"].astype(float)), "train")
    assert all(np.array_equal(a.image, b.image) for a, b in zip(whole, floats, strict=True))


@pytest.mark.parametrize("key", KEYS)
def test_missing_variable(tmp_path: Path, key: str) -> None:
    assert f"lacks the variable {key}" in refusal(write(tmp_path, **{key: None}))


def test_wrong_shapes(tmp_path: Path) -> None:
    data = subject()
    cut = {
        "images": data["images"][..., 0],
        "manualLayers1": data["manualLayers1"][:7],
        "manualFluid1": data["manualFluid1"][:, :, :2],
    }
    assert "must be (H,W,N), got (20,12)" in refusal(write(tmp_path, images=cut["images"]))
    assert "must be (8,12,4) to fit `images`, got (7,12,4)" in refusal(
        write(tmp_path, manualLayers1=cut["manualLayers1"])
    )
    assert "must be (20,12,4) to fit `images`, got (20,12,2)" in refusal(
        write(tmp_path, manualFluid1=cut["manualFluid1"])
    )


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("images", np.nan, "holds NaN or infinite pixels"),
        ("images", np.inf, "holds NaN or infinite pixels"),
        ("images", 256.0, "whole grey values from 0 to 255"),
        ("images", -1.0, "whole grey values from 0 to 255"),
        ("images", 0.5, "whole grey values from 0 to 255"),
        ("manualLayers1", -1.0, "must hold rows from 0 to 20, got -1 to"),
        ("manualLayers1", 21.0, "must hold rows from 0 to 20, got"),
        ("manualLayers1", np.inf, "must hold rows from 0 to 20, got"),
        ("manualFluid1", -1.0, "must hold component numbers from 0, got -1"),
        ("manualFluid1", np.inf, "must hold component numbers from 0, got"),
    ],
)
def test_values_out_of_range(tmp_path: Path, key: str, value: float, told: str) -> None:
    array = subject()[key].astype(float)
    array[0, 4, 1] = value
    message = refusal(write(tmp_path, **{key: array}))
    assert told in message and f"`{key}`" in message


@pytest.mark.parametrize("key", KEYS)
def test_text_where_numbers_belong(tmp_path: Path, key: str) -> None:
    cells = np.empty(subject()[key].shape, object)
    cells[...] = "x"
    assert "holds no numbers" in refusal(write(tmp_path, **{key: cells}))


def test_no_labelled_scan(tmp_path: Path) -> None:
    assert "no labelled B-scan" in refusal(write(tmp_path, manualLayers1=np.full((8, W, N), np.nan)))


def test_matlab_73_file(tmp_path: Path) -> None:
    path = tmp_path / "Subject_01.mat"
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(400))
    assert "MATLAB 7.3 (HDF5)" in refusal(path)


@pytest.mark.parametrize("content", [b"", b"x", b"not a mat file at all" * 40, bytes(4096)])
def test_no_mat_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "Subject_01.mat"
    path.write_bytes(content)
    refusal(path)


def test_any_truncation_is_refused(tiny_duke: Path, tmp_path: Path) -> None:
    whole = (tiny_duke / "Subject_01.mat").read_bytes()
    path = tmp_path / "Subject_01.mat"
    for length in np.random.default_rng(0).integers(0, len(whole), 40):
        path.write_bytes(whole[:length])
        refusal(path)


def test_flipped_bytes_are_refused_or_harmless(tiny_duke: Path, tmp_path: Path) -> None:
    whole = (tiny_duke / "Subject_01.mat").read_bytes()
    path, rng = tmp_path / "Subject_01.mat", np.random.default_rng(1)
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[int(rng.integers(0, 20_000))] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            scans = read_subject(path, "train")
        except UserError:
            continue
        assert all(scan.mask.max() <= 8 for scan in scans)
