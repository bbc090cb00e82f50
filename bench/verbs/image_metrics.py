"""`bench metrics images --generated A --reference B`: compare any two folders of images, without a task."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UserError, suggest
from bench.verbs.metrics import as_json as metrics_json
from bench.verbs.metrics import chosen

if TYPE_CHECKING:
    from bench.core import MetricValue
    from bench.images.files import ImageSet
    from bench.images.judge import Judged

SETS = ("fid", "kid", "is", "prd", "pr")
PAIRS = ("mae", "rmse", "psnr", "ssim", "ms_ssim", "lpips")
DIVERSITY = ("ds",)
AGREEMENT = ("miou", "pixel_accuracy")
NAMES = (*SETS, *PAIRS, *DIVERSITY, *AGREEMENT)
UNDER = "all-protocols"


@dataclass(frozen=True)
class Options:
    """What the command line says.

    Args:
        metrics: Names joined by commas, of `NAMES`; None for the metrics of sets.
        extractor: Networks joined by commas; more than one only under all protocols.
        weights: A file of weights in place of the one in the usual caches.
        download: Fetch weights that are absent.
        resize, size, format, stretch: See `bench.images.protocol.ImageProtocol`; size as `128` or `128x256`.
        split: The reference's name in a badge, such as the split.
        under: `all-protocols`, or None.
        by_class: Adds metrics of sets within classes, which are sub-folders.
        boxes: JSON file of boxes for metrics of pairs, see `bench.images.pairs.read_boxes`.
        lpips: Network of `lpips` and `ds`.
        segmenter: A user's network for `miou` and `pixel_accuracy`, see `bench.images.semantic`,
        labels: with a folder of label maps,
        classes: that hold so many classes,
        ignore: and a label that is not scored.
        device: Such as `cpu` or `cuda`.
        seed: Of what is drawn.
        out: Folder for `images.json`, or None.
        json: `{"metrics": {...}, "protocols": [...]}` on standard output and nothing else.
    """

    metrics: str | None = None
    extractor: str = "inception-tf"
    weights: Path | None = None
    download: bool = False
    resize: str = "bicubic"
    size: str | None = None
    format: str = "png"
    stretch: str = "clamp"
    split: str = "reference"
    under: str | None = None
    by_class: bool = False
    boxes: Path | None = None
    lpips: str = "alex"
    segmenter: str | None = None
    labels: Path | None = None
    classes: int | None = None
    ignore: int | None = None
    device: str = "cpu"
    seed: int = 0
    out: Path | None = None
    json: bool = False


def run(generated: str | Path, reference: str | Path, options: Options) -> int:
    """Print metrics of a set of images beside another; sentences about them go to standard error.

    Raises:
        UserError: An unknown name, a set or weights that cannot be read, images that do not match.
    """
    o = options
    wanted = SETS if o.metrics is None else chosen(o.metrics, NAMES, "images")
    if o.under not in (None, UNDER):
        raise UserError(f"`--under` takes {UNDER}, got `{o.under}`.{suggest(str(o.under), [UNDER])}")
    if o.seed < 0:
        raise UserError(f"`--seed` takes a whole number from 0, got {o.seed}.")
    _fit(wanted, o)
    names = [name.strip() for name in o.extractor.split(",") if name.strip()]
    if not names or (len(names) > 1 and o.under is None):
        raise UserError(f"`--extractor` takes one network, or several with `--under {UNDER}`.")
    from bench.images.files import open_set

    sides = open_set(Path(generated)), open_set(Path(reference))
    judged = _all(sides, names, wanted, o) if o.under else _one(sides, names[0], wanted, o)
    for sentence in dict.fromkeys(sentence for one in judged for sentence in one.warnings):
        print(sentence, file=sys.stderr)
    found = _named(judged, o)
    if o.out is not None:
        _write(o.out, judged, found, o)
    if o.json:
        shown = {"metrics": metrics_json(found), "protocols": _protocols(judged, o)}
        print(json.dumps(shown, indent=2, allow_nan=False))
    else:
        _table(judged, o)
    return 0


def _fit(wanted: Sequence[str], o: Options) -> None:
    """Refuse options without the metrics that they are for, and the other way round."""
    needed = {"segmenter": o.segmenter, "labels": o.labels, "classes": o.classes}
    for option, value, kinds in (
        ("by-class", o.by_class or None, SETS),
        ("boxes", o.boxes, PAIRS),
        *((name, value, AGREEMENT) for name, value in needed.items()),
        ("ignore", o.ignore, AGREEMENT),
    ):
        if value is not None and not {*kinds} & {*wanted}:
            raise UserError(f"`--{option}` is for {', '.join(kinds)}; name some in `--metrics`.")
    missing = [f"`--{name}`" for name, value in needed.items() if value is None]
    if {*AGREEMENT} & {*wanted} and missing:
        raise UserError(f"{' and '.join(AGREEMENT)} need {', '.join(missing)}.")
    if o.classes is not None and o.classes < 1:
        raise UserError(f"`--classes` takes a number from 1, got {o.classes}.")


def _size(text: str | None) -> int | tuple[int, int] | None:
    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isascii() and side.isdigit() for side in sides):
        raise UserError(f"`--size` takes a side such as 128, or HEIGHTxWIDTH such as 256x512, got `{text}`.")
    numbers = [int(side) for side in sides]
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])


def _one(sides: tuple[ImageSet, ImageSet], name: str, wanted: Sequence[str], o: Options) -> list[Judged]:
    from bench.home import home
    from bench.images import judge
    from bench.images.extractors import open_extractor
    from bench.images.protocol import ImageProtocol
    from bench.progress import Progress

    protocol = ImageProtocol(name, o.resize, _size(o.size), o.format, o.stretch)
    (first, second), progress = sides, Progress()
    found = []
    groups = [one for one in wanted if one in SETS]
    if groups:
        extractor = open_extractor(name, o.weights, o.download, o.device)
        cache = home() / "cache" / "features"
        found.append(
            judge.judge_sets(first, second, protocol, extractor, groups, cache, o.seed, progress, o.by_class)
        )
    pairs = [one for one in wanted if one in PAIRS]
    lpips = None
    if {"lpips", "ds"} & set(wanted):
        from bench.images.perceptual import open_lpips

        lpips = open_lpips(o.lpips, download=o.download, device=o.device)
    if pairs:
        from bench.images.pairs import judge_pairs, read_boxes

        boxes = None if o.boxes is None else read_boxes(o.boxes)
        found.append(judge_pairs(first, second, protocol, pairs, lpips, progress, boxes))
    if "ds" in wanted:
        found.append(judge.judge_diversity(first, protocol, lpips, progress))
    if agreement := [one for one in wanted if one in AGREEMENT]:
        assert o.segmenter is not None and o.labels is not None and o.classes is not None  # see _fit
        from bench.images.semantic import judge_agreement, open_segmenter

        segmenter = open_segmenter(o.segmenter, o.device)
        one = judge_agreement(first, second, o.labels, segmenter, o.classes, protocol, o.ignore, progress)
        kept = {name for metric in agreement for name in (metric, f"{metric}_real")}
        one.metrics = {name: value for name, value in one.metrics.items() if name in kept}
        found.append(one)
    return found


def _all(
    sides: tuple[ImageSet, ImageSet], names: Sequence[str], wanted: Sequence[str], o: Options
) -> list[Judged]:
    """The metrics of sets under every protocol; features are cached, so a second look costs seconds."""
    from bench.home import home
    from bench.images import judge
    from bench.images.extractors import open_extractor
    from bench.images.protocol import all_protocols
    from bench.progress import Progress

    groups = [one for one in wanted if one in SETS]
    if len(groups) < len(wanted):
        raise UserError(
            f"`--under {UNDER}` is for metrics of sets ({', '.join(SETS)}); leave the others out."
        )
    extractors = {name: open_extractor(name, o.weights, o.download, o.device) for name in names}
    (first, second), progress, cache = sides, Progress(), home() / "cache" / "features"
    protocols = all_protocols({name: one.input_size for name, one in extractors.items()})
    return [
        judge.judge_sets(
            first,
            second,
            protocol,
            extractors[protocol.extractor],
            groups,
            cache,
            o.seed,
            progress,
            o.by_class,
        )
        for protocol in progress(protocols, "protocols")
    ]


def _named(judged: Sequence[Judged], o: Options) -> dict[str, MetricValue]:
    """Metrics by name; under several protocols the name is the badge, since the values differ."""
    return {
        one.badge(name, o.split) if o.under else name: value
        for one in judged
        for name, value in one.metrics.items()
    }


def _protocols(judged: Sequence[Judged], o: Options) -> list[dict[str, Any]]:
    """What values were made under, and what else they depend on."""
    return [
        {
            "badge": one.badge("*", o.split),
            "metrics": list(one.metrics),
            "reference_images": one.counts[0],
            "generated_images": one.counts[1],
            **one.facts,
            "warnings": one.warnings,
        }
        for one in judged
    ]


def _write(out: Path, judged: Sequence[Judged], found: dict[str, MetricValue], o: Options) -> None:
    """A record of the comparison: values, protocols, what they depend on, and every sentence."""
    from bench import environment
    from bench.files import write_json

    path = out / "images.json"
    write_json(
        path,
        {
            "schema_version": 1,
            "metrics": metrics_json(found),
            "protocols": _protocols(judged, o),
            "seed": o.seed,
            "environment": environment.environment(o.device, None).model_dump(mode="json"),
        },
    )
    print(f"record   {path}", file=sys.stderr)


def _table(judged: Sequence[Judged], o: Options) -> None:
    from rich.text import Text

    from bench.report.grids import Grid, number
    from bench.report.tables import Fitted, console

    out = console()
    if o.under:
        names = list(judged[0].metrics)
        lines = tuple(
            (one.badge("", o.split), *(number(one.metrics[name].value) for name in names)) for one in judged
        )
        out.print(Fitted(Grid("", (), ("protocol", *names), lines, tail=0)))
        return
    for one in judged:
        out.print(Text(one.badge("", o.split), style="bold"))
        lines = tuple(
            (name, number(value.value), str(value.n), value.unit) for name, value in one.metrics.items()
        )
        out.print(Fitted(Grid("", (), ("metric", "value", "n", "unit"), lines, tail=1)))
