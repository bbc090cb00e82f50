"""Random draws that partitions are made of; the same seed gives the same draw on every machine.

Only raw 64-bit words of PCG64 are used. NumPy keeps this stream the same for ever, which it does not promise
for `Generator.permutation` and the like; no floating-point function with a platform of its own takes part.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class Stream:
    """A stream of random whole numbers, named by a seed and further whole numbers."""

    def __init__(self, *words: int):
        self._bits = np.random.PCG64(np.random.SeedSequence(words))

    def order(self, n: int) -> np.ndarray:
        """A random order of `n` things, (n,) int64."""
        words = np.asarray(self._bits.random_raw(n), np.uint64)
        return np.argsort(words, kind="stable").astype(np.int64)

    def below(self, n: int) -> int:
        """A whole number from 0 to `n` - 1 (biased by less than n / 2**64)."""
        return int(self._bits.random_raw()) % n  # pyright: ignore[reportArgumentType]


def derived_seed(seed: int, attempt: int) -> int:
    """The seed of the attempt-th draw: the seed itself first, then 32-bit numbers that depend on both."""
    return seed if attempt == 0 else int(np.random.SeedSequence((seed, attempt)).generate_state(1)[0])


def class_slots(clients: int, classes: int, each: int, stream: Stream) -> list[list[int]]:
    """Which classes every client holds: none twice, each class in as equal as possible a number of clients.

    Args:
        clients: S.
        classes: K.
        each: Classes a client holds, 1 to K.
        stream: Where chance comes from.

    Returns:
        S sorted lists of `each` class numbers; a class stands in floor(S * each / K) of them or one more.
    """
    quota = np.full(classes, clients * each // classes)
    quota[stream.order(classes)[: clients * each % classes]] += 1
    held = []
    for left in range(clients, 0, -1):
        # A class that still needs every remaining client must be taken now. That keeps each quota at most
        # `left`, and as the quotas sum to `left * each`, there are always enough classes to choose from.
        order = stream.order(classes)
        forced = [int(c) for c in order if quota[c] == left]
        free = [int(c) for c in order if 0 < quota[c] < left]
        chosen = sorted([*forced, *free][:each])
        quota[chosen] -= 1
        held.append(chosen)
    return [held[i] for i in stream.order(clients)]  # so that early and late draws stand anywhere


def apportion(total: int, weights: Sequence[int], least: int) -> list[int]:
    """Divide `total` things in proportion to whole-number weights, each part at least `least`.

    Every part gets `least`; the rest goes by largest remainder (ties: the earlier part).
    """
    rest, whole = total - least * len(weights), sum(weights)
    parts = [least + rest * weight // whole for weight in weights]
    remainders = [rest * weight % whole for weight in weights]
    ranked = sorted(range(len(weights)), key=lambda i: (-remainders[i], i))
    for i in ranked[: total - sum(parts)]:
        parts[i] += 1
    return parts


def nearest_subset(sizes: Sequence[int], target: int) -> list[int]:
    """Positions whose sizes sum as near to `target` as any true, non-empty subset does.

    Of two sums as near, the smaller is taken.

    Bit s of a Python integer says whether the sum s can be reached, so the search is exact and fast. Earlier
    positions are preferred: with sizes in random order the choice is random.

    Args:
        sizes: Two or more whole numbers from 1.
        target: The sum wanted.
    """
    total = sum(sizes)
    target = min(max(target, 1), total - 1)
    mask = (1 << min(total, target + max(sizes) + 1)) - 1  # sums further off than this are never the nearest
    reached = [1]
    for size in sizes:
        reached.append((reached[-1] | reached[-1] << size) & mask)
    sums = reached[-1]
    best = next(
        s for gap in range(total) for s in (target - gap, target + gap) if 0 < s < total and sums >> s & 1
    )
    chosen = []
    for place in range(len(sizes) - 1, -1, -1):
        if not reached[place] >> best & 1:
            chosen.append(place)
            best -= sizes[place]
    return chosen[::-1]


def sample_under(sizes: Sequence[int], cap: int) -> list[int]:
    """Positions taken in order, leaving out what would lift the sum above `cap`."""
    taken, total = [], 0
    for place, size in enumerate(sizes):
        if total + size <= cap:
            taken.append(place)
            total += size
    return taken


def fill_packs(sizes: Sequence[int], packs: int, room: int) -> list[list[int]]:
    """Fill packs with whole things: large ones first, each into the pack with the most room left.

    Small things come last and fill the packs exactly where sizes allow; what no longer fits is left out.

    Args:
        sizes: Sizes in random order, each at most `room`.
        packs: How many packs; each gets one thing at least if there are as many.
        room: What a pack holds at most.

    Returns:
        `packs` lists of positions.
    """
    left, filled = [room] * packs, [[] for _ in range(packs)]
    if not packs:
        return filled
    for place in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        pack = max(range(packs), key=left.__getitem__)
        if sizes[place] <= left[pack]:
            filled[pack].append(place)
            left[pack] -= sizes[place]
    return filled
