"""Slices of one Decathlon folder, resized once and kept in one memory-mapped file.

A training step then reads a page or two instead of decompressing a volume, and the memory it takes belongs to
the operating system's file cache. What is kept and why: fewshot_decathlon.md, section 1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.store import held
from bench.volumes import pixels
from bench.volumes.blocks import DATA, Entry, Layout, Shelf, packed
from bench.volumes.build import Build
from bench.volumes.organs import Organ, of_folder
from bench.volumes.slices import Normalisation, Rows, SliceSet


class SliceCache:
    """A `Store` over every slice in which a label of the folder has enough pixels.

    Shapes: R rows (kept slices of all volumes), L labels, C channels, V volumes.

    Args:
        folder: Official folder name.
        path: The file that is mapped.
        layout: How a block of it is laid out.
        entries: One a volume, sorted by name.
        skipped: Names of the volumes left out because they cannot be read.

    Attributes:
        volumes: V names, sorted; some may have no row.
        volume_of: (R,) index into `volumes`, ascending.
        position: (R,) index of the slice along the third axis, ascending in each volume.
        pixels: (R, L) pixels of label l + 1 at original resolution.
    """

    def __init__(
        self, folder: str, path: Path, layout: Layout, entries: Sequence[Entry], skipped: Sequence[str]
    ):
        self.folder, self.path, self.layout, self.skipped = folder, path, layout, tuple(skipped)
        self.volumes = tuple(entry.name for entry in entries)
        self._entries = {entry.name: entry for entry in entries}
        rows = [len(entry.position) for entry in entries]
        self.volume_of = np.repeat(np.arange(len(entries), dtype=np.int64), rows)
        self.position = np.array([j for entry in entries for j in entry.position], np.int64)
        self.pixels = _table(entries, "pixels", layout.labels, np.int64)
        self._range = [_table(entries, name, layout.channels, np.float64) for name in ("low", "high")]
        self._volume = [np.array([getattr(e, name) for e in entries], np.float64) for name in ("mean", "std")]
        first = np.repeat(np.cumsum([0, *rows[:-1]], dtype=np.int64), rows)
        place = np.arange(len(self.position), dtype=np.int64) - first
        starts = np.array([entry.offset for entry in entries], np.int64)
        masks = starts + np.array([layout.masks_at(n) for n in rows], np.int64)
        self._image_at = starts[self.volume_of] + place * layout.channels * layout.picture
        self._mask_at = masks[self.volume_of] + place * layout.labels * layout.drawing
        self._bytes = _mapped(path)

    @classmethod
    def open(
        cls,
        folder: Path,
        size: tuple[int, int],
        mask_resize: str,
        home: Path,
        skip_faulty: bool = False,
        progress: Callable[..., Any] | None = None,
        tell: Callable[[str], None] = lambda line: None,
    ) -> SliceCache:
        """Check what is cached, make what is missing or out of date, and map the file.

        A volume is made again when one of its files has another path, size or time of change, when what may
        stand in its label map is declared otherwise, when scikit-image or `build.VERSION` is another, or when
        its block on the disk is damaged. A killed build goes on where it stopped; a second process waits.

        Args:
            folder: A folder of the Decathlon under its official name.
            size: (H, W) to resize to.
            mask_resize: `half` or `stretched`, see `pixels.mask`.
            home: The bench's home; files go to `cache/slices/<folder>-<digest>/<H>x<W>-<mask_resize>/` there.
            skip_faulty: Leave volumes out that cannot be read, and say so; otherwise the first is refused.
            progress: Wraps the iteration over volumes: `progress(volumes, total=..., description=...)`.
            tell: Says one line to the person at the terminal.

        Raises:
            UserError: A volume is faulty, see `msd.read` and `msd.survey`, or none is left.
            ValueError: Another `mask_resize`, or no such size.
        """
        if mask_resize not in pixels.RESIZES or min(size) < 1:
            raise ValueError(f"no cache of size {size} with masks resized by {mask_resize!r}")
        layout = Layout(
            1 + max(organ.channel for organ in of_folder(folder.name)),  # not the prostate's second
            max(organ.label for organ in of_folder(folder.name)),
            (int(size[0]), int(size[1])),
        )
        source = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
        place = home / "cache" / "slices" / f"{folder.name}-{source}" / f"{size[0]}x{size[1]}-{mask_resize}"
        with held(place, f"Another process prepares the slices of `{folder.name}`; waiting for it."):
            build = Build(folder, layout, mask_resize, Shelf(place), tell)
            entries, skipped = build.all(skip_faulty, progress)
            return cls(folder.name, place / DATA, layout, entries, skipped)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_bytes": None}  # another process maps the file itself

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._bytes = _mapped(self.path)

    def images(self, rows: Rows, channel: int) -> NDArray[np.uint8]:
        """(B, H, W) uint8, each slice stretched to 0..255."""
        self._check(channel, self.layout.channels)
        step = self.layout.picture
        flat = self._gather(self._image_at[rows] + channel * step, step)
        return flat.reshape(len(flat), *self.layout.size)

    def masks(self, rows: Rows, label: int) -> NDArray[np.bool_]:
        """(B, H, W) bool: where the label is `label`."""
        self._check(label - 1, self.layout.labels)
        step = self.layout.drawing
        height, width = self.layout.size
        flat = self._gather(self._mask_at[rows] + (label - 1) * step, step)
        lines = flat.reshape(len(flat), height, step // height)
        return np.unpackbits(lines, axis=2, count=width).view(np.bool_)

    def levels(self, rows: Rows, channel: int) -> NDArray[np.float64]:
        """Grey levels in the units of the file.

        Returns:
            (B, 4) float64: least and greatest of the resized slice, mean and deviation of the non-zero voxels
            of its volume.
        """
        self._check(channel, self.layout.channels)
        parts = [table[rows, channel] for table in self._range]
        parts += [table[self.volume_of[rows], channel] for table in self._volume]
        return np.stack(parts, axis=1)

    def native(self, volume: str, label: int) -> NDArray[np.bool_]:
        """(H0, W0, D) bool: where the label is `label`, at original resolution."""
        self._check(label - 1, self.layout.labels)
        entry = self._entries[volume]
        step = packed(entry.shape)
        at = entry.offset + self.layout.native_at(len(entry.position)) + (label - 1) * step
        bits = np.unpackbits(self._bytes[at : at + step], count=int(np.prod(entry.shape)))
        return bits.view(np.bool_).reshape(entry.shape)

    def zooms(self, volume: str) -> tuple[float, float, float]:
        """Voxel size along the three axes, in millimetres."""
        a, b, c = self._entries[volume].zooms
        return a, b, c

    def shape(self, volume: str) -> tuple[int, int, int]:
        """(H0, W0, D)."""
        a, b, c = self._entries[volume].shape
        return a, b, c

    def content(self, volume: str) -> str:
        """SHA-256 of the decoded image and label map."""
        return self._entries[volume].content

    def _gather(self, starts: NDArray[np.int64], step: int) -> NDArray[np.uint8]:
        out = np.empty((len(starts), step), np.uint8)
        for i, start in enumerate(starts.tolist()):
            out[i] = self._bytes[start : start + step]
        return out

    def _check(self, index: int, count: int) -> None:
        if not 0 <= index < count:
            raise IndexError(f"`{self.folder}` has {count} of these, asked for number {index + 1}")


def slices(cache: SliceCache, organ: Organ, normalisation: Normalisation) -> SliceSet:
    """The slices of one organ: those with `organ.least` pixels of its label at original resolution.

    Ordered by volume name, then by position.

    Raises:
        ValueError: The organ is cut from another folder.
    """
    if organ.folder != cache.folder:
        raise ValueError(f"{organ.name} is cut from {organ.folder}, this is a cache of {cache.folder}")
    rows = np.flatnonzero(cache.pixels[:, organ.label - 1] >= organ.least).astype(np.int64)
    volumes = tuple(cache.volumes[i] for i in cache.volume_of[rows])
    place = cache.position[rows]
    return SliceSet(organ.name, cache, rows, volumes, place, organ.channel, organ.label, normalisation)


def _table(entries: Sequence[Entry], name: str, width: int, dtype: Any) -> NDArray[Any]:
    rows = [row for entry in entries for row in getattr(entry, name)]
    return np.array(rows, dtype).reshape(len(rows), width)


def _mapped(path: Path) -> NDArray[np.uint8]:
    return np.memmap(path, np.uint8, mode="r").view(np.ndarray)
