"""Slices of one binary dataset (one organ in one channel), read from a store when they are asked for.

Shapes: B slices asked for, N slices in a set, H rows, W columns of the network's input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Rows = NDArray[np.int64]


class Normalisation(StrEnum):
    """Grey levels that a network sees.

    `slice_minmax`: every slice from 0 to 1, as the PNG files of the official code come out. `volume_zscore`:
    zero mean and unit variance over the non-zero voxels of the volume, as the thesis says (section 7.3.1).
    """

    slice_minmax = "slice_minmax"
    volume_zscore = "volume_zscore"


class Store(Protocol):
    """Where slices lie: a memory-mapped cache, or arrays in memory."""

    def images(self, rows: Rows, channel: int) -> NDArray[np.uint8]:
        """(B, H, W) uint8, each slice stretched to 0..255."""
        ...

    def masks(self, rows: Rows, label: int) -> NDArray[np.bool_]:
        """(B, H, W) bool: where the label is `label`."""
        ...

    def levels(self, rows: Rows, channel: int) -> NDArray[np.float64]:
        """Grey levels in the units of the file, (B, 4).

        Least and greatest of the slice; mean and deviation of the volume's non-zero voxels.
        """
        ...


@dataclass(frozen=True)
class SliceSet:
    """Slices of one organ.

    Args:
        name: The binary dataset, such as `hippocampus_anterior`.
        store: Where the slices lie.
        rows: (N,) their places in the store.
        volumes: N volume names, such as `hippocampus_001`.
        positions: (N,) index of each slice along the third axis of its volume.
        channel, label: Which channel of the image and which label of the map.
        normalisation: What is done to grey levels.
    """

    name: str
    store: Store
    rows: Rows
    volumes: tuple[str, ...]
    positions: Rows
    channel: int = 0
    label: int = 1
    normalisation: Normalisation = Normalisation.slice_minmax

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor | NDArray) -> tuple[Tensor, Tensor]:
        """Images and masks, both (B, 1, H, W) float32; masks hold 0 and 1."""
        rows = np.atleast_1d(self.rows[_plain(index)])
        masks = torch.from_numpy(self.store.masks(rows, self.label)[:, None].astype(np.float32))
        return self._images(rows), masks

    def images(self, index: int | slice | Sequence[int] | Tensor | NDArray) -> Tensor:
        """Images alone, (B, 1, H, W) float32."""
        return self._images(np.atleast_1d(self.rows[_plain(index)]))

    def _images(self, rows: Rows) -> Tensor:
        x = torch.from_numpy(self.store.images(rows, self.channel)[:, None].astype(np.float32)).div_(255)
        if self.normalisation is Normalisation.volume_zscore:
            low, high, mean, std = self.store.levels(rows, self.channel).T[..., None, None, None]
            grey = low + x.numpy() * (high - low)
            x = torch.from_numpy(((grey - mean) / np.where(std > 0, std, 1)).astype(np.float32))
        return x

    @property
    def patients(self) -> tuple[str, ...]:
        """Names of the volumes, each once, sorted; in the Decathlon a volume is a patient."""
        return tuple(sorted(set(self.volumes)))

    def subset(self, keep: Sequence[int] | NDArray) -> SliceSet:
        """The slices at these places of the set, in this order; a place may stand twice."""
        chosen = np.asarray(keep, np.int64)
        volumes = tuple(self.volumes[i] for i in chosen)
        return replace(self, rows=self.rows[chosen], volumes=volumes, positions=self.positions[chosen])


@dataclass(frozen=True)
class Source:
    """A dataset to meta-train on.

    Args:
        name: Its name.
        train, val: Its slices.
        weight: Relative probability of being drawn as a task (1 / z for z datasets of one organ).
    """

    name: str
    train: SliceSet
    val: SliceSet
    weight: float


@dataclass(frozen=True)
class ArrayStore:
    """A store of arrays in memory: one channel, one label.

    Args:
        grey: (N, H, W) uint8.
        drawn: (N, H, W) bool.
    """

    grey: NDArray[np.uint8]
    drawn: NDArray[np.bool_]

    def images(self, rows: Rows, channel: int) -> NDArray[np.uint8]:
        """(B, H, W) uint8."""
        return self.grey[rows]

    def masks(self, rows: Rows, label: int) -> NDArray[np.bool_]:
        """(B, H, W) bool."""
        return self.drawn[rows]

    def levels(self, rows: Rows, channel: int) -> NDArray[np.float64]:
        """The bytes themselves as grey levels of one volume."""
        seen = self.grey[self.grey > 0].astype(np.float64)
        low, high = (f(self.grey[rows].reshape(len(rows), -1), axis=1) for f in (np.min, np.max))
        mean, std = (np.full(len(rows), f(seen) if len(seen) else 0.0) for f in (np.mean, np.std))
        return np.stack([low, high, mean, std], axis=1).astype(np.float64)


def _plain(index: int | slice | Sequence[int] | Tensor | NDArray) -> int | slice | NDArray[np.int64]:
    if isinstance(index, int | slice):
        return index
    return np.asarray(index, np.int64)
