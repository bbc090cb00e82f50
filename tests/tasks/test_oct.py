"""The protocol of thesis section 8.4.1, and one test for each named switch of the official profile."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from bench.families.scan_sets import Interpolation
from bench.families.segmentation import Selection
from bench.metrics.segmentation import selection_score
from bench.nn.fit import validates
from bench.nn.losses import DiceCE, Loss, build_loss, official_loss
from bench.plan import settle
from bench.registry import load
from bench.scans import Scan, Scans

OCT = load("task", "oct").target


def protocol(profile="clean", **changes):
    return dataclasses.replace(OCT.protocol(), **{**OCT.profiles[profile], **changes})


def samples():
    rng = np.random.default_rng(0)
    scans = []
    for i, split in enumerate(["train"] * 3 + ["val"] * 2 + ["test"] * 2):
        mask = np.zeros((40, 40), np.uint8)
        mask[10:30, 10:30] = 8
        image = rng.integers(0, 256, (40, 40)).astype(np.uint8)
        scans.append(Scan(f"s{i}", f"p{i}", split, image, mask, (40, 40)))
    return Scans(tuple(scans), tuple("abcdefghi"))


def test_the_protocol_is_the_thesis():
    p = protocol()
    assert (p.image_size, p.batch_size, p.epochs) == ((224, 224), 10, 80)
    assert (p.mean, p.std) == (46.3758, 53.9434)
    assert (p.precision, p.max_steps) == ("32-true", None)
    method = load("method", "ynet").target()
    assert (method.lr, method.weight_decay) == (5e-4, 1e-4)


def test_the_validation_schedule():
    """Every tenth epoch until 45, then every one; the last always."""
    p = protocol()
    seen = [epoch for epoch in range(1, 81) if validates(epoch, 80, p)]
    assert seen == [10, 20, 30, 40, *range(46, 81)]
    assert validates(7, 7, p)


def test_switch_epochs():
    assert protocol("official").epochs == 100


def test_switch_loss():
    assert isinstance(build_loss(protocol().loss), DiceCE)
    assert build_loss(protocol("official").loss) is official_loss
    logits, target = torch.randn(2, 9, 8, 8), torch.randint(0, 9, (2, 8, 8))
    assert build_loss(Loss.dice_ce)(logits, target) != official_loss(logits, target)


def test_switch_mask_interpolation_touches_the_test_reference_too():
    task = OCT()
    clean = task.load(samples(), protocol(image_size=(56, 56)))
    official = task.load(samples(), protocol("official", image_size=(56, 56)))
    for part in ("train", "val", "test"):
        assert set(getattr(clean, part).masks.unique().tolist()) == {0, 8}
        assert set(getattr(official, part).masks.unique().tolist()) > {0, 8}
    assert protocol("official").mask_interpolation is Interpolation.bilinear


def test_switch_selection():
    assert protocol("official").selection is Selection.official
    empty = np.zeros((1, 16, 16), int)
    assert selection_score(empty, empty, 9, official=False) == 1
    # Background is right (1), the eight absent classes count 2.0 each.
    assert selection_score(empty, empty, 9, official=True) == pytest.approx((1 + 8 * 2) / 9, abs=1e-5)


def test_switch_merge_is_the_methods():
    assert load("method", "ynet").target.official == {"merge": "interleaved"}


def test_a_budget_scales_the_validation_schedule_with_the_epochs():
    settled, deviations, _ = settle(OCT(), OCT.protocol(), set(), "clean", "0.1", "duke_oct")
    assert (settled.epochs, settled.validate_every, settled.validate_each_after) == (8, 1, 4)
    assert deviations[0] == "epochs: 8 instead of 80 (budget=0.1)"


def test_a_budget_never_touches_what_the_user_set():
    wanted = OCT.protocol(epochs=7)
    settled, deviations, _ = settle(OCT(), wanted, {"protocol.epochs"}, "clean", "smoke", "duke_oct")
    assert settled.epochs == 7
    assert settled.max_steps == OCT.smoke["max_steps"]
    assert "epochs: 7 instead of 80" in deviations


def test_smoke_keeps_model_classes_and_input_size():
    assert not set(OCT.smoke) & {"image_size", "mean", "std", "loss"}


def test_counts_and_places():
    data = OCT().load(samples(), protocol(image_size=(32, 32), max_test=1))
    assert data.info.counts == {"train": 3, "val": 2, "test": 1}
    assert data.info.unit == "patient"
    assert data.places[0].window == (0, 0, 40, 40)
    assert data.train.images.shape == (3, 1, 32, 32)


def test_the_fluid_of_the_real_test_scans(shared_data):
    """Spec section 5.13: six of the 22 real test scans hold no fluid at 224x224."""
    from bench.data import dataset_named

    data = OCT().load(dataset_named("folder").load(shared_data / "duke_fluid"), protocol())
    pixels = (data.test.masks == 1).sum((1, 2)).tolist()
    assert pixels[:11] == [0, 0, 113, 82, 96, 88, 78, 97, 0, 0, 11]
    assert pixels[11:] == [0, 0, 189, 475, 712, 903, 1244, 982, 993, 473, 198]
