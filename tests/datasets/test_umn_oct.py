"""`umn_oct`: cells of one .mat, the split by index, and every bad file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from bench.datasets.umn_oct import CARD, UMNOCT, splits
from bench.errors import UserError
from bench.phantoms.marker import is_phantom
from bench.registry import card


def cells(count: int = 29, shape: tuple[int, ...] = (6, 8, 25)) -> tuple[np.ndarray, np.ndarray]:
    images, fluid = np.empty((1, count), object), np.empty((1, count), object)
    rng = np.random.default_rng(0)
    for i in range(count):
        images[0, i] = rng.integers(0, 256, shape).astype(np.uint8)
        fluid[0, i] = (rng.random(shape) < 0.2).astype(float)
    return images, fluid


def write(root: Path, images: np.ndarray | None, fluid: np.ndarray | None) -> Path:
    found = {"AllSubjects": images, "ManualFluid1": fluid}
    savemat(root / "UMNDataset.mat", {key: value for key, value in found.items() if value is not None})
    return root


def refusal(root: Path) -> str:
    with pytest.raises(UserError) as caught:
        UMNOCT().load(root)
    message = str(caught.value)
    assert "UMNDataset.mat" in message and "\n" not in message
    return message


def test_all_scans_of_the_first_29_cells(tmp_path: Path) -> None:
    images, fluid = cells(31)
    scans = UMNOCT().load(write(tmp_path, images, fluid))
    assert scans.counts() == {"train": 475, "val": 125, "test": 125}
    assert scans.classes == ("background", "fluid") and scans.leaks() == 0
    first, last = scans.scans[0], scans.scans[-1]
    assert (first.id, first.unit, last.id) == ("Subject_01_01", "Subject_01", "Subject_29_25")
    assert np.array_equal(last.image, images[0, 28][:, :, 24])
    assert np.array_equal(last.mask, fluid[0, 28][:, :, 24])
    assert first.image.dtype == first.mask.dtype == np.uint8
    assert first.full_size == (6, 8) and first.window == (0, 0)


def test_split_by_index_and_literal_card() -> None:
    assert list(splits().values()) == ["train"] * 19 + ["val"] * 5 + ["test"] * 5
    assert card("dataset", "umn_oct") == CARD == UMNOCT.card


def test_phantom(tiny_umn: Path) -> None:
    scans = UMNOCT().load(tiny_umn)
    assert is_phantom(tiny_umn)
    assert scans.counts() == {"train": 95, "val": 25, "test": 25}
    for split in ("train", "val", "test"):
        wet = [scan.mask.any() for scan in scans.scans if scan.split == split]
        assert any(wet) and not all(wet)


@pytest.mark.parametrize("missing", ["AllSubjects", "ManualFluid1"])
def test_missing_variable(tmp_path: Path, missing: str) -> None:
    images, fluid = cells()
    found = (None, fluid) if missing == "AllSubjects" else (images, None)
    assert f"lacks the variable {missing}" in refusal(write(tmp_path, *found))


def test_too_few_subjects_and_no_cells(tmp_path: Path) -> None:
    assert "at least 29 subjects, got 28" in refusal(write(tmp_path, *cells(28)))
    images, _ = cells()
    assert "must be a row of cells, got float64 (6,8)" in refusal(write(tmp_path, images, np.zeros((6, 8))))


def test_wrong_shapes(tmp_path: Path) -> None:
    images, fluid = cells()
    fluid[0, 3] = fluid[0, 3][:5]
    assert "`ManualFluid1` of `Subject_04`" in (message := refusal(write(tmp_path, images, fluid)))
    assert "must be (6,8,25) as the images, got (5,8,25)" in message
    assert "must be (H,W,25), got (6,8,24)" in refusal(write(tmp_path, *cells(shape=(6, 8, 24))))


@pytest.mark.parametrize("value", [2.0, -1.0, 0.5, np.nan])
def test_mask_values_other_than_0_and_1(tmp_path: Path, value: float) -> None:
    images, fluid = cells()
    fluid[0, 6][1, 2, 3] = value
    message = refusal(write(tmp_path, images, fluid))
    assert f"of `Subject_07` in `{tmp_path / 'UMNDataset.mat'}` holds the value {value:g}" in message


def test_bad_images(tmp_path: Path) -> None:
    images, fluid = cells()
    images[0, 2] = images[0, 2].astype(float)
    images[0, 2][0, 0, 0] = np.nan
    assert "`AllSubjects` of `Subject_03`" in (message := refusal(write(tmp_path, images, fluid)))
    assert "NaN or infinite" in message


def test_truncated_and_absent(tiny_umn: Path, tmp_path: Path) -> None:
    whole = (tiny_umn / "UMNDataset.mat").read_bytes()
    for length in (0, 100, 5_000, len(whole) // 2, len(whole) - 10):
        (tmp_path / "UMNDataset.mat").write_bytes(whole[:length])
        refusal(tmp_path)
    (tmp_path / "UMNDataset.mat").unlink()
    assert "holds no UMNDataset.mat" in refusal(tmp_path)
    assert "is no folder" in refusal(tmp_path / "absent")
