"""`folder`: a user's own pairs; each fault is answered in one sentence that names it."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.datasets.folder import CARD, Folder
from bench.errors import UserError
from bench.phantoms.marker import is_phantom
from bench.registry import card

ROWS = ["a.png,p1,train", "b.png,p1,train", "c.png,p2,val", "d.png,p3,test"]
REAL = Path(__file__).parents[2].parent / "shared/data/duke_fluid"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four whole pairs of 6x8 pixels with labels 0 and 1."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    for name in "abcd":
        Image.fromarray(rng.integers(0, 256, (6, 8)).astype(np.uint8)).save(tmp_path / f"images/{name}.png")
        Image.fromarray(rng.integers(0, 2, (6, 8)).astype(np.uint8)).save(tmp_path / f"masks/{name}.png")
    (tmp_path / "classes.json").write_text('{"0": "background", "1": "fluid"}')
    table(tmp_path, ROWS)
    return tmp_path


def table(root: Path, rows: list[str], header: str = "file,unit,split") -> None:
    (root / "splits.csv").write_text("\n".join([header, *rows]) + "\n")


def refusal(root: Path) -> str:
    with pytest.raises(UserError) as caught:
        Folder().load(root)
    message = str(caught.value)
    assert str(root) in message and "\n" not in message
    return message


def pixels(root: Path, name: str = "a") -> np.ndarray:
    return np.asarray(Image.open(root / f"images/{name}.png"))


# --- what is read


def test_pairs(root: Path) -> None:
    scans = Folder().load(root)
    assert scans.counts() == {"train": 2, "val": 1, "test": 1}
    assert [scan.id for scan in scans.scans] == ["a", "b", "c", "d"]
    assert scans.classes == ("background", "fluid") and scans.scans[0].unit == "p1"
    assert scans.scans[0].image.dtype == scans.scans[0].mask.dtype == np.uint8
    assert card("dataset", "folder") == CARD and not Folder.has_phantom and not is_phantom(root)


def test_kinds_of_files_do_not_change_the_fingerprint(root: Path) -> None:
    before = Folder().load(root).fingerprint()
    for name, ending in zip("abc", (".tif", ".bmp", ".npy"), strict=True):
        for kind in ("images", "masks"):
            path = root / kind / f"{name}.png"
            array = np.array(Image.open(path))
            path.unlink()
            np.save(path.with_suffix(".npy"), array) if ending == ".npy" else Image.fromarray(array).save(
                path.with_suffix(ending)
            )
    table(root, ["a.tif,p1,train", "b.bmp,p1,train", "c.npy,p2,val", "d.png,p3,test"])
    assert Folder().load(root).fingerprint() == before


def test_a_mask_may_end_otherwise_and_ambiguity_is_refused(root: Path) -> None:
    before = Folder().load(root).fingerprint()
    mask = np.array(Image.open(root / "masks/a.png"))
    (root / "masks/a.png").unlink()
    np.save(root / "masks/a.npy", mask.astype(np.int64))
    assert Folder().load(root).fingerprint() == before
    Image.fromarray(mask).save(root / "masks/a.bmp")
    assert "more than one mask: `a.png (a.bmp, a.npy)`" in refusal(root)


def test_grey_in_disguise_palettes_and_depths(root: Path) -> None:
    grey = pixels(root)
    Image.fromarray(np.stack([grey] * 3, -1)).save(root / "images/a.png")
    assert np.array_equal(Folder().load(root).scans[0].image, grey)
    Image.fromarray(np.stack([grey] * 3 + [np.full_like(grey, 255)], -1)).save(root / "images/a.png")
    assert np.array_equal(Folder().load(root).scans[0].image, grey)
    picture = Image.fromarray(grey).convert("P")
    picture.putpalette([255 - i // 3 for i in range(768)])  # index i is grey 255 - i
    picture.save(root / "images/a.png")
    assert np.array_equal(Folder().load(root).scans[0].image, 255 - np.asarray(picture))
    Image.fromarray(grey.astype(np.uint16) * 200).save(root / "images/a.png")
    assert Folder().load(root).scans[0].image.dtype == np.uint16
    Image.fromarray(grey > 100).save(root / "images/a.png")
    assert set(np.unique(Folder().load(root).scans[0].image)) == {0, 255}


def test_palette_masks_are_indices(root: Path) -> None:
    labels = np.array(Image.open(root / "masks/a.png"))
    mask = Image.fromarray(labels).convert("P")
    mask.putpalette([0, 0, 0, 255, 0, 0])
    mask.save(root / "masks/a.png")
    assert np.array_equal(Folder().load(root).scans[0].mask, labels)


def test_float_images(root: Path) -> None:
    np.save(root / "images/a.npy", pixels(root) / 255 - 0.5)
    table(root, ["a.npy,p1,train", *ROWS[1:]])
    assert Folder().load(root).scans[0].image.dtype == np.float32


def test_a_unit_in_two_splits_is_counted(root: Path) -> None:
    table(root, [*ROWS[:3], "d.png,p1,test"])
    assert Folder().load(root).leaks() == 1


def test_files_that_are_not_listed_are_told_by_verify(root: Path) -> None:
    assert Folder().verify(root)[-1] == "every file in images/ is in splits.csv"
    (root / "images/extra.png").write_bytes(b"")
    assert Folder().verify(root)[-1] == "1 files in images/ are not in splits.csv and not read: `extra.png`"


def test_spreadsheet_habits_and_odd_paths(root: Path, tmp_path: Path) -> None:
    (root / "splits.csv").write_text(
        "\ufeffsplit, file ,unit,remark\ntrain,a.png,p1,x\nval, c.png,p2,\ntest,d.png,p3,\n"
    )
    odd = tmp_path / "my scans, [2024] a=b"
    odd.mkdir()
    for name in ("images", "masks", "splits.csv", "classes.json"):
        (root / name).rename(odd / name)
    assert Folder().load(odd).counts() == {"train": 1, "val": 1, "test": 1}


def test_the_real_duke_fluid_scans() -> None:
    if not REAL.is_dir():
        pytest.skip(f"the real Duke pairs are not here: {REAL}")
    scans = Folder().load(REAL)
    assert len(scans.scans) == 110 and scans.counts() == {"train": 66, "val": 22, "test": 22}
    assert sum(bool(scan.mask.any()) for scan in scans.scans) == 78
    assert {scan.image.shape for scan in scans.scans} == {(496, 768)} and scans.leaks() == 0


# --- what is refused: the lists


@pytest.mark.parametrize("name", ["splits.csv", "classes.json"])
def test_missing_list(root: Path, name: str) -> None:
    (root / name).unlink()
    assert f"{name}` is missing; write" in refusal(root)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{", "is no valid JSON"),
        (b"\xff\xfe", "is no valid JSON"),
        (b"[1, 2]", "without a gap"),
        (b"3", "without a gap"),
        (b'{"0": "background"}', "without a gap to two different names or more"),
        (b'{"0": "background", "2": "fluid"}', "without a gap"),
        (b'{"1": "background", "2": "fluid"}', "without a gap"),
        (b'{"0": "same", "1": "same"}', "different names"),
        (b'{"0": "background", "1": 7}', "names"),
        (json.dumps({str(k): f"c{k}" for k in range(257)}).encode(), "at most 256"),
    ],
)
def test_classes(root: Path, content: bytes, told: str) -> None:
    (root / "classes.json").write_bytes(content)
    message = refusal(root)
    assert told in message and "classes.json" in message


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([], "has a header but no rows"),
        ([*ROWS, "a.png,p1,train"], "lists `a.png` more than once"),
        ([*ROWS, "a.png,p1,test"], "puts `a.png (test, train)` into two splits"),
        ([*ROWS, "a.bmp,p1,train"], "lists one scan more than once (`a.png`, `a.bmp`)"),
        ([*ROWS[:3], "d.png,p3,tset"], "unknown split `tset`; use train, val or test. Did you mean `test`?"),
        (ROWS[:3], "puts nothing into `test`"),
        ([*ROWS[:3], "d.png,,test"], "leaves `unit` empty in row 5"),
        ([*ROWS[:3], "d.png"], "leaves `unit`, `split` empty in row 5"),
        ([*ROWS, "../x.png,p4,test"], "names `../x.png`; give plain names"),
        ([*ROWS, "/etc/passwd,p4,test"], "names `/etc/passwd`; give plain names"),
        ([*ROWS, "..\\x.png,p4,test"], "names `..\\x.png`; give plain names"),
        ([*ROWS, "C:x.png,p4,test"], "names `C:x.png`; give plain names"),
        ([*ROWS, "..,p4,test"], "names `..`; give plain names"),
        ([*ROWS, "x\x00.png,p4,test"], "splits.csv"),
    ],
)
def test_rows(root: Path, rows: list[str], told: str) -> None:
    table(root, rows)
    assert told in refusal(root)


def test_header_and_encoding(root: Path) -> None:
    table(root, ["a.png,train"], header="file,split")
    assert "lacks the column `unit`" in refusal(root)
    (root / "splits.csv").write_bytes(b"")
    assert "lacks the column `file`, `unit`, `split`" in refusal(root)
    (root / "splits.csv").write_bytes(b"file,unit,split\n\xe9.png,p,train\n")
    assert "cannot be read as a CSV" in refusal(root)
    (root / "splits.csv").unlink()
    (root / "splits.csv").mkdir()
    assert "splits.csv` is missing" in refusal(root)


# --- what is refused: the files


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
def test_bad_images(root: Path, content: bytes, told: str) -> None:
    (root / "images/a.png").write_bytes(content)
    assert told in (message := refusal(root))
    assert message.startswith(f"1 of the 4 scans in `{root}` cannot be used")


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
def test_bad_arrays(root: Path, array: np.ndarray, told: str) -> None:
    np.save(root / "images/a.npy", array, allow_pickle=True)
    table(root, ["a.npy,p1,train", *ROWS[1:]])
    assert told in refusal(root)


def test_npz_in_disguise_and_unknown_kind(root: Path) -> None:
    with (root / "images/a.npy").open("wb") as file:
        np.savez(file, x=np.zeros((6, 8)))
    (root / "images/b.gif").write_bytes(b"GIF89a")
    table(root, ["a.npy,p1,train", "b.gif,p1,train", *ROWS[2:]])
    assert "image unreadable: `a.npy (ValueError)`; image of a kind that is not read" in refusal(root)


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
def test_bad_masks(root: Path, array: np.ndarray, told: str) -> None:
    (root / "masks/a.png").unlink()
    if array.ndim == 2 and np.isfinite(array).all() and (array == np.trunc(array)).all():
        array[0] = 0
    np.save(root / "masks/a.npy", array)
    assert told in refusal(root)


def test_colour_mask_and_pages(root: Path) -> None:
    Image.fromarray(noise(6, 8, 3)).save(root / "masks/a.png")
    pages = [Image.fromarray(noise(6, 8)) for _ in range(2)]
    pages[0].save(root / "images/b.tif", save_all=True, append_images=pages[1:])
    table(root, [ROWS[0], "b.tif,p1,train", *ROWS[2:]])
    message = refusal(root)
    assert "mask not (H,W) class ids: `a.png (6, 8, 3)`" in message
    assert "more than one page in the file: `b.tif`" in message


@pytest.mark.parametrize(("kind", "told"), [("images", "image missing"), ("masks", "mask missing")])
def test_missing_files_are_named_and_counted(root: Path, kind: str, told: str) -> None:
    for name in "abcd":
        (root / kind / f"{name}.png").unlink()
    assert f"{told}: `a.png`, `b.png`, `c.png`, `d.png`" in refusal(root)
    (root / kind).rmdir()
    table(root, [*ROWS, *(f"e{i}.png,p4,test" for i in range(3))])
    if kind == "images":
        assert "`d.png`, `e0.png` and 2 more" in refusal(root)


def test_masks_may_not_be_jpeg(root: Path) -> None:
    (root / "masks/a.png").unlink()
    Image.fromarray(noise(6, 8)).save(root / "masks/a.jpg")
    assert "mask missing: `a.png`" in refusal(root)


def test_progress_wraps_the_rows(root: Path) -> None:
    told: dict[str, object] = {}
    step: Callable[..., object] = lambda items, **words: told.update(words) or items  # noqa: E731
    Folder().load(root, step)
    assert told == {"total": 4, "description": "read scans"}
