"""Phantoms of the four classification datasets: read by the real loaders, learnable, not by mean colour."""

from __future__ import annotations

import csv
from functools import cache

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from torch import nn

from bench.datasets.cifar10 import CIFAR10
from bench.datasets.fashion_mnist import FashionMNIST
from bench.datasets.ham10000 import HAM10000
from bench.datasets.ham10000_8x8 import HAM10000Small
from bench.errors import UserError
from bench.federated.partition import Split, balanced, fedap, ida
from bench.phantoms.lesions import CLASSES, SIZES, SOURCES, draw, plan
from bench.phantoms.marker import is_phantom

ALL = {"ham10000": HAM10000, "ham10000_8x8": HAM10000Small, "fashion_mnist": FashionMNIST, "cifar10": CIFAR10}
TINY = {"ham10000": 430, "ham10000_8x8": 430, "fashion_mnist": 600, "cifar10": 600}


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    """Folder of a tiny phantom by dataset name, written once."""

    @cache
    def write(name):
        root = tmp_path_factory.mktemp(name) / "phantom"
        ALL[name]().write_phantom(root, 0, "tiny")
        return root

    return write


@pytest.mark.parametrize("name", ALL)
def test_the_real_loader_reads_it_and_it_says_what_it_is(phantom, name):
    made = ALL[name]().load(phantom(name))
    assert len(made) == TINY[name]
    assert min(made.counts().values()) >= 34
    assert is_phantom(phantom(name))
    assert made.ids == ALL[name]().index(phantom(name)).ids


@pytest.mark.parametrize("name", ALL)
def test_the_same_seed_writes_the_same_bytes_and_another_seed_others(phantom, name, tmp_path):
    ALL[name]().write_phantom(tmp_path / "same", 0, "tiny")
    first = sorted(p.relative_to(phantom(name)) for p in phantom(name).rglob("*") if p.is_file())
    assert first == sorted(
        p.relative_to(tmp_path / "same") for p in (tmp_path / "same").rglob("*") if p.is_file()
    )
    for path in first:
        assert (phantom(name) / path).read_bytes() == (tmp_path / "same" / path).read_bytes()
    ALL[name]().write_phantom(tmp_path / "other", 1, "tiny")
    assert ALL[name]().load(tmp_path / "other").content != ALL[name]().load(phantom(name)).content


@pytest.mark.parametrize("name", ALL)
def test_it_appears_whole_or_not_at_all(name, tmp_path):
    with pytest.raises(UserError, match=r"use tiny or small\. Did you mean `tiny`"):
        ALL[name]().write_phantom(tmp_path / "x", 0, "tinny")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(UserError, match="already holds files"):
        ALL[name]().write_phantom(tmp_path / "full", 0, "tiny")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["full"]


def test_phantom_lesions_have_several_views_four_sources_and_unequal_classes(phantom):
    made = HAM10000().load(phantom("ham10000"))
    assert set(made.sources) == set(SOURCES)
    assert made.counts() == {name: SIZES["tiny"][name] for name in CLASSES}
    facts = HAM10000().verify(phantom("ham10000"))
    assert int(facts["lesions with several images"]) > 50
    with (phantom("ham10000") / "HAM10000_metadata").open(newline="") as file:
        header = next(csv.reader(file))
    assert header == ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization", "dataset"]
    assert all(
        len(list((phantom("ham10000") / f"HAM10000_images_part_{n}").iterdir())) == 215 for n in (1, 2)
    )


def test_the_8x8_phantom_is_the_other_one_shrunk(phantom):
    large, small = (ALL[name]().load(phantom(name)) for name in ("ham10000", "ham10000_8x8"))
    assert small.ids == large.ids
    assert small.groups == large.groups
    gap = np.abs(large.stack(range(430), (8, 8), 1).astype(int) - small.stack(range(430), None, 1))
    assert gap.mean() < 6  # two filters, and what JPEG took


