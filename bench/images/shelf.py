"""Rows of features on the disk, found by the content of their image; only ever appended to.

Two files: `rows.f32` holds rows of float32, `index.bin` an entry of 52 bytes for each. An entry is
written after its row has reached the disk, so a kill leaves at worst a row without an entry, which the next
writer overwrites. Every entry carries a checksum of itself and its row: what does not fit is not there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from bench.files import append_bytes

_ENTRY = np.dtype(
    {
        "names": ["content", "flags", "height", "width", "check"],
        "formats": ["(32,)u1", "<u4", "<u4", "<u4", "(8,)u1"],
    }
)


@dataclass(frozen=True)
class Row:
    """What is kept of one image.

    Args:
        content: SHA-256 of the file's bytes.
        flags: One bit for each of `decode.CONVERSIONS`.
        size: (H, W) as decoded, before any protocol.
        values: (D + K,) float32.
    """

    content: bytes
    flags: int
    size: tuple[int, int]
    values: NDArray[np.float32]


class Shelf:
    """Rows of one extractor under one protocol; several processes may write at once.

    Args:
        folder: Made if missing.
        width: Floats in a row.
    """

    def __init__(self, folder: Path, width: int):
        folder.mkdir(parents=True, exist_ok=True)
        self._index_path, self._rows_path = folder / "index.bin", folder / "rows.f32"
        self._lock = FileLock(folder / ".lock")
        self._bytes = 4 * width
        for path in (self._index_path, self._rows_path):
            path.touch()
        self._rows = self._rows_path.open("rb", buffering=0)
        self._entries = np.fromfile(self._index_path, _ENTRY, self._count())
        # Eight bytes of a SHA-256 are looked up by bisection: sixteen bytes of memory an image.
        keys = self._entries["content"][:, :8].copy().view("<u8").ravel()
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]
        self._own: dict[bytes, int] = {}  # rows appended since

    def close(self) -> None:
        """Close the file of rows."""
        self._rows.close()

    def find(self, content: bytes) -> int | None:
        """Number of the newest row of an image, unchecked; safe to call from several threads."""
        own = self._own.get(content)
        if own is not None:
            return own
        key = np.frombuffer(content[:8], "<u8")[0]
        low, high = (int(np.searchsorted(self._keys, key, side)) for side in ("left", "right"))
        wanted = np.frombuffer(content, np.uint8)
        for place in range(high - 1, low - 1, -1):
            number = int(self._order[place])
            if np.array_equal(self._entries["content"][number], wanted):
                return number
        return None

    def read(self, number: int) -> Row | None:
        """One row, or None where row or entry are damaged."""
        if number < len(self._entries):
            entry = self._entries[number]
        else:
            found = np.fromfile(self._index_path, _ENTRY, 1, offset=number * _ENTRY.itemsize)
            if not len(found):
                return None
            entry = found[0]
        self._rows.seek(number * self._bytes)
        data = self._rows.read(self._bytes)
        if len(data) != self._bytes or entry["check"].tobytes() != _check(entry, data):
            return None
        size = (int(entry["height"]), int(entry["width"]))
        return Row(entry["content"].tobytes(), int(entry["flags"]), size, np.frombuffer(data, "<f4"))

    def append(self, rows: Sequence[Row]) -> None:
        """Add rows; when this returns they outlive a kill and a power cut."""
        entries = np.zeros(len(rows), _ENTRY)
        parts = []
        for entry, row in zip(entries, rows, strict=True):
            data = np.ascontiguousarray(row.values, "<f4").tobytes()
            entry["content"] = np.frombuffer(row.content, np.uint8)
            entry["flags"], (entry["height"], entry["width"]) = row.flags, row.size
            entry["check"] = np.frombuffer(_check(entry, data), np.uint8)
            parts.append(data)
        with self._lock:
            start = self._count()
            append_bytes(self._rows_path, b"".join(parts), start * self._bytes)
            append_bytes(self._index_path, entries.tobytes(), start * _ENTRY.itemsize)
        self._own.update({row.content: start + i for i, row in enumerate(rows)})

    def _count(self) -> int:
        """Rows that have an entry."""
        entries = self._index_path.stat().st_size // _ENTRY.itemsize
        return min(entries, self._rows_path.stat().st_size // self._bytes)


def _check(entry: Any, data: bytes) -> bytes:
    head = entry["content"].tobytes() + b"".join(
        int(entry[k]).to_bytes(4) for k in ("flags", "height", "width")
    )
    return hashlib.blake2b(head + data, digest_size=8).digest()
