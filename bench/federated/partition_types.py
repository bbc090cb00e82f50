"""What a partition is: which image stands in which client, and there in train or test."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np

from bench.files import write_bytes


class Split(StrEnum):
    """What a partition keeps together: all images of a lesion, or nothing (as in the papers)."""

    lesion_grouped = "lesion_grouped"
    image_level = "image_level"


@dataclass(frozen=True)
class Client:
    """Sorted int64 positions of one client's images: `train` (n,) and `test` (m,)."""

    train: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Partition:
    """The images of every client.

    Args:
        clients: S clients, disjoint.
        seed: The seed asked for.
        drawn_with: The seed in use in the end; another one only where `fedap` had to draw again. Asking for
            this seed gives the same clients.
    """

    clients: tuple[Client, ...]
    seed: int
    drawn_with: int

    def table(self, ids: Sequence[str]) -> bytes:
        """The partition as a UTF-8 CSV with the columns id,client,split, rows sorted."""
        rows = [
            (ids[i], number, split)
            for number, client in enumerate(self.clients)
            for split, part in (("train", client.train), ("test", client.test))
            for i in part.tolist()
        ]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([("id", "client", "split"), *sorted(rows)])
        return text.getvalue().encode()

    def sha256(self, ids: Sequence[str]) -> str:
        """SHA-256 of the file that `write` writes."""
        return hashlib.sha256(self.table(ids)).hexdigest()

    def write(self, path: Path, ids: Sequence[str]) -> None:
        """Write the CSV id,client,split in one step."""
        write_bytes(path, self.table(ids))

    def leaks(self, groups: Sequence[str]) -> int:
        """Test images whose group is also in some client's train set, the same client or another."""
        train = {groups[i] for client in self.clients for i in client.train.tolist()}
        return sum(groups[i] in train for client in self.clients for i in client.test.tolist())

    def shared_groups(self, groups: Sequence[str]) -> int:
        """Groups that stand in two clients or more."""
        homes: dict[str, set[int]] = {}
        for number, client in enumerate(self.clients):
            for part in (client.train, client.test):
                for i in map(int, part):
                    homes.setdefault(groups[i], set()).add(number)
        return sum(len(found) > 1 for found in homes.values())
