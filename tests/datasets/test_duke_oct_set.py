"""`duke_oct` as a set of files: split, marker, missing and unknown subjects, the official keys."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat

from bench.datasets.duke_oct import CARD, DukeOCT, splits
from bench.errors import UserError
from bench.phantoms.marker import MARKER, expected_units, is_phantom
from bench.registry import card


def test_card_is_literal_and_splits_are_the_papers() -> None:
    assert card("dataset", "duke_oct") == CARD == DukeOCT.card
    assert len(CARD.classes) == 9
    by_split = {name: [u for u, s in splits().items() if s == name] for name in ("train", "val", "test")}
    assert [len(units) for units in by_split.values()] == [6, 2, 2]
    assert by_split["test"] == ["Subject_09", "Subject_10"]


def test_phantom_loads(tiny_duke: Path) -> None:
    scans = DukeOCT().load(tiny_duke)
    assert scans.counts() == {"train": 33, "val": 11, "test": 11}
    assert scans.leaks() == 0
    assert scans.scans[0].id == "Subject_01_11" and scans.scans[-1].id == "Subject_09_51"
    assert set(np.unique(np.concatenate([scan.mask.ravel() for scan in scans.scans]))) == set(range(9))
    assert any(scan.window != (0, 0) for scan in scans.scans)  # some subject has a margin


def test_progress_wraps_the_files(tiny_duke: Path) -> None:
    seen: dict[str, Any] = {}

    def progress(items: Any, **told: Any) -> Any:
        seen.update(told)
        return items

    DukeOCT().load(tiny_duke, progress)
    assert seen == {"total": 5, "description": "read OCT volumes"}


def test_one_level_below_and_odd_names(tiny_duke: Path, tmp_path: Path) -> None:
    root = tmp_path / "a, b=[c] d"
    shutil.copytree(tiny_duke, root / "2015_BOE_Chiu")
    (root / "2015_BOE_Chiu" / "._Subject_01.mat").write_bytes(b"left by a Mac")
    assert is_phantom(root)
    assert DukeOCT().load(root).fingerprint() == DukeOCT().load(tiny_duke).fingerprint()


def test_missing_subject(tiny_duke: Path, tmp_path: Path) -> None:
    root = tmp_path / "duke"
    shutil.copytree(tiny_duke, root)
    (root / "Subject_07.mat").unlink()
    with pytest.raises(UserError, match=r"lacks `Subject_07\.mat`"):
        DukeOCT().load(root)


def test_without_the_marker_all_ten_are_required_and_it_stays_a_phantom(
    tiny_duke: Path, tmp_path: Path
) -> None:
    root = tmp_path / "duke"
    shutil.copytree(tiny_duke, root)
    (root / MARKER).unlink()
    assert is_phantom(root) and expected_units(root) is None
    with pytest.raises(UserError, match=r"lacks `Subject_04\.mat`, `Subject_05\.mat`"):
        DukeOCT().load(root)


def test_unknown_subject_and_several_sets(tiny_duke: Path, tmp_path: Path) -> None:
    root = tmp_path / "duke"
    shutil.copytree(tiny_duke, root)
    shutil.copy(root / "Subject_01.mat", root / "Subject_11.mat")
    with pytest.raises(UserError, match=r"holds `Subject_11\.mat`, which no split names"):
        DukeOCT().load(root)
    shutil.copytree(tiny_duke, tmp_path / "again")
    with pytest.raises(UserError, match="several sets of subjects"):
        DukeOCT().load(tmp_path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no Subject_XX\.mat"):
        DukeOCT().load(tmp_path)
    with pytest.raises(UserError, match="is no folder"):
        DukeOCT().load(tmp_path / "absent")


def test_phantom_names_its_units(tiny_duke: Path) -> None:
    told = json.loads((tiny_duke / MARKER).read_text())
    assert told == {
        "dataset": "duke_oct",
        "seed": 0,
        "size": "tiny",
        "units": ["Subject_01", "Subject_02", "Subject_03", "Subject_07", "Subject_09"],
    }


def test_phantom_file_has_the_official_keys_dtypes_and_labels(tiny_duke: Path) -> None:
    found = {k: v for k, v in loadmat(tiny_duke / "Subject_02.mat").items() if not k.startswith("__")}
    layers = ["manualLayers1", "manualLayers2", "automaticLayersDME", "automaticLayersNormal"]
    fluids = ["manualFluid1", "manualFluid2", "automaticFluidDME"]
    assert sorted(found) == sorted(["images", *layers, *fluids])
    assert found["images"].dtype == np.uint8 and found["images"].shape == (64, 96, 61)
    assert {found[k].shape for k in layers} == {(8, 96, 61)}
    assert {found[k].shape for k in fluids} == {(64, 96, 61)}
    assert {found[k].dtype for k in layers + fluids} == {np.dtype(float)}
    kept = np.flatnonzero(np.nan_to_num(found["manualLayers1"]).sum((0, 1))) + 1
    assert kept.tolist() == [11, 16, 21, 26, 29, 31, 33, 36, 41, 46, 51]


def test_scan_names_agree_with_the_real_exported_pairs(tiny_duke: Path) -> None:
    listed = Path(__file__).parents[2].parent / "shared/data/duke_fluid/splits.csv"
    if not listed.is_file():
        pytest.skip(f"the real Duke pairs are not here: {listed}")
    with listed.open() as file:
        rows = list(csv.DictReader(file))
    assert {row["unit"]: row["split"] for row in rows} == splits()
    pattern = {len(row["file"]) for row in rows}
    assert {len(scan.id) + 4 for scan in DukeOCT().load(tiny_duke).scans} == pattern
