"""The Decathlon phantom: official layout, slices above the thresholds, recognised, learnable, not by grey."""

from __future__ import annotations

import gzip
import json
import shutil
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from sklearn.ensemble import HistGradientBoostingClassifier

from bench.errors import UserError
from bench.phantoms.marker import MARKER, expected_units, is_phantom
from bench.phantoms.organ_files import TASKS, write_organs
from bench.phantoms.organs import ANATOMIES, draw
from bench.volumes.organs import CHANNELS, ORGANS, of_folder

TINY = {"Task02_Heart": 6, "Task04_Hippocampus": 8, "Task09_Spleen": 6}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    root = tmp_path_factory.mktemp("organs") / "phantom"
    write_organs(root, 0, "tiny")
    return root


def load(path):
    """A NIfTI file, of no declared type: nibabel's own says that the affine may be missing."""
    image: Any = nib.Nifti1Image.from_filename(path)
    return image


def test_it_is_laid_out_as_the_official_folders_are(tiny):
    assert sorted(p.name for p in tiny.iterdir() if p.is_dir()) == list(TINY)
    affines, spacings = set(), set()
    for folder, count in TINY.items():
        listing = json.loads((tiny / folder / "dataset.json").read_text())
        assert listing["labels"]["0"] == "background"
        assert len(listing["training"]) == listing["numTraining"] == count
        for row in listing["training"]:
            image, label = (load(tiny / folder / row[kind]) for kind in ("image", "label"))
            assert image.shape == label.shape
            assert image.shape[:2] == ANATOMIES[folder].shape and image.shape[2] in (5, 6)
            assert np.array_equal(image.affine, label.affine)
            drawn = np.asarray(label.dataobj)
            assert drawn.dtype == np.uint8
            assert set(np.unique(drawn)) == set(map(int, listing["labels"]))
            affines.add(tuple(image.affine[:3, :3].round(3).ravel()))
            spacings.add(tuple(np.round(image.header.get_zooms(), 2)))
    assert len(affines) > 10 and len(spacings) >= 8
    first = sorted(p.name for p in (tiny / "Task02_Heart" / "imagesTr").iterdir())
    assert first[0] == "la_003.nii.gz"
    assert (tiny / "Task09_Spleen" / "labelsTr" / "spleen_2.nii.gz").is_file()
    assert sum(p.stat().st_size for p in tiny.rglob("*") if p.is_file()) < 4e6


def test_orientations_differ_and_some_volumes_are_tilted(tiny):
    codes, tilted = set(), 0
    for path in sorted(tiny.rglob("imagesTr/*.nii.gz")):
        affine = load(path).affine
        codes.add("".join(nib.aff2axcodes(affine)))
        tilted += np.count_nonzero(np.abs(affine[:3, :3]) > 0.05) > 3
    assert codes == {"RAS", "LAS"}
    assert 0 < tilted < 20


@pytest.mark.parametrize("folder", TASKS)
def test_slices_of_every_label_reach_the_threshold_and_some_do_not(folder):
    few, below = set(), 0
    for number in range(3):
        image, label = draw(folder, 0, number, 9)
        assert image.shape[3:] == ((2,) if CHANNELS.get(folder) else ())
        assert set(np.unique(label)) == {0, *(organ.label for organ in of_folder(folder))}
        kept = [(label == organ.label).sum((0, 1)) >= organ.least for organ in of_folder(folder)]
        few |= {organ.name for organ, one in zip(of_folder(folder), kept, strict=True) if one.mean() < 0.5}
        below += sum(int((~one).sum()) for one in kept)
        if folder == "Task04_Hippocampus":
            assert (kept[0] & kept[1]).sum() >= 4  # both halves in the same slices
        if ANATOMIES[folder].kind == "CT":
            assert image.dtype == np.int16 and image.min() < -950 and 300 < image.max() < 1500
        else:
            assert image.dtype == np.float32 and image.min() >= 1
    assert not few and below


def test_patients_differ_in_gain_and_depth_of_the_small_size_is_as_promised():
    medians = [np.median(draw("Task02_Heart", 0, number, 8)[0]) for number in range(6)]
    assert max(medians) > 1.5 * min(medians)
    counts = {folder: len(task.ids) for folder, task in TASKS.items()}
    assert set(counts) == set(ANATOMIES) <= {organ.folder for organ in ORGANS.values()}
    assert sum(counts.values()) == 110 and min(counts.values()) == 14


