"""Few-shot segmentation data under a protocol: sources, shots, and test slices that only the engine sees."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.core import DataInfo
from bench.errors import UserError, suggest
from bench.fewshot.method import FewShotTrain
from bench.files import digest
from bench.home import home
from bench.volumes.cache import SliceCache, slices
from bench.volumes.msd import Folders
from bench.volumes.organs import ORGANS, weight
from bench.volumes.slices import SliceSet, Source
from bench.volumes.split import by_slice, by_volume

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class TestSlices:
    """The target's test slices. Only the engine holds this object.

    Args:
        slices: Images; the masks that lie with them are targets.
        masks: (N, 1, H, W) float32, at the network's resolution.
        cache: Volumes at their own resolution.
        blank: Targets are all background, to see whether a method notices.
    """

    slices: SliceSet
    masks: Tensor
    cache: SliceCache
    blank: bool = False

    def reference(self, volume: str) -> NDArray[np.bool_]:
        """(H0, W0, D): the target in the slices that are evaluated, empty elsewhere."""
        drawn = self.cache.native(volume, self.slices.label)
        kept = np.zeros(drawn.shape[2], bool)
        kept[self.positions(volume)] = not self.blank
        return drawn & kept

    def positions(self, volume: str) -> list[int]:
        """Slices of a volume that are evaluated."""
        pairs = zip(self.slices.volumes, self.slices.positions.tolist(), strict=True)
        return [position for name, position in pairs if name == volume]

    @property
    def ids(self) -> tuple[str, ...]:
        """`<volume>_slice<j>` of every slice."""
        return names(self.slices)


@dataclass(frozen=True)
class FewShotData:
    """Sources and shots, validation, test. Only the engine holds this object; methods get its parts."""

    train: FewShotTrain
    val: SliceSet
    test: TestSlices
    info: DataInfo
    selections: tuple[str, ...]
    deviations: tuple[str, ...] = ()
    in_channels: int = 1


def names(part: SliceSet) -> tuple[str, ...]:
    """`<volume>_slice<j>` of every slice, as the official files are called."""
    pairs = zip(part.volumes, part.positions.tolist(), strict=True)
    return tuple(f"{volume}_slice{position}" for volume, position in pairs)


def load(folders: Folders, protocol: Any) -> FewShotData:
    """Cut, split and draw.

    Raises:
        UserError: The target is no dataset or not there, no source is left, a split is empty, too few shots.
    """
    p = protocol
    present = [organ for organ in ORGANS.values() if organ.folder in folders.paths]
    target = _target(p.target, folders)
    wanted = [name for name in ORGANS if name != p.target and name not in p.excluded]
    chosen = [organ for organ in present if organ.name in wanted]
    if not chosen:
        raise UserError(
            f"`{folders.root}` holds no dataset to meta-train on for `target={p.target}`; add another "
            f"organ of the Decathlon, or shorten `protocol.excluded`."
        )
    from bench.run import say  # the engine imports no family

    caches = {
        name: SliceCache.open(
            folders.paths[name],
            tuple(p.image_size),
            p.mask_resize.value,
            home(),
            p.skip_faulty,
            folders.progress,
            say,
        )
        for name in dict.fromkeys(organ.folder for organ in (*chosen, target))
    }
    cuts = {organ.name: _cut(caches[organ.folder], organ, p) for organ in (*chosen, target)}
    own = cuts[target.name]
    empty = [name for name in ("train", "test") if not len(own[name])]
    if empty:
        raise UserError(
            f"`target={p.target}` has no slice in its {empty[0]} split; it needs more volumes with at least "
            f"{target.least} pixels of it in a slice."
        )
    if p.max_test is not None and p.max_test < len(own["test"]):
        places = np.linspace(0, len(own["test"]) - 1, p.max_test).round().astype(int)
        own["test"] = own["test"].subset(places)
    held_out = set() if p.shared_patients else set(own["test"].volumes)
    sources = []
    for organ in chosen:
        kept = held_out if organ.folder == target.folder else set()
        parts = {name: _without(cuts[organ.name][name], kept, p.max_source) for name in ("train", "val")}
        if len(parts["train"]):
            sources.append(Source(organ.name, parts["train"], parts["val"], weight(organ)))
    if not sources:
        raise UserError(f"No source of `target={p.target}` has a training slice; add another organ.")
    supports, selections = _shots(own["train"], p)
    content = {
        name: [[volume, caches[ORGANS[name].folder].content(volume)] for volume in part.patients]
        for name, part in ((s.name, s.train) for s in sources)
    }
    info = DataInfo(
        fingerprint=digest(
            {
                "target": [p.target, [[v, caches[target.folder].content(v)] for v in _patients(own)]],
                "sources": content,
            }
        ),
        split_sha256=digest({name: names(own[name]) for name in SPLITS}),
        counts={name: len(own[name]) for name in SPLITS},
        unit="patient",
        leaks=_leaks(own, sources, target.folder),
        classes=(p.target,),
    )
    test = TestSlices(own["test"], own["test"][:][1], caches[target.folder])
    fingerprint = digest({"sources": content, "rows": {s.name: names(s.train) for s in sources}})
    return FewShotData(
        train=FewShotTrain(tuple(sources), supports, fingerprint),
        val=own["val"],
        test=test,
        info=info,
        selections=selections,
        deviations=_departures(wanted, sources, caches),
    )


def _target(name: str, folders: Folders) -> Any:
    if name not in ORGANS:
        raise UserError(f"`target={name}` is no dataset; see `bench show decathlon`.{suggest(name, ORGANS)}")
    if ORGANS[name].folder not in folders.paths:
        there = ", ".join(o.name for o in ORGANS.values() if o.folder in folders.paths)
        raise UserError(
            f"`target={name}` needs `{ORGANS[name].folder}`, which `{folders.root}` lacks; "
            f"targets there: {there}."
        )
    return ORGANS[name]


def _cut(cache: SliceCache, organ: Any, p: Any) -> dict[str, SliceSet]:
    """The slices of one dataset by split."""
    every = slices(cache, organ, p.normalisation)
    if p.slice_order == "lexicographic":
        every = every.subset(np.argsort(np.array(names(every)), kind="stable"))
    if p.split == "slice":
        split = by_slice(organ.name, len(every), p.split_seed)
    else:
        assigned = by_volume(organ, cache.volumes, p.split_seed).split
        split = [assigned[volume] for volume in every.volumes]
    return {name: every.subset([i for i, s in enumerate(split) if s == name]) for name in SPLITS}


def _without(part: SliceSet, patients: set[str], most: int | None) -> SliceSet:
    """Slices of other patients, at most `most` of them, evenly spread."""
    kept = [i for i, volume in enumerate(part.volumes) if volume not in patients]
    if most is not None and most < len(kept):
        kept = [kept[i] for i in np.linspace(0, len(kept) - 1, most).round().astype(int)]
    return part.subset(kept)


def _shots(train: SliceSet, p: Any) -> tuple[tuple[SliceSet, ...], tuple[str, ...]]:
    """One support a selection, drawn as the official code does: `random.sample` of a seeded generator."""
    if p.shots is None:
        return (train,), ("all",)
    if p.shots > len(train):
        raise UserError(
            f"`shots={p.shots}` is more than the {len(train)} training slices of `{p.target}`; "
            "ask for fewer, or `shots=null` for all."
        )
    drawn = [random.Random(seed).sample(range(len(train)), p.shots) for seed in p.shot_seeds]  # noqa: S311
    return tuple(train.subset(places) for places in drawn), tuple(f"shots_{seed}" for seed in p.shot_seeds)


def _patients(own: dict[str, SliceSet]) -> Sequence[str]:
    return sorted({volume for name in SPLITS for volume in own[name].volumes})


def _leaks(own: dict[str, SliceSet], sources: Sequence[Source], folder: str) -> int:
    """Test patients whose slices are also trained or validated on, of the target or of a source."""
    seen = {*own["train"].volumes, *own["val"].volumes}
    for source in sources:
        if ORGANS[source.name].folder == folder:
            seen |= {*source.train.volumes, *source.val.volumes}
    return len(seen & set(own["test"].volumes))


def _departures(wanted: list[str], sources: list[Source], caches: dict[str, SliceCache]) -> tuple[str, ...]:
    """What the data at hand makes deviate from the protocol."""
    found = []
    if len(sources) < len(wanted):
        listed = ", ".join(source.name for source in sources)
        found.append(f"sources: {listed} ({len(sources)} of the protocol's {len(wanted)})")
    left_out = [f"{name}/{volume}" for name, cache in caches.items() for volume in cache.skipped]
    if left_out:
        found.append(f"volumes left out as damaged: {', '.join(left_out)}")
    return tuple(found)


def blanked(test: TestSlices) -> TestSlices:
    """The same images with empty targets."""
    return TestSlices(test.slices, torch.zeros_like(test.masks), test.cache, blank=True)
