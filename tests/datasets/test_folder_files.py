"""`folder`: every fault of an image or a mask is answered in one sentence that names the file."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pairs import ROWS, refusal, table
from PIL import Image

from bench.datasets.folder import Folder


def bomb() -> bytes:
    """A PNG of a few hundred bytes that claims 30000x30000 pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"0"))
        + chunk(b"IEND", b"")
    )


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "image unreadable: `a.png (UnidentifiedImageError)`"),
        (b"no picture", "image unreadable: `a.png (UnidentifiedImageError)`"),
        (png(noise(60, 80))[:2000], "image unreadable: `a.png (OSError)`"),
        (bomb(), "image unreadable: `a.png (DecompressionBombError)`"),
        (png(noise(6, 8, 3)), "image in colour, not grey: `a.png`"),
        (png(noise(6, 8, 4)), "image with transparent pixels: `a.png`"),
        (png(noise(5, 8)), "image and mask differ in size: `a.png (5x8 and 6x8)`"),
    ],
)
def test_bad_images(pairs: Path, content: bytes, told: str) -> None:
    (pairs / "images/a.png").write_bytes(content)
    assert told in (message := refusal(pairs))
    assert message.startswith(f"1 of the 4 scans in `{pairs}` cannot be used")


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.full((6, 8), np.nan), "image with NaN or infinite pixels: `a.npy`"),
        (np.full((6, 8), np.inf), "image with NaN or infinite pixels: `a.npy`"),
        (np.zeros((6, 8), complex), "image not numeric: `a.npy (complex128)`"),
        (np.zeros((6, 8), "U1"), "image not numeric: `a.npy (<U1)`"),
        (np.zeros((2, 6, 8, 1)), "image not (H,W): `a.npy (2, 6, 8, 1)`"),
        (np.zeros((0, 8)), "image not (H,W): `a.npy (0, 8)`"),
        (np.array([{"pickled": 1}]), "image unreadable: `a.npy (ValueError)`"),
    ],
)
def test_bad_arrays(pairs: Path, array: np.ndarray, told: str) -> None:
    np.save(pairs / "images/a.npy", array, allow_pickle=True)
    table(pairs, ["a.npy,p1,train", *ROWS[1:]])
    assert told in refusal(pairs)


def test_npz_in_disguise_and_unknown_kind(pairs: Path) -> None:
    with (pairs / "images/a.npy").open("wb") as file:
        np.savez(file, x=np.zeros((6, 8)))
    (pairs / "images/b.gif").write_bytes(b"GIF89a")
    table(pairs, ["a.npy,p1,train", "b.gif,p1,train", *ROWS[2:]])
    assert "image unreadable: `a.npy (ValueError)`; image of a kind that is not read" in refusal(pairs)


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.full((6, 8), 2), "label outside 0 to 1 of classes.json: `a.png (0 to 2)`"),
        (np.full((6, 8), -1), "label outside 0 to 1 of classes.json: `a.png (-1 to 0)`"),
        (np.full((6, 8), 0.5), "mask not of whole numbers: `a.png (float64)`"),
        (np.full((6, 8), np.nan), "mask not of whole numbers: `a.png (float64)`"),
        (np.zeros((6, 8, 3)), "mask not (H,W) class ids: `a.png (6, 8, 3)`"),
    ],
)
def test_bad_masks(pairs: Path, array: np.ndarray, told: str) -> None:
    (pairs / "masks/a.png").unlink()
    if array.ndim == 2 and np.isfinite(array).all() and (array == np.trunc(array)).all():
        array[0] = 0
    np.save(pairs / "masks/a.npy", array)
    assert told in refusal(pairs)


def test_colour_mask_and_pages(pairs: Path) -> None:
    Image.fromarray(noise(6, 8, 3)).save(pairs / "masks/a.png")
    pages = [Image.fromarray(noise(6, 8)) for _ in range(2)]
    pages[0].save(pairs / "images/b.tif", save_all=True, append_images=pages[1:])
    table(pairs, [ROWS[0], "b.tif,p1,train", *ROWS[2:]])
    message = refusal(pairs)
    assert "mask not (H,W) class ids: `a.png (6, 8, 3)`" in message
    assert "more than one page in the file: `b.tif`" in message


@pytest.mark.parametrize(("kind", "told"), [("images", "image missing"), ("masks", "mask missing")])
def test_missing_files_are_named_and_counted(pairs: Path, kind: str, told: str) -> None:
    for name in "abcd":
        (pairs / kind / f"{name}.png").unlink()
    assert f"{told}: `a.png`, `b.png`, `c.png`, `d.png`" in refusal(pairs)
    (pairs / kind).rmdir()
    table(pairs, [*ROWS, *(f"e{i}.png,p4,test" for i in range(3))])
    if kind == "images":
        assert "`d.png`, `e0.png` and 2 more" in refusal(pairs)


def test_masks_may_not_be_jpeg(pairs: Path) -> None:
    (pairs / "masks/a.png").unlink()
    Image.fromarray(noise(6, 8)).save(pairs / "masks/a.jpg")
    assert "mask missing: `a.png`" in refusal(pairs)


def test_progress_wraps_the_rows(pairs: Path) -> None:
    told: dict[str, object] = {}
    step: Callable[..., object] = lambda items, **words: told.update(words) or items  # noqa: E731
    Folder().load(pairs, step)
    assert told == {"total": 4, "description": "read scans"}
