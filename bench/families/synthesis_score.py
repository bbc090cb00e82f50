"""The suite of semantic synthesis: is the set real, does it vary, does it show what was asked?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bench.core import MetricValue, Scored
from bench.errors import MissingExtra, RunFailed, UserError
from bench.families.synthesis_data import SynthesisData
from bench.home import home
from bench.images.files import ImageSet
from bench.images.judge import Judged, judge_sets, pixels
from bench.images.protocol import ImageProtocol
from bench.images.semantic import agree, doubts, open_segmenter
from bench.images.weights import WEIGHTS, find
from bench.metrics.agreement import Agreement
from bench.metrics.bootstrap import interval, resampled_means
from bench.metrics.diversity import Diversity, published_inputs
from bench.metrics.image_sets import GROUPS
from bench.progress import Progress

if TYPE_CHECKING:
    from bench.families.synthesis import Generated

BATCH = 50  # images that the published FID takes at a time; a last incomplete batch is dropped
OFFICIAL_SIZE = (256, 256)  # to which the published FID brings every image
RESAMPLES = 2000
NET = "alex"


def lacking_extractor(name: str) -> str:
    """Why an extractor of ours cannot be had on this machine, and what to do; empty if it can."""
    from bench.images.extractors import weights_of

    if weights_of(name) == "inception-tf":
        from bench.words import importable

        if not importable("torch_fidelity"):
            return str(MissingExtra(f"The extractor `{name}`", "fid"))
    return _lacking(weights_of(name)) if weights_of(name) in WEIGHTS else ""


def lacking_lpips() -> str:
    """Why LPIPS cannot be had on this machine, and what to do; empty if it can."""
    return _lacking("alexnet") or _lacking("lpips-alex")


def try_judges(protocol: Any) -> None:
    """See that networks of the user's can be made, before anything is made for them to judge.

    Raises:
        UserError: An unknown extractor, or a user's file or class that cannot be used.
    """
    from bench.images.extractors import INPUTS, open_extractor

    if protocol.extractor not in INPUTS:
        open_extractor(protocol.extractor)
    if protocol.segmenter:
        open_segmenter(protocol.segmenter)


def try_segmenter(protocol: Any, classes: int) -> None:
    """Show the user's segmenter a grey image of the protocol's size.

    Raises:
        UserError: It fails, or answers no label map of that size with these classes.
    """
    size = tuple(protocol.image_size)
    grey, nothing = np.full((*size, 3), 127, np.uint8), np.zeros(size, np.int64)
    try:
        agree(Agreement(open_segmenter(protocol.segmenter), classes), "a grey image", grey, grey, nothing)
    except RunFailed as error:
        raise UserError(str(error)) from error


def _lacking(weights: str) -> str:
    try:
        find(weights)
    except UserError as error:
        return str(error)
    return ""


def score(predictions: Generated, data: SynthesisData, protocol: Any) -> Scored:
    """All metrics of the images, and the diversity of each label map's."""
    device = predictions.device or ("cuda" if torch.cuda.is_available() else "cpu")
    progress = Progress()
    found, warnings = _sets(predictions, data, protocol, device, progress)
    rows = [{"id": name, "unit": name} for name in data.test.examples.ids]
    if protocol.draws > 1:
        found |= _diversity(predictions, data, rows, device, progress)
    if protocol.segmenter:
        one = _agreement(predictions, data, protocol.segmenter, device, progress)
        found |= one.metrics
        warnings += one.warnings
    real = (data.test.image(i) for i in range(len(predictions.first)))
    if all((one == other).all() for one, other in zip(predictions.first, real, strict=True)):
        warnings.append("The images are the real test images, pixel for pixel: these are no predictions.")
    return Scored(found, rows, tuple(dict.fromkeys(warnings)))


def _sets(
    predictions: Generated, data: SynthesisData, protocol: Any, device: str, progress: Progress
) -> tuple[dict[str, MetricValue], list[str]]:
    from bench.images.extractors import open_extractor

    generated, reference = predictions.draws[0], data.test.reference()
    cache = home() / "cache" / "features"

    def judged(extractor: str, count: int, groups: tuple[str, ...]) -> Judged:
        first, second = (ImageSet(one.path, one.images[:count]) for one in (generated, reference))
        images = ImageProtocol(extractor)  # at the size they were made at
        net = open_extractor(extractor, device=device)
        return judge_sets(first, second, images, net, groups, cache, progress=progress)

    one = judged(protocol.extractor, len(reference), tuple(GROUPS))
    found, kept = one.metrics, len(reference) // BATCH * BATCH
    official = MetricValue(None, 0, found["fid"].unit, found["fid"].direction)
    if kept and tuple(protocol.image_size) == OFFICIAL_SIZE:
        own = "inception-pt" if protocol.extractor == "inception-tf" else protocol.extractor
        official = judged(own, kept, ("fid",)).metrics["fid"]
    official.variant = "official"
    return {"fid": found.pop("fid"), "fid@official": official, **found}, one.warnings


def _diversity(
    predictions: Generated, data: SynthesisData, rows: list[dict[str, Any]], device: str, progress: Progress
) -> dict[str, MetricValue]:
    """LPIPS between the draws of each label map, at their own size and as published."""
    from bench.images.perceptual import open_lpips

    lpips = open_lpips(NET, device=device)
    clean, official = Diversity(lpips), Diversity(lpips)
    for i, name in enumerate(progress(data.test.examples.ids, "diversity")):
        stack = np.stack([pixels(images, i, ImageProtocol()) for images in predictions.draws])
        own = torch.from_numpy(stack).permute(0, 3, 1, 2).to(device, torch.float32) / 127.5 - 1
        rows[i]["lpips"] = clean.add(name, own)
        rows[i]["lpips@official"] = official.add(name, published_inputs(stack).to(device))
    values = clean.metrics("lpips")["lpips"]
    column = np.asarray([[row["lpips"]] for row in rows], np.float64)
    groups = np.arange(len(rows))
    resampled = resampled_means(column, np.isfinite(column), groups, resamples=RESAMPLES, seed=0)
    if (bounds := interval(resampled[:, 0])) is not None:
        values.ci_low, values.ci_high = bounds
        values.intervals = {"image": bounds}
    return {"lpips": values, "lpips@official": official.metrics("lpips")["lpips@official"]}


def _agreement(
    predictions: Generated, data: SynthesisData, name: str, device: str, progress: Progress
) -> Judged:
    """What a user's segmenter finds in the first draw, and in the real images."""
    segmenter = open_segmenter(name, device)
    measure = Agreement(segmenter, len(data.info.classes), data.unlabelled, data.info.classes)
    for i, image in enumerate(progress(data.test.examples.ids, "segmentation")):
        made = pixels(predictions.draws[0], i, ImageProtocol())
        agree(measure, image, made, data.test.image(i), data.test.labels(i))
    return Judged(ImageProtocol(), measure.metrics(), doubts(measure))
