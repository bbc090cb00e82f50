"""Labelled images as a classification dataset hands them over: checked, unresized, before any protocol."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from bench.errors import UserError

In = TypeVar("In")
Out = TypeVar("Out")
_CHUNK = 64  # images a thread takes at once, so that small images do not drown in hand-overs
_AHEAD = 4  # chunks in flight for each thread, so that memory stays bounded
_MODES = {1: "L", 3: "RGB"}


@dataclass(frozen=True)
class Pictures:
    """Labelled images of one dataset, in memory or decoded on demand.

    Args:
        read: Position -> (H, W) or (H, W, 3) uint8.
        labels: (N,) int64, 0 to K - 1.
        ids: N unique image names.
        groups: N names of what must not be torn apart (a lesion); the id itself where an image stands alone.
        classes: K class names in label order.
        content: SHA-256 of `content_hash`, set by the dataset's `load`; empty for an index without pixels.
        sources: N names of where each image comes from, or nothing where that is not known.

    Raises:
        ValueError: Lengths that disagree, an id that stands twice, or a label outside the classes.
    """

    read: Callable[[int], np.ndarray]
    labels: np.ndarray
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    classes: tuple[str, ...]
    content: str
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        sizes = {"labels": len(self.labels), "groups": len(self.groups)}
        if self.sources:
            sizes["sources"] = len(self.sources)
        for name, size in sizes.items():
            if size != len(self.ids):
                raise ValueError(f"{len(self.ids)} ids but {size} {name}")
        if len(set(self.ids)) != len(self.ids):
            raise ValueError("an id stands twice")
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise ValueError(f"labels must be from 0 to {len(self.classes) - 1}")

    def __len__(self) -> int:
        return len(self.ids)

    def counts(self) -> dict[str, int]:
        """Images of each class, by class name in label order."""
        found = np.bincount(self.labels, minlength=len(self.classes))
        return {name: int(count) for name, count in zip(self.classes, found, strict=True)}

    def fingerprint(self) -> str:
        """SHA-256 over ids, labels, groups, classes and decoded pixels."""
        return self.content

    def stack(
        self,
        indices: Iterable[int] | np.ndarray,
        size: tuple[int, int] | None,
        channels: int,
        progress: Callable[..., Any] | None = None,
    ) -> np.ndarray:
        """Decode images and bring them to one size and number of channels, several threads at once.

        Colour is converted first (grey is repeated; RGB becomes grey by ITU-R 601 luma), then the image is
        resized by Pillow's bilinear filter, which averages when it shrinks.

        Args:
            indices: n positions, in the order wanted.
            size: (H, W) to resize to; None keeps the size, which must then be one for all.
            channels: 1 or 3.
            progress: Wraps the iteration over images: `progress(images, total=..., description=...)`.

        Returns:
            (n, C, H, W) uint8.

        Raises:
            UserError: An image cannot be read, or sizes differ and none was given.
            ValueError: `channels` is neither 1 nor 3, or there is nothing to stack and no size.
        """
        if channels not in _MODES:
            raise ValueError(f"channels must be 1 or 3, got {channels}")
        wanted = [int(i) for i in indices]
        if not wanted:
            if size is None:
                raise ValueError("no image and no size to stack")
            return np.empty((0, channels, *size), np.uint8)
        images = threaded(lambda i: fit(self.read(i), size, channels), wanted)
        walk = progress(images, total=len(wanted), description="decode images") if progress else images
        out: np.ndarray | None = None
        for place, image in enumerate(walk):
            if out is None:
                out = np.empty((len(wanted), *image.shape), np.uint8)
            if image.shape != out.shape[1:]:
                raise UserError(
                    f"Image `{self.ids[wanted[place]]}` is {_size(image)} while `{self.ids[wanted[0]]}` is "
                    f"{_size(out[0])}; give one size to resize them to with `protocol.image_size=[H,W]`."
                )
            out[place] = image
        assert out is not None
        return out


def _size(image: np.ndarray) -> str:
    return "x".join(map(str, image.shape[-2:]))


def fit(image: np.ndarray, size: tuple[int, int] | None, channels: int) -> np.ndarray:
    """One image of (H, W) or (H, W, 3) uint8 as (C, H', W') uint8: colour first, then bilinear resizing."""
    have = 3 if image.ndim == 3 else 1
    same_size = size is None or image.shape[:2] == tuple(size)
    if have > channels or not same_size:
        picture = Image.fromarray(image)
        if have > channels:
            picture = picture.convert("L")
        if size is not None and not same_size:
            picture = picture.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        image = np.asarray(picture)
    if image.ndim == 2:  # grey is resized once and repeated afterwards
        return np.broadcast_to(image, (channels, *image.shape))
    return image.transpose(2, 0, 1)


@dataclass(frozen=True)
class Files:
    """`Pictures.read` over image files: position -> (H, W) or (H, W, 3) uint8."""

    paths: tuple[Path, ...]

    def __call__(self, index: int) -> np.ndarray:
        """Decode one file."""
        return read_image(self.paths[index])


@dataclass(frozen=True)
class Arrays:
    """`Pictures.read` over an array (N, H, W) or (N, H, W, 3) uint8 in memory."""

    images: np.ndarray

    def __call__(self, index: int) -> np.ndarray:
        """One image."""
        return self.images[index]


def no_pixels(index: int) -> np.ndarray:
    """`Pictures.read` of an index, which was made without opening an image.

    Raises:
        RuntimeError: Always; only what `load` returns can be read.
    """
    raise RuntimeError(f"this is an index without pixels; load the dataset to read image {index}")


def read_image(path: Path) -> np.ndarray:
    """Decode one image file completely, (H, W) or (H, W, 3) uint8.

    Raises:
        UserError: Missing, unreadable or damaged file, or neither 8-bit grey nor RGB.
    """
    try:
        with Image.open(path) as picture:
            mode = picture.mode
            pixels = np.asarray(picture) if mode in _MODES.values() else None
    except FileNotFoundError as error:
        raise UserError(f"`{path}` is missing; copy the image there.") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"`{path}` cannot be decoded ({_reason(error)}); fetch the file again.") from error
    if pixels is None:
        raise UserError(f"`{path}` must be 8-bit grey or RGB, got Pillow mode `{mode}`; save it as RGB.")
    return pixels


def _reason(error: BaseException) -> str:
    """What Pillow said, without the path that it repeats."""
    text = str(error).split(" '/")[0].splitlines()[0] if str(error) else ""
    return text or type(error).__name__


def nearest(numbers: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Integers (H, W) at (H', W'), int32, by pixel centres as Pillow takes them."""
    picture = Image.fromarray(np.ascontiguousarray(numbers, np.int32))
    return np.array(picture.resize((size[1], size[0]), Image.Resampling.NEAREST))


