"""The federated tasks against the numbers of thesis chapter 6 and of the real metadata."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from bench import registry
from bench.compare import compared
from bench.errors import UserError
from bench.families.federated_protocol import Scheme
from bench.federated.recipe import drawn_of, steps_of
from bench.reported import load_rows

TASKS = ("federated_ham10k", "federated_fashion_mnist", "federated_cifar10")


def task(name: str):
    return registry.load("task", name).target()


def test_the_protocol_of_fedap_is_the_thesis_one():
    p = task("federated_ham10k").base("clean", "ham10000", {})
    told = (p.partition, p.clients, p.clients_per_round, p.rounds, p.local_epochs, p.batch_size, p.lr)
    assert told == (Scheme.fedap, 34, 5, 220, 1, 16, 0.001)
    assert (p.model, p.pretrained, p.image_size) == ("mobilenet_v2", True, (224, 224))
    assert p.max_steps == p.rounds * p.clients_per_round * steps_of(56, p)
    assert drawn_of(p, 34) == 5


def test_the_protocol_of_ida_on_ham_is_the_thesis_one():
    p = task("federated_ham10k").base("official", "ham10000", {"partition": Scheme.ida})
    assert (p.clients, p.rounds, p.batch_size, p.lr, p.model) == (10, 5000, 32, 0.016, "densenet121")
    assert p.split == "image_level"
    assert drawn_of(p, 10) == 10


@pytest.mark.parametrize(
    ("name", "model"), [("federated_fashion_mnist", "lenet"), ("federated_cifar10", "vgg11")]
)
def test_the_protocol_of_the_proof_of_concept_is_the_thesis_one(name, model):
    p = task(name).base("clean", "", {})
    assert (p.clients, p.classes_per_client, p.participation, p.rounds) == (10, 3, 0.3, 5000)
    assert (p.model, p.batch_size, p.lr, p.local_epochs) == (model, 128, 0.05, 1)
    assert drawn_of(p, 10) == 3


def test_the_stress_settings():
    p = task("federated_fashion_mnist").base("clean", "", {"partition": Scheme.thousand})
    assert (p.clients, p.batch_size, p.lr, p.classes_per_client, drawn_of(p, 1000)) == (
        1000,
        30,
        0.016,
        3,
        10,
    )
    p = task("federated_cifar10").base("clean", "", {"partition": Scheme.uneven, "doubled": (1, 4, 7)})
    assert (p.clients, p.local_epochs, p.lr, p.participation, p.doubled) == (10, 2, 0.01, 1.0, (1, 4, 7))


def test_another_partition_is_refused():
    with pytest.raises(UserError, match="does not belong to this task"):
        task("federated_fashion_mnist").base("clean", "", {"partition": Scheme.fedap})


@pytest.mark.parametrize("name", TASKS)
def test_every_printed_setting_is_one_the_task_can_run(name):
    """The settings on the card build a protocol that shows exactly these values."""
    one = task(name)
    for words in one.card.reported.settings.values():
        wanted = dict(pair.split("=") for pair in words.split(";"))
        kinds = {f.name: type(getattr(one.protocol(), f.name)) for f in dataclasses.fields(one.protocol)}
        axes = {
            k: kinds[k](float(v)) if kinds[k] in (int, float) else kinds[k](v)
            for k, v in wanted.items()
            if k in one.axes
        }
        p = one.base("official", one.card.datasets[0], axes)
        shown = one.setting(p)
        for key, value in wanted.items():
            assert str(shown[key]) == value or float(shown[key]) == float(value), (words, shown)


def test_all_printed_federated_numbers_have_a_task():
    rows = [row for row in load_rows() if row.task in ("federated_poc", "federated_ham10k")]
    assert len(rows) == 60
    settings = {s for name in TASKS for s in task(name).card.reported.settings}
    assert {";".join(f"{k}={v}" for k, v in row.setting.items()) for row in rows} <= settings
    assert callable(compared)


def test_equal_clients_make_fedavg_the_mean():
    """Table 6.2 prints 87.47 and 86.23 for what are one and the same weights where clients are equal."""
    from bench.federated.partition import balanced

    labels = np.repeat(np.arange(10), 700)
    sizes = {len(c.train) for c in balanced(labels, 0, clients=10, classes_per_client=3).clients}
    assert len(sizes) == 1


# ---- real metadata


@pytest.fixture(scope="module")
def metadata(request) -> Path:
    root = Path(__file__).parents[3] / "shared" / "data" / "ham10000"
    if not root.is_dir():
        pytest.skip(f"the folder of real datasets is not here: {root}")
    return root


def test_the_leaks_on_the_card_are_those_of_the_real_metadata(metadata):
    one = task("federated_ham10k")
    index = registry.load("dataset", "ham10000").target().index(metadata)
    found = []
    for axes in (
        {"partition": Scheme.fedap},
        *({"partition": Scheme.ida, "classes_per_client": k} for k in (1, 2, 7)),
    ):
        clean = one.divide(index, one.base("clean", "ham10000", axes))
        assert clean.leaks(index.groups) == clean.shared_groups(index.groups) == 0
        official = one.divide(index, one.base("official", "ham10000", axes))
        found.append(official.leaks(index.groups))
    assert found == [173, 416, 427, 424]
    assert [int(n) for n in re.findall(r"\b(173|416|427|424)\b", one.card.notes)] == found


def test_show_tells_partitions_presets_and_leaks(metadata, bench, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    assert "image_level 173 of 476" in bench("show", "federated_ham10k").out
    assert bench("data", "prepare", "ham10000_8x8", "--root", metadata).code == 0
    told = bench("show", "federated_ham10k").out
    assert "partition=fedap split=image_level" in told
    assert "34 clients, 1904 train, 476 test, 173 test images whose lesion is in train" in told
    assert "protocol with partition=ida" in told
    assert "densenet121" in told


def test_a_field_added_later_leaves_the_hash_of_older_rows_as_it_was():
    from bench.files import digest
    from bench.plan import Plan, plain

    one = task("federated_fashion_mnist")
    p = one.base("clean", "", {})

    def hashed(protocol) -> str:
        return Plan("", "t", one, protocol, (), "clean", "", "", None, 0, "cpu", False, Path()).protocol_hash

    before = {k: v for k, v in plain(p).items() if k != "max_local_steps"}
    assert hashed(p) == digest({"task": "t", "profile": "clean", "protocol": before})
    assert hashed(dataclasses.replace(p, max_local_steps=3)) != hashed(p)
    assert hashed(dataclasses.replace(p, max_test=3)) != hashed(p)
