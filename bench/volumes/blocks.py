"""Blocks of a slice cache: how a volume's slices lie in a file, and the file that is only ever appended to.

Shapes: R kept slices of a volume, C channels used, L labels, (H, W) network's input, (H0, W0, D) a volume.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.files import append_bytes, canonical, digest, write_text

DATA, INDEX = "slices.bin", "index.jsonl"


@dataclass(frozen=True)
class Layout:
    """Order and size of what a block holds.

    Images (R, C, H, W) uint8, then masks (R, L, H, ceil(W / 8)) and the whole label map
    (L, ceil(H0 W0 D / 8)), both as packed bits.
    """

    channels: int
    labels: int
    size: tuple[int, int]

    @property
    def picture(self) -> int:
        """Bytes of one channel of one slice."""
        return self.size[0] * self.size[1]

    @property
    def drawing(self) -> int:
        """Bytes of one label of one slice."""
        return self.size[0] * -(-self.size[1] // 8)

    def masks_at(self, rows: int) -> int:
        """Where the masks begin in a block of so many slices."""
        return rows * self.channels * self.picture

    def native_at(self, rows: int) -> int:
        """Where the label map begins."""
        return self.masks_at(rows) + rows * self.labels * self.drawing

    def length(self, rows: int, shape: Sequence[int]) -> int:
        """Bytes of a block."""
        return self.native_at(rows) + self.labels * packed(shape)


def packed(shape: Sequence[int]) -> int:
    """Bytes of a bit a voxel."""
    return -(-int(np.prod(shape)) // 8)


@dataclass(frozen=True)
class Entry:
    """What the index says of one volume.

    Args:
        name: The volume.
        recipe: Digest of all that decides how a block is made.
        files: Path, bytes and modification time in nanoseconds of image and label map.
        content: SHA-256 of the decoded volume.
        shape: (H0, W0, D).
        zooms: Voxel size in millimetres.
        mean, std: C numbers, over the non-zero voxels of a channel.
        position: R indices along the third axis.
        pixels: R times L pixels at original resolution.
        low, high: R times C least and greatest grey levels.
        offset, length, sha256: The block.
    """

    name: str
    recipe: str
    files: list[list[Any]]
    content: str
    shape: list[int]
    zooms: list[float]
    mean: list[float]
    std: list[float]
    position: list[int]
    pixels: list[list[int]]
    low: list[list[float]]
    high: list[list[float]]
    offset: int = 0
    length: int = 0
    sha256: str = ""


class Shelf:
    """The two files of a cache, held by one process while it is open for building.

    A block is on the disk before its line in the index is written, and a line carries its own digest: a kill
    or a full disk leaves at most one block without a line and one torn line, which is dropped here. Bytes
    once written stay where they are, because another process may have them mapped: what a changed file or a
    kill leaves unused is only given back by deleting the folder.

    Args:
        folder: Where the files are, or are made.
    """

    def __init__(self, folder: Path):
        self.data, self.index = folder / DATA, folder / INDEX
        self.entries: dict[str, Entry] = {}
        size = self.data.stat().st_size if self.data.is_file() else 0
        lines = self.index.read_bytes().split(b"\n") if self.index.is_file() else [b""]
        kept = []
        for line in lines[:-1]:
            entry = _entry(line)
            if entry is not None and entry.offset + entry.length <= size:
                kept.append(line.decode())
                self.entries[entry.name] = entry
        if len(kept) < len(lines) - 1 or lines[-1]:
            write_text(self.index, "".join(f"{line}\n" for line in kept))

    def intact(self, entry: Entry) -> bool:
        """Whether the block is what was written."""
        with self.data.open("rb") as file:
            file.seek(entry.offset)
            return hashlib.sha256(file.read(entry.length)).hexdigest() == entry.sha256

    def append(self, entry: Entry, parts: Sequence[NDArray[np.uint8]]) -> Entry:
        """Write a block and its line.

        Args:
            entry: All but the place of the block.
            parts: The arrays of the block, in order.

        Returns:
            The entry with the place of the block.
        """
        block = b"".join(part.tobytes() for part in parts)
        end = self.data.stat().st_size if self.data.is_file() else 0
        placed = replace(entry, offset=end, length=len(block), sha256=hashlib.sha256(block).hexdigest())
        fields = asdict(placed)
        line = json.dumps({"entry": fields, "sha256": digest(fields)}, allow_nan=False) + "\n"
        for path, data in ((self.data, block), (self.index, line.encode())):
            append_bytes(path, data)
        self.entries[entry.name] = placed
        return placed


def _entry(line: bytes) -> Entry | None:
    """The entry of a line, or None for a line that is torn, damaged or of another version."""
    try:
        content = json.loads(line)
        fields = content["entry"]
        if hashlib.sha256(canonical(fields).encode()).hexdigest() != content["sha256"]:
            return None
        return Entry(**fields)
    except (ValueError, KeyError, TypeError):
        return None
