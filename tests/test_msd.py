"""The Decathlon's folders: read exactly, and every bad file one sentence that names it."""

from __future__ import annotations

import gzip
import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from msd_files import AFFINE, SHAPE, save, voxels, write_listing, write_task
from refusals import refused

from bench.datasets.decathlon import Decathlon
from bench.volumes import msd

NAME = "hippocampus_001"


@pytest.fixture
def task(tmp_path):
    return write_task(tmp_path)


def first(folder):
    return msd.read(msd.pairs(folder)[0], folder.name, msd.declared(folder))


def at(folder, part):
    return folder / part / f"{NAME}.nii.gz"


def test_a_volume_is_read_as_it_lies_in_the_file(task):
    volume = first(task)
    image, label = voxels(0)
    assert volume.name == NAME
    assert (volume.image.dtype, volume.label.dtype) == (np.float32, np.uint8)
    assert np.array_equal(volume.image, image[None])
    assert np.array_equal(volume.label, label)
    assert np.array_equal(volume.affine, AFFINE)
    assert volume.zooms == (0.75, 1.5, 4.0)  # the affine swaps the first two axes
    for j in range(SHAPE[2]):
        assert volume.histogram[j, 1] == (label[:, :, j] == 1).sum()
    assert volume.histogram.sum() == label.size


def test_channels_come_first(tmp_path):
    folder = write_task(tmp_path, "Task05_Prostate", ("prostate_00",), channels=2)
    image, _ = voxels(0, channels=2)
    assert np.array_equal(first(folder).image, image.transpose(3, 0, 1, 2))


def test_scaled_integers_and_uncompressed_files_give_the_same_content(task):
    before = first(task).content()
    label = nib.Nifti1Image(voxels(0)[1].astype(np.int16), AFFINE)
    at(task, "labelsTr").unlink()
    label.to_filename(task / "labelsTr" / f"{NAME}.nii")
    raw = gzip.decompress(at(task, "imagesTr").read_bytes())
    at(task, "imagesTr").unlink()
    (task / "imagesTr" / f"{NAME}.nii").write_bytes(raw)
    (task / "dataset.json").unlink()
    assert first(task).content() == before
    image, _ = voxels(0)
    image[5, 5, 3] += 1
    save(task / "imagesTr" / f"{NAME}.nii", image)
    assert first(task).content() != before
    double = nib.Nifti1Image(np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE), AFFINE)
    double.header.set_slope_inter(2, -5)
    double.to_filename(task / "imagesTr" / f"{NAME}.nii")
    assert np.array_equal(first(task).image[0].ravel(), 2 * np.arange(np.prod(SHAPE)) - 5)


def test_the_second_format_is_read(task):
    image, _ = voxels(0)
    nib.Nifti2Image(image, AFFINE).to_filename(at(task, "imagesTr"))
    assert np.array_equal(first(task).image[0], image)


def test_folders_are_found_above_and_by_name(tmp_path, task):
    write_task(tmp_path, "Task03_Liver", ("liver_1",))
    write_task(tmp_path, "Task02_Heart", ("la_003",), highest=1)
    assert list(msd.find(tmp_path)) == ["Task02_Heart", "Task04_Hippocampus"]
    assert msd.find(task) == {"Task04_Hippocampus": task}
    (tmp_path / "elsewhere").symlink_to(task)
    assert msd.find(tmp_path / "elsewhere") == {"Task04_Hippocampus": task}
    refused(lambda: msd.find(tmp_path / "Task03_Liver"), "Task03_Liver", "none of", "give the folder")


def test_macos_files_are_passed_over(task):
    for part in ("imagesTr", "labelsTr"):
        (task / part / "._hippocampus_001.nii.gz").write_bytes(b"\0\5\x16\7")
    (task / "._dataset.json").write_bytes(b"\xff")
    write_listing(task, ["._hippocampus_001", NAME])
    assert [pair.name for pair in msd.pairs(task)] == [NAME]
    (task / "dataset.json").unlink()
    assert [pair.name for pair in msd.pairs(task)] == [NAME, "hippocampus_003", "hippocampus_004"]


def test_the_listing_decides_which_volumes_there_are(task):
    write_listing(task, ["hippocampus_004", NAME])
    assert [pair.name for pair in msd.pairs(task)] == [NAME, "hippocampus_004"]


