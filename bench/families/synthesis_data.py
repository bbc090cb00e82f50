"""Photographs with label maps under a protocol: what is learned from, and the engine's test images."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.core import DataInfo
from bench.errors import UserError
from bench.families.scan_sets import spread
from bench.images.conditions import Conditions, Size, cropped, edges, mirrored, squashed
from bench.images.files import ImageFile, ImageSet
from bench.labelled import Labelled, Triple
from bench.pictures import threaded


@dataclass(frozen=True)
class Examples:
    """Photographs of one split at the protocol's size, decoded when they are asked for.

    Args:
        source: Those of the split and no others.
        size: (H, W).
        crop, flip: What `varied` does.
    """

    source: Labelled
    size: Size
    crop: bool = True
    flip: bool = True

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Triple:
        """One photograph, squashed: image (H, W, 3) uint8, labels and instances (H, W) int32."""
        return squashed(self.source.read(index), self.size)

    def varied(self, index: int, seed: int) -> Triple:
        """The same as training sees it: cropped and perhaps mirrored, as `seed` says."""
        rng = np.random.default_rng(seed)
        triple = self.source.read(index)
        triple = cropped(triple, self.size, rng) if self.crop else squashed(triple, self.size)
        return mirrored(triple) if self.flip and rng.random() < 0.5 else triple

    @property
    def classes(self) -> int:
        """K."""
        return len(self.source.classes)

    @property
    def ids(self) -> tuple[str, ...]:
        """Names, in order."""
        return tuple(entry.id for entry in self.source.entries)

    def conditions(self, indices: Sequence[int], seed: int = 0, draw: int = 0) -> Conditions:
        """The label maps at these places of the split."""
        return conditions(together(self.__getitem__, indices), self.classes, seed, draw, indices)


def together(work: Callable[[int], Triple], indices: Sequence[int]) -> list[Triple]:
    """`work` of a batch, on threads; decoding leaves the interpreter free."""
    return list(threaded(work, indices, chunk=1))


def conditions(
    triples: Sequence[Triple], classes: int, seed: int = 0, draw: int = 0, indices: Sequence[int] = ()
) -> Conditions:
    """Triples of one size as a batch of label maps with their edges."""
    labels = torch.from_numpy(np.stack([triple.labels for triple in triples]).astype(np.int64))
    maps = [triple.instances for triple in triples if triple.instances is not None]
    borders = torch.from_numpy(np.stack([edges(one) for one in maps])) if maps else None
    return Conditions(labels, borders, classes, seed, draw, tuple(indices))


@dataclass(frozen=True)
class TestImages:
    """The test split. Only the engine holds this object; methods get its `Conditions`.

    Args:
        examples: Label maps and real images.
        blank: Real images are grey, to see whether a method looks at them.
    """

    examples: Examples
    blank: bool = False

    def __len__(self) -> int:
        return len(self.examples)

    def image(self, index: int) -> NDArray[np.uint8]:
        """The real image, (H, W, 3) uint8."""
        return np.full((*self.examples.size, 3), 127, np.uint8) if self.blank else self.examples[index].image

    def labels(self, index: int) -> NDArray[np.int64]:
        """Class numbers (H, W) of a label map."""
        return self.examples[index].labels.astype(np.int64)

    def reference(self) -> ImageSet:
        """The real images as a set, named by their ids, in order."""
        source = _Reference(self)
        return ImageSet(Path("test"), tuple(ImageFile(f"{name}.npy", source) for name in self.examples.ids))


class _Reference:
    """Bytes of real test images at the protocol's size."""

    def __init__(self, test: TestImages):
        self.test = test
        self.place = {f"{name}.npy": i for i, name in enumerate(test.examples.ids)}

    def read(self, name: str) -> bytes:
        file = io.BytesIO()
        np.save(file, np.ascontiguousarray(self.test.image(self.place[name])))
        return file.getvalue()

    def stamp(self, name: str) -> tuple[int, int]:
        return 1, 0  # the data were checked when they were loaded and do not change during a run


@dataclass(frozen=True)
class SynthesisData:
    """Train, val and test of one run; methods get the first two."""

    train: Examples
    val: Examples
    test: TestImages
    info: DataInfo
    protocol: Any
    unlabelled: int | None

    @property
    def in_channels(self) -> int:
        """Channels of `Conditions.planes`."""
        return self.train.classes + self.train.source.has_instances


def load(samples: Labelled, protocol: Any) -> SynthesisData:
    """Split.

    Raises:
        UserError: A split without photographs, or fewer than two test images.
    """
    p = protocol
    parts = {name: list(samples.of(name)) for name in samples.counts()}
    for name, least in (("train", 1), ("val", 1), ("test", 2)):
        if len(parts[name]) < least:
            raise UserError(
                f"The {name} split holds {len(parts[name])} photographs, at least {least} are needed; "
                "complete the dataset."
            )
    parts["val"], parts["test"] = spread(parts["val"], p.max_val), spread(parts["test"], p.max_test)
    info = DataInfo(
        fingerprint=samples.fingerprint(),
        split_sha256=samples.split_sha256(),
        counts={name: len(part) for name, part in parts.items()},
        unit="image",
        leaks=samples.leaks(),
        classes=samples.classes,
    )
    sets = {
        name: Examples(samples.part(part), tuple(p.image_size), p.crop, p.flip)
        for name, part in parts.items()
    }
    return SynthesisData(sets["train"], sets["val"], TestImages(sets["test"]), info, p, samples.unlabelled)
