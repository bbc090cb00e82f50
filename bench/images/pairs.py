"""Images of one name on two sides: metrics of pairs, on the whole image and in boxes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.errors import UserError
from bench.images.files import ImageSet
from bench.images.judge import Judged, pixels
from bench.images.perceptual import definition
from bench.images.protocol import ImageProtocol, without_extractor
from bench.metrics.image_pairs import pair_metrics
from bench.metrics.regions import Regions
from bench.metrics.ssim import CLEAN, OFFICIAL
from bench.splits import some

Pixels = NDArray[np.uint8]
_AT_ONCE = 32  # pairs measured together


class Pair(NamedTuple):
    """Two images of one name and one size."""

    name: str
    generated: Pixels
    reference: Pixels


def matched(generated: ImageSet, reference: ImageSet) -> list[tuple[str, int, int]]:
    """Names without extension, and the positions of the images that bear them on either side.

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
    return [(stem, i, sides[1][stem]) for stem, i in sides[0].items()]


def judge_pairs(
    generated: ImageSet,
    reference: ImageSet,
    protocol: ImageProtocol,
    wanted: Sequence[str],
    lpips: Any = None,
    progress: Callable[..., Any] | None = None,
    boxes: Mapping[str, NDArray[np.float64]] | None = None,
) -> Judged:
    """Metrics of pairs of one name, clean and official; means over pairs.

    Args:
        generated: Images that are judged.
        reference: What each should look like.
        protocol: Its size and format are applied to both first; its stretch is not, which is a variant.
        wanted: Names of `bench.metrics.image_pairs.pair_metrics`, without variant.
        lpips: The network of `lpips`, see `bench.nn.lpips`.
        progress: Puts a bar around the pairs.
        boxes: Name without extension -> (n, 4) x0, y0, x1, y1 in pixels, see `read_boxes`; adds
            `<metric>_roi` over all boxes.

    Raises:
        UserError: Names or sizes that do not agree, a box of no pair or beyond its image, boxes and a size.
    """
    pairs, protocol = matched(generated, reference), without_extractor(protocol, "pixels")
    if boxes is not None:
        _own_boxes(boxes, {pair[0] for pair in pairs}, protocol)
    columns: dict[str, Any] = {}
    for group in _groups(generated, reference, pairs, protocol, progress):
        stacks = np.stack([pair.generated for pair in group]), np.stack([pair.reference for pair in group])
        regions = None if boxes is None else _regions(group, boxes)
        measured = pair_metrics(*stacks, regions, lpips, wanted=wanted)
        for name, column in measured.items():
            columns[name] = columns[name] + column if name in columns else column
    found = Judged(protocol, {name: column.metric(name) for name, column in columns.items()})
    found.counts = (len(reference), len(generated))
    found.facts = {name: text for name, text in _definitions(lpips).items() if name in columns}
    for name, column in columns.items():
        left = "boxes" if "_roi" in name else "pairs"
        found.warnings += [
            f"{name}: {count} {left} left out, {why}." for why, count in column.reasons.items()
        ]
    return found


def _definitions(lpips: Any) -> dict[str, str]:
    """What a measure is, where more than one thing bears its name."""
    named = {"ssim": str(CLEAN), "ssim@official": f"{OFFICIAL}; contrast stretched"}
    if lpips is not None:
        named |= {"lpips": definition(lpips), "lpips@official": f"{definition(lpips)}; contrast stretched"}
    return named


def read_boxes(path: Path) -> dict[str, NDArray[np.float64]]:
    """Boxes of a JSON file `{"name of an image": [[x0, y0, x1, y1], ...]}`, in pixels; extensions are cut.

    Returns:
        Name without extension -> (n, 4) float64.

    Raises:
        UserError: It cannot be read, or is not that.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"The boxes `{path}` cannot be read as JSON ({error}); give another file.") from None
    if not isinstance(content, dict):
        raise UserError(f"`{path}` must map names of images to boxes, got {type(content).__name__}.")
    found = {}
    for name, listed in content.items():
        stem = str(PurePosixPath(name).with_suffix(""))
        try:
            boxes = np.asarray(listed, np.float64).reshape(-1, 4)
            good = len(boxes) == len(listed) and np.isfinite(boxes).all()
        except (TypeError, ValueError):
            boxes, good = np.zeros((0, 4)), False
        if not good or (boxes[:, 2:] <= boxes[:, :2]).any():
            raise UserError(
                f"`{path}` has a box of `{name}` that is not [x0, y0, x1, y1] in pixels with x0 < x1 and "
                "y0 < y1."
            )
        if stem in found:
            raise UserError(f"`{path}` has `{stem}` twice; join its boxes.")
        found[stem] = boxes
    return found


def _own_boxes(boxes: Mapping[str, Any], names: set[str], protocol: ImageProtocol) -> None:
    if protocol.size is not None:
        raise UserError("Boxes are in pixels of the images as they are; leave `--size` out.")
    if foreign := sorted(boxes.keys() - names):
        raise UserError(f"There are boxes for {some(foreign)}, and no pair of that name; take them out.")
    if not any(len(own) for own in boxes.values()):
        raise UserError("The file of boxes holds no box.")


def _regions(group: Sequence[Pair], boxes: Mapping[str, NDArray[np.float64]]) -> Regions:
    own = [boxes.get(pair.name, np.zeros((0, 4))) for pair in group]
    for pair, listed in zip(group, own, strict=True):
        height, width = pair.generated.shape[:2]
        if len(listed) and ((listed < 0).any() or (listed > [width, height, width, height]).any()):
            raise UserError(f"A box of `{pair.name}` lies beyond its {width}x{height} pixels; mend the file.")
    return Regions(np.repeat(np.arange(len(own)), [len(one) for one in own]), np.concatenate(own))


def _groups(
    generated: ImageSet,
    reference: ImageSet,
    pairs: Sequence[tuple[str, int, int]],
    protocol: ImageProtocol,
    progress: Callable[..., Any] | None,
) -> Iterator[list[Pair]]:
    """Pairs of one size, in order as far as sizes allow."""
    waiting: dict[tuple[int, ...], list[Pair]] = {}
    for stem, i, j in pairs if progress is None else progress(list(pairs), "pairs"):
        pair = Pair(stem, *(pixels(*one, protocol) for one in ((generated, i), (reference, j))))
        shapes = pair.generated.shape, pair.reference.shape
        if shapes[0] != shapes[1]:
            names = generated.path / generated.images[i].name, reference.path / reference.images[j].name
            sizes = [f"{shape[1]}x{shape[0]}" for shape in shapes]
            raise UserError(
                f"`{names[0]}` is {sizes[0]} and `{names[1]}` {sizes[1]} pixels; give both one size, or "
                "`--size`."
            )
        group = waiting.setdefault(shapes[0], [])
        group.append(pair)
        if len(group) == _AT_ONCE:
            yield waiting.pop(shapes[0])
    yield from waiting.values()