@pytest.mark.parametrize("part", ["imagesTr", "labelsTr"])
@pytest.mark.parametrize("kept", [0, 5, 40, -40, -1])
def test_truncated_gzip(task, part, kept):
    path = at(task, part)
    path.write_bytes(path.read_bytes()[:kept])
    refused(lambda: first(task), path, "cannot be decoded", "fetch the file again")


def test_a_flipped_bit_is_noticed_by_the_checksum(task):
    path = at(task, "imagesTr")
    whole = bytearray(path.read_bytes())
    whole[-6] ^= 1  # in the checksum: a reader that stops at the last voxel does not look at it
    path.write_bytes(whole)
    refused(lambda: first(task), path, "cannot be decoded")


@pytest.mark.parametrize(
    "content", [b"<html>404</html>", gzip.compress(b"x" * 999, mtime=0), b"\x5c\1\0\0" + b"\0" * 400]
)
def test_not_a_nifti(task, content):
    at(task, "imagesTr").write_bytes(content)
    refused(lambda: first(task), at(task, "imagesTr"), "cannot be decoded")


def test_header_that_promises_more_than_there_is(task):
    path = at(task, "imagesTr")
    raw = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(raw[:-100]))
    refused(lambda: first(task), path, "cannot be decoded")


def test_colours_are_no_voxels(task):
    rgb = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    save(at(task, "imagesTr"), rgb)
    refused(lambda: first(task), at(task, "imagesTr"), "plain numbers")


def test_image_and_label_of_different_shape(task):
    save(at(task, "labelsTr"), voxels(0)[1][:, :, :-1])
    refused(lambda: first(task), at(task, "labelsTr"), "24x20x5", "24x20x6")


def test_image_and_label_of_different_affine(task):
    moved = AFFINE.copy()
    moved[0, 3] += 9e-4
    save(at(task, "labelsTr"), voxels(0)[1], moved)
    first(task)
    moved[0, 3] += 0.5
    save(at(task, "labelsTr"), voxels(0)[1], moved)
    refused(lambda: first(task), at(task, "labelsTr"), "affine", "0.5009")


def test_an_affine_without_a_voxel_size(task):
    image = nib.Nifti1Image(voxels(0)[0], AFFINE)
    image.header.set_sform(np.diag([1.0, 0, 1, 1]), 1)
    raw = bytearray(image.to_bytes())
    raw[280:328] = image.header["srow_x"].tobytes() + bytes(16) + image.header["srow_z"].tobytes()
    at(task, "imagesTr").write_bytes(gzip.compress(bytes(raw)))
    refused(lambda: first(task), at(task, "imagesTr"), "no voxel size")


@pytest.mark.parametrize(
    ("value", "told"), [(3, "the label 3"), (0.5, "the label 0.5"), (-1, "the label -1")]
)
def test_undeclared_labels(task, value, told):
    label = voxels(0)[1].astype(np.float32)
    label[3, 3, 3] = value
    save(at(task, "labelsTr"), label)
    refused(lambda: first(task), at(task, "labelsTr"), told, "0, 1, 2 are declared")


@pytest.mark.parametrize("value", [np.nan, np.inf, 257])
def test_labels_that_do_not_fit_a_byte(task, value):
    label = voxels(0)[1].astype(np.float32)
    label[3, 3, 3] = value
    save(at(task, "labelsTr"), label)
    refused(lambda: first(task), at(task, "labelsTr"), f"the label {value:g}")


def test_declared_labels_come_from_the_listing_else_from_the_organs(task):
    assert msd.declared(task) == (0, 1, 2)
    write_listing(task, [NAME], (0, 1))
    refused(lambda: first(task), at(task, "labelsTr"), "the label 2", "0, 1 are declared")
    write_listing(task, [NAME], (0, 1, 2, 7))
    assert msd.declared(task) == (0, 1, 2, 7)
    (task / "dataset.json").unlink()
    assert msd.declared(task) == (0, 1, 2)
    (task / "dataset.json").write_text('{"labels": {"background": 0}, "training": []}')
    refused(lambda: msd.declared(task), task / "dataset.json", "must declare labels")


def test_a_label_map_without_foreground(task):
    save(at(task, "labelsTr"), np.zeros(SHAPE, np.uint8))
    refused(lambda: first(task), at(task, "labelsTr"), "no foreground")


