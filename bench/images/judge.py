"""Sets of images under a protocol: two beside each other, and one by itself (diversity)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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
from bench.images.perceptual import definition
from bench.images.protocol import ImageProtocol, apply, without_extractor
from bench.metrics import image_sets
from bench.metrics.class_aware import class_aware
from bench.progress import Progress


@dataclass
class Judged:
    """Values under one protocol.

    Args:
        protocol: What was done to images, and what made values of them.
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
    by_class: bool = False,
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
        by_class: Adds the metrics within each class, an image's class being its first sub-folder.

    Raises:
        UserError: `by_class`, and no class is on both sides.
    """
    sides: list[Features] = [
        features(images, extractor, protocol, cache, progress=progress) for images in (generated, reference)
    ]
    found = image_sets.compare(
        sides[0].pooled, sides[1].pooled, sides[0].logits, groups, seed, progress=progress
    )
    if by_class:
        within = _within_classes(generated, reference, sides, groups, seed, progress)
        found.metrics |= within.metrics
        found.warnings += within.warnings
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


def _within_classes(
    generated: ImageSet,
    reference: ImageSet,
    sides: Sequence[Features],
    groups: Sequence[str],
    seed: int,
    progress: Progress | None,
) -> image_sets.Found:
    classes = [], []
    for names, images in zip(classes, (generated, reference), strict=True):
        folders = (PurePosixPath(image.name).parts[:-1] for image in images.images)
        names += [parts[0] if parts else None for parts in folders]
    if not {*classes[0]} & {*classes[1]} - {None}:
        raise UserError(
            f"Metrics by class need the same sub-folders on both sides, one a class: `{generated.path}` and "
            f"`{reference.path}` share none."
        )
    first, second = (side.pooled for side in sides)
    return class_aware(first, second, classes, groups, seed, progress=progress)


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

    protocol = without_extractor(protocol, f"lpips {lpips.net}")
    conditions: dict[str, list[int]] = {}
    for i, image in enumerate(generated.images):
        conditions.setdefault(str(PurePosixPath(image.name).parent), []).append(i)
    loose = len(conditions.pop(".", []))
    if not conditions:
        raise UserError(f"`ds` needs a sub-folder of images for each condition, `{generated.path}` has none.")
    measure = Diversity(lpips)
    names = list(conditions)
    for condition in names if progress is None else progress(names, "diversity"):
        chosen = [pixels(generated, i, protocol) for i in conditions[condition]]
        if len({one.shape for one in chosen}) > 1:
            raise UserError(
                f"The images in `{generated.path / condition}` differ in size; give them one, or `--size`."
            )
        stack = torch.from_numpy(np.stack(chosen)).permute(0, 3, 1, 2).to(torch.float32) / 127.5 - 1
        measure.add(condition, stack)
    found = Judged(protocol, measure.metrics(), counts=(0, len(generated)))
    found.facts = {"ds": definition(lpips)}
    if measure.single:
        found.warnings.append(f"{len(measure.single)} conditions have one image and no value in `ds`.")
    if loose:
        found.warnings.append(f"{loose} images lie in no sub-folder and are left out of `ds`.")
    return found


def pixels(images: ImageSet, index: int, protocol: ImageProtocol) -> NDArray[np.uint8]:
    """One image (H, W, 3) uint8 under a protocol.

    Raises:
        UserError: It cannot be read or decoded.
    """
    image = images.images[index]
    return apply(decode(image.read(), str(images.path / image.name))[0], protocol)
