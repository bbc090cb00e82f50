"""Laws of the partitions, and the numbers that the specification states for HAM10000."""

from __future__ import annotations

import csv
import itertools
import time
from collections import Counter
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.federated.partition import Split, balanced, fedap, ida, pair_classes, uneven
from bench.files import sha256_file

quick = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
seeds = st.integers(0, 2**40)
PACKS = (9, 14, 14, 3, 14, 14, 4)  # of HAM10000 at 500 a class and 35 a pack


@cache
def lesions(per_class: tuple[int, ...] = (327, 514, 1099, 115, 1113, 1600, 142), seed: int = 0):
    """Labels and lesion ids with one to six images a lesion, the images in random order."""
    rng = np.random.default_rng(seed)
    rows, number = [], 0
    for label, count in enumerate(per_class):
        while count:
            size = min(count, int(rng.choice(6, p=(0.74, 0.19, 0.05, 0.01, 0.005, 0.005))) + 1)
            rows += [(label, f"L{number}")] * size
            number, count = number + 1, count - size
    rng.shuffle(rows)
    return np.array([int(label) for label, _ in rows]), tuple(str(group) for _, group in rows)


def parts(partition):
    return [part for client in partition.clients for part in (client.train, client.test)]


def assert_sound(partition, count):
    """Sorted int64 positions, each at most once, and no empty side."""
    every = np.concatenate(parts(partition))
    assert every.dtype == np.int64
    assert len(np.unique(every)) == len(every)
    assert every.min() >= 0
    assert every.max() < count
    for part in parts(partition):
        assert len(part)
        assert (np.diff(part) > 0).all()


@quick
@given(seed=seeds, split=st.sampled_from(Split))
def test_fedap_gives_34_clients_of_56_and_14_images_from_two_classes(seed, split):
    labels, groups = lesions()
    made = fedap(labels, groups, split, seed)
    assert_sound(made, len(labels))
    assert [(len(c.train), len(c.test)) for c in made.clients] == [(56, 14)] * 34
    for client in made.clients:
        counts = Counter(labels[np.concatenate([client.train, client.test])].tolist())
        assert sorted(counts.values()) == [35, 35]
    if split is Split.lesion_grouped:
        assert made.leaks(groups) == 0
        assert made.shared_groups(groups) == 0
    else:
        assert made.leaks(groups) > 0


@quick
@given(seed=seeds, split=st.sampled_from(Split), each=st.integers(1, 7), clients=st.integers(1, 12))
def test_ida_uses_every_image_of_a_held_class_once(seed, split, each, clients):
    labels, groups = lesions()
    made = ida(labels, groups, split, seed, clients=clients, classes_per_client=each)
    assert_sound(made, len(labels))
    held = [set(labels[np.concatenate([c.train, c.test])].tolist()) for c in made.clients]
    assert [len(own) for own in held] == [each] * clients
    used = np.sort(np.concatenate(parts(made)))
    assert np.array_equal(used, np.flatnonzero(np.isin(labels, list(set().union(*held)))))
    homes = Counter(itertools.chain(*held))
    assert max(homes.values()) - min(homes[c] for c in range(7)) <= 1
    for client in made.clients:
        total = len(client.train) + len(client.test)
        slack = 1 if split is Split.image_level else 6  # a lesion has six images at most
        assert abs(len(client.test) - 0.1 * total) <= slack
    if split is Split.lesion_grouped:
        assert made.leaks(groups) == 0
        assert made.shared_groups(groups) == 0


def test_ida_clients_differ_in_size_but_with_all_classes_not_in_mix():
    labels, groups = lesions()
    made = ida(labels, groups, Split.image_level, 1)
    sizes = [len(c.train) for c in made.clients]
    assert max(sizes) > 3 * min(sizes)
    whole = np.bincount(labels) / len(labels)
    for client in made.clients:
        mix = np.bincount(labels[client.train], minlength=7) / len(client.train)
        assert np.abs(mix - whole).max() < 0.08


