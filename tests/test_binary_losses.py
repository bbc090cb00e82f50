"""Losses of Table 7.3 against their formulas, written out."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bench.nn.binary_losses import BinaryLoss, build_binary_loss


def formula(loss: BinaryLoss, logits: Tensor, target: Tensor) -> float:
    """The definition, in double precision and one pixel after the other where weights differ."""
    p, y = logits.double().sigmoid(), target.double()
    inside, union = float((p * y).sum()), float((p + y - p * y).sum())
    iou = (inside + 1) / (union + 1)
    bce = float(-(y * p.log() + (1 - y) * (1 - p).log()).mean())
    if loss is BinaryLoss.iou:
        return 1 - iou
    if loss is BinaryLoss.bce:
        return bce
    if loss is BinaryLoss.bce_iou:
        return bce - math.log(2 * iou / (iou + 1))
    if loss is BinaryLoss.dice:
        return 1 - (2 * inside + 1e-5) / (float(p.sum() + y.sum()) + 1e-5)
    if loss is BinaryLoss.focal_tversky:
        fp, fn = float((p * (1 - y)).sum()), float(((1 - p) * y).sum())
        return 1 - (inside + 1) / (inside + 0.2 * fp + 0.8 * fn + 1)
    total = 0.0
    for one, mask in zip(p, y, strict=True):
        objects, background = float(mask.sum()), float((1 - mask).sum())
        ratio = background / max(objects, 1)
        if loss is BinaryLoss.weighted_bce_text:
            ratio = objects / max(background, 1)
        total += float(-(ratio * mask * one.log() + (1 - mask) * (1 - one).log()).sum())
    return total / y.numel()


def batch(kind: str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(len(kind))
    logits = torch.randn(3, 1, 8, 6, generator=generator)
    target = (torch.rand(3, 1, 8, 6, generator=generator) > 0.8).float()
    if kind == "one empty":
        target[1] = 0
    elif kind in ("empty", "full"):
        target.fill_(kind == "full")
    return logits, target


@pytest.mark.parametrize("kind", ["mixed", "one empty", "empty", "full"])
@pytest.mark.parametrize("loss", list(BinaryLoss))
def test_every_loss_is_its_formula(loss: BinaryLoss, kind: str) -> None:
    logits, target = batch(kind)
    value = build_binary_loss(loss)(logits, target)
    assert value.shape == ()
    assert float(value) == pytest.approx(formula(loss, logits, target), rel=2e-5, abs=1e-6)


@pytest.mark.parametrize("loss", list(BinaryLoss))
def test_gradients_are_finite_on_empty_masks_and_sure_answers(loss: BinaryLoss) -> None:
    for scale in (1.0, 60.0):
        logits = (scale * batch("empty")[0]).requires_grad_()
        build_binary_loss(loss)(logits, batch("empty")[1]).backward()
        assert logits.grad is not None
        assert logits.grad.isfinite().all()


@pytest.mark.parametrize("loss", list(BinaryLoss))
def test_the_right_answer_costs_least(loss: BinaryLoss) -> None:
    target = batch("mixed")[1]
    sure = 30 * (2 * target - 1)
    best = float(build_binary_loss(loss)(sure, target))
    assert best == pytest.approx(0, abs=1e-5)
    assert float(build_binary_loss(loss)(torch.zeros_like(sure), target)) > best + 0.01
    assert float(build_binary_loss(loss)(-sure, target)) > best + 0.1


def test_a_missed_pixel_costs_more_than_a_false_one_under_tversky() -> None:
    target = torch.zeros(1, 1, 4, 4)
    target[..., :2] = 1
    sure = 30 * (2 * target - 1)
    missed, false = sure.clone(), sure.clone()
    missed[0, 0, 0, 0], false[0, 0, 0, 3] = -30, 30
    loss = build_binary_loss(BinaryLoss.focal_tversky)
    assert float(loss(missed, target)) == pytest.approx(1 - 8 / 8.8)
    assert float(loss(false, target)) == pytest.approx(1 - 9 / 9.2)


def test_the_texts_weight_makes_small_objects_count_less() -> None:
    target = torch.zeros(1, 1, 4, 4)
    target[..., 0, 0] = 1  # one object pixel, fifteen of background
    missed = torch.where(target > 0, -4.0, -30.0)
    plain, sensible, text = (
        float(build_binary_loss(name)(missed, target))
        for name in ("bce", "weighted_bce", "weighted_bce_text")
    )
    assert sensible == pytest.approx(15 * plain)
    assert text == pytest.approx(plain / 15)