def test_4d_where_3d_is_expected(task):
    image, label = voxels(0, channels=2)
    save(at(task, "imagesTr"), image)
    refused(lambda: first(task), at(task, "imagesTr"), "4D image (24x20x6x2) where 3D is expected")
    save(at(task, "imagesTr"), voxels(0)[0])
    save(at(task, "labelsTr"), label[..., None])
    refused(lambda: first(task), at(task, "labelsTr"), "4D image (24x20x6x1) where 3D is expected")


@pytest.mark.parametrize("channels", [0, 1, 3])
def test_3d_or_other_channels_where_two_are_expected(tmp_path, channels):
    folder = write_task(tmp_path, "Task05_Prostate", ("prostate_00",), channels=channels)
    path = folder / "imagesTr" / "prostate_00.nii.gz"
    refused(lambda: first(folder), path, "4D with 2 channels")


@pytest.mark.parametrize(("value", "told"), [(np.nan, "NaN"), (np.inf, "infinite"), (1e300, "infinite")])
def test_voxels_that_are_no_numbers(task, value, told):
    image = voxels(0)[0].astype(np.float64)
    image[3, 4, 5] = value
    save(at(task, "imagesTr"), image)
    refused(lambda: first(task), at(task, "imagesTr"), told, "slice 5")


@pytest.mark.parametrize(("part", "told"), [("labelsTr", "no label map"), ("imagesTr", "no image")])
def test_half_a_pair(task, part, told):
    other = {"labelsTr": "imagesTr", "imagesTr": "labelsTr"}[part]
    at(task, part).unlink()
    refused(lambda: msd.pairs(task), task / "dataset.json", f"{part}/{NAME}.nii.gz", "not there")
    (task / "dataset.json").unlink()
    refused(lambda: msd.pairs(task), at(task, other), told)
    found, faults = msd.survey(task)
    assert [pair.name for pair in found] == ["hippocampus_003", "hippocampus_004"]
    assert list(faults) == [NAME]


def test_listing_without_a_label(task):
    content = json.loads((task / "dataset.json").read_text())
    del content["training"][1]["label"]
    (task / "dataset.json").write_text(json.dumps(content))
    refused(lambda: msd.pairs(task), task / "dataset.json", "no label", "hippocampus_003")


def test_listing_names_a_file_that_is_not_there(task):
    write_listing(task, [NAME, "hippocampus_999"])
    told = refused(lambda: msd.pairs(task), task / "dataset.json", "imagesTr/hippocampus_999.nii.gz")
    assert "not there" in told


@pytest.mark.parametrize(
    "name", ["../a.nii.gz", "imagesTr/../../a.nii.gz", "/etc/passwd", "a\\..\\b.nii.gz", ""]
)
def test_listing_must_not_point_outside(task, name):
    (task.parent / "a.nii.gz").write_bytes(at(task, "imagesTr").read_bytes())
    for key in ("image", "label"):
        entry = {"image": f"imagesTr/{NAME}.nii.gz", "label": f"labelsTr/{NAME}.nii.gz", key: name}
        (task / "dataset.json").write_text(json.dumps({"training": [entry]}))
        refused(lambda: msd.pairs(task), task / "dataset.json", "points outside")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "cannot be read"),
        ("[]", "JSON object"),
        ("{}", "no list `training`"),
        ('{"training": {}}', "no list `training`"),
        ('{"training": ["a"]}', "entry 1"),
        ('{"training": [{"image": 3}]}', "entry 1"),
        ("[" * 100_000, "cannot be read"),
    ],
)
def test_damaged_listing(task, content, told):
    (task / "dataset.json").write_text(content)
    refused(lambda: msd.pairs(task), task / "dataset.json", told)


def test_listing_that_is_no_text_or_names_a_volume_twice(task):
    write_listing(task, [NAME, NAME])
    refused(lambda: msd.pairs(task), task / "dataset.json", NAME, "more than once")
    (task / "dataset.json").write_bytes(b"\xff\xfe\xff")
    refused(lambda: msd.pairs(task), task / "dataset.json", "cannot be read")


def test_one_volume_in_two_files(task):
    (task / "dataset.json").unlink()
    shutil.copy(at(task, "imagesTr"), task / "imagesTr" / f"{NAME}.nii")
    refused(lambda: msd.pairs(task), task / "imagesTr", NAME, "keep one")


def test_a_folder_without_volumes(tmp_path):
    (tmp_path / "Task02_Heart").mkdir()
    refused(lambda: Decathlon().load(tmp_path), tmp_path / "Task02_Heart", "no labelled volume")