@quick
@given(seed=seeds, clients=st.integers(1, 40), each=st.integers(1, 7), most=st.none() | st.integers(14, 60))
def test_balanced_clients_are_equal(seed, clients, each, most):
    labels = np.repeat(np.arange(7), 200)
    made = balanced(labels, seed, clients=clients, classes_per_client=each, most_per_client=most)
    assert_sound(made, len(labels))
    assert len({(len(c.train), len(c.test)) for c in made.clients}) == 1
    slots = [Counter(labels[np.concatenate([c.train, c.test])].tolist()) for c in made.clients]
    assert len({count for own in slots for count in own.values()}) == 1
    assert {len(own) for own in slots} == {each}
    homes = Counter(c for own in slots for c in own)
    assert max(homes.values()) - min(homes[c] for c in range(7)) <= 1
    if most is not None:
        assert sum(slots[0].values()) <= most


@quick
@given(seed=seeds, doubled=st.sets(st.integers(0, 9), max_size=10))
def test_doubling_adds_as_many_training_images_of_each_class_and_changes_nothing_else(seed, doubled):
    labels = np.repeat(np.arange(10), 300)
    plain = uneven(labels, seed, clients=10, classes_per_client=3, most_per_class=50)
    more = uneven(labels, seed, clients=10, classes_per_client=3, most_per_class=50, doubled=doubled)
    assert_sound(more, len(labels))
    for number, (before, after) in enumerate(zip(plain.clients, more.clients, strict=True)):
        assert np.array_equal(before.test, after.test)
        assert set(before.train) <= set(after.train)
        factor = 2 if number in doubled else 1
        counted = np.bincount(labels[before.train], minlength=10)
        assert np.array_equal(np.bincount(labels[after.train], minlength=10), factor * counted)
        whole = counted + np.bincount(labels[before.test], minlength=10)
        assert ((whole == 0) | ((whole >= 2) & (whole <= 50))).all()
        assert (whole > 0).sum() == 3


def made_by(name, seed):
    labels, groups = lesions()
    few = {"clients": 5, "classes_per_client": 3}
    return {
        "fedap": lambda: fedap(labels, groups, Split.lesion_grouped, seed),
        "ida": lambda: ida(labels, groups, Split.image_level, seed, **few),
        "balanced": lambda: balanced(labels, seed, **few),
        "uneven": lambda: uneven(labels, seed, clients=5, classes_per_client=3, most_per_class=20),
    }[name]()


@pytest.mark.parametrize("name", ["fedap", "ida", "balanced", "uneven"])
def test_a_seed_fixes_the_partition_and_another_changes_it(name):
    ids = [f"i{n}" for n in range(len(lesions()[0]))]
    assert made_by(name, 3).sha256(ids) == made_by(name, 3).sha256(ids)
    assert len({made_by(name, seed).sha256(ids) for seed in range(8)}) == 8


def test_the_seed_drawn_with_gives_the_same_clients_at_once():
    labels, groups = lesions()
    ids = [f"i{n}" for n in range(len(labels))]
    again = 0
    for seed in range(6):
        made = fedap(labels, groups, Split.lesion_grouped, seed)
        assert made.seed == seed
        repeated = fedap(labels, groups, Split.lesion_grouped, made.drawn_with)
        assert repeated.drawn_with == made.drawn_with
        assert repeated.sha256(ids) == made.sha256(ids)
        again += made.drawn_with != seed
    assert again, "34 clients come out of one draw in five, so some seeds must have been drawn again"


def test_uniform_pairs_of_classes_give_the_numbers_of_clients_that_the_specification_states():
    draws = 2000
    found = Counter(len(pair_classes(PACKS, seed)) for seed in range(draws))
    for clients, share in {36: 0.32, 35: 0.42, 34: 0.19, 33: 0.06}.items():
        assert found[clients] / draws == pytest.approx(share, abs=0.035)
    assert sum(found[n] for n in range(33)) / draws < 0.03


