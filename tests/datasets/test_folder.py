"""`folder`: a user's own pairs; each fault is answered in one sentence that names it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pairs import ROWS, refusal, table
from PIL import Image

from bench.datasets.folder import CARD, Folder
from bench.phantoms.marker import is_phantom
from bench.registry import card

REAL = Path(__file__).parents[2].parent / "shared/data/duke_fluid"


def pixels(pairs: Path, name: str = "a") -> np.ndarray:
    return np.asarray(Image.open(pairs / f"images/{name}.png"))


# --- what is read


def test_pairs(pairs: Path) -> None:
    scans = Folder().load(pairs)
    assert scans.counts() == {"train": 2, "val": 1, "test": 1}
    assert [scan.id for scan in scans.scans] == ["a", "b", "c", "d"]
    assert scans.classes == ("background", "fluid") and scans.scans[0].unit == "p1"
    assert scans.scans[0].image.dtype == scans.scans[0].mask.dtype == np.uint8
    assert card("dataset", "folder") == CARD and not Folder.has_phantom and not is_phantom(pairs)


def test_kinds_of_files_do_not_change_the_fingerprint(pairs: Path) -> None:
    before = Folder().load(pairs).fingerprint()
    for name, ending in zip("abc", (".tif", ".bmp", ".npy"), strict=True):
        for kind in ("images", "masks"):
            path = pairs / kind / f"{name}.png"
            array = np.array(Image.open(path))
            path.unlink()
            np.save(path.with_suffix(".npy"), array) if ending == ".npy" else Image.fromarray(array).save(
                path.with_suffix(ending)
            )
    table(pairs, ["a.tif,p1,train", "b.bmp,p1,train", "c.npy,p2,val", "d.png,p3,test"])
    assert Folder().load(pairs).fingerprint() == before


def test_a_mask_may_end_otherwise_and_ambiguity_is_refused(pairs: Path) -> None:
    before = Folder().load(pairs).fingerprint()
    mask = np.array(Image.open(pairs / "masks/a.png"))
    (pairs / "masks/a.png").unlink()
    np.save(pairs / "masks/a.npy", mask.astype(np.int64))
    assert Folder().load(pairs).fingerprint() == before
    Image.fromarray(mask).save(pairs / "masks/a.bmp")
    assert "more than one mask: `a.png (a.bmp, a.npy)`" in refusal(pairs)


def test_grey_in_disguise_palettes_and_depths(pairs: Path) -> None:
    grey = pixels(pairs)
    Image.fromarray(np.stack([grey] * 3, -1)).save(pairs / "images/a.png")
    assert np.array_equal(Folder().load(pairs).scans[0].image, grey)
    Image.fromarray(np.stack([grey] * 3 + [np.full_like(grey, 255)], -1)).save(pairs / "images/a.png")
    assert np.array_equal(Folder().load(pairs).scans[0].image, grey)
    picture = Image.fromarray(grey).convert("P")
    picture.putpalette([255 - i // 3 for i in range(768)])  # index i is grey 255 - i
    picture.save(pairs / "images/a.png")
    assert np.array_equal(Folder().load(pairs).scans[0].image, 255 - np.asarray(picture))
    Image.fromarray(grey.astype(np.uint16) * 200).save(pairs / "images/a.png")
    assert Folder().load(pairs).scans[0].image.dtype == np.uint16
    Image.fromarray(grey > 100).save(pairs / "images/a.png")
    assert set(np.unique(Folder().load(pairs).scans[0].image)) == {0, 255}


def test_palette_masks_are_indices(pairs: Path) -> None:
    labels = np.array(Image.open(pairs / "masks/a.png"))
    mask = Image.fromarray(labels).convert("P")
    mask.putpalette([0, 0, 0, 255, 0, 0])
    mask.save(pairs / "masks/a.png")
    assert np.array_equal(Folder().load(pairs).scans[0].mask, labels)


def test_float_images(pairs: Path) -> None:
    np.save(pairs / "images/a.npy", pixels(pairs) / 255 - 0.5)
    table(pairs, ["a.npy,p1,train", *ROWS[1:]])
    assert Folder().load(pairs).scans[0].image.dtype == np.float32


def test_a_unit_in_two_splits_is_counted(pairs: Path) -> None:
    table(pairs, [*ROWS[:3], "d.png,p1,test"])
    assert Folder().load(pairs).leaks() == 1


def test_files_that_are_not_listed_are_told_by_verify(pairs: Path) -> None:
    assert Folder().verify(pairs)["in images/ but not in splits.csv"] == "none"
    (pairs / "images/extra.png").write_bytes(b"")
    assert Folder().verify(pairs)["in images/ but not in splits.csv"] == "`extra.png`"


def test_spreadsheet_habits_and_odd_paths(pairs: Path, tmp_path: Path) -> None:
    (pairs / "splits.csv").write_text(
        "\ufeffsplit, file ,unit,remark\ntrain,a.png,p1,x\nval, c.png,p2,\ntest,d.png,p3,\n"
    )
    odd = tmp_path / "my scans, [2024] a=b"
    odd.mkdir()
    for name in ("images", "masks", "splits.csv", "classes.json"):
        (pairs / name).rename(odd / name)
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
def test_missing_list(pairs: Path, name: str) -> None:
    (pairs / name).unlink()
    assert f"{name}` is missing; write" in refusal(pairs)


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
def test_classes(pairs: Path, content: bytes, told: str) -> None:
    (pairs / "classes.json").write_bytes(content)
    message = refusal(pairs)
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
def test_rows(pairs: Path, rows: list[str], told: str) -> None:
    table(pairs, rows)
    assert told in refusal(pairs)


def test_header_and_encoding(pairs: Path) -> None:
    table(pairs, ["a.png,train"], header="file,split")
    assert "lacks the column `unit`" in refusal(pairs)
    (pairs / "splits.csv").write_bytes(b"")
    assert "lacks the column `file`, `unit`, `split`" in refusal(pairs)
    (pairs / "splits.csv").write_bytes(b"file,unit,split\n\xe9.png,p,train\n")
    assert "cannot be read as a CSV" in refusal(pairs)
    (pairs / "splits.csv").unlink()
    (pairs / "splits.csv").mkdir()
    assert "splits.csv` is missing" in refusal(pairs)
