"""Filling a slice cache: every volume of a folder is checked, resized and appended, unless it is there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import UserError
from bench.files import digest
from bench.volumes import pixels
from bench.volumes.blocks import Entry, Layout, Shelf
from bench.volumes.msd import Pair, Volume, declared, read, survey
from bench.volumes.organs import of_folder

VERSION = 1  # of what a block holds; raise it when that changes
_THREADS = min(8, os.cpu_count() or 1)


class Build:
    """Makes the blocks of one folder that are missing or out of date.

    Args:
        folder: A folder of the Decathlon under its official name.
        layout: How a block is laid out.
        how: How masks are resized, see `pixels.mask`.
        shelf: Where blocks are kept.
        tell: Says one line to the person at the terminal.
    """

    def __init__(self, folder: Path, layout: Layout, how: str, shelf: Shelf, tell: Callable[[str], None]):
        self.folder, self.layout, self.how, self.shelf, self.tell = folder, layout, how, shelf, tell
        self.ids = declared(folder)
        self.least = {organ.label: organ.least for organ in of_folder(folder.name)}
        least = sorted(self.least.items())
        rules = [VERSION, layout.size, how, layout.channels, least, self.ids, version("scikit-image")]
        self.recipe = digest(rules)

    def all(self, skip_faulty: bool, progress: Callable[..., Any] | None) -> tuple[list[Entry], list[str]]:
        """Bring the cache up to date.

        Returns:
            Entries sorted by name, and the names of the volumes left out.

        Raises:
            UserError: A volume is faulty and is not to be left out, or none can be read.
        """
        found, faults = survey(self.folder)
        entries, skipped = [], []

        def faulty(name: str, sentence: str) -> None:
            if not skip_faulty:
                raise UserError(
                    f"{sentence.removesuffix('.')}, or leave the volume out with `protocol.skip_faulty=true`."
                )
            skipped.append(name)
            self.tell(f"Left out `{name}` of `{self.folder.name}`: {sentence}")

        for name, sentence in sorted(faults.items()):
            faulty(name, sentence)
        title = f"slices of {self.folder.name}"
        walk: Iterable[Pair] = progress(found, total=len(found), description=title) if progress else found
        for pair in walk:
            try:
                entries.append(self.one(pair))
            except UserError as error:
                faulty(pair.name, str(error))
        if not entries:
            raise UserError(f"No volume of `{self.folder}` can be read; fetch the folder again.")
        return entries, sorted(skipped)

    def one(self, pair: Pair) -> Entry:
        """The entry of a volume, made if there is none that fits."""
        files = [_identity(self.folder, path) for path in (pair.image, pair.label)]
        entry = self.shelf.entries.get(pair.name)
        if entry is not None and entry.recipe == self.recipe and entry.files == files:
            if self.shelf.intact(entry):
                return entry
            self.tell(f"The cached slices of `{pair.name}` are damaged on the disk; making them again.")
        volume = read(pair, self.folder.name, self.ids)
        made, parts = self.block(volume, files)
        return self.shelf.append(made, parts)

    def block(self, volume: Volume, files: list[list[Any]]) -> tuple[Entry, list[NDArray[np.uint8]]]:
        """What is kept of a volume; the offset is still open."""
        labels = range(1, self.layout.labels + 1)
        counts = volume.histogram[:, 1 : self.layout.labels + 1]
        least = np.array([self.least.get(label, np.iinfo(np.int64).max) for label in labels])
        kept = np.flatnonzero((counts >= least).any(axis=1)).tolist()
        channels = volume.image[: self.layout.channels]
        size = self.layout.size

        def row(j: int) -> tuple[list[tuple[NDArray[np.uint8], float, float]], NDArray[np.uint8]]:
            grey = [pixels.image(channel[:, :, j], size) for channel in channels]
            drawn = [pixels.mask(volume.label[:, :, j] == label, size, self.how) for label in labels]
            return grey, np.packbits(np.stack(drawn), axis=2)

        with ThreadPoolExecutor(_THREADS) as pool:
            rows = list(pool.map(row, kept))
        native = [np.packbits(volume.label == label) for label in labels]
        spread = [_mean_std(channel) for channel in channels]
        entry = Entry(
            name=volume.name,
            recipe=self.recipe,
            files=files,
            content=volume.content(),
            shape=list(volume.label.shape),
            zooms=list(volume.zooms),
            mean=[mean for mean, _ in spread],
            std=[std for _, std in spread],
            position=kept,
            pixels=counts[kept].tolist(),
            low=[[low for _, low, _ in grey] for grey, _ in rows],
            high=[[high for _, _, high in grey] for grey, _ in rows],
        )
        pictures = [picture for grey, _ in rows for picture, _, _ in grey]
        return entry, [*pictures, *(drawn for _, drawn in rows), *native]


def _identity(folder: Path, path: Path) -> list[Any]:
    """What tells that a file has been changed, without reading it."""
    facts = path.stat()
    return [path.relative_to(folder).as_posix(), facts.st_size, facts.st_mtime_ns]


def _mean_std(x: NDArray[np.float32]) -> tuple[float, float]:
    """Mean and deviation of the non-zero voxels of (H, W, D), slice by slice to hold no second copy."""
    planes = [x[:, :, j] for j in range(x.shape[2])]
    count = sum(np.count_nonzero(plane) for plane in planes)
    if not count:
        return 0.0, 0.0
    mean = sum(float(plane.sum(dtype=np.float64)) for plane in planes) / count
    square = sum(float(((plane[plane != 0].astype(np.float64) - mean) ** 2).sum()) for plane in planes)
    return mean, (square / count) ** 0.5
