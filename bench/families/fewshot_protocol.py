"""The protocol of a few-shot segmentation task: target, shots, split, slices, recipe and budget."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum

from bench.core import Protocol
from bench.errors import UserError
from bench.nn.binary_losses import BinaryLoss
from bench.volumes.organs import TARGETS
from bench.volumes.slices import Normalisation


class SplitBy(StrEnum):
    """What is split: whole volumes, so that test patients are new, or single slices, as published."""

    volume = "volume"
    slice = "slice"


class TaskDefinition(StrEnum):
    """What a task of meta-training is: slices of one dataset, or slices of one volume (thesis 7.2.3)."""

    standard = "standard"
    volume = "volume"


class MaskResize(StrEnum):
    """Where a resized mask, now grey at its edge, is cut: at half, or at half after stretching to 0..255."""

    half = "half"
    stretched = "stretched"


class SliceOrder(StrEnum):
    """Order of a volume's slices: by number, or by file name, where slice10 stands before slice2."""

    numeric = "numeric"
    lexicographic = "lexicographic"


@dataclass(frozen=True)
class FewShotProtocol(Protocol):
    """Target, data, and what every method shares (thesis 7.3.1).

    Args:
        target: The dataset that is learned from a few slices.
        shots: k, labelled slices of the target; None for all of its training slices.
        task_definition: What a task of meta-training is.
        shot_seeds: One selection of shots for each seed.
        split: What is split.
        split_seed: Seed of splits that are not committed files.
        image_size: (H, W) that slices are resized to.
        normalisation: Of grey levels.
        mask_resize: Where a resized mask is cut.
        slice_order: Order of a volume's slices, for volume tasks and the list that shots are drawn from.
        excluded: Datasets that are no source, beside the target.
        shared_patients: Leave the target's test patients in sources of the same organ.
        skip_faulty: Leave damaged volumes out instead of refusing them.
        network: `unet_cells`, or a network class of yours, `file.py:Class`, called as (1, 1).
        epochs: Of adapting to the target, without early stopping.
        batch_size: Slices in one optimiser step, everywhere.
        lr, weight_decay: Of Adam, adapting to the target.
        lr_step, lr_gamma: The learning rate is multiplied by gamma after every so many epochs.
        loss: Of adapting to the target.
        meta_epochs: Rounds of meta-training,
        tasks_per_epoch: and tasks in each of them.
        meta_shots: Slices of a standard task.
        slices_per_volume: Slices of a volume task at most.
        inner_epochs: Passes over a task's slices.
        pretrain_epochs: Passes over all sources, in transfer learning.
        max_source: Slices of each source that are used, evenly spread; None for all.

    `max_steps` limits the optimiser steps of one adaptation.
    """

    target: str = "heart"
    shots: int | None = 15
    task_definition: TaskDefinition = TaskDefinition.standard
    shot_seeds: tuple[int, ...] = (1, 6, 25, 55, 1100)
    split: SplitBy = SplitBy.volume
    split_seed: int = 0
    image_size: tuple[int, int] = (256, 256)
    normalisation: Normalisation = Normalisation.slice_minmax
    mask_resize: MaskResize = MaskResize.half
    slice_order: SliceOrder = SliceOrder.numeric
    excluded: tuple[str, ...] = TARGETS
    shared_patients: bool = False
    skip_faulty: bool = False
    network: str = "unet_cells"
    epochs: int = 20
    batch_size: int = 1
    lr: float = 0.005
    weight_decay: float = 3e-5
    lr_step: int = 2
    lr_gamma: float = 0.7
    loss: BinaryLoss = BinaryLoss.iou
    meta_epochs: int = 100
    tasks_per_epoch: int = 5
    meta_shots: int = 15
    slices_per_volume: int = 15
    inner_epochs: int = 20
    pretrain_epochs: int = 20
    max_source: int | None = None

    def __post_init__(self) -> None:
        if len(self.image_size) != 2 or min(self.image_size) < 16:
            raise UserError(
                f"`protocol.image_size` takes two sides of at least 16 pixels, got {list(self.image_size)}; "
                "write for instance `protocol.image_size=[256,256]`."
            )
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if f.name in _COUNTS and value is not None and value < 1:
                raise UserError(f"`{f.name}` takes a whole number from 1, got {value}.")
        if not self.shot_seeds or len(set(self.shot_seeds)) != len(self.shot_seeds):
            raise UserError(
                f"`protocol.shot_seeds` takes one or more different seeds, got {list(self.shot_seeds)}."
            )
        if not self.lr > 0 or self.weight_decay < 0 or not 0 < self.lr_gamma <= 1:
            raise UserError(
                "`protocol.lr` takes a number above 0, `protocol.weight_decay` one from 0 and "
                f"`protocol.lr_gamma` one above 0 up to 1; got {self.lr}, {self.weight_decay} and "
                f"{self.lr_gamma}."
            )


_COUNTS = {
    "shots",
    "epochs",
    "batch_size",
    "lr_step",
    "meta_epochs",
    "tasks_per_epoch",
    "meta_shots",
    "slices_per_volume",
    "inner_epochs",
    "pretrain_epochs",
    "max_source",
    "max_steps",
    "max_test",
}
