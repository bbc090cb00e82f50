"""Few-shot cell segmentation: Reptile with two losses across domains.  Dawoud et al. 2020 (2007.01671).

Beside its own loss a task pushes predictions on a second source away from one half (entropy) and draws the
bottleneck of a third source's slices towards its own (distillation).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.card import Card, Difference
from bench.core import Context
from bench.errors import UserError
from bench.fewshot.episodes import sequential
from bench.fewshot.finetune import fine_tune
from bench.fewshot.method import NetworkMethod, Predictor
from bench.fewshot.reptile import Inner, meta_train
from bench.nn.binary_losses import BinaryLoss, build_binary_loss
from bench.nn.fit import evaluating
from bench.volumes.slices import SliceSet, Source

CARD = Card(
    title="Few-shot cell segmentation (Dawoud et al.)",
    family="fewshot_segmentation",
    summary="Reptile over all sources in turn, with entropy and distillation losses on two further tasks.",
    citation="Dawoud, Hornauer, Carneiro, Belagiannis: Few-Shot Microscopy Image Cell Segmentation. ECML "
    "PKDD 2020. Setting: Farshad, thesis, section 7.3.1.",
    url="https://arxiv.org/abs/2007.01671",
    licence="Apache-2.0 (reimplemented; the official code is MIT and none of it is used)",
    differences=(
        Difference(
            switch="method.entropy",
            clean="binary: -p log p - (1 - p) log(1 - p), mean over pixels",
            official="foreground: -p log p alone",
            why="The code sums one of the two terms, which is least at p = 0 and so also pushes predictions "
            "towards background.",
            source="Yussef93/FewShotCellSegmentation Code/Reptile.py HLoss",
        ),
        Difference(
            switch="method.entropy_weight",
            clean="0.01, and 0.01 for distillation",
            official="the same",
            why="The code has 0.01 and 0.01, 0.1 and 0.1, and 0.1 and 1.0 in three places; MetaMedSeg's does "
            "not contain the method at all.",
            source="Code/Reptile.py, Code/Learning_main.py, Code/Meta_Learning.py",
        ),
        Difference(
            switch="none: optimiser steps of a task",
            clean="one a batch of `protocol.batch_size` slices, each with as many of the two further tasks",
            official="the same",
            why="Their code takes one step a pass, over all slices of the task; here all methods share the "
            "batch size of the protocol.",
            source="Code/Reptile.py inner_segment_loop",
        ),
        Difference(
            switch="none: length of meta-training",
            clean="`protocol.meta_epochs` and `protocol.inner_epochs`, 100 and 20",
            official="the same",
            why="Their scripts have 300 or 700 meta-epochs of 20 or 30 passes; the thesis says that the "
            "original hyper-parameters were taken, and not which.",
            source="Code/Learning_main.py, Code/Meta_Learning.py; thesis 7.3.1",
        ),
    ),
    notes="MetaMedSeg's release has no code of this baseline. From the thesis: all sources in turn instead "
    "of sampling, two further tasks from other sources, 40 epochs of fine-tuning (twice `protocol.epochs`) "
    "with IoU loss. From the code of Dawoud et al.: what the two losses are and which task each takes, "
    "further sources drawn evenly, the mean over all sources as step, weighted cross entropy (background "
    "over object, by image), meta learning rate 1, inner learning rate 0.001 and weight decay 0.0005 without "
    "decay over passes. A meta-epoch has one task for each source, whatever `protocol.tasks_per_epoch` says. "
    "Needs two sources, and a network with `features(x)` giving logits and a map to distil.",
)


class Entropy(StrEnum):
    """Terms of the entropy of a pixel: both, or that of the foreground alone."""

    binary = "binary"
    foreground = "foreground"


@dataclass
class Dawoud(NetworkMethod):
    """Reptile with entropy regularisation and distillation.

    Args:
        loss: Of the task's own slices.
        entropy_weight: Of the entropy loss (alpha).
        distillation_weight: Of the distillation loss (beta).
        entropy: Terms of the entropy.
        meta_lr: Step along the mean over all sources.
        inner_lr: Learning rate of a task.
        inner_weight_decay: Of a task's Adam.
        epochs_factor: Fine-tuning takes the protocol's epochs times this.
    """

    card: ClassVar[Card] = CARD
    shares: ClassVar[bool] = True
    official: ClassVar = {"entropy": Entropy.foreground}

    loss: BinaryLoss = BinaryLoss.weighted_bce
    entropy_weight: float = 0.01
    distillation_weight: float = 0.01
    entropy: Entropy = Entropy.binary
    meta_lr: float = 1.0
    inner_lr: float = 0.001
    inner_weight_decay: float = 5e-4
    epochs_factor: int = 2

    def build(self, ctx: Context) -> nn.Module:
        """The protocol's network, which must have `features`."""
        net = super().build(ctx)
        _check_features(net, ctx)
        return net

    def meta_fit(self, sources: Sequence[Source], ctx: Context) -> None:
        """Meta-train the network; a row of `curves.csv` a meta-epoch."""
        meta_train(
            self.net,
            sources,
            ctx,
            inner=Inner(self.inner_lr, self.inner_weight_decay),
            meta_lr=self.meta_lr,
            objective=partial(self.objective, build_binary_loss(self.loss)),
            draw=partial(sequential, beside=2),
            forward_methods=("features",),
        )

    def objective(self, criterion: Any, model: Any, batches: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """Loss of a task's batch, with batches of the tasks to distil from and to regularise on."""
        (x, target), (near, _), (far, _) = batches
        logits, own = model.features(x)
        _, other = model.features(near)
        value = criterion(logits.float(), target)
        value = value + self.distillation_weight * F.mse_loss(own.float(), other.float())
        return value + self.entropy_weight * entropy(model(far).float(), self.entropy)

    def adapt(self, support: SliceSet, ctx: Context) -> Predictor:
        """A copy of the network, trained on the support for `epochs_factor` times the protocol's epochs."""
        net = copy.deepcopy(self.net)
        fine_tune(net, support, ctx, epochs=self.epochs_factor * ctx.protocol.epochs)
        return net


def entropy(logits: Tensor, kind: Entropy) -> Tensor:
    """Mean entropy of pixels in nats, logits (B, 1, H, W) -> scalar."""
    value = -logits.sigmoid() * F.logsigmoid(logits)
    if kind is Entropy.binary:
        value = value - (-logits).sigmoid() * F.logsigmoid(-logits)
    return value.mean()


def _check_features(net: nn.Module, ctx: Context) -> None:
    """Refuse a network without `features`, or whose `features` answers otherwise."""
    x = torch.zeros(1, 1, *ctx.protocol.image_size)
    try:
        with evaluating(net), torch.random.fork_rng(devices=[]):
            answer: Any = net.features(x)  # pyright: ignore[reportCallIssue]
        logits, bottleneck = answer
        fitting = logits.shape == x.shape and isinstance(bottleneck, Tensor)
    except Exception:  # whatever a user's network does without it
        fitting = False
    if not fitting:
        raise UserError(
            f"`dawoud` distils a feature map, and the network `{ctx.protocol.network}` gives none; add a "
            "method `features(x)` that returns (logits (B, 1, H, W), map), or set "
            "`protocol.network=unet_cells`."
        )
