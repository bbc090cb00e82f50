"""Sources, shots and test slices under a protocol, on the tiny phantom."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
import torch
from fewshot_runs import phantom

from bench import registry
from bench.errors import RunFailed, UserError
from bench.families import fewshot_data
from bench.families.fewshot import Segmented, at_size, checked
from bench.families.fewshot_protocol import FewShotProtocol, MaskResize, SliceOrder, SplitBy

OFFICIAL = {
    "split": SplitBy.slice,
    "shared_patients": True,
    "mask_resize": MaskResize.stretched,
    "slice_order": SliceOrder.lexicographic,
}


@pytest.fixture(scope="module")
def folders(bench_home):
    return registry.load("dataset", "decathlon").target().load(phantom(bench_home))


def load(folders, **changes):
    fields = {"image_size": (32, 32), "shots": 3, "target": "hippocampus_anterior", **changes}
    return fewshot_data.load(folders, FewShotProtocol(**fields))


def patients(*parts):
    return {volume for part in parts for volume in part.volumes}


def test_a_test_patient_is_nowhere_else(folders):
    data = load(folders)
    tested = patients(data.test.slices)
    seen = patients(data.val, *data.train.supports, *(s.train for s in data.train.sources))
    assert tested
    assert not tested & (seen | patients(*(s.val for s in data.train.sources)))
    assert data.info.leaks == 0


def test_official_leaks_are_counted_from_the_data(folders):
    data = load(folders, **OFFICIAL)
    tested = patients(data.test.slices)
    own = load(folders, **OFFICIAL, **{"shots": None}).train.supports[0]
    zones = [s for s in data.train.sources if s.name == "hippocampus_posterior"]
    seen = patients(own, data.val, *(s.train for s in zones), *(s.val for s in zones))
    assert data.info.leaks == len(tested & seen) > 0


def test_shots_are_what_random_sample_draws_from_the_training_slices(folders):
    data = load(folders, shot_seeds=(1, 6, 25))
    (every,) = load(folders, shots=None).train.supports
    assert data.selections == ("shots_1", "shots_6", "shots_25")
    for seed, support in zip((1, 6, 25), data.train.supports, strict=True):
        drawn = random.Random(seed).sample(range(len(every)), 3)
        assert support.rows.tolist() == every.rows[drawn].tolist()
        assert len(set(support.rows.tolist())) == 3


def test_lexicographic_order_is_that_of_file_names(folders):
    (every,) = load(folders, shots=None, slice_order=SliceOrder.lexicographic).train.supports
    named = fewshot_data.names(every)
    assert list(named) == sorted(named)


def test_the_target_is_no_source_and_weights_are_one_over_datasets_of_the_organ(folders):
    data = load(folders, target="heart")
    assert {s.name: s.weight for s in data.train.sources} == {
        "hippocampus_anterior": 0.5,
        "hippocampus_posterior": 0.5,
    }
    data = load(folders, target="hippocampus_anterior", excluded=("heart",))
    assert {s.name for s in data.train.sources} == {"hippocampus_posterior", "spleen"}


def test_fewer_sources_or_slices_are_another_identity(folders):
    one, other = load(folders), load(folders, excluded=("heart",))
    assert one.info.fingerprint != other.info.fingerprint
    assert one.info.split_sha256 == other.info.split_sha256
    assert one.train.fingerprint != load(folders, max_source=1).train.fingerprint
    assert all(len(s.train) <= 1 for s in load(folders, max_source=1).train.sources)


def test_max_test_keeps_evenly_spread_slices(folders):
    whole, part = load(folders).test, load(folders, max_test=3).test
    assert len(part.slices) == 3
    assert set(part.ids) <= set(whole.ids)
    assert part.ids[0] == whole.ids[0]
    assert part.ids[-1] == whole.ids[-1]


def test_the_reference_is_the_label_map_in_evaluated_slices_alone(folders):
    import nibabel

    data = load(folders)
    volume = data.test.slices.patients[0]
    path = folders.paths["Task04_Hippocampus"] / "labelsTr" / f"{volume}.nii.gz"
    drawn = np.asarray(nibabel.load(path).get_fdata()) == 1  # pyright: ignore[reportAttributeAccessIssue]
    kept = data.test.positions(volume)
    assert kept == [j for j in range(drawn.shape[2]) if drawn[..., j].sum() >= 100]
    expected = np.zeros_like(drawn)
    expected[..., kept] = drawn[..., kept]
    assert np.array_equal(data.test.reference(volume), expected)
    blank = fewshot_data.blanked(data.test)
    assert not blank.reference(volume).any()
    assert not blank.masks.any()


def test_answers_stand_where_their_slices_were(folders):
    data = load(folders)
    part = data.test.slices
    native = []
    for i, volume in enumerate(part.volumes):
        native.append(np.full(data.test.cache.shape(volume)[:2], i % 2 == 0))
    found = Segmented(np.zeros((1, len(part), 32, 32), bool), (tuple(native),))
    volume = part.patients[0]
    whole = found.volume(data, 0, volume)
    assert whole.shape == data.test.cache.shape(volume)
    filled = {j for i, j in enumerate(part.positions.tolist()) if part.volumes[i] == volume and i % 2 == 0}
    assert set(np.flatnonzero(whole.any(axis=(0, 1)))) == filled


def test_resizing_an_answer_cuts_it_after_resizing():
    y = torch.zeros(1, 4, 4)
    y[:, :, 2:] = 1
    assert at_size(y, (8, 8))[:, 4:].all()
    assert not at_size(y, (8, 8))[:, :4].any()
    assert at_size(y, (4, 4)).tolist() == (y[0] > 0.5).tolist()
    assert at_size(torch.full((1, 9, 9), 0.4), (3, 3)).sum() == 0


@pytest.mark.parametrize(
    "y",
    [
        torch.zeros(2, 4, 4),
        torch.zeros(2, 1, 4, 4, dtype=torch.int64),
        torch.full((2, 1, 4, 4), 1.5),
        torch.full((2, 1, 4, 4), float("nan")),
        "no tensor",
    ],
)
def test_what_is_no_probability_is_refused(y):
    with pytest.raises(RunFailed, match="`predict` must return probabilities"):
        checked(y, (2, 1, 4, 4))


def test_a_damaged_volume_is_refused_or_left_out_when_asked(bench_home, tmp_path):
    import shutil

    root = tmp_path / "damaged"
    shutil.copytree(phantom(bench_home), root)
    path = sorted((root / "Task04_Hippocampus" / "imagesTr").glob("*.nii.gz"))[0]
    path.write_bytes(path.read_bytes()[:200])
    folders = registry.load("dataset", "decathlon").target().load(root)
    with pytest.raises(UserError, match=path.name):
        load(folders)
    data = load(folders, skip_faulty=True)
    told = [d for d in data.deviations if d.startswith("volumes left out as damaged: ")]
    assert told == [f"volumes left out as damaged: Task04_Hippocampus/{path.name.removesuffix('.nii.gz')}"]


@pytest.mark.parametrize("shots", [None, 15])
@pytest.mark.parametrize("profile", ["clean", "official"])
def test_a_setting_brings_its_recipe(profile, shots):
    task = registry.load("task", "fewshot_decathlon").target()
    p = task.base(profile, "decathlon", {"shots": shots, "task_definition": "volume"})
    assert (p.lr, p.lr_gamma) == ((0.001, 1.0) if shots is None else (0.005, 0.7))
    assert (p.tasks_per_epoch, p.slices_per_volume) == ((8, 20) if profile == "official" else (5, 15))
    usual = task.base(profile, "decathlon", {})
    assert (usual.tasks_per_epoch, usual.slices_per_volume) == (5, 15)
    changed = {
        f.name
        for f in dataclasses.fields(usual)
        if getattr(usual, f.name) != getattr(FewShotProtocol(), f.name)
    }
    assert changed == (set(OFFICIAL) if profile == "official" else set())
