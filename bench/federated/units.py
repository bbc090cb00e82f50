"""What partitions move about: single images, or whole groups of images that must stay together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.errors import UserError
from bench.federated.drawing import Stream, fill_packs, nearest_subset, sample_under
from bench.federated.partition_types import Client, Partition, Split

SAMPLE, DIVIDE, HOLD, SIZE = range(1, 5)  # what a stream of random numbers is for


def check_request(labels: np.ndarray, seed: int, clients: int, classes_per_client: int = 1) -> None:
    """Refuse numbers that no partition can be drawn with."""
    classes = int(labels.max()) + 1 if len(labels) else 0
    if seed < 0:
        raise UserError(f"`seed` takes a whole number from 0, got {seed}.")
    if clients < 1:
        raise UserError(f"`protocol.clients` takes a whole number from 1, got {clients}.")
    if not 1 <= classes_per_client <= classes:
        raise UserError(
            f"`protocol.classes_per_client` takes a whole number from 1 to {classes}, the number of classes "
            f"in the data, got {classes_per_client}."
        )


def pools_of(labels: np.ndarray, seed: int) -> list[np.ndarray]:
    """The images of each class in random order, K arrays of positions."""
    of = [np.flatnonzero(labels == c) for c in range(int(labels.max()) + 1)]
    return [own[Stream(seed, SAMPLE, c).order(len(own))] for c, own in enumerate(of)]


def units_of(labels: np.ndarray, groups: Sequence[str], split: Split) -> list[list[np.ndarray]]:
    """What must stay together: of each class, arrays of positions, in order of their first image."""
    found: dict[str | int, list[int]] = {}
    for i, group in enumerate(range(len(labels)) if split is Split.image_level else groups):
        found.setdefault(group, []).append(i)
    units: list[list[np.ndarray]] = [[] for _ in range(int(labels.max()) + 1)]
    for group, images in found.items():
        own = labels[images]
        if (own != own[0]).any():
            raise UserError(
                f"`{group}` has images of two classes, so `protocol.split=lesion_grouped` cannot keep it in "
                "one; correct the labels or set `protocol.split=image_level`."
            )
        units[int(own[0])].append(np.array(images, np.int64))
    return units


def packs_of(
    of: list[np.ndarray], c: int, packs: int, cap: int, group_size: int, seed: int
) -> list[list[np.ndarray]]:
    """Fill the packs of one class with whole units, each pack a list of units."""
    fitting = [unit for unit in of if len(unit) <= group_size]
    order = [fitting[i] for i in Stream(seed, SAMPLE, c).order(len(fitting))]
    kept = [order[i] for i in sample_under([len(unit) for unit in order], cap)]
    filled = fill_packs([len(unit) for unit in kept], packs, group_size)
    return [[kept[i] for i in pack] for pack in filled]


def divided(members: Sequence[Sequence[np.ndarray]], share: float, seed: int, drawn: int) -> Partition:
    """Move whole units of each client to its test set, as near to `share` of its images as sizes allow."""
    clients = []
    for number, units in enumerate(members):
        if len(units) < 2:
            raise UserError(
                f"Client {number} would hold a single lesion and could not be split into train and test; "
                "lower `protocol.clients` or set `protocol.split=image_level`."
            )
        order = [units[i] for i in Stream(drawn, DIVIDE, number).order(len(units))]
        target = round(share * sum(map(len, order)))
        taken = set(nearest_subset([len(unit) for unit in order], target))
        parts = [[unit for i, unit in enumerate(order) if (i in taken) is wanted] for wanted in (False, True)]
        clients.append(client_of(*parts))
    return Partition(tuple(clients), seed, drawn)


def cut(images: np.ndarray, share: float, stream: Stream) -> Client:
    """A random `share` of single images, at least one and never all, as test set."""
    tested = min(max(1, round(share * len(images))), len(images) - 1)
    order = images[stream.order(len(images))]
    return client_of([order[tested:]], [order[:tested]])


def client_of(train: Sequence[np.ndarray], test: Sequence[np.ndarray]) -> Client:
    """Sorted positions from pieces."""
    return Client(np.sort(np.concatenate(train)), np.sort(np.concatenate(test)))
