"""Two sets of images beside each other: metrics of sets under a protocol, and of pairs by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.core import MetricValue
from bench.errors import UserError
from bench.images.decode import decode
from bench.images.extractors import Extractor
from bench.images.features import Features, features
from bench.images.files import ImageSet
from bench.images.protocol import ImageProtocol, apply
from bench.metrics import image_sets
from bench.progress import Progress
from bench.splits import some

_AT_ONCE = 32  # pairs measured together


@dataclass
class Judged:
    """Values under one protocol.

    Args:
        protocol: How images reached the network, or None for values of pairs as they are.
        metrics: Name -> value.
        warnings: A sentence each.
        facts: What values depend on beside the protocol.
        counts: Images of the reference and of the generated set.
    """

    protocol: ImageProtocol
    metrics: dict[str, MetricValue] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    counts: tuple[int, int] = (0, 0)

    def badge(self, metric: str, reference: str) -> str:
        """The metric with its protocol, such as `fid[inception-tf | none | native | test 5088 | png]`."""
        return self.protocol.badge(metric, *self.counts, reference)


def judge_sets(
    generated: ImageSet,
    reference: ImageSet,
    protocol: ImageProtocol,
    extractor: Extractor,
    groups: Sequence[str],
    cache: Path,
    seed: int = 0,
    progress: Progress | None = None,
) -> Judged:
    """Metrics of sets; features come from the cache where they are there.

    Args:
        generated: Images that are judged.
        reference: Images they are compared with.
        protocol: What happens to both first.
        extractor: The protocol's network.
        groups: Keys of `bench.metrics.image_sets.GROUPS`.
        cache: Folder of features.
        seed: Of what is drawn.
        progress: Draws bars.
    """
    sides: list[Features] = [
        features(images, extractor, protocol, cache, progress=progress) for images in (generated, reference)
    ]
    found = image_sets.compare(
        sides[0].pooled, sides[1].pooled, sides[0].logits, groups, seed, progress=progress
    )
    warnings = [*_notes("generated", sides[0]), *_notes("reference", sides[1]), *found.warnings]
    if sides[0].content == sides[1].content:
        warnings.append("Both sets hold the same images.")
    if not extractor.comparable:
        warnings.append(
            f"The features of `{extractor.name}` are for trials; never compare these values with others."
        )
    facts = {
        **found.facts,
        "protocol": protocol.digest(),
        "extractor": extractor.digest,
        "generated": sides[0].content,
        "reference": sides[1].content,
    }
    return Judged(protocol, found.metrics, warnings, facts, (len(reference), len(generated)))


def _notes(side: str, found: Features) -> list[str]:
    notes = []
    if found.converted:
        told = ", ".join(f"{count} {what}" for what, count in found.converted.most_common())
        notes.append(f"Converted among the {side} images: {told}.")
    if len(found.sizes) > 1:
        common, count = found.sizes.most_common(1)[0]
        notes.append(
            f"The {side} images have {len(found.sizes)} sizes, most often {common[1]}x{common[0]} ({count})."
        )
    return notes


def matched(generated: ImageSet, reference: ImageSet) -> list[tuple[int, int]]:
    """Positions of images with the same name, the extension aside.

    Raises:
        UserError: A name without a counterpart, or two images of one name.
    """
    sides = []
    for images in (generated, reference):
        stems = [str(PurePosixPath(image.name).with_suffix("")) for image in images.images]
        twice = [stem for stem, count in Counter(stems).items() if count > 1]
        if twice:
            raise UserError(f"`{images.path}` holds {some(twice)} in two formats; keep one of them.")
        sides.append({stem: i for i, stem in enumerate(stems)})
    alone = [sorted(set(a) - set(b)) for a, b in (sides, sides[::-1])]
    if any(alone):
        told = "; ".join(
            f"`{images.path}` alone has {some(names)}"
            for images, names in zip((generated, reference), alone, strict=True)
            if names
        )
        raise UserError(f"Metrics of pairs need the same names on both sides: {told}.")
    return [(i, sides[1][stem]) for stem, i in sides[0].items()]


def judge_pairs(
    generated: ImageSet,
    reference: ImageSet,
    protocol: ImageProtocol,
    wanted: Sequence[str],
    lpips: Any = None,
    progress: Callable[..., Any] | None = None,
) -> Judged:
    """Metrics of pairs of one name, clean and official; means over pairs.

    Args:
        generated: Images that are judged.
        reference: What each should look like.
        protocol: Its size and format are applied to both first; its stretch is not, which is a variant.
        wanted: Names of `bench.metrics.image_pairs.pair_metrics`, without variant.
        lpips: The network of `lpips`, see `bench.nn.lpips`.
        progress: Puts a bar around the pairs.

    Raises:
        UserError: Names or sizes that do not agree.
    """
    from bench.metrics.image_pairs import pair_metrics

    pairs = matched(generated, reference)
    columns: dict[str, Any] = {}
    for first, second in _batches(generated, reference, pairs, protocol, progress):
        measured = pair_metrics(first, second, lpips=lpips if "lpips" in wanted else None)
        for name, column in measured.items():
            columns[name] = columns[name] + column if name in columns else column
    kept = {name: column for name, column in columns.items() if name.partition("@")[0] in wanted}
    found = Judged(protocol, {name: column.metric(name) for name, column in kept.items()})
    found.counts = (len(reference), len(generated))
    for name, column in kept.items():
        found.warnings += [f"{name}: {count} pairs left out, {why}." for why, count in column.reasons.items()]
    return found


def judge_diversity(
    generated: ImageSet,
    protocol: ImageProtocol,
    lpips: Any,
    progress: Callable[..., Any] | None = None,
) -> Judged:
    """DS: mean distance of all pairs of images in one sub-folder, averaged over sub-folders.

    Args:
        generated: Images `<condition>/<name>`; those at the top belong to no condition.
        protocol: Its size and format are applied first.
        lpips: See `bench.nn.lpips`.
        progress: Puts a bar around the conditions.

    Raises:
        UserError: No sub-folder, or images of one condition that differ in size.
    """
    from bench.metrics.diversity import Diversity

    conditions: dict[str, list[int]] = {}
    for i, image in enumerate(generated.images):
        conditions.setdefault(str(PurePosixPath(image.name).parent), []).append(i)
    loose = len(conditions.pop(".", []))
    if not conditions:
        raise UserError(f"`ds` needs a sub-folder of images for each condition, `{generated.path}` has none.")
    measure, plain = Diversity(lpips), _without_stretch(protocol)
    names = list(conditions)
    for condition in names if progress is None else progress(names, "diversity"):
        chosen = [generated.images[i] for i in conditions[condition]]
        pixels = [apply(decode(one.read(), str(generated.path / one.name))[0], plain) for one in chosen]
        if len({one.shape for one in pixels}) > 1:
            raise UserError(
                f"The images in `{generated.path / condition}` differ in size; give them one, or `--size`."
            )
        stack = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).to(torch.float32) / 127.5 - 1
        measure.add(condition, stack)
    found = Judged(protocol, measure.metrics(), counts=(0, len(generated)))
    if measure.single:
        found.warnings.append(f"{len(measure.single)} conditions have one image and no value in `ds`.")
    if loose:
        found.warnings.append(f"{loose} images lie in no sub-folder and are left out of `ds`.")
    return found


def _without_stretch(protocol: ImageProtocol) -> ImageProtocol:
    return replace(protocol, stretch="clamp")


def _batches(
    generated: ImageSet,
    reference: ImageSet,
    pairs: Sequence[tuple[int, int]],
    protocol: ImageProtocol,
    progress: Callable[..., Any] | None,
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Stacks (B, H, W, 3) uint8 of one size, in the order of the pairs as far as sizes allow."""
    plain = _without_stretch(protocol)
    waiting: dict[tuple[int, ...], list[tuple[NDArray[np.uint8], ...]]] = {}
    for i, j in pairs if progress is None else progress(list(pairs), "pairs"):
        names = generated.path / generated.images[i].name, reference.path / reference.images[j].name
        data = generated.images[i].read(), reference.images[j].read()
        first, second = (
            apply(decode(one, str(name))[0], plain) for one, name in zip(data, names, strict=True)
        )
        if first.shape != second.shape:
            sizes = [f"{one.shape[1]}x{one.shape[0]}" for one in (first, second)]
            raise UserError(
                f"`{names[0]}` is {sizes[0]} and `{names[1]}` {sizes[1]} pixels; give both one size, or "
                "`--size`."
            )
        group = waiting.setdefault(first.shape, [])
        group.append((first, second))
        if len(group) == _AT_ONCE:
            yield _stacked(waiting.pop(first.shape))
    for group in waiting.values():
        yield _stacked(group)


def _stacked(
    group: Sequence[tuple[NDArray[np.uint8], ...]],
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    return np.stack([pair[0] for pair in group]), np.stack([pair[1] for pair in group])
