"""Losses of binary segmentation (thesis section 7.2.2, Table 7.3), on logits and masks, both (B, 1, H, W).

Region losses sum over the whole batch before they divide, as the official code does. I is the sum of p y, U
that of p + y - p y, over probabilities p and masks y of 0 and 1. MONAI's losses are used where they are the
same thing.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import torch.nn.functional as F
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]


class BinaryLoss(StrEnum):
    """The losses of Table 7.3.

    `iou`: 1 - (I + 1) / (U + 1). `bce`: cross entropy, mean over pixels. `weighted_bce`: object pixels count
    background / object times, by image, so that both halves weigh the same; `weighted_bce_text`: object /
    background times, as the text says below Eq. 7.4, which makes small objects count less still. `bce_iou`:
    cross entropy - log(2 IoU / (IoU + 1)), Eq. 7.6. `dice`: MONAI's, 1 - 2 I / (sum p + sum y), 1e-5 added to
    both. `focal_tversky`: 1 - (I + 1) / (I + 0.2 FP + 0.8 FN + 1) without a focal exponent (it is 1), as in
    the code.
    """

    iou = "iou"
    bce = "bce"
    weighted_bce = "weighted_bce"
    weighted_bce_text = "weighted_bce_text"
    bce_iou = "bce_iou"
    dice = "dice"
    focal_tversky = "focal_tversky"


def build_binary_loss(loss: BinaryLoss | str) -> Loss:
    """Return the loss: (logits (B, 1, H, W) float32, masks (B, 1, H, W) of 0 and 1) -> scalar."""
    loss = BinaryLoss(loss)
    if loss is BinaryLoss.bce:
        return F.binary_cross_entropy_with_logits
    if loss is BinaryLoss.weighted_bce:
        return _weighted_bce
    if loss is BinaryLoss.weighted_bce_text:
        return _weighted_bce_text
    if loss is BinaryLoss.focal_tversky:
        from monai.losses.tversky import TverskyLoss

        # MONAI's alpha weighs false positives, beta false negatives.
        return TverskyLoss(sigmoid=True, alpha=0.2, beta=0.8, batch=True, smooth_nr=1, smooth_dr=1)
    from monai.losses.dice import DiceLoss  # seconds beyond torch, so not at module level

    if loss is BinaryLoss.dice:
        return DiceLoss(sigmoid=True, batch=True)
    # MONAI's fraction holds twice I and twice U, so that 2 there is 1 here.
    iou = DiceLoss(sigmoid=True, jaccard=True, batch=True, smooth_nr=2, smooth_dr=2)
    if loss is BinaryLoss.iou:
        return iou

    def bce_iou(logits: Tensor, target: Tensor) -> Tensor:
        overlap = 1 - iou(logits, target)
        return F.binary_cross_entropy_with_logits(logits, target) - (2 * overlap / (overlap + 1)).log()

    return bce_iou


def _pixels(target: Tensor) -> tuple[Tensor, Tensor]:
    """Object and background pixels of every image, each (B, 1, 1, 1)."""
    objects = target.sum((1, 2, 3), keepdim=True)
    return objects, target[0].numel() - objects


def _weighted_bce(logits: Tensor, target: Tensor) -> Tensor:
    objects, background = _pixels(target)
    ratio = background / objects.clamp(min=1)  # without an object the weight meets no pixel
    return F.binary_cross_entropy_with_logits(logits, target, pos_weight=ratio)


def _weighted_bce_text(logits: Tensor, target: Tensor) -> Tensor:
    objects, background = _pixels(target)
    return F.binary_cross_entropy_with_logits(logits, target, pos_weight=objects / background.clamp(min=1))
