"""How metrics of images move on real images: halves of a set, damaged halves, another world.

Operation: images of Fashion-MNIST, CIFAR-10, COCO and CLEVR (the folders that `--root` has) are written as
PNG; the second half of a set is compared with the first as it is, compressed as JPEG, and blurred, always
the same images, so that metrics of pairs can be read beside those of sets; COCO is compared with CLEVR.
Run: `python benchmarks/image_trials.py --root DIR --weights squeezenet1_0.pth`; prints Markdown.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from bench.datasets.cifar10 import CIFAR10
from bench.datasets.fashion_mnist import FashionMNIST
from bench.images.extractors import Extractor, open_extractor
from bench.images.files import ImageSet, open_set
from bench.images.judge import judge_sets
from bench.images.pairs import judge_pairs
from bench.images.protocol import ImageProtocol
from bench.metrics.image_sets import GROUPS
from bench.progress import Progress

Pixels = NDArray[np.uint8]
PAIRS = ("mae", "psnr", "ssim")
SHOWN = (
    *("fid", "fid_infinity", "kid_x1e3", "inception_score", "precision_f1_8", "recall_f8"),
    *("precision", "recall", "density", "coverage", *PAIRS),
)


def jpeg(quality: int) -> Callable[[Image.Image], Image.Image]:
    """Compressed and decoded again."""

    def damage(picture: Image.Image) -> Image.Image:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality)
        return Image.open(buffer)

    return damage


def blurred(sigma: float) -> Callable[[Image.Image], Image.Image]:
    """Smoothed by a Gaussian of so many pixels."""
    return lambda picture: picture.filter(ImageFilter.GaussianBlur(sigma))


DAMAGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG, quality 75": jpeg(75),
    "JPEG, quality 25": jpeg(25),
    "JPEG, quality 5": jpeg(5),
    "blurred, 0.5 pixels": blurred(0.5),
    "blurred, 1 pixel": blurred(1),
    "blurred, 2 pixels": blurred(2),
}


def packed(path: Path, images: Iterator[Image.Image]) -> ImageSet:
    """Images as PNG in an archive, named by position."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for i, picture in enumerate(images):
            buffer = io.BytesIO()
            picture.convert("RGB").save(buffer, "PNG")
            archive.writestr(f"{i:06}.png", buffer.getvalue())
    return open_set(path)


def pictures(folder: Path, side: int) -> list[Pixels]:
    """Photographs of a folder, the middle square brought to one size."""
    found = []
    for path in sorted([*folder.rglob("*.jpg"), *folder.rglob("*.png")]):
        picture = Image.open(path).convert("RGB")
        short = min(picture.size)
        left, top = ((whole - short) // 2 for whole in picture.size)
        found.append(np.asarray(picture.crop((left, top, left + short, top + short)).resize((side, side))))
    return found


def row(
    generated: ImageSet,
    reference: ImageSet,
    original: ImageSet | None,
    extractor: Extractor,
    cache: Path,
) -> dict[str, Any]:
    """Metrics of sets beside the reference, and of pairs beside the undamaged images."""
    protocol = ImageProtocol(extractor.name, "none", None)
    progress = Progress()
    judged = judge_sets(generated, reference, protocol, extractor, tuple(GROUPS), cache, progress=progress)
    values = {name: one.value for name, one in judged.metrics.items()}
    values["kid_x1e3_se"] = judged.facts["kid_x1e3_se"]
    if original is not None:
        pairs = judge_pairs(generated, original, protocol, PAIRS, progress=progress)
        values |= {name: pairs.metrics[name].value for name in PAIRS}
    return {"images": len(generated), "badge": judged.badge("", "first half"), **values}


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Markdown."""
    lines = [f"| compared | images | {' | '.join(SHOWN)} |", f"|---|---|{'---|' * len(SHOWN)}"]
    for name, values in rows.items():
        cells = []
        for metric in SHOWN:
            value = values.get(metric)
            cell = "" if value is None else f"{value:.4g}"
            error = values["kid_x1e3_se"] if metric == "kid_x1e3" else None
            cells.append(cell if error is None else f"{cell} ± {error:.2g}")
        lines.append(f"| {name} | {values['images']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Compare what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--root", type=Path, required=True, help="folder with fashion_mnist, cifar10, coco, clevr"
    )
    parser.add_argument("--extractor", default="squeezenet-caffe")
    parser.add_argument("--weights", type=Path, default=None)
    parser.add_argument("--half", type=int, default=2500, help="images of a half, at most")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    extractor = open_extractor(args.extractor, args.weights)
    sets: dict[str, list[Pixels]] = {}
    order = np.random.default_rng(0)
    for name, dataset, folder in (
        ("Fashion-MNIST", FashionMNIST(), "fashion_mnist"),
        ("CIFAR-10", CIFAR10(), "cifar10"),
    ):
        if (args.root / folder).is_dir():
            data = dataset.load(args.root / folder)
            chosen = order.permutation(len(data))[: 2 * args.half]
            sets[name] = list(data.stack(chosen, None, 3).transpose(0, 2, 3, 1))
    for name, folder in (("COCO", "coco"), ("CLEVR", "clevr")):
        if (args.root / folder).is_dir():
            sets[name] = pictures(args.root / folder / "images", 256)
    rows: dict[str, dict[str, Any]] = {}
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        there = Path(scratch)

        def written(tag: str, images: list[Pixels], damage: Callable | None = None) -> ImageSet:
            drawn = (Image.fromarray(image) for image in images)
            return packed(there / f"{tag}.zip", (damage(one) for one in drawn) if damage else drawn)

        whole = {}
        for name, images in sets.items():
            middle = len(images) // 2
            first, second = written("first", images[:middle]), written("second", images[middle:])
            whole[name] = written(name, images)
            rows[f"{name}: half, half"] = row(second, first, None, extractor, there / "cache")
            for damage, make in DAMAGES.items():
                worse = written("worse", images[middle:], make)
                rows[f"{name}: half, {damage}"] = row(worse, first, second, extractor, there / "cache")
        if {"COCO", "CLEVR"} <= whole.keys():
            found = row(whole["CLEVR"], whole["COCO"], None, extractor, there / "cache")
            rows["CLEVR beside COCO"] = found
    print(f"{time.perf_counter() - start:.0f} s, {args.extractor}", file=sys.stderr)
    print(json.dumps(rows, indent=2) if args.json else table(rows))


if __name__ == "__main__":
    main()