def survey(
    read: Callable[[int], np.ndarray],
    ids: Sequence[str],
    check: Callable[[str, tuple[int, ...]], None] | None = None,
    progress: Callable[..., Any] | None = None,
) -> list[str]:
    """Decode every image once, several threads at once, and hash what came out.

    Args:
        read: Position -> image, uint8.
        ids: N image names.
        check: Called with id and shape in order; raises `UserError` where an image is not as it must be.
        progress: Wraps the iteration over images: `progress(images, total=..., description=...)`.

    Returns:
        N SHA-256 hashes over shape and pixels, in order.

    Raises:
        UserError: What `read` or `check` raised at the first such image in order.
    """

    def one(index: int) -> tuple[tuple[int, ...], str]:
        image = read(index)
        head = hashlib.sha256(repr(image.shape).encode())
        head.update(np.ascontiguousarray(image, np.uint8).data)
        return image.shape, head.hexdigest()

    found = threaded(one, range(len(ids)))
    walk = progress(found, total=len(ids), description="check images") if progress else found
    digests = []
    for name, (shape, digest) in zip(ids, walk, strict=True):
        if check is not None:
            check(name, shape)
        digests.append(digest)
    return digests


def content_hash(
    ids: Sequence[str],
    labels: np.ndarray,
    groups: Sequence[str],
    classes: Sequence[str],
    pixels: Sequence[str],
) -> str:
    """SHA-256 over class names and, sorted by id, every image's id, group, label and pixel hash.

    Neither the order of the images nor their file format enters, only what was decoded.
    """
    digest = hashlib.sha256("\n".join(classes).encode())
    for row in sorted(zip(ids, groups, map(int, labels), pixels, strict=True)):
        digest.update(f"\n{row!r}".encode())
    return digest.hexdigest()


def threaded(work: Callable[[In], Out], items: Sequence[In], chunk: int = _CHUNK) -> Iterator[Out]:
    """`map(work, items)` on as many threads as there are cores, in order, with few results waiting.

    Args:
        work: Of one item.
        items: What to work on.
        chunk: Items a thread takes at once; 1 spreads a few large ones over all threads.
    """
    threads = min(32, os.cpu_count() or 1)
    chunks = [items[i : i + chunk] for i in range(0, len(items), chunk)]
    pool = ThreadPoolExecutor(threads)
    try:
        waiting = []
        for own in chunks:
            waiting.append(pool.submit(lambda part: [work(item) for item in part], own))
            if len(waiting) >= threads * _AHEAD:
                yield from waiting.pop(0).result()
        for future in waiting:
            yield from future.result()
    finally:
        pool.shutdown(cancel_futures=True)
