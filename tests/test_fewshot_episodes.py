"""Tasks of meta-training: how often sources come, which slices of them, and that a seed says it all."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from bench.errors import UserError
from bench.fewshot import episodes as e
from bench.volumes.slices import ArrayStore, SliceSet, Source


def slice_set(name: str, volumes: dict[str, list[int]]) -> SliceSet:
    """Slices whose every grey level is their row."""
    names = tuple(volume for volume, positions in volumes.items() for _ in positions)
    positions = np.array([j for found in volumes.values() for j in found], np.int64)
    grey = np.arange(len(names), dtype=np.uint8)[:, None, None].repeat(16, 1).repeat(16, 2)
    return SliceSet(name, ArrayStore(grey, grey > 3), np.arange(len(names)), names, positions)


def source(name: str, weight: float = 1.0, volumes: dict[str, list[int]] | None = None) -> Source:
    part = slice_set(name, volumes or {f"{name}_0": [3, 4, 5, 6], f"{name}_1": [1, 2]})
    return Source(name, part, part, weight)


def context(seed: int = 0, **protocol: Any) -> Any:
    fields = {
        "tasks_per_epoch": 5,
        "task_definition": "standard",
        "meta_shots": 15,
        "slices_per_volume": 15,
        "slice_order": "numeric",
    }
    return SimpleNamespace(seed=seed, protocol=SimpleNamespace(**{**fields, **protocol}))


def look(episodes: list[e.Episode]) -> list[list[tuple[str, list[int]]]]:
    return [[(part.name, part.rows.tolist()) for part in episode] for episode in episodes]


def test_sources_come_by_weight_with_replacement() -> None:
    sources = [source("brain", 1 / 12), source("pancreas", 0.5), source("lung", 1.0)]
    drawn = e.sampled(sources, context(tasks_per_epoch=20_000), 1)
    counts = Counter(episode[0].name for episode in drawn)
    total = 1 / 12 + 0.5 + 1
    for one in sources:
        assert counts[one.name] / 20_000 == pytest.approx(one.weight / total, abs=0.01)


def test_a_standard_task_draws_slices_with_replacement() -> None:
    drawn = e.sampled([source("a")], context(tasks_per_epoch=400, meta_shots=6), 1)
    assert all(len(episode) == 1 and len(episode[0]) == 6 for episode in drawn)
    rows = np.concatenate([episode[0].rows for episode in drawn])
    counts = np.bincount(rows, minlength=6)
    assert counts.min() > 320  # 400 expected of each
    assert sum(len(set(episode[0].rows.tolist())) == 6 for episode in drawn) < 30  # 6! / 6^6 = 1.5 %


@pytest.mark.parametrize(
    ("count", "most", "kept"),
    [
        (15, 15, range(15)),
        (16, 15, range(0, 16, 2)),
        (31, 15, range(0, 31, 3)),
        (5, 15, range(5)),
        (7, 1, [0]),
    ],
)
def test_a_volume_task_takes_every_nth_slice(count: int, most: int, kept: Any) -> None:
    part = slice_set("a", {"a_1": list(range(count)), "a_2": [0]})
    assert e.volume_places(part, "a_1", most, "numeric").tolist() == list(kept)


def test_orders_of_a_volumes_slices() -> None:
    part = slice_set("a", {"a_1": [11, 2, 10, 1]})
    assert part.positions[e.volume_places(part, "a_1", 4, "numeric")].tolist() == [1, 2, 10, 11]
    # slice1.png < slice10.png < slice11.png < slice2.png
    assert part.positions[e.volume_places(part, "a_1", 4, "lexicographic")].tolist() == [1, 10, 11, 2]
    assert part.positions[e.volume_places(part, "a_1", 2, "lexicographic")].tolist() == [1, 11]
    assert part.positions[e.volume_places(part, "a_1", 2, "numeric")].tolist() == [1, 10]


def test_file_names_sort_with_their_ending() -> None:
    part = slice_set("a", {"a_1": [1, 10]})
    # "." stands before digits in ASCII
    assert part.positions[e.volume_places(part, "a_1", 2, "lexicographic")].tolist() == [1, 10]


def test_volume_tasks_are_single_volumes_evenly_drawn() -> None:
    one = source("a", volumes={"a_1": list(range(9)), "a_2": [4], "a_3": [7, 9]})
    ctx = context(tasks_per_epoch=900, task_definition="volume", slices_per_volume=3)
    drawn = e.sampled([one], ctx, 1)
    assert all(len(set(episode[0].volumes)) == 1 and 1 <= len(episode[0]) <= 3 for episode in drawn)
    counts = Counter(episode[0].volumes[0] for episode in drawn)
    assert set(counts) == {"a_1", "a_2", "a_3"}
    assert min(counts.values()) > 240  # 300 expected of each


@pytest.mark.parametrize("definition", ["standard", "volume"])
def test_draws_are_a_function_of_seed_and_meta_epoch(definition: str) -> None:
    sources = [source("a"), source("b"), source("c")]

    def draw(seed: int, epoch: int) -> Any:
        return look(e.sampled(sources, context(seed, task_definition=definition), epoch))

    torch.manual_seed(0)
    first = draw(3, 1)
    torch.manual_seed(1)
    assert draw(3, 1) == first
    assert draw(3, 2) != first
    assert draw(4, 1) != first


def test_a_sequential_pass_visits_every_source_with_others_beside_it() -> None:
    sources = [source("a"), source("b"), source("c"), source("d")]
    beside: Counter[tuple[str, ...]] = Counter()
    for epoch in range(1, 200):
        episodes = e.sequential(sources, context(meta_shots=3), epoch, beside=2)
        assert [episode[0].name for episode in episodes] == ["a", "b", "c", "d"]
        for episode in episodes:
            assert len(episode) == 3
            assert all(len(part) == 3 for part in episode)
            others = [part.name for part in episode[1:]]
            assert episode[0].name not in others
            if episode[0].name == "a":
                beside[tuple(others)] += 1
    assert len(beside) == 9  # drawn one by one, so the same source may come twice
    assert look(e.sequential(sources, context(), 5, 2)) == look(e.sequential(sources, context(), 5, 2))


def test_a_sequential_pass_with_others_needs_two_sources() -> None:
    with pytest.raises(UserError, match=r"at least two sources, and `a` is the only one"):
        e.sequential([source("a")], context(), 1, beside=2)
    assert len(e.sequential([source("a")], context(), 1, beside=0)) == 1


def test_a_pool_is_its_sets_one_after_the_other() -> None:
    parts = [slice_set("a", {"a_1": [0, 1]}), slice_set("b", {"b_1": [0, 1, 2]}), slice_set("c", {"c": [0]})]
    pool = e.Pool(parts)
    assert len(pool) == 6
    whole = [torch.cat(both) for both in zip(*(part[:] for part in parts), strict=True)]
    for index in ([0], [4], [5, 0, 3, 3], [2, 4], list(range(6))):
        for ours, theirs in zip(pool[torch.tensor(index)], whole, strict=True):
            assert torch.equal(ours, theirs[index])
