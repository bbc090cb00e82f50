"""Fashion-MNIST and CIFAR-10: official files read exactly, every bad file one sentence."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
from refusals import refused

from bench.datasets.cifar10 import CIFAR10
from bench.datasets.fashion_mnist import FashionMNIST, write_idx


@pytest.fixture
def fashion(tmp_path):
    rng = np.random.default_rng(0)
    root = tmp_path / "fashion"
    root.mkdir()
    arrays = {}
    for start, count in (("train", 30), ("t10k", 10)):
        images, labels = rng.integers(0, 256, (count, 28, 28), np.uint8), np.arange(count) % 10
        write_idx(root / f"{start}-images-idx3-ubyte.gz", images)
        write_idx(root / f"{start}-labels-idx1-ubyte.gz", labels)
        arrays[start] = images
    return root, arrays


def test_idx_files_are_pooled_train_first_plain_or_packed(fashion):
    root, arrays = fashion
    made = FashionMNIST().load(root)
    assert made.ids[:2] == ("train-00000", "train-00001")
    assert made.ids[-1] == "test-00009"
    assert made.sources.count("test") == 10
    assert made.groups == made.ids
    assert np.array_equal(made.labels, np.arange(40) % 10)
    assert np.array_equal(made.stack(range(30), None, 1)[:, 0], arrays["train"])
    assert np.array_equal(made.read(33), arrays["t10k"][3])
    for path in list(root.iterdir()):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert FashionMNIST().load(root).fingerprint() == made.fingerprint()
    for path in root.glob("*images*"):
        path.unlink()
    assert FashionMNIST().index(root).ids == made.ids


def idx(magic, *shape, data=b""):
    return struct.pack(f">{1 + len(shape)}I", magic, *shape) + data


@pytest.mark.parametrize(
    ("file", "data", "told"),
    [
        ("train-images-idx3", idx(2049, 30, 28, 28), "begins with the number 2049, not 2051"),
        (
            "train-images-idx3",
            idx(2051, 30, 28, 28, data=bytes(99)),
            "announces 23520 bytes of data and holds 99",
        ),
        (
            "train-images-idx3",
            idx(2051, 1, 28, 28, data=bytes(785)),
            "announces 784 bytes of data and holds 785",
        ),
        ("train-images-idx3", idx(2051, 2**32 - 1, 2**32 - 1, 2**32 - 1), "holds 0"),
        ("train-images-idx3", idx(2051, 2, 14, 28, data=bytes(784)), "images of 28x14, not 28x28"),
        ("train-images-idx3", idx(2051, 2, 28, 28, data=bytes(1568)), "2 train images but 30 train labels"),
        ("train-images-idx3", b"abc", "ends after 3 bytes"),
        ("t10k-labels-idx1", idx(2051, 10, data=bytes(10)), "begins with the number 2051, not 2049"),
        ("t10k-labels-idx1", idx(2049, 0), "holds nothing"),
        ("t10k-labels-idx1", idx(2049, 2, data=b"\x01\x0a"), "labels from 0 to 9, got 10"),
    ],
)
def test_a_bad_idx_file_is_one_sentence(fashion, file, data, told):
    root, _ = fashion
    path = root / f"{file}-ubyte.gz"
    path.write_bytes(gzip.compress(data))
    refused(lambda: FashionMNIST().load(root), told, root)
    path.unlink()
    path.with_suffix("").write_bytes(data)
    refused(lambda: FashionMNIST().load(root), told, root)


def test_damaged_or_missing_idx_files_are_one_sentence(fashion):
    root, _ = fashion
    path = root / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    for data in (whole[:-9], b"no gzip", whole[:50] + b"\x00\xff" * 40 + whole[130:]):
        path.write_bytes(data)
        refused(lambda: FashionMNIST().load(root), path, "cannot be read")
    path.unlink()
    refused(lambda: FashionMNIST().load(root), root, "lacks `train-images-idx3-ubyte`")
    refused(lambda: FashionMNIST().load(root / "none"), "is no folder")


def test_the_real_fashion_mnist_is_read_whole(shared_data):
    facts = FashionMNIST().verify(shared_data / "fashion_mnist")
    assert {facts[f"images {name}"] for name in FashionMNIST.card.classes} == {"7000"}
    assert (facts["images from train"], facts["images from test"]) == ("60000", "10000")


@pytest.fixture
def cifar(tmp_path):
    root = tmp_path / "cifar"
    folder = root / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    records = np.random.default_rng(0).integers(0, 256, (25, 3073), np.uint8)
    records[:, 0] = np.arange(25) % 10
    names = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    for name, own in zip(names, np.split(records, [4, 8, 9, 15, 20]), strict=True):
        (folder / name).write_bytes(own.tobytes())
    return folder, records


def test_binary_batches_are_planes_of_red_green_and_blue(cifar):
    folder, records = cifar
    made = CIFAR10().load(folder.parent)
    assert made.fingerprint() == CIFAR10().load(folder).fingerprint()
    assert made.ids[19:21] == ("train-00019", "test-00000")
    assert np.array_equal(made.labels, records[:, 0])
    for i in (0, 13, 24):
        red, green, blue = np.split(records[i, 1:], 3)
        assert np.array_equal(made.read(i), np.stack([p.reshape(32, 32) for p in (red, green, blue)], -1))
    assert CIFAR10().index(folder).ids == made.ids
    assert CIFAR10().verify(folder)["images from test"] == "5"


def test_bad_binary_batches_are_one_sentence(cifar):
    folder, _ = cifar
    load = lambda: CIFAR10().load(folder)  # noqa: E731
    path = folder / "data_batch_3.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    refused(load, path, "3072 bytes", "no whole number of 3073-byte records")
    path.write_bytes(b"")
    refused(load, path, "0 bytes")
    path.write_bytes(b"\x0b" + whole[1:])
    refused(load, path, "labels from 0 to 9, got 11")
    path.write_bytes(whole)
    (folder / "batches.meta.txt").write_text("apple\npear\n")
    refused(load, "names the classes `apple`, `pear`, not those of CIFAR-10")
    path.unlink()
    refused(load, folder, "lacks `data_batch_3.bin`")


def test_the_pickles_of_cifar10_are_refused_unopened(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    refused(lambda: CIFAR10().load(tmp_path), "pickles", "binary version")
    (tmp_path / "cifar-10-batches-py").rmdir()
    (tmp_path / "data_batch_1").write_bytes(b"\x80\x04")
    refused(lambda: CIFAR10().index(tmp_path), "pickles", "binary version")
    (tmp_path / "data_batch_1").unlink()
    refused(lambda: CIFAR10().load(tmp_path), "holds neither cifar-10-batches-bin nor its batches")
    refused(lambda: CIFAR10().load(tmp_path / "none"), "is no folder")


def test_the_real_cifar10_is_read_in_its_own_batch_sizes(shared_data):
    made = CIFAR10().load(shared_data / "cifar10")
    assert set(made.counts().values()) == {500}
    assert made.sources.count("train") == 4000
    # Skies are blue and frogs are not: a swap of planes or labels would turn this around.
    means = [made.stack(np.flatnonzero(made.labels == c), None, 3).mean((0, 2, 3)) for c in (0, 6)]
    assert means[0][2] > means[0][0] + 5
    assert means[1][2] < means[1][0] - 5
