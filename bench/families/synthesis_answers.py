"""Images made elsewhere from the test label maps, and the pictures of a run."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from bench.errors import UserError
from bench.families.synthesis import HELD, Generated
from bench.families.synthesis_data import SynthesisData
from bench.images.decode import decode
from bench.images.files import ImageFile, ImageSet, open_set
from bench.images.judge import pixels
from bench.images.protocol import ImageProtocol
from bench.pictures import threaded
from bench.progress import Progress
from bench.splits import some

ROWS, DRAWS = 5, 3  # of the gallery


def read(folder: Path, data: SynthesisData) -> Generated:
    """Read one image a test label map, or a sub-folder of them for each draw (in the order of their names).

    Exactly the draws that the protocol asks for: which of several folders counts is not for us to guess.

    Args:
        folder: A folder or archive of images in any lossless format, named as the test label maps.
        data: Says which those are, and their size.

    Raises:
        UserError: One message naming every fault: missing, foreign, double, unreadable, wrongly sized, lossy.
    """
    found = open_set(folder)
    wanted, size = data.test.examples.ids, data.test.examples.size
    known = set(wanted)
    draws: dict[str, list[ImageFile]] = {}
    for image in found.images:
        draws.setdefault(str(PurePosixPath(image.name).parent), []).append(image)
    faults: list[str] = []
    if "." in draws and len(draws) > 1:
        faults.append(
            f"images beside sub-folders: {some([image.name for image in draws['.']])}; give either images "
            "or a sub-folder a draw"
        )
    sets = []
    for name in sorted(draws, key=_natural):
        own = {PurePosixPath(image.name).stem: image for image in draws[name]}
        where = "" if name == "." else f" in `{name}`"
        counts = Counter(PurePosixPath(image.name).stem for image in draws[name])
        for kind, faulty in (
            ("missing", [one for one in wanted if one not in own]),
            ("not of the test split", [one for one in own if one not in known]),
            ("given twice", [one for one, count in counts.items() if count > 1]),
        ):
            if faulty:
                faults.append(f"{kind}{where}: {some(faulty)}")
        sets.append(ImageSet(found.path, tuple(own[one] for one in wanted if one in own)))
    first: list[NDArray[np.uint8]] = []
    faults += _examine(sets, size, first)
    if len(sets) != data.protocol.draws:
        held = f"sub-folders {some(list(draws))}" if "." not in draws else "images alone"
        faults.append(
            f"{held}, that is {len(sets)} instead of {data.protocol.draws} for each label map: give the "
            f"folder of one draw, or `draws={len(sets)}`"
        )
    if faults:
        raise UserError(
            f"The predictions in `{folder}` do not answer the test split of {len(wanted)} label maps "
            f"({'; '.join(faults)}); nothing was scored. Give one image for each, named as it, at "
            f"{size[0]}x{size[1]}, or a sub-folder of them for each draw."
        )
    return Generated(tuple(sets), np.stack(first))


def _natural(name: str) -> list[tuple[int, str]]:
    """`draw2` before `draw10`."""
    # A number as its length and digits: an archive may hold names of more digits than `int` takes.
    numbers = (part.lstrip("0") if i % 2 else part for i, part in enumerate(re.split(r"([0-9]+)", name)))
    return [(len(part) if i % 2 else -1, part) for i, part in enumerate(numbers)]


def _lossy(data: bytes) -> bool:
    """JPEG, JPEG 2000, WebP, AVIF or GIF by content: compression that moves every metric of sets."""
    return (
        data.startswith((b"\xff\xd8", b"GIF8", b"\x00\x00\x00\x0cjP", b"\xff\x4f\xff\x51"))
        or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")
        or data[4:12] in (b"ftypavif", b"ftypavis")
    )


def _examine(sets: Sequence[ImageSet], size: tuple[int, int], first: list[NDArray[np.uint8]]) -> list[str]:
    """What is wrong with the images themselves; fills `first`."""
    files = [image for images in sets for image in images.images]

    def one(index: int) -> tuple[str, str, NDArray[np.uint8] | None]:
        image = files[index]
        try:
            data = image.read()
            made = decode(data, image.name)[0]
        except UserError:
            return "unreadable", image.name, None
        if made.shape[:2] != size:
            return f"not {size[0]}x{size[1]}", f"{image.name} ({made.shape[0]}x{made.shape[1]})", None
        if _lossy(data):
            return "of a lossy format, which moves every value (write PNG)", image.name, None
        return "", "", made if index < min(HELD, len(sets[0])) else None

    faulty: dict[str, list[str]] = {}
    walk = Progress()(threaded(one, range(len(files))), "check images", len(files))
    for kind, name, made in walk:
        if made is not None:
            first.append(made)
        if kind:
            faulty.setdefault(kind, []).append(name)
    return [f"{kind}: {some(names)}" for kind, names in faulty.items()]


def draw(folder: Path, predictions: Generated, data: SynthesisData, caption: str) -> Sequence[Path]:
    """Label map, real image and the first draws of test images spread over the split."""
    from bench.report.synthesis import Row, sheet

    test = data.test
    chosen = np.linspace(0, len(test) - 1, min(ROWS, len(test))).round().astype(int).tolist()
    rows = []
    for i in dict.fromkeys(chosen):
        made = [pixels(images, i, ImageProtocol()) for images in predictions.draws[:DRAWS]]
        rows.append(Row(test.examples.ids[i], test.labels(i), test.image(i), made))
    path = folder / "images.png"
    sheet(path, rows, data.info.classes, caption)
    return [path]
