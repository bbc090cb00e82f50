"""Photographs with a class a pixel, as a dataset hands them over: checked, unresized, read on demand."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.errors import UserError
from bench.files import digest
from bench.pictures import read_image, threaded
from bench.scans import SPLITS

KEPT = 512 << 20  # bytes of decoded triples kept in memory; what is beyond is decoded again when asked for
ILLEGAL = -1  # in a table: no class


class Triple(NamedTuple):
    """One photograph.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) class numbers, 0 to K - 1.
        instances: (H, W) int32, one number a thing; None where the dataset has no instance maps.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.integer]
    instances: NDArray[np.int32] | None


@dataclass(frozen=True)
class Entry:
    """Where one photograph lies.

    Args:
        id: Unique name; predictions are named so.
        split: `train`, `val` or `test`.
        image: Colour or grey, 8 bits.
        labels: One channel, a number a pixel.
        instances: The same, or None.
    """

    id: str
    split: str
    image: Path
    labels: Path
    instances: Path | None = None


@dataclass(frozen=True)
class Labelled:
    """All photographs of a dataset.

    Args:
        entries: Sorted by split and id.
        classes: K names in label order.
        table: (256,) int16: number in a file -> class, or `ILLEGAL`.
        phantom: Whether they were made by this program.
        unlabelled: The class of pixels that nobody labelled, or None.
        contents: SHA-256 of each entry's decoded triple, in order,
        photographs: and of its image alone.
    """

    entries: tuple[Entry, ...]
    classes: tuple[str, ...]
    table: NDArray[np.int16]
    phantom: bool
    unlabelled: int | None = None
    contents: tuple[str, ...] = ()
    photographs: tuple[str, ...] = ()
    _kept: dict[int, Triple] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def has_instances(self) -> bool:
        """Whether there are instance maps."""
        return self.entries[0].instances is not None

    def read(self, index: int) -> Triple:
        """Decode one photograph, or return it from memory; nobody may write into it.

        Raises:
            UserError: A file is missing or damaged, sizes disagree, or a label is no class.
        """
        return self._kept[index] if index in self._kept else decoded(self.entries[index], self.table)

    def of(self, split: str) -> tuple[int, ...]:
        """Positions of a split's photographs."""
        return tuple(i for i, entry in enumerate(self.entries) if entry.split == split)

    def part(self, positions: Sequence[int]) -> Labelled:
        """These photographs alone: what is handed to a method holds no way to the others."""
        return replace(
            self,
            entries=tuple(self.entries[i] for i in positions),
            contents=tuple(self.contents[i] for i in positions),
            photographs=tuple(self.photographs[i] for i in positions),
            _kept={new: self._kept[old] for new, old in enumerate(positions) if old in self._kept},
        )

    def counts(self) -> dict[str, int]:
        """Photographs in each split."""
        found = Counter(entry.split for entry in self.entries)
        return {split: found[split] for split in SPLITS}

    def leaks(self) -> int:
        """Test photographs that stand, pixel for pixel, in another split too, whatever their label maps."""
        parts: dict[bool, set[str]] = {True: set(), False: set()}
        for entry, image in zip(self.entries, self.photographs, strict=True):
            parts[entry.split == "test"].add(image)
        return len(parts[True] & parts[False])

    def fingerprint(self) -> str:
        """SHA-256 over classes, ids and decoded content; neither splits nor file formats enter."""
        pairs = zip((entry.id for entry in self.entries), self.contents, strict=True)
        return digest([list(self.classes), sorted(pairs)])

    def split_sha256(self) -> str:
        """SHA-256 over which photograph stands in which split."""
        return digest({name: sorted(self.entries[i].id for i in self.of(name)) for name in SPLITS})


def survey(
    entries: Sequence[Entry],
    classes: Sequence[str],
    table: NDArray[np.int16],
    phantom: bool,
    unlabelled: int | None = None,
    progress: Callable[..., Any] | None = None,
) -> Labelled:
    """Decode everything once: checked, hashed, and kept as far as memory is set aside for it.

    Raises:
        UserError: As `Labelled.read`, of the first faulty photograph.
    """
    held = 0
    lock = Lock()

    def one(entry: Entry) -> tuple[str, str, Triple | None]:
        nonlocal held
        triple = decoded(entry, table)
        size = sum(part.nbytes for part in triple if part is not None)
        with lock:  # let go of here, not below: hundreds of results wait there
            keep = held + size <= KEPT
            held += size if keep else 0
        return _content(triple[:1]), _content(triple), triple if keep else None

    work = threaded(one, entries)
    walk = progress(work, total=len(entries), description="check images") if progress else work
    contents: list[str] = []
    photographs: list[str] = []
    kept: dict[int, Triple] = {}
    for index, (image, content, triple) in enumerate(walk):
        photographs.append(image)
        contents.append(content)
        if triple is not None:
            kept[index] = triple
    return Labelled(
        tuple(entries),
        tuple(classes),
        table,
        phantom,
        unlabelled,
        tuple(contents),
        tuple(photographs),
        kept,
    )


def _content(parts: Sequence[NDArray[Any] | None]) -> str:
    whole = hashlib.sha256()
    for part in parts:
        head = "none" if part is None else f"{part.shape} {part.dtype}"
        whole.update(head.encode())
        if part is not None:
            whole.update(np.ascontiguousarray(part).data)
    return whole.hexdigest()


def decoded(entry: Entry, table: NDArray[np.int16]) -> Triple:
    """Read one photograph.

    Raises:
        UserError: See `Labelled.read`.
    """
    image = read_image(entry.image)
    if image.ndim == 2:  # COCO has grey photographs
        image = np.repeat(image[:, :, None], 3, 2)
    raw = numbers(entry.labels)
    if raw.min() < 0 or raw.max() >= len(table) or (table[raw] == ILLEGAL).any():
        wrong = next(int(v) for v in np.unique(raw) if not 0 <= v < len(table) or table[v] == ILLEGAL)
        raise UserError(
            f"The label map `{entry.labels}` holds {wrong}, which is no class; take the official file."
        )
    instances = None if entry.instances is None else numbers(entry.instances)
    for path, part in ((entry.labels, raw), (entry.instances, instances)):
        if part is not None and part.shape != image.shape[:2]:
            sizes = [f"{shape[1]}x{shape[0]}" for shape in (part.shape, image.shape)]
            raise UserError(
                f"`{path}` is {sizes[0]} pixels and its image `{entry.image.name}` {sizes[1]}; take the "
                "official files."
            )
    return Triple(image, table[raw], instances)


def numbers(path: Path) -> NDArray[np.int32]:
    """A map of one number a pixel, (H, W); of a palette image the indices.

    Raises:
        UserError: Missing or damaged, or it holds colours or grey levels of less than eight bits.
    """
    try:
        with Image.open(path) as picture:
            mode = picture.mode
            found = np.array(picture).astype(np.int32) if mode in ("1", "L", "P", "I", "I;16") else None
            if picture.format == "PNG" and mode == "L" and _depth(path) < 8:
                mode = "L of 2 or 4 bits, whose numbers Pillow spreads to 255"
                found = None
    except FileNotFoundError as error:
        raise UserError(f"`{path}` is missing; copy the map there.") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(
            f"`{path}` cannot be decoded ({type(error).__name__}); fetch the file again."
        ) from error
    if found is None:
        raise UserError(f"`{path}` must hold a number a pixel, got Pillow mode `{mode}`; take the label map.")
    return found


def _depth(path: Path) -> int:
    """Bits a sample of a PNG, which stand in its first chunk."""
    with path.open("rb") as file:
        return file.read(25)[24]
