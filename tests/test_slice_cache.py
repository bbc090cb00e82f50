"""The slice cache: what it holds."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from msd_files import SHAPE, everything, resized, same, save, voxels, write_listing, write_task

from bench.volumes import pixels
from bench.volumes.blocks import DATA
from bench.volumes.cache import SliceCache, slices
from bench.volumes.organs import ORGANS
from bench.volumes.slices import Normalisation

SIZE = (16, 13)  # 13 is no multiple of a byte's bits
NAMES = ("hippocampus_001", "hippocampus_003", "hippocampus_004")
ANTERIOR, POSTERIOR = ORGANS["hippocampus_anterior"], ORGANS["hippocampus_posterior"]


@pytest.fixture
def task(tmp_path):
    return write_task(tmp_path / "data")


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def opened(task, home, **words):
    return SliceCache.open(task, SIZE, words.pop("how", "half"), home, **words)


@pytest.mark.parametrize("how", ["half", "stretched"])
def test_rows_and_pixels(task, home, how):
    cache = opened(task, home, how=how)
    assert (cache.folder, cache.volumes, cache.skipped) == ("Task04_Hippocampus", NAMES, ())
    assert cache.position.tolist() == [1, 2, 3, 4] * 3  # the first slice has too few pixels, the last none
    assert cache.volume_of.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert cache.pixels.tolist() == [[120, 0], [120, 108], [120, 108], [120, 108]] * 3
    rows = np.array([9, 2, 2])
    for k, row in enumerate(rows):
        image, label = voxels(row // 4)
        j = cache.position[row]
        grey = resized(image[:, :, j], SIZE)
        assert np.array_equal(cache.images(rows, 0)[k], pixels.stretch(grey))
        for number in (1, 2):
            drawn = pixels.mask(label[:, :, j] == number, SIZE, how)
            assert np.array_equal(cache.masks(rows, number)[k], drawn)
            assert drawn.any()
    assert cache.masks(rows, 1).dtype == np.bool_
    assert cache.masks(rows[:0], 1).shape == cache.images(rows[:0], 0).shape == (0, *SIZE)


def test_volumes_at_original_resolution(task, home):
    cache = opened(task, home)
    for number, name in enumerate(NAMES):
        label = voxels(number)[1]
        assert np.array_equal(cache.native(name, 1), label == 1)
        assert np.array_equal(cache.native(name, 2), label == 2)
        assert cache.shape(name) == SHAPE
        assert cache.zooms(name) == (0.75, 1.5, 4.0)
    assert len({cache.content(name) for name in NAMES}) == 3


def test_levels_give_the_z_scores_of_the_volume(task, home):
    cache = opened(task, home)
    chosen = slices(cache, POSTERIOR, Normalisation.volume_zscore)
    seen, _ = chosen[[0, 5]]
    for k, (number, j) in enumerate([(0, 2), (1, 4)]):
        image = voxels(number)[0].astype(np.float64)
        inside = image[image != 0]
        right = (resized(image[:, :, j], SIZE) - inside.mean()) / inside.std()
        step = (right.max() - right.min()) / 255
        assert np.abs(seen[k, 0].numpy() - right).max() < 2 * step


def test_slices_of_an_organ(task, home):
    cache = opened(task, home)
    anterior = slices(cache, ANTERIOR, Normalisation.slice_minmax)
    posterior = slices(cache, POSTERIOR, Normalisation.slice_minmax)
    assert (len(anterior), len(posterior)) == (12, 9)
    assert posterior.volumes == tuple(name for name in NAMES for _ in range(3))
    assert posterior.positions.tolist() == [2, 3, 4] * 3
    assert (posterior.name, posterior.label, posterior.channel) == ("hippocampus_posterior", 2, 0)
    x, y = posterior[4]
    assert np.array_equal(x[0, 0].numpy(), cache.images(np.array([6]), 0)[0].astype(np.float32) / 255)
    assert np.array_equal(y[0, 0].numpy(), cache.masks(np.array([6]), 2)[0])
    with pytest.raises(ValueError, match="Task06_Lung"):
        slices(cache, ORGANS["lung"], Normalisation.slice_minmax)


def test_channels(tmp_path, home):
    brain = write_task(tmp_path, "Task01_BrainTumour", ("BRATS_001",), channels=4)
    image, label = voxels(0, (60, 40, 3), 4)
    label[:] = 0
    label[5:50, 5:35, 1], label[:40, 5:35, 2] = 1, 3
    save(brain / "imagesTr" / "BRATS_001.nii.gz", image)
    save(brain / "labelsTr" / "BRATS_001.nii.gz", label)
    write_listing(brain, ["BRATS_001"], range(4))
    cache = opened(brain, home)
    assert cache.pixels.tolist() == [[1350, 0, 0], [0, 0, 1200]]
    assert not cache.masks(np.array([0, 1]), 2).any()
    for channel, mode in enumerate(("flair", "t1w", "t1gd", "t2w")):
        made = slices(cache, ORGANS[f"brain_edema_{mode}"], Normalisation.slice_minmax)
        assert np.array_equal(made.images(0)[0, 0] * 255, pixels.image(image[:, :, 1, channel], SIZE)[0])
        inside = image[..., channel].astype(np.float64)
        inside = inside[inside != 0]
        assert np.allclose(cache.levels(made.rows, channel)[0, 2:], [inside.mean(), inside.std()], rtol=1e-12)
    assert len(slices(cache, ORGANS["brain_e_tumour_t2w"], Normalisation.slice_minmax)) == 1
    assert len(slices(cache, ORGANS["brain_ne_tumour_t2w"], Normalisation.slice_minmax)) == 0


def test_of_the_prostate_only_the_first_channel_is_kept(tmp_path, home):
    prostate = write_task(tmp_path, "Task05_Prostate", ("prostate_00",), channels=2)
    label = np.zeros((30, 40, 2), np.uint8)
    label[:15, :, 1] = 1
    image = voxels(0, (30, 40, 2), 2)[0]
    save(prostate / "imagesTr" / "prostate_00.nii.gz", image)
    save(prostate / "labelsTr" / "prostate_00.nii.gz", label)
    cache = opened(prostate, home)
    assert np.array_equal(cache.images(np.array([0]), 0)[0], pixels.image(image[:, :, 1, 0], SIZE)[0])
    with pytest.raises(IndexError):
        cache.images(np.array([0]), 1)
    for number in (0, 3):
        with pytest.raises(IndexError):
            cache.masks(np.array([0]), number)


def test_a_volume_without_a_row_is_still_there(task, home):
    image, label = voxels(1)
    label[6:] = 0
    save(task / "labelsTr" / f"{NAMES[1]}.nii.gz", label)
    cache = opened(task, home)
    assert cache.volumes == NAMES
    assert cache.volume_of.tolist() == [0] * 4 + [2] * 4
    assert np.array_equal(cache.native(NAMES[1], 1), label == 1)
    assert np.array_equal(cache.images(np.array([4]), 0)[0], pixels.image(voxels(2)[0][:, :, 1], SIZE)[0])
    assert image.shape == cache.shape(NAMES[1])


def test_the_cache_survives_a_pickle_without_its_pixels(task, home):
    cache = opened(task, home)
    packed = pickle.dumps(cache)
    assert DATA.encode() in packed
    assert same(everything(pickle.loads(packed)), everything(cache))
    assert not cache._bytes.flags.writeable


def test_progress_and_bad_words(task, home):
    seen = []

    def progress(items, total, description):
        seen.append((total, description))
        return items

    opened(task, home, progress=progress)
    assert seen == [(3, "slices of Task04_Hippocampus")]
    with pytest.raises(ValueError, match="nearest"):
        opened(task, home, how="nearest")
