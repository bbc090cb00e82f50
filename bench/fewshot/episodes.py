"""Tasks of meta-training: which sources, which of their slices (thesis section 7.2.1).

Every draw is a function of (run seed, meta-epoch), so that a resumed run sees what an uninterrupted one sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench import seeding
from bench.core import Context
from bench.errors import UserError
from bench.volumes.slices import SliceSet, Source

DRAW = 1  # third part of the generators that draw tasks; orders of slices take the numbers above

# Slices to train on, then those of further tasks that a method wants beside it.
Episode = tuple[SliceSet, ...]


def sampled(sources: Sequence[Source], ctx: Context, meta_epoch: int) -> list[Episode]:
    """The tasks of a meta-epoch: sources with replacement by weight, then slices of each."""
    generator = seeding.generator(ctx.seed, meta_epoch, DRAW)
    weights = torch.tensor([source.weight for source in sources], dtype=torch.float64)
    chosen = torch.multinomial(weights, ctx.protocol.tasks_per_epoch, replacement=True, generator=generator)
    return [(task_slices(sources[i].train, ctx.protocol, generator),) for i in chosen.tolist()]


def sequential(sources: Sequence[Source], ctx: Context, meta_epoch: int, beside: int) -> list[Episode]:
    """One task of every source in turn, each with tasks of `beside` others drawn evenly beside it.

    The others are drawn one by one, so that the same source may come twice.

    Raises:
        UserError: There is one source only.
    """
    if len(sources) < 2 and beside:
        raise UserError(
            f"This method needs tasks of at least two sources, and `{sources[0].name}` is the only one; "
            "add another organ to the data, or take another method."
        )
    generator = seeding.generator(ctx.seed, meta_epoch, DRAW)
    episodes = []
    for source in sources:
        others = [other for other in sources if other is not source]
        picks = torch.randint(len(others), (beside,), generator=generator).tolist() if beside else []
        parts = (source, *(others[i] for i in picks))
        episodes.append(tuple(task_slices(part.train, ctx.protocol, generator) for part in parts))
    return episodes


def task_slices(train: SliceSet, protocol: Any, generator: torch.Generator) -> SliceSet:
    """Slices of one task under the protocol's task definition."""
    if protocol.task_definition == "volume":
        patients = train.patients
        volume = patients[int(torch.randint(len(patients), (), generator=generator))]
        return train.subset(volume_places(train, volume, protocol.slices_per_volume, protocol.slice_order))
    places = torch.randint(len(train), (protocol.meta_shots,), generator=generator)  # with replacement
    return train.subset(places.numpy())


def volume_places(train: SliceSet, volume: str, most: int, order: str) -> NDArray[np.int64]:
    """Every ceil(V / most)-th of a volume's V slices, so at most `most` places of the set.

    Args:
        train: Slices of all volumes.
        volume: Its name.
        most: K of the thesis.
        order: `numeric` along the axis, `lexicographic` by file name `<volume>_slice<j>.png`.
    """
    places = [i for i, name in enumerate(train.volumes) if name == volume]
    if order == "lexicographic":
        places.sort(key=lambda i: f"{volume}_slice{train.positions[i]}.png")
    else:
        places.sort(key=lambda i: int(train.positions[i]))
    return np.array(places[:: -(-len(places) // most)], np.int64)


class Pool:
    """The slices of several sets as one, (images, masks) of any places, in the order of the sets."""

    def __init__(self, parts: Sequence[SliceSet]):
        self.parts = tuple(parts)
        self.starts = np.cumsum([0, *(len(part) for part in self.parts)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Images and masks, both (B, 1, H, W) float32."""
        places = np.asarray(index, np.int64)
        which = np.searchsorted(self.starts, places, side="right") - 1
        if (which == which[0]).all():
            return self.parts[which[0]][places - self.starts[which[0]]]
        single = [self.parts[w][[int(i - self.starts[w])]] for w, i in zip(which, places, strict=True)]
        return torch.cat([x for x, _ in single]), torch.cat([y for _, y in single])
