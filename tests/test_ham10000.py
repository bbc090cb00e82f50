"""HAM10000, whole and at 8x8: official files read exactly, every bad file one sentence."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from refusals import refused

from bench.datasets.ham10000 import HAM10000
from bench.datasets.ham10000_8x8 import HEADER, HAM10000Small

HAM = HAM10000.card.classes


def ham_rows():
    """Eight images of six lesions; the ids are not in order."""
    return [
        {
            "lesion_id": f"HAM_{n // 2 if n < 4 else n}",
            "image_id": f"ISIC_{9 - n}",
            "dx": dx,
            "dataset": source,
        }
        for n, (dx, source) in enumerate(
            zip(
                ("nv", "nv", "mel", "mel", "df", "vasc", "bcc", "akiec"),
                ("a", "a", "b", "b") * 2,
                strict=True,
            )
        )
    ]


def write_csv(path: Path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def jpeg(path: Path, number: int, size=(16, 12)):
    rng = np.random.default_rng(number)
    Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8)).save(path)


@pytest.fixture
def ham(tmp_path):
    root = tmp_path / "ham"
    for n, row in enumerate(ham_rows()):
        folder = root / f"HAM10000_images_part_{1 + n % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        jpeg(folder / f"{row['image_id']}.jpg", n)
    write_csv(root / "HAM10000_metadata", ham_rows())
    return root


def test_ham10000_is_read_by_metadata_and_sorted_by_image(ham):
    made = HAM10000().load(ham)
    rows = sorted(ham_rows(), key=lambda row: row["image_id"])
    assert made.ids == tuple(row["image_id"] for row in rows)
    assert made.groups == tuple(row["lesion_id"] for row in rows)
    assert made.sources == tuple(row["dataset"] for row in rows)
    assert [made.classes[i] for i in made.labels] == [row["dx"] for row in rows]
    assert made.classes == ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
    for i, name in enumerate(made.ids):
        (path,) = ham.rglob(f"{name}.jpg")
        assert np.array_equal(made.read(i), np.asarray(Image.open(path)))
    assert made.stack([0, 5], (6, 8), 3).shape == (2, 3, 6, 8)


def test_ham10000_facts(ham):
    jpeg(ham / "HAM10000_images_part_1" / "ISIC_99.jpg", 3)
    facts = HAM10000().verify(ham)
    assert (facts["images nv"], facts["images bkl"], facts["lesions"]) == ("2", "0", "6")
    assert facts["lesions with several images"] == "2"
    assert facts["images from a"] == "4"
    assert facts["image size"] == "16x12 RGB"
    assert facts["images not listed in the metadata and not read"] == "1"
    assert "leaks" not in facts


def test_ham10000_content_follows_pixels_and_lesions_not_the_order_of_rows(ham):
    one = HAM10000().load(ham).fingerprint()
    write_csv(ham / "HAM10000_metadata", ham_rows()[::-1])
    (ham / "HAM10000_metadata").rename(ham / "HAM10000_metadata.csv")
    assert HAM10000().load(ham).fingerprint() == one
    rows = ham_rows()
    rows[7]["lesion_id"] = "HAM_other"
    write_csv(ham / "HAM10000_metadata.csv", rows)
    two = HAM10000().load(ham).fingerprint()
    jpeg(ham / "HAM10000_images_part_1" / "ISIC_9.jpg", 77)
    assert len({one, two, HAM10000().load(ham).fingerprint()}) == 3


def test_ham10000_index_opens_no_image(ham):
    for path in ham.rglob("*.jpg"):
        path.write_bytes(b"")
    index = HAM10000().index(ham)
    assert len(index) == 8
    assert index.counts()["mel"] == 2
    with pytest.raises(RuntimeError):
        index.read(0)


def test_older_metadata_without_sources_is_read(ham):
    write_csv(ham / "HAM10000_metadata", [{k: v for k, v in r.items() if k != "dataset"} for r in ham_rows()])
    assert HAM10000().load(ham).sources == ()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"dx": "nev"}, "unknown dx `nev`"),
        ({"image_id": "ISIC_2"}, "lists the image `ISIC_2` more than once"),
        ({"lesion_id": ""}, "leaves `lesion_id` empty in line 2"),
        ({"image_id": " "}, "leaves `image_id` empty in line 2"),
        ({"dataset": ""}, "leaves `dataset` empty in line 2"),
        ({"lesion_id": "HAM_1"}, "the lesion `HAM_1` two diagnoses"),
        ({"image_id": "../secret"}, "lacks `../secret.jpg`"),
    ],
)
def test_a_bad_row_of_the_metadata_is_one_sentence(ham, change, told):
    rows = ham_rows()
    rows[0] |= change
    write_csv(ham / "HAM10000_metadata", rows)
    refused(lambda: HAM10000().load(ham), told, ham)


def test_bad_metadata_files_are_one_sentence(ham):
    path = ham / "HAM10000_metadata"
    load = lambda: HAM10000().load(ham)  # noqa: E731
    path.write_text("lesion_id,image_id\nHAM_1,ISIC_1\n")
    refused(load, "lacks the column `dx`")
    path.write_text("lesion_id,image_id,dx\n")
    refused(load, "no rows")
    path.write_text("lesion_id,image_id,dx\nHAM_1\n")
    refused(load, "leaves `image_id`, `dx` empty in line 2")
    path.write_bytes(b"\xff\xfe\x00")
    refused(load, "cannot be read as a CSV")
    shutil.copy(path, ham / "HAM10000_metadata.csv")
    refused(load, "holds both")
    path.unlink()
    (ham / "HAM10000_metadata.csv").unlink()
    refused(load, "holds no HAM10000_metadata")
    refused(lambda: HAM10000().load(ham / "none"), "is no folder")


def test_bad_images_of_ham10000_are_one_sentence(ham):
    load = lambda: HAM10000().load(ham)  # noqa: E731
    first = ham / "HAM10000_images_part_2" / "ISIC_2.jpg"
    other = ham / "HAM10000_images_part_1" / "ISIC_9.jpg"
    shutil.copy(first, ham / "HAM10000_images_part_1")
    refused(load, "`ISIC_2.jpg` in both of")
    (ham / "HAM10000_images_part_1" / "ISIC_2.jpg").unlink()
    jpeg(other, 0, (8, 12))
    refused(load, "`ISIC_9`", "is 8x12 while `ISIC_2` is 16x12")
    Image.new("L", (16, 12)).save(other)
    refused(load, "`ISIC_9`", "must be RGB, got grey")
    other.write_bytes(other.read_bytes()[:100])
    refused(load, other, "cannot be decoded")
    other.unlink()
    refused(load, "holds 7 of the 8 images", "lacks `ISIC_9.jpg`", "lists only the images it holds")


def test_the_part_of_ham10000_at_hand_is_read_with_a_metadata_of_its_own(shared_data, tmp_path):
    real = shared_data / "ham10000"
    text = refused(lambda: HAM10000().load(real), "holds 70 of the 10015 images", "and 9940 more")
    assert text.count("ISIC_") == 5
    images = real / "HAM10000_images_part_1"
    (tmp_path / images.name).symlink_to(images)
    with (real / "HAM10000_metadata").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if (images / f"{row['image_id']}.jpg").is_file()]
    write_csv(tmp_path / "HAM10000_metadata", rows)
    facts = HAM10000().verify(tmp_path)
    assert {name: facts[f"images {name}"] for name in HAM} == dict.fromkeys(HAM, "10")
    assert facts["image size"] == "600x450 RGB"


# HAM10000 at 8x8


@pytest.fixture
def small(ham):
    order = ("akiec", "bcc", "bkl", "df", "nv", "vasc", "mel")
    rng = np.random.default_rng(0)
    rows = [
        dict(zip(HEADER, [*rng.integers(0, 256, 64).tolist(), order.index(row["dx"])], strict=True))
        for row in ham_rows()
    ]
    write_csv(ham / "hmnist_8_8_L.csv", rows)
    return ham, rows


def test_rows_of_8x8_get_the_ids_of_the_metadata_and_alphabetical_labels(small):
    root, rows = small
    made = HAM10000Small().load(root)
    assert made.ids == HAM10000().index(root).ids
    assert np.array_equal(made.labels, HAM10000().index(root).labels)
    names = [row["image_id"] for row in ham_rows()]
    for i, name in enumerate(made.ids):
        values = list(rows[names.index(name)].values())[:64]
        assert np.array_equal(made.read(i), np.array(values, np.uint8).reshape(8, 8))
    assert HAM10000Small().verify(root)["image size"] == "8x8 grey, shrunk"
    assert HAM10000Small().index(root).groups == made.groups


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda lines: lines[:-1], "has 7 rows but the metadata beside it 8"),
        (lambda lines: [lines[0], *lines[:0:-1]], "disagree on the class of 8 rows, first in row 1"),
        (lambda lines: [lines[0]], "no rows"),
        (lambda lines: [], "must begin with the columns pixel0000"),
        (lambda lines: lines[1:], "must begin with the columns pixel0000"),
        (lambda lines: [*lines[:-1], "x" + lines[-1]], "is no table of whole numbers"),
        (lambda lines: [*lines[:-1], lines[-1] + ",1"], "is no table of whole numbers"),
        (lambda lines: [lines[0], *(line + ",1" for line in lines[1:])], "rows of 66 values, not 65"),
        (
            lambda lines: [*lines[:-1], "256" + lines[-1][lines[-1].index(",") :]],
            "from 0 to 255, got 0 to 256",
        ),
        (lambda lines: [*lines[:-1], lines[-1][:-1] + "7"], "labels from 0 to 6, got 1 to 7"),
    ],
)
def test_a_bad_table_of_pixels_is_one_sentence(small, change, told):
    root, _ = small
    path = root / "hmnist_8_8_L.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(change(lines)) + "\n")
    refused(lambda: HAM10000Small().load(root), told, path)
    path.unlink()
    refused(lambda: HAM10000Small().load(root), path, "is missing")


def test_each_real_jpeg_shrunk_is_nearest_to_its_own_row_of_8x8(shared_data):
    made = HAM10000Small().load(shared_data / "ham10000")
    assert list(made.counts().values()) == [327, 514, 1099, 115, 1113, 6705, 142]
    assert len(set(made.groups)) == 7470
    rows = made.stack(range(len(made)), None, 1).reshape(len(made), 64).astype(np.int16)
    place = {name: i for i, name in enumerate(made.ids)}
    jpegs = sorted((shared_data / "ham10000" / "HAM10000_images_part_1").glob("*.jpg"))
    assert len(jpegs) == 70
    for path in jpegs:
        with Image.open(path) as image:
            shrunk = image.convert("L").resize((8, 8), Image.Resampling.BICUBIC)
        gap = np.abs(rows - np.asarray(shrunk, np.int16).ravel()).mean(1)
        assert int(gap.argmin()) == place[path.stem]
