"""Which volumes, or which slices, of a binary dataset train, validate and test."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from bench.errors import UserError
from bench.scans import SPLITS
from bench.volumes.organs import Organ

FILE = Path(__file__).parents[1] / "datasets" / "decathlon.splits.csv"
TEST, VAL = 0.2, 0.08  # of the volumes; as large as the released splits, 20 % and 10 % of the rest


@dataclass(frozen=True)
class Assignment:
    """A split by volume.

    Args:
        split: Volume name -> `train`, `val` or `test`, in the order the volumes were given.
        source: `committed` where the released split was followed, `hash` where it was drawn.
    """

    split: dict[str, str]
    source: Literal["committed", "hash"]


def committed(organ: str) -> dict[str, str]:
    """Volume name -> `val` or `test` of the released split; empty for an organ without one.

    The released files also list the training volumes, which are all others (fewshot_decathlon.md, section 1).
    """
    with FILE.open(encoding="utf-8", newline="") as file:
        return {row["volume"]: row["split"] for row in csv.DictReader(file) if row["organ"] == organ}


def by_volume(organ: Organ, volumes: Sequence[str], seed: int) -> Assignment:
    """Split the volumes of an organ, so that no patient is on both sides.

    Where the committed file names a test volume that is here, test volumes are those it names; its validation
    volumes likewise, or, where none of them is here, 8 % of the rest by rank of hash. Where it names none, or
    nothing is left to train on, a volume's place u in [0, 1) is a hash of seed, folder and name: test below
    .2, validation below .28. All datasets of a folder then share one split, whichever other volumes are
    present. Only where that leaves one of the three empty, the volumes are ranked by u instead and the first
    20 % test, the next 8 % validate, one volume each at least.

    Args:
        organ: The binary dataset.
        volumes: Names of its volumes, each once.
        seed: Of the hash; the committed file does not depend on it.

    Returns:
        The split; with fewer than three volumes some part of it is empty.

    Raises:
        ValueError: A volume stands twice.
    """
    if len(set(volumes)) != len(volumes):
        raise ValueError("a volume stands twice")
    place = {volume: _place(seed, organ.folder, volume) for volume in volumes}
    named = committed(organ.name)
    if any(named.get(volume) == "test" for volume in volumes):
        split = {volume: named.get(volume, "train") for volume in volumes}
        train = sorted((v for v in volumes if split[v] == "train"), key=lambda v: place[v])
        if "val" not in split.values() and len(train) > 1:
            split |= dict.fromkeys(train[: _share(VAL, len(train))], "val")
        if set(split.values()) == set(SPLITS):
            return Assignment(split, "committed")
    split = {v: "test" if u < TEST else "val" if u < TEST + VAL else "train" for v, u in place.items()}
    if len(set(split.values())) < len(SPLITS) <= len(volumes):
        ranked = sorted(volumes, key=lambda volume: place[volume])
        test, val = _share(TEST, len(volumes)), _share(VAL, len(volumes))
        parts = ["test"] * test + ["val"] * val + ["train"] * (len(volumes) - test - val)
        chosen = dict(zip(ranked, parts, strict=True))
        split = {volume: chosen[volume] for volume in volumes}
    return Assignment(split, "hash")


def by_slice(organ: str, n: int, seed: int) -> list[str]:
    """Split slices at random whichever patient they show, as the released code does.

    20 % test, then 10 % of the rest (20 % for the heart) validate, both rounded up, which gives the sizes of
    the released splits. Which slices they are is drawn anew: the released index files are not at hand.

    Args:
        organ: Name of the binary dataset.
        n: Its slices.
        seed: Of the draw, with the name.

    Returns:
        n times `train`, `val` or `test`.

    Raises:
        UserError: Fewer than three slices.
    """
    if n < len(SPLITS):
        raise UserError(f"`{organ}` has {n} slices here, a split needs three; give more volumes.")
    test = -(-n // 5)
    val = -(-(n - test) // (5 if organ == "heart" else 10))
    name = int.from_bytes(hashlib.sha256(organ.encode()).digest()[:8], "big")
    order = np.random.default_rng([seed, name]).permutation(n)
    split = np.full(n, "train", object)
    split[order[:test]] = "test"
    split[order[test : test + val]] = "val"
    return split.tolist()


def _place(seed: int, folder: str, volume: str) -> float:
    hashed = hashlib.sha256(f"{seed}:{folder}:{volume}".encode()).digest()
    return int.from_bytes(hashed[:8], "big") / 2**64


def _share(part: float, n: int) -> int:
    return max(1, round(part * n))
