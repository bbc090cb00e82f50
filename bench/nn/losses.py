"""Segmentation losses on logits (B, K, H, W) and labels (B, H, W) int64.

Thesis, Eq. 8.1 to 8.3, both weights 1; `official` is what the published code computes (oct.md 3 and 5.7).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-4  # the thesis says "a very small value", the code says this one


class Loss(StrEnum):
    """The training loss of a segmentation task."""

    dice_ce = "dice_ce"
    official = "official"


class DiceCE(nn.Module):
    """Cross entropy plus Dice (Eq. 8.1), both on softmax probabilities.

    Dice is taken for each class over the whole batch, then averaged over all classes, background included;
    a class absent from target and prediction costs nothing. MONAI's own loss, set to that formula.
    """

    def __init__(self) -> None:
        super().__init__()
        from monai.losses.dice import DiceCELoss  # seconds beyond torch, so not at module level

        self.loss = DiceCELoss(softmax=True, to_onehot_y=True, batch=True, smooth_nr=EPS, smooth_dr=EPS)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the scalar loss of logits (B, K, H, W) and labels (B, H, W)."""
        return self.loss(logits, target[:, None])


def official_loss(logits: Tensor, target: Tensor) -> Tensor:
    """What the official code computes: a softmax too many in each part, and exp() in the Dice.

    The model ends in a softmax, torch's cross entropy takes a second one, and so does the Dice part,
    which then exponentiates: its "probabilities" lie in [1, e], so that it is no Dice.
    """
    probabilities = logits.softmax(1)
    entropy = F.cross_entropy(probabilities, target)
    scores = probabilities.softmax(1).exp()
    onehot = F.one_hot(target, logits.shape[1]).movedim(-1, 1).to(scores.dtype)
    over = (0, 2, 3)
    dice = 2 * (scores * onehot).sum(over) / (scores.sum(over) + onehot.sum(over) + EPS)
    return entropy + (1 - dice).mean()


def build_loss(loss: Loss) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss: (logits (B, K, H, W), labels (B, H, W) int64) -> scalar."""
    return official_loss if Loss(loss) is Loss.official else DiceCE()