def test_the_same_seed_writes_the_same_bytes_and_another_seed_others(tiny, tmp_path):
    write_organs(tmp_path / "same", 0, "tiny")
    files = sorted(p.relative_to(tiny) for p in tiny.rglob("*") if p.is_file())
    again = sorted(p.relative_to(tmp_path / "same") for p in (tmp_path / "same").rglob("*") if p.is_file())
    assert files == again
    assert all((tiny / p).read_bytes() == (tmp_path / "same" / p).read_bytes() for p in files)
    write_organs(tmp_path / "other", 1, "tiny")
    volumes = [p for p in files if p.name.endswith(".nii.gz")]
    assert all((tiny / p).read_bytes() != (tmp_path / "other" / p).read_bytes() for p in volumes)


def test_it_is_recognised_as_a_whole_and_by_folder(tiny, tmp_path):
    assert is_phantom(tiny) and is_phantom(tiny / "Task02_Heart")
    units = [f"la_{one}" for one in TASKS["Task02_Heart"].tiny]
    assert expected_units(tiny / "Task02_Heart") == units
    assert len(expected_units(tiny) or ()) == 20
    shutil.copytree(tiny, tmp_path / "bare", ignore=shutil.ignore_patterns(MARKER))
    assert is_phantom(tmp_path / "bare") and is_phantom(tmp_path / "bare" / "Task04_Hippocampus")


def test_real_and_damaged_volumes_are_no_phantom(tmp_path):
    images = tmp_path / "Task09_Spleen" / "imagesTr"
    images.mkdir(parents=True)
    real = nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)).to_bytes()
    (images / "spleen_2.nii.gz").write_bytes(gzip.compress(real))
    (images / "spleen_1.nii.gz").write_bytes(gzip.compress(real)[:30])
    (images / "._spleen_0.nii.gz").write_bytes(b"bench phantom, not real data")
    assert not is_phantom(tmp_path) and not is_phantom(tmp_path / "Task09_Spleen")
    (images / "spleen_2.nii.gz").write_bytes(b"\x1f\x8b no deflate stream")
    assert not is_phantom(tmp_path)


def test_it_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(UserError, match=r"use tiny or small\. Did you mean `tiny`"):
        write_organs(tmp_path / "x", 0, "tinny")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(UserError, match="already holds files"):
        write_organs(tmp_path / "full", 0, "tiny")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["full"]


def test_progress_wraps_the_volumes(tmp_path):
    seen = []

    def progress(items, total, description):
        seen.append((len(items), total, description))
        return items

    write_organs(tmp_path / "x", 2, "tiny", progress)
    assert seen == [(20, 20, "write the phantom")]


def features(image):
    """Grey, smoothed grey, roughness and place of every pixel, (H * W * D, 8)."""
    flat = (image - image.min((0, 1))) / np.ptp(image, axis=(0, 1))
    smooth = gaussian_filter(flat, (2, 2, 0))
    rough = np.sqrt(gaussian_filter((flat - smooth) ** 2, (2, 2, 0))) * 10
    x, y, _ = np.meshgrid(*(np.linspace(-1, 1, n) for n in image.shape), indexing="ij")
    return np.stack([flat, smooth, smooth**2, rough, x, y, x**2, y**2], -1).reshape(-1, 8)


@pytest.mark.parametrize("folder", ["Task02_Heart", "Task09_Spleen"])
def test_grey_levels_alone_do_not_find_the_organ_while_texture_and_place_help(folder):
    """Pixels of six patients against three others; slices in which the organ is large."""
    drawn = [draw(folder, 0, number, 5) for number in range(9)]
    x = [features(image[..., 1:4].astype(np.float32)) for image, _ in drawn]
    y = [label[..., 1:4].ravel() == 1 for _, label in drawn]
    score = {}
    for name, columns in (("grey", slice(0, 1)), ("all", slice(None))):
        fit = HistGradientBoostingClassifier(max_iter=40, random_state=0)
        fit.fit(np.concatenate(x[:6])[::5, columns], np.concatenate(y[:6])[::5])
        found, truth = fit.predict(np.concatenate(x[6:])[:, columns]), np.concatenate(y[6:])
        score[name] = (found & truth).sum() / (found | truth).sum()
    assert score["grey"] < 0.45
    assert score["grey"] + 0.25 < score["all"] < 0.97
