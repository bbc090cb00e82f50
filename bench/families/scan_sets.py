"""Scans under a protocol: resized, normalised, in memory; what a method sees apart from what it does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import resize

from bench.core import DataInfo
from bench.pictures import nearest
from bench.scans import Scan


@dataclass(frozen=True)
class ScanSet:
    """Scans under a protocol, in memory.

    Args:
        images: (N, C, H, W) float32, normalised.
        masks: (N, H, W) int64 class ids.
        ids: N scan names.
        units: N unit names (patients).
    """

    images: Tensor
    masks: Tensor
    ids: tuple[str, ...]
    units: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int | Tensor | list[int]) -> tuple[Tensor, Tensor]:
        return self.images[index], self.masks[index]


@dataclass(frozen=True)
class Place:
    """Where a test scan's evaluated window lies in its file, so predictions of either size can be read.

    Args:
        full_size: (H, W) of the scan in its file.
        window: (top, left, height, width) of the part that is evaluated.
    """

    full_size: tuple[int, int]
    window: tuple[int, int, int, int]


@dataclass(frozen=True)
class SegmentationData:
    """Train, val and test of one run. Only the engine holds this object; methods get its parts."""

    train: ScanSet
    val: ScanSet
    test: ScanSet
    places: tuple[Place, ...]
    info: DataInfo

    @property
    def in_channels(self) -> int:
        """C."""
        return self.train.images.shape[1]


class Interpolation(StrEnum):
    """How label maps are resized: pixel centres, or as float values that are rounded back."""

    nearest = "nearest"
    bilinear = "bilinear"


def spread(items: list, most: int | None) -> list:
    """At most `most` items, evenly spaced, in their order."""
    if most is None or most >= len(items):
        return items
    return [items[i] for i in np.linspace(0, len(items) - 1, most).round().astype(int)]


def scan_set(scans: Sequence[Scan], protocol: Any) -> ScanSet:
    """Resize and normalise; images bilinear without antialias, as torchvision 0.9 did (spec section 1)."""
    size = list(protocol.image_size)
    images, masks = [], []
    for scan in scans:
        image = torch.from_numpy(scan.image.astype(np.float32))[None]
        images.append(resize(image, size, InterpolationMode.BILINEAR, antialias=False))
        masks.append(resize_labels(scan.mask, protocol.image_size, protocol.mask_interpolation))
    return ScanSet(
        images=(torch.stack(images) - protocol.mean) / protocol.std,
        masks=torch.stack(masks),
        ids=tuple(scan.id for scan in scans),
        units=tuple(scan.unit for scan in scans),
    )


def resize_labels(mask: np.ndarray, size: Sequence[int], how: Interpolation) -> Tensor:
    """Resize a label map (H, W) to int64.

    `nearest` takes pixel centres, by PIL itself: where a centre falls on the border of two pixels (eight
    columns at 768 -> 224) PIL and torch's `nearest-exact` choose differently, and only PIL's choice gives
    the fluid pixel counts known of the Duke test scans. `bilinear` interpolates the class *ids* and rounds,
    as the official code does: between classes 0 and 8 any other id may appear.
    """
    if how is Interpolation.nearest:
        return torch.from_numpy(nearest(mask, size)).long()
    x = torch.from_numpy(mask.astype(np.float32))[None]
    return resize(x, list(size), InterpolationMode.BILINEAR, antialias=False)[0].round().long()
