"""Laws of the random draws that partitions are made of."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.federated.drawing import (
    Stream,
    apportion,
    class_slots,
    derived_seed,
    fill_packs,
    nearest_subset,
    sample_under,
)

quick = settings(max_examples=50, deadline=None)
seeds = st.integers(0, 2**40)


def test_the_stream_of_random_numbers_is_the_one_every_machine_has():
    # Fixed words of PCG64: a partition is named by its seed and must not move with a version of NumPy.
    assert Stream(0).order(8).tolist() == [3, 2, 1, 6, 0, 7, 4, 5]
    stream = Stream(7, 2)
    assert [stream.below(100) for _ in range(2)] == [8, 69]
    assert derived_seed(5, 0) == 5
    assert derived_seed(0, 1) == 3964924996


@quick
@given(clients=st.integers(1, 60), classes=st.integers(1, 12), seed=seeds, data=st.data())
def test_classes_are_held_by_as_equal_a_number_of_clients_as_can_be(clients, classes, seed, data):
    each = data.draw(st.integers(1, classes))
    held = class_slots(clients, classes, each, Stream(seed))
    assert [len(set(own)) for own in held] == [each] * clients
    homes = Counter(itertools.chain(*held))
    counts = [homes[c] for c in range(classes)]
    assert max(counts) - min(counts) <= 1


def test_every_set_of_classes_can_be_drawn():
    drawn = {tuple(own) for seed in range(60) for own in class_slots(10, 5, 2, Stream(seed))}
    assert drawn == set(itertools.combinations(range(5), 2))


@quick
@given(sizes=st.lists(st.integers(1, 9), min_size=2, max_size=10), target=st.integers(-2, 60))
def test_the_nearest_subset_is_as_near_as_any(sizes, target):
    chosen = nearest_subset(sizes, target)
    assert len(set(chosen)) == len(chosen)
    assert 0 < len(chosen) < len(sizes)
    sums = {
        sum(part) for n in range(1, len(sizes)) for part in itertools.combinations(sizes, n)
    }  # every true, non-empty subset
    asked = min(max(target, 1), sum(sizes) - 1)
    best = min(abs(s - asked) for s in sums)
    assert abs(sum(sizes[i] for i in chosen) - asked) == best


@quick
@given(weights=st.lists(st.integers(1, 10), min_size=1, max_size=20), extra=st.integers(0, 500))
def test_a_division_in_proportion_is_whole_and_fair(weights, extra):
    total = 2 * len(weights) + extra
    got = apportion(total, weights, 2)
    assert sum(got) == total
    for part, weight in zip(got, weights, strict=True):
        assert abs(part - 2 - extra * weight / sum(weights)) < 1


@quick
@given(sizes=st.lists(st.integers(1, 6), min_size=1, max_size=60), room=st.integers(6, 35))
def test_packs_are_never_overfull_and_exact_where_single_images_allow(sizes, room):
    packs = sum(sizes) // room
    filled = fill_packs(sizes, packs, room)
    assert len(filled) == packs
    flat = list(itertools.chain(*filled))
    assert len(set(flat)) == len(flat)
    totals = [sum(sizes[i] for i in pack) for pack in filled]
    assert all(0 < total <= room for total in totals)
    if sizes.count(1) >= 6 * packs:
        assert totals == [room] * packs


@quick
@given(sizes=st.lists(st.integers(1, 6), max_size=60), cap=st.integers(1, 60))
def test_a_sample_under_a_cap_leaves_out_only_what_no_longer_fits(sizes, cap):
    taken = sample_under(sizes, cap)
    total = sum(sizes[i] for i in taken)
    assert total <= cap
    assert all(size > cap - total for i, size in enumerate(sizes) if i not in taken)


@quick
@given(seed=seeds, n=st.integers(0, 300))
def test_an_order_is_a_permutation(seed, n):
    assert sorted(Stream(seed).order(n).tolist()) == list(range(n))


def test_a_number_below_another_is_uniform():
    stream = Stream(1)
    found = Counter(stream.below(5) for _ in range(5000))
    assert sorted(found) == [0, 1, 2, 3, 4]
    assert max(found.values()) - min(found.values()) < 200


def test_places_in_an_order_are_uniform():
    first = Counter(int(Stream(seed).order(4)[0]) for seed in range(2000))
    assert all(count == pytest.approx(500, abs=90) for count in first.values())
