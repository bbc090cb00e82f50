"""Bright squares for few-shot methods, a network that draws and counts, and runs without the command line."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from bench import registry, seeding
from bench.checkpoint import Checkpoint
from bench.context import Context
from bench.curves import Curves
from bench.device import make_fabric
from bench.fewshot.method import FewShotTrain
from bench.progress import Progress
from bench.volumes.slices import ArrayStore, SliceSet, Source

SIDE = 16
BASE = {
    "target": "heart",
    "shots": 2,
    "task_definition": "standard",
    "slice_order": "numeric",
    "image_size": (SIDE, SIDE),
    "batch_size": 2,
    "epochs": 2,
    "lr": 0.005,
    "weight_decay": 3e-5,
    "lr_step": 2,
    "lr_gamma": 0.7,
    "loss": "iou",
    "max_steps": None,
    "meta_epochs": 2,
    "tasks_per_epoch": 2,
    "meta_shots": 3,
    "slices_per_volume": 3,
    "inner_epochs": 2,
    "pretrain_epochs": 2,
    "network": "unet_cells",
}


class Tiny(nn.Module):
    """Dropout and batch norm draw and count, so that a resumed run must restore both."""

    def __init__(self, in_channels: int, num_classes: int, width: int = 4):
        super().__init__()
        self.first = nn.Conv2d(in_channels, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.last = nn.Conv2d(width, num_classes, 1)

    def features(self, x):
        inner = F.dropout(self.norm(self.first(x)).relu(), 0.2, self.training)
        return self.last(inner), inner

    def forward(self, x):
        return self.features(x)[0]


def squares(name: str, count: int, seed: int) -> SliceSet:
    """Bright squares on noise, four slices a volume."""
    rng = np.random.default_rng(seed)
    drawn = np.zeros((count, SIDE, SIDE), bool)
    for mask in drawn:
        top, left = rng.integers(1, SIDE - 8, 2)
        mask[top : top + 6, left : left + 6] = True
    grey = np.clip(60 + 60 * drawn + rng.normal(0, 12, drawn.shape), 0, 255).astype(np.uint8)
    volumes = tuple(f"{name}_{i // 4}" for i in range(count))
    return SliceSet(name, ArrayStore(grey, drawn), np.arange(count), volumes, np.arange(count) % 4)


def data(selections: int = 2, shots: int = 2) -> FewShotTrain:
    names = ("spleen", "lung", "colon")
    sources = [Source(n, squares(n, 8, i), squares(n, 4, i + 9), 1 / (i + 1)) for i, n in enumerate(names)]
    supports = [squares("heart", shots, 20 + i) for i in range(selections)]
    return FewShotTrain(tuple(sources), tuple(supports))


def context(
    folder: Path, seed: int = 0, checkpoint: type[Checkpoint] = Checkpoint, **changes: Any
) -> Context:
    folder.mkdir(parents=True, exist_ok=True)
    curves = Curves(folder / "curves.csv")
    return Context(
        seed=seed,
        protocol=SimpleNamespace(**{**BASE, **changes}),
        profile="clean",
        num_classes=1,
        in_channels=1,
        folder=folder,
        fabric=make_fabric("cpu", "32-true"),
        checkpoint=checkpoint(folder / "checkpoint", curves),
        progress=Progress(),
        log=lambda line: None,
        curve=curves,
    )


def made(name: str, **changes: Any) -> Any:
    return registry.load("method", name).target(**changes)


def fitted(method: Any, ctx: Context, train: FewShotTrain | None = None) -> Any:
    seeding.seed_everything(ctx.seed)
    method.fit(train or data(), squares("heart", 4, 40), ctx)
    return method


def weights(method: Any) -> list[torch.Tensor]:
    return [value for net in method.predictors for value in net.state_dict().values()]


def same(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> bool:
    return len(ours) == len(theirs) and all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def overlap(method: Any, part: SliceSet) -> float:
    images, masks = part[:]
    found = [method.predict((s, images)) > 0.5 for s in range(len(method.predictors))]
    ious = [((y & (masks > 0)).sum() / (y | (masks > 0)).sum()).item() for y in found]
    return sum(ious) / len(ious)


def own_network(folder: Path) -> str:
    """`path.py:Class` of a user's file with the tiny network, under a name no other test imports."""
    path = folder / f"own_{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}.py"
    path.write_text("from fewshot_toy import Tiny\n\n\nclass Mine(Tiny):\n    pass\n")
    return f"{path}:Mine"
