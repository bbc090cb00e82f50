"""The Decathlon as a dataset, and its real hippocampus volumes."""

from __future__ import annotations

import shutil

import nibabel as nib
import numpy as np
import pytest
from msd_files import SHAPE, everything, resized, same, save, voxels, write_listing, write_task
from refusals import refused

from bench.datasets import decathlon
from bench.datasets.decathlon import Decathlon
from bench.phantoms.marker import write_marker
from bench.volumes import pixels
from bench.volumes.cache import SliceCache, slices
from bench.volumes.organs import ORGANS, of_folder
from bench.volumes.slices import Normalisation

REAL = tuple(f"hippocampus_{i}" for i in ("001", "003", "004", "007", "008"))


def write_spleens(root, count):
    return write_task(root, "Task09_Spleen", [f"spleen_{i}" for i in range(count)], highest=1)


def test_loading_decodes_nothing_and_leaves_faulty_volumes_to_the_cache(tmp_path):
    folder = write_task(tmp_path)
    write_spleens(tmp_path, 2)
    for path in (folder / "imagesTr").iterdir():
        path.write_bytes(b"")
    found = Decathlon().load(tmp_path)
    assert found.root == tmp_path
    assert list(found.paths) == ["Task04_Hippocampus", "Task09_Spleen"]
    assert found.counts() == {"Task04_Hippocampus": 3, "Task09_Spleen": 2}
    (folder / "labelsTr" / "hippocampus_003.nii.gz").unlink()
    refused(Decathlon().load(tmp_path).counts, "hippocampus_003")
    (folder / "dataset.json").write_text("{")
    refused(lambda: Decathlon().load(tmp_path), folder / "dataset.json")


def test_verify_counts_slices_and_volumes(tmp_path):
    folder = write_task(tmp_path)
    save(folder / "labelsTr" / "hippocampus_003.nii.gz", np.minimum(voxels(1)[1], 1))
    facts = Decathlon().verify(tmp_path)
    assert facts["volumes of Task04_Hippocampus"] == "3"
    assert facts["hippocampus_anterior"] == "12 slices of 3 volumes"
    assert facts["hippocampus_posterior"] == "6 slices of 2 volumes"
    assert Decathlon().verify(folder)["fingerprint"] == facts["fingerprint"]
    save(folder / "labelsTr" / "hippocampus_003.nii.gz", voxels(1)[1])
    assert Decathlon().verify(tmp_path)["fingerprint"] != facts["fingerprint"]
    save(folder / "labelsTr" / "hippocampus_001.nii.gz", np.zeros(SHAPE, np.uint8))
    refused(lambda: Decathlon().verify(tmp_path), "hippocampus_001", "no foreground")


def test_a_complete_folder_must_have_the_released_counts(tmp_path, monkeypatch):
    monkeypatch.setitem(decathlon.COMPLETE, "Task09_Spleen", 3)
    write_spleens(tmp_path, 3)
    told = refused(lambda: Decathlon().verify(tmp_path), tmp_path / "Task09_Spleen")
    assert "0 slices of 0 volumes of `spleen` where 982 slices of 41 volumes" in told
    monkeypatch.setitem(decathlon.EXPECTED, "spleen", (0, 0))
    assert Decathlon().verify(tmp_path)["spleen"] == "0 slices of 0 volumes, as released"


def test_a_part_of_a_folder_or_a_phantom_is_only_counted(tmp_path, monkeypatch):
    write_spleens(tmp_path, 2)
    told = "0 slices of 0 volumes (the complete folder has 982 of 41)"
    assert Decathlon().verify(tmp_path)["spleen"] == told
    monkeypatch.setitem(decathlon.COMPLETE, "Task09_Spleen", 2)
    refused(lambda: Decathlon().verify(tmp_path), "982")
    write_marker(tmp_path, "decathlon", 0, "small", [])
    assert Decathlon().verify(tmp_path)["spleen"] == told
    assert Decathlon().verify(tmp_path / "Task09_Spleen")["spleen"] == told


def test_the_complete_counts_are_those_of_the_specification():
    assert set(decathlon.COMPLETE) == {ORGANS[name].folder for name in decathlon.EXPECTED}
    assert {name: slices for name, (slices, _) in decathlon.EXPECTED.items()} == {
        "heart": 680,
        "spleen": 982,
        "prostate_peripheral": 260,
        "prostate_transitional": 372,
        "colon": 1051,
    }


def test_an_empty_folder_is_refused(tmp_path):
    refused(lambda: Decathlon().load(tmp_path), tmp_path)
    refused(lambda: Decathlon().verify(tmp_path), tmp_path)


@pytest.fixture
def real(shared_data, tmp_path):
    """Five real volumes."""
    folder = tmp_path / "Task04_Hippocampus"
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
        for name in REAL:
            path = shared_data / "Task04_Hippocampus" / part / f"{name}.nii.gz"
            shutil.copyfile(path, folder / part / path.name)
    write_listing(folder, REAL)
    return folder


def decoded(folder, part, name):
    """Read without the package."""
    return np.asarray(nib.load(folder / part / f"{name}.nii.gz").get_fdata())  # pyright: ignore


def test_real_volumes_are_counted_and_cached_exactly(real, tmp_path):
    cache = SliceCache.open(real, (64, 64), "half", tmp_path / "home")
    facts = Decathlon().verify(real)
    for organ in of_folder(real.name):
        kept = [
            (name, j)
            for name in REAL
            for j, count in enumerate((decoded(real, "labelsTr", name) == organ.label).sum(axis=(0, 1)))
            if count >= organ.least
        ]
        made = slices(cache, organ, Normalisation.volume_zscore)
        assert list(zip(made.volumes, made.positions.tolist(), strict=True)) == kept
        assert facts[organ.name] == f"{len(kept)} slices of {len({name for name, _ in kept})} volumes"
        x, y = made[:]
        for k in range(0, len(kept), 3):
            name, j = kept[k]
            image = decoded(real, "imagesTr", name)
            inside = image[image != 0]
            grey = resized(image[:, :, j], (64, 64))
            right = (grey - inside.mean()) / inside.std()
            assert np.abs(x[k, 0].numpy() - right).max() < 2 / 255 * np.ptp(right)
            drawn = decoded(real, "labelsTr", name)[:, :, j] == organ.label
            assert np.array_equal(y[k, 0].numpy(), resized(drawn, (64, 64)) > 0.5)
            assert np.array_equal(cache.images(made.rows[k : k + 1], 0)[0], pixels.stretch(grey))
    for name in REAL:
        label = decoded(real, "labelsTr", name)
        assert all(np.array_equal(cache.native(name, i), label == i) for i in (1, 2))
        assert cache.zooms(name) == (1, 1, 1)


def test_real_volumes_give_the_same_cache_after_a_kill(real, tmp_path):
    whole = SliceCache.open(real, (64, 64), "stretched", tmp_path / "one")
    SliceCache.open(real, (64, 64), "stretched", tmp_path / "two")
    for path in (tmp_path / "two").rglob("*.*"):
        if path.is_file() and path.stat().st_size:
            path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 5])
    again = SliceCache.open(real, (64, 64), "stretched", tmp_path / "two")
    assert same(everything(whole), everything(again))
    assert [whole.content(name) for name in REAL] == [again.content(name) for name in REAL]
    assert all(np.array_equal(whole.native(name, i), again.native(name, i)) for name in REAL for i in (1, 2))
