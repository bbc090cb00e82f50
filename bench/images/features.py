"""Features of a set of images: computed once, kept by content, handed over as memory-mapped arrays.

A row is kept under the SHA-256 of the image's bytes, the digest of the protocol and that of the extractor, so
changing one image computes one. Images are read and decoded in threads ahead of the network; memory depends
on the batch and not on how many images there are.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.errors import UserError
from bench.files import digest, without_folders
from bench.images.decode import CONVERSIONS, decode
from bench.images.extractors import Extractor
from bench.images.files import ImageSet
from bench.images.protocol import ImageProtocol, apply
from bench.images.shelf import Row, Shelf
from bench.progress import Progress

BATCHES = {"cpu": 16}  # Inception takes 67 ms an image in batches of 8 and 16, 80 in batches of 64
_BUDGET = 64 << 20  # bytes of decoded images that wait for the network, and as many in a batch


@dataclass(frozen=True)
class Features:
    """Features of N images in the order of the set.

    Args:
        pooled: (N, D) float32, memory-mapped, read-only.
        logits: (N, K) float32 likewise, or None where the extractor has none.
        names: N names.
        converted: What decoding had to convert -> images.
        sizes: (H, W) as decoded -> images.
        content: SHA-256 over the sorted SHA-256 of all files; neither names nor order enter.
        computed: Images that went through the network; the others came from the cache or stand twice.
        seconds: Wall-clock time of the whole pass.
    """

    pooled: NDArray[np.float32]
    logits: NDArray[np.float32] | None
    names: tuple[str, ...]
    converted: Counter[str]
    sizes: Counter[tuple[int, int]]
    content: str
    computed: int
    seconds: float

    @property
    def rate(self) -> float:
        """Images a second."""
        return len(self.names) / max(self.seconds, 1e-9)


@dataclass(frozen=True)
class _Job:
    """One image after a thread was done with it; without pixels where a row of it exists."""

    index: int
    content: bytes
    pixels: NDArray[np.uint8] | None = None
    flags: int = 0
    size: tuple[int, int] = (0, 0)


def features(
    images: ImageSet,
    extractor: Extractor,
    protocol: ImageProtocol,
    cache: Path,
    batch: int | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> Features:
    """Features of every image, from the cache where they are there.

    A kill loses at most the batch being computed; processes may work on one cache at once; a damaged row is
    computed again. The arrays lie in nameless temporary files beside the cache, gone with the last reference.

    Args:
        images: At least one.
        extractor: The network.
        protocol: What happens to pixels first; it names this extractor.
        cache: Folder of all features; made if missing.
        batch: Images through the network at once; fewer where they are large. None: what is fastest on the
            device. Images of different sizes go through it in groups of one size.
        device: Where the network runs; None leaves it where it is.
        progress: Draws a bar.

    Raises:
        UserError: An image cannot be read or decoded, or gives NaN or infinity.
        ValueError: The protocol names another extractor, or `batch` is below 1.
    """
    if without_folders(protocol.extractor) != extractor.name:
        raise ValueError(f"a protocol of {protocol.extractor} for the extractor {extractor.name}")
    if device is not None:
        extractor.to(device)
    if batch is None:
        batch = BATCHES.get(extractor.device.type, 64)
    if batch < 1:
        raise ValueError(f"batch must be at least 1, got {batch}")
    started = time.monotonic()
    place = cache / digest([protocol.digest(), extractor.digest])[:32]
    shelf = Shelf(place, extractor.dim + (extractor.classes or 0))
    work = _Pass(images, extractor, protocol, shelf, place, batch)
    try:
        work.run(progress or Progress(shown=False), started)
        pooled, logits = work.arrays()
    finally:
        work.close()
        shelf.close()
    names = tuple(image.name for image in images.images)
    seconds = time.monotonic() - started
    return Features(pooled, logits, names, work.converted, work.sizes, work.content(), work.computed, seconds)


class _Pass:
    """One walk over a set of images."""

    def __init__(
        self,
        images: ImageSet,
        extractor: Extractor,
        protocol: ImageProtocol,
        shelf: Shelf,
        place: Path,
        batch: int,
    ):
        self.images, self.extractor, self.protocol, self.shelf, self.batch = (
            images,
            extractor,
            protocol,
            shelf,
            batch,
        )
        # Written, not mapped: the pages of a growing map would count as this process's memory.
        self.files = [tempfile.TemporaryFile(dir=place) for _ in range(2)]  # noqa: SIM115
        self.contents = np.zeros((len(images), 32), np.uint8)
        self.waiting: dict[bytes, list[_Job]] = {}
        self.held = self.computed = 0
        self.converted: Counter[str] = Counter()
        self.sizes: Counter[tuple[int, int]] = Counter()

    def run(self, progress: Progress, started: float) -> None:
        """Fill both files."""
        with progress.bar("features", total=len(self.images)) as advance:
            for count, job in enumerate(_ahead(self.job, len(self.images), self.batch), 1):
                self.take(job)
                advance(**{"images/s": count / max(time.monotonic() - started, 1e-9)})
            self.flush()

    def job(self, index: int, fresh: bool = False) -> _Job:
        """In a thread: read, hash and, where no row is known, decode one image."""
        content, data = self.images.content(index)
        if not fresh and self.shelf.find(content) is not None:
            return _Job(index, content)
        image = self.images.images[index]
        pixels, done = decode(image.read() if data is None else data, self._name(index))
        flags = sum(1 << CONVERSIONS.index(name) for name in done)
        return _Job(index, content, apply(pixels, self.protocol), flags, pixels.shape[:2])

    def take(self, job: _Job) -> None:
        """Write what is known of an image, or let it wait for a full batch."""
        self.contents[job.index] = np.frombuffer(job.content, np.uint8)
        if job.content in self.waiting:
            self.waiting[job.content].append(_Job(job.index, job.content))  # the same image once more
            return
        number = self.shelf.find(job.content)
        row = None if number is None else self.shelf.read(number)
        if row is not None and row.content == job.content:
            self.write(job.index, row)
            return
        if job.pixels is None:
            job = self.job(job.index, fresh=True)  # its row is damaged
        assert job.pixels is not None
        self.waiting[job.content] = [job]
        self.held += job.pixels.nbytes
        if len(self.waiting) >= self.batch or self.held >= _BUDGET:
            self.flush()

    def flush(self) -> None:
        """Send everything that waits through the network, one size at a time, and keep the rows."""
        groups: dict[tuple[int, ...], list[_Job]] = {}
        for first, *_ in self.waiting.values():
            assert first.pixels is not None
            groups.setdefault(first.pixels.shape, []).append(first)
        rows = [row for group in groups.values() for row in self.rows(group)]
        if rows:
            self.shelf.append(rows)
        for row in rows:
            for job in self.waiting[row.content]:
                self.write(job.index, row)
        self.computed += len(rows)
        self.waiting.clear()
        self.held = 0

    def rows(self, group: list[_Job]) -> Iterator[Row]:
        """Features of images of one size."""
        stack = np.stack([job.pixels for job in group if job.pixels is not None])
        pooled, logits = self.extractor(torch.from_numpy(stack).permute(0, 3, 1, 2).contiguous())
        parts = [pooled] if logits is None else [pooled, logits]
        values = torch.cat(parts, 1).cpu().numpy()
        sound = np.isfinite(values).all(1)
        if not sound.all():
            name = self._name(group[int(np.argmin(sound))].index)
            raise UserError(
                f"The extractor `{self.extractor.name}` gives NaN or infinity for `{name}`; "
                "check its weights, or take the image out."
            )
        for job, line in zip(group, values, strict=True):
            yield Row(job.content, job.flags, job.size, line)

    def write(self, index: int, row: Row) -> None:
        """Put one row in its place."""
        for bit, name in enumerate(CONVERSIONS):
            self.converted[name] += row.flags >> bit & 1
        self.sizes[row.size] += 1
        cut = self.extractor.dim
        for file, part in zip(self.files, (row.values[:cut], row.values[cut:]), strict=True):
            file.seek(index * part.nbytes)
            file.write(part.tobytes())

    def arrays(self) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """The two files as arrays."""
        self.converted = +self.converted  # without those that never happened
        mapped: list[Any] = []
        for file, width in zip(self.files, (self.extractor.dim, self.extractor.classes), strict=True):
            file.flush()
            shape = (len(self.images), width or 0)
            mapped.append(np.memmap(file, np.float32, "r", shape=shape) if width else None)
        return mapped[0], mapped[1]

    def close(self) -> None:
        """Close both files; maps of them outlive that."""
        for file in self.files:
            file.close()

    def content(self) -> str:
        """SHA-256 over the sorted digests."""
        return hashlib.sha256(np.sort(self.contents.view("S32").ravel()).tobytes()).hexdigest()

    def _name(self, index: int) -> str:
        return f"{self.images.path / self.images.images[index].name}"


def _ahead(work: Callable[[int], _Job], count: int, batch: int) -> Iterator[_Job]:
    """`map(work, range(count))` in order, on threads, with a bounded number of pixels waiting."""
    threads = min(16, os.cpu_count() or 1)
    pool = ThreadPoolExecutor(threads)
    waiting: deque[Future[_Job]] = deque()
    submitted, largest = 0, 1
    try:
        while submitted < count or waiting:
            # As many as fit by the largest image seen; one a thread at least, or nothing would run.
            most = max(threads, min(2 * batch, _BUDGET // largest))
            while submitted < count and len(waiting) < most:
                waiting.append(pool.submit(work, submitted))
                submitted += 1
            job = waiting.popleft().result()
            if job.pixels is not None:
                largest = max(largest, job.pixels.nbytes)
            yield job
    finally:
        pool.shutdown(cancel_futures=True)
