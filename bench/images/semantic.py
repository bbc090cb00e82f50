"""Do generated images show the label maps they were made from? By any segmenter, beside real images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench import registry
from bench.errors import RunFailed, UserError
from bench.images.files import ImageSet
from bench.images.judge import Judged, pixels
from bench.images.pairs import matched
from bench.images.protocol import ImageProtocol, without_extractor
from bench.labelled import numbers
from bench.metrics.agreement import Agreement
from bench.nn.own import own_class
from bench.splits import some

Pixels = NDArray[np.uint8]


def judge_agreement(
    generated: ImageSet,
    reference: ImageSet,
    labels: Path,
    segmenter: Segmenter,
    classes: int,
    protocol: ImageProtocol,
    ignore: int | None = None,
    progress: Callable[..., Any] | None = None,
) -> Judged:
    """Mean IoU and pixel accuracy of generated images, and of the real ones as their ceiling.

    Args:
        generated: Images that are judged.
        reference: The real images of the same names.
        labels: Folder of `<name>.png`, a class number a pixel.
        segmenter: See `open_segmenter`.
        classes: K.
        protocol: Its size and format are applied to images first.
        ignore: A label that is not scored.
        progress: Puts a bar around the images.

    Raises:
        UserError: Names that do not agree, a label map that is missing or holds something else.
        RunFailed: The segmenter raises, or answers no label maps of that size.
    """
    pairs, protocol = matched(generated, reference), without_extractor(protocol, segmenter.name)
    absent = [stem for stem, _, _ in pairs if not (labels / f"{stem}.png").is_file()]
    if absent:
        raise UserError(f"`{labels}` has no label map `<name>.png` for {some(absent)}.")
    measure = Agreement(segmenter, classes, ignore)
    for stem, i, j in pairs if progress is None else progress(pairs, "segmentation"):
        wanted = label_map(labels / f"{stem}.png", classes, ignore)
        agree(measure, stem, pixels(generated, i, protocol), pixels(reference, j, protocol), wanted)
    return Judged(protocol, measure.metrics(), doubts(measure), counts=(len(reference), len(generated)))


def agree(measure: Agreement, name: str, generated: Pixels, real: Pixels, wanted: NDArray[np.int64]) -> None:
    """Let the segmenter see an image (H, W, 3) uint8 and its real one, beside the label map (H, W).

    Raises:
        RunFailed: The segmenter raises, or answers no label maps of that size.
    """
    try:
        measure.add(_batch(generated), _batch(real), wanted[None])
    except Exception as error:  # a user's network
        said = (str(error).splitlines() or [""])[0]
        raise RunFailed(
            f"The segmenter failed on `{name}` ({type(error).__name__}: {said}); it gets (1, 3, H, W) "
            f"float32 in [0, 1] and answers integers (1, {wanted.shape[0]}, {wanted.shape[1]})."
        ) from error


def doubts(measure: Agreement) -> list[str]:
    """A sentence for each value of generated images above that of real ones."""
    both = (("miou", measure.miou()), ("pixel_accuracy", measure.accuracy()))
    return [
        f"{name}: generated images score above real ones, so it tells of the segmenter's taste."
        for name, beside in both
        if beside.above
    ]


def label_map(path: Path, classes: int, ignore: int | None) -> NDArray[np.int64]:
    """A class number a pixel, (H, W); of a palette image the indices.

    Raises:
        UserError: As `bench.labelled.numbers`, or a number that is no class.
    """
    found = numbers(path).astype(np.int64)
    kept = found[found != ignore] if ignore is not None else found
    if kept.size and not 0 <= kept.min() <= kept.max() < classes:
        raise UserError(
            f"The label map `{path}` holds {int(kept.min())} to {int(kept.max())}, and classes go from 0 to "
            f"{classes - 1}; give `--classes` or `--ignore`."
        )
    return found


@dataclass(frozen=True)
class Segmenter:
    """A user's network as a function of images.

    Args:
        name: `file.py:Class`.
        net: In evaluation mode.
        device: Where it runs.
    """

    name: str
    net: nn.Module
    device: str = "cpu"

    def __call__(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) float32 in [0, 1] -> integer labels (B, H, W)."""
        answer = self.net(images.to(self.device))
        return answer.argmax(1) if answer.ndim == 4 else answer


def open_segmenter(name: str, device: str = "cpu") -> Segmenter:
    """A user's `path/to/file.py:Class` of an `nn.Module` made without arguments, in evaluation mode.

    It maps (B, 3, H, W) float32 in [0, 1] to integer labels (B, H, W), or to scores (B, K, H, W).

    Raises:
        UserError: No such file or class, or no network.
    """
    path, class_name = registry.split_path(name)
    if path is None:
        raise UserError(f"A segmenter is given as `path/to/file.py:Class` of a network, got `{name}`.")
    cls = own_class(path, class_name, "segmenter", "a segmenter is a network made without arguments")
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # weights drawn at random are the same ones each time
            net = cls().eval().to(device)
    except Exception as error:
        raise UserError(
            f"`{class_name}` in `{path}` cannot be made without arguments ({type(error).__name__}: {error})."
        ) from error
    return Segmenter(f"{path.name}:{class_name}", net, device)


def _batch(image: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None].to(torch.float32) / 255