@quick
@given(
    packs=st.lists(st.integers(0, 9), min_size=2, max_size=8),
    seed=seeds,
)
def test_pairs_are_of_two_classes_and_go_on_as_long_as_they_can(packs, seed):
    pairs = pair_classes(packs, seed)
    assert all(a != b for a, b in pairs)
    used = Counter(itertools.chain(*pairs))
    left = [n - used[c] for c, n in enumerate(packs)]
    assert min(left) >= 0
    assert sum(n > 0 for n in left) < 2


def test_the_cap_holds_for_whole_lesions_and_for_images():
    labels, groups = lesions()
    for split in Split:
        made = fedap(labels, groups, split, 0, cap=70, clients=6)
        assert all(np.bincount(labels[np.concatenate(parts(made))]) <= 70)


def test_leaks_and_shared_groups_are_counted_by_image_and_by_group():
    from bench.federated.partition import Client, Partition

    groups = ["a", "a", "b", "b", "c", "d", "d", "a"]
    made = Partition(
        (
            Client(np.array([0, 2]), np.array([1])),  # a and b train, a test: a leak within the client
            Client(np.array([4, 5]), np.array([3, 6, 7])),  # b and a leak from the other client, d within
        ),
        seed=0,
        drawn_with=0,
    )
    assert made.leaks(groups) == 4
    assert made.shared_groups(groups) == 2


def test_the_file_has_the_hash_and_names_every_image(tmp_path):
    labels, groups = lesions()
    ids = [f'im"age, {n}' for n in range(len(labels))]
    made = fedap(labels, groups, Split.image_level, 2)
    made.write(tmp_path / "partition.csv", ids)
    assert sha256_file(tmp_path / "partition.csv") == made.sha256(ids)
    with (tmp_path / "partition.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == sorted(rows, key=lambda row: row["id"])
    for number, client in enumerate(made.clients):
        for split, part in (("train", client.train), ("test", client.test)):
            named = {row["id"] for row in rows if (row["client"], row["split"]) == (str(number), split)}
            assert named == {ids[i] for i in part}


def test_a_thousand_clients_take_less_than_two_seconds():
    labels = np.repeat(np.arange(10), 7000)
    start = time.process_time()
    made = balanced(labels, 0, clients=1000, classes_per_client=3, most_per_client=500)
    assert time.process_time() - start < 2
    assert {(len(c.train), len(c.test)) for c in made.clients} == {(62, 7)}  # 300 holders share 7,000


@pytest.fixture(scope="module")
def metadata(shared_data):
    from bench.datasets.ham10000 import HAM10000

    return HAM10000().index(shared_data / "ham10000")


def test_on_the_real_metadata_fedap_is_as_the_thesis_prints_it(metadata):
    for seed in range(3):
        for split in Split:
            made = fedap(metadata.labels, metadata.groups, split, seed)
            assert len(made.clients) == 34
            assert {(len(c.train), len(c.test)) for c in made.clients} == {(56, 14)}
            assert sum(len(c.train) for c in made.clients) == 1904
            assert sum(len(c.test) for c in made.clients) == 476
            leaks = made.leaks(metadata.groups)
            assert leaks == 0 if split is Split.lesion_grouped else leaks > 50
            assert (made.shared_groups(metadata.groups) == 0) is (split is Split.lesion_grouped)


@pytest.mark.parametrize("each", [1, 2, 7])
def test_on_the_real_metadata_ida_uses_all_images_and_only_image_level_leaks(metadata, each):
    for split in Split:
        made = ida(metadata.labels, metadata.groups, split, 0, classes_per_client=each)
        assert_sound(made, len(metadata))
        assert sum(map(len, parts(made))) == 10015
        assert sum(len(c.test) for c in made.clients) == pytest.approx(1001.5, abs=10)
        assert (made.leaks(metadata.groups) == 0) is (split is Split.lesion_grouped)
