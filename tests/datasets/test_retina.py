"""The retina phantoms: what a scan holds, determinism to the byte, sizes, and whole folders only."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.core import Dataset
from bench.datasets.duke_oct import SIZES, DukeOCT
from bench.datasets.umn_oct import UMNOCT
from bench.errors import UserError
from bench.files import sha256_file
from bench.phantoms.marker import HEADER, MARKER, expected_units, is_phantom
from bench.phantoms.retina import bscan
from bench.phantoms.retina_files import parse_size


@settings(deadline=None, max_examples=25)
@given(
    size=st.tuples(st.integers(32, 130), st.integers(32, 130)),
    seed=st.integers(0, 2**32),
    subject=st.integers(1, 40),
    number=st.integers(1, 61),
    depth=st.floats(0, 1),
)
def test_scans_are_well_formed(
    size: tuple[int, int], seed: int, subject: int, number: int, depth: float
) -> None:
    scan = bscan(size, seed, subject, number, depth, with_fluid=True)
    assert scan.image.shape == scan.fluid.shape == size and scan.image.dtype == np.uint8
    assert scan.boundaries.shape == (8, size[1])
    assert (np.diff(scan.boundaries, axis=0) >= 0).all()
    assert scan.boundaries.min() >= 1 and scan.boundaries.max() < size[0]
    rows = np.arange(size[0])[:, None]
    inside = (rows >= scan.boundaries[0]) & (rows < scan.boundaries[7])
    assert scan.fluid.any() and not scan.fluid[~inside].any()
    again = bscan(size, seed, subject, number, depth, with_fluid=True)
    assert np.array_equal(scan.image, again.image) and np.array_equal(scan.fluid, again.fluid)
    assert not bscan(size, seed, subject, number, depth, with_fluid=False).fluid.any()


def test_scans_subjects_and_seeds_differ() -> None:
    images = [
        bscan((48, 64), *which, 0.5, True).image for which in [(0, 1, 1), (0, 1, 2), (0, 2, 1), (1, 1, 1)]
    ]
    assert len({image.tobytes() for image in images}) == 4


def test_fluid_is_dark_and_so_are_things_that_are_none(tiny_duke: Path) -> None:
    scans = DukeOCT().load(tiny_duke).scans
    wet = [scan for scan in scans if (scan.mask == 8).any()]
    assert 0.6 < len(wet) / len(scans) < 0.8
    layer = np.mean([scan.image[(scan.mask > 0) & (scan.mask < 8)].mean() for scan in wet])
    assert np.mean([scan.image[scan.mask == 8].mean() for scan in wet]) < 0.5 * layer
    for split in ("train", "val", "test"):
        assert any(not (scan.mask == 8).any() for scan in scans if scan.split == split)


@pytest.mark.parametrize("dataset", [DukeOCT(), UMNOCT()])
def test_two_writes_agree_in_every_byte(dataset: Dataset, tmp_path: Path) -> None:
    dataset.write_phantom(tmp_path / "a", seed=3, size="tiny")
    dataset.write_phantom(tmp_path / "b", seed=3, size="tiny")
    dataset.write_phantom(tmp_path / "c", seed=4, size="tiny")
    first, second, third = (
        {path.name: sha256_file(path) for path in sorted((tmp_path / name).iterdir())} for name in "abc"
    )
    assert first == second and not set(first.values()) & set(third.values())
    prints = [dataset.load(tmp_path / name).fingerprint() for name in "abc"]
    assert prints[0] == prints[1] != prints[2]


def test_a_phantom_stays_recognisable(tiny_duke: Path, tmp_path: Path) -> None:
    assert is_phantom(tiny_duke) and is_phantom(tiny_duke.parent)
    assert expected_units(tiny_duke) == ["Subject_01", "Subject_02", "Subject_03", "Subject_07", "Subject_09"]
    for path in tiny_duke.glob("*.mat"):
        assert path.read_bytes()[:116].decode().rstrip() == HEADER
    (tmp_path / "one.mat").write_bytes((tiny_duke / "Subject_01.mat").read_bytes())
    assert is_phantom(tmp_path) and expected_units(tmp_path) is None
    (tmp_path / "one.mat").write_bytes(b"MATLAB 5.0 MAT-file, Platform: GLNXA64")
    assert not is_phantom(tmp_path) and not is_phantom(tmp_path / "absent")
    (tmp_path / MARKER).write_text("{damaged")
    assert is_phantom(tmp_path) and expected_units(tmp_path) is None


def test_the_marker_is_light_to_import() -> None:
    code = "import sys, bench.phantoms.marker; print({'numpy', 'scipy', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_sizes() -> None:
    assert [parse_size(size, SIZES) for size in ("tiny", "small", "official", "40x72")] == [
        (64, 96),
        (124, 192),
        (496, 768),
        (40, 72),
    ]
    with pytest.raises(UserError, match=r"`smal` is no size of a phantom.*Did you mean `small`\?"):
        parse_size("smal", SIZES)
    for wrong in ("", "64", "64x", "x96", "-64x96", "64x96x3", "6 4x96"):
        with pytest.raises(UserError, match="is no size of a phantom"):
            parse_size(wrong, SIZES)
    for wrong in ("31x96", "64x2049", "0x0", "999999x999999"):
        with pytest.raises(UserError, match="take sides from 32 to 2048"):
            parse_size(wrong, SIZES)


def test_any_size_has_all_subjects(tmp_path: Path) -> None:
    DukeOCT().write_phantom(tmp_path / "new" / "duke", size="32x40")
    assert DukeOCT().load(tmp_path / "new" / "duke").counts() == {"train": 66, "val": 22, "test": 22}


def test_a_folder_with_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="already holds files"):
        DukeOCT().write_phantom(tmp_path, size="tiny")
    with pytest.raises(UserError, match="is a file"):
        DukeOCT().write_phantom(tmp_path / "mine.txt", size="tiny")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_broken_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bench.datasets.duke_oct.write_marker", full)
    with pytest.raises(OSError, match="No space left"):
        DukeOCT().write_phantom(tmp_path / "duke", size="tiny")
    assert not list(tmp_path.iterdir())


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    UMNOCT().write_phantom(tmp_path, size="tiny")
    assert sorted(path.name for path in tmp_path.iterdir()) == [MARKER, "UMNDataset.mat"]