@pytest.mark.parametrize("split", Split)
def test_a_tiny_phantom_makes_four_clients_and_the_small_one_all_34(phantom, split):
    tiny = HAM10000().index(phantom("ham10000"))
    made = fedap(tiny.labels, tiny.groups, split, 0, clients=4)
    assert [(len(c.train), len(c.test)) for c in made.clients] == [(56, 14)] * 4
    assert len(ida(tiny.labels, tiny.groups, split, 0, clients=10).clients) == 10
    views = plan(0, SIZES["small"])  # the labels of the small phantom, without drawing it
    labels = np.array([CLASSES.index(view.dx) for view in views])
    made = fedap(labels, [str(view.lesion) for view in views], split, 0)
    assert [(len(c.train), len(c.test)) for c in made.clients] == [(56, 14)] * 34


@pytest.mark.parametrize("name", ["fashion_mnist", "cifar10"])
def test_other_tiny_phantoms_make_ten_balanced_clients(phantom, name):
    labels = ALL[name]().index(phantom(name)).labels
    assert len(balanced(labels, 0, clients=10, classes_per_client=3).clients) == 10


def test_views_of_a_lesion_resemble_each_other_more_than_those_of_others_of_its_class():
    """What makes a leak between train and test pay: outline and structures stay from view to view."""
    views = [view for view in plan(0, {"mel": 120}) if view.view < 2]
    darkest = [np.sort(draw(view).mean(2).ravel())[:1500].mean() - draw(view).mean() for view in views]
    pairs = [i for i in range(1, len(views)) if views[i].lesion == views[i - 1].lesion]
    same = [abs(darkest[i] - darkest[i - 1]) for i in pairs]
    other = [abs(darkest[i] - darkest[j]) for i in pairs for j in pairs if views[i].lesion != views[j].lesion]
    assert len(pairs) > 10
    assert np.mean(same) < 0.6 * np.mean(other)


def trained(images, labels, classes, epochs):
    """A small convolutional network after some epochs of Adam."""
    torch.manual_seed(0)
    stages, wide = [], images.shape[1]
    for width in (16, 32, 64):
        stages += [nn.Conv2d(wide, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
        wide = width
    net = nn.Sequential(*stages[:-1], nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(256, classes))
    optimiser = torch.optim.Adam(net.parameters(), 2e-3)
    x, y = torch.tensor(images).float() / 255 - 0.5, torch.tensor(labels)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(32):
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
            optimiser.step()
    return net.eval()


@pytest.mark.parametrize(
    ("name", "size", "channels", "epochs", "margin"),
    [
        ("ham10000", (24, 32), 3, 22, 0.15),
        ("ham10000_8x8", None, 1, 40, 0.08),
        ("fashion_mnist", None, 1, 4, 0.5),
        ("cifar10", None, 3, 4, 0.3),
    ],
)
def test_a_small_network_learns_it_and_the_mean_colour_does_not(
    phantom, name, size, channels, epochs, margin
):
    """On lesions or images never seen: well above the majority class and the best use of mean colours."""
    made = ALL[name]().load(phantom(name))
    images = made.stack(range(len(made)), size, channels)
    order = np.random.default_rng(0).permutation(sorted(set(made.groups)))
    test = np.isin(made.groups, order[: len(order) // 4])
    classes = len(made.classes)
    net = trained(images[~test], made.labels[~test], classes, epochs)
    with torch.inference_mode():
        answers = net(torch.tensor(images[test]).float() / 255 - 0.5).argmax(1).numpy()
    truth = made.labels[test]
    accuracy, fair = (answers == truth).mean(), balanced_accuracy_score(truth, answers)
    mean = images.mean((2, 3)) / 255
    features = np.concatenate([mean, mean**2], 1)
    colour = LogisticRegression(max_iter=3000, C=100).fit(features[~test], made.labels[~test])
    guessed = colour.predict(features[test])
    majority = np.bincount(truth).max() / len(truth)
    assert accuracy > majority + margin
    assert accuracy > (guessed == truth).mean() + margin
    assert fair > balanced_accuracy_score(truth, guessed) + margin
    assert fair > 1 / classes + margin
