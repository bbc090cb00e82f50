"""The family *semantic synthesis*: a label map in, a photograph out that shows it.

`fit` gets two `Examples` (train, val); `predict` gets `Conditions` and returns one image of each label map,
(B, 3, H, W), floats in [-1, 1] or uint8. Real test images stay with the engine. Images are written into the
run folder as they are made, so an interrupted run goes on and `bench score` can judge them again.
"""

from __future__ import annotations

import copy
import io
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from bench import seeding
from bench.core import Context, Method, Scored, Task
from bench.errors import RunFailed, UserError
from bench.families import synthesis_data
from bench.families.synthesis_data import SynthesisData
from bench.families.synthesis_protocol import SynthesisProtocol
from bench.files import digest, without_folders, write_bytes
from bench.images.decode import decode
from bench.images.files import ImageSet, open_set
from bench.labelled import Labelled

FOLDER = "generated"
HELD = 16  # images of the first draw that stay in memory
LEAST = 31  # pixels a side that LPIPS by AlexNet needs
TRIAL = "random"  # the extractor that needs no weights


@dataclass(frozen=True)
class Generated:
    """Images made of every test label map.

    Args:
        draws: A set of images for each draw, in the order of the test split.
        first: (n, H, W, 3) uint8, the first images of the first draw, at most `HELD`.
        device: Where judging networks run; None chooses.
    """

    draws: tuple[ImageSet, ...]
    first: NDArray[np.uint8]
    device: str | None = None

    def content(self) -> bytes:
        """What tells one set of predictions from another."""
        return digest(
            [[images.content(i)[0].hex() for i in range(len(images))] for images in self.draws]
        ).encode()


class SynthesisTask(Task):
    """What tasks of semantic synthesis share; a task file adds card, datasets and protocol."""

    family = "semantic_synthesis"
    protocol = SynthesisProtocol
    axes = ("extractor", "segmenter", "draws")
    top_level = axes
    smoke: ClassVar = {
        "epochs": 1,
        "max_steps": 4,
        "batch_size": 2,
        "max_val": 2,
        "max_test": 16,
    }
    small: ClassVar = {**smoke, "max_steps": 2, "max_test": 3}
    _seed = 0  # of the last images made, for `answer_singly`

    def setting(self, protocol: Any) -> dict[str, Any]:
        """What the badge of a metric names; the number of images is that of the test split."""
        p = protocol
        return {
            "extractor": without_folders(p.extractor),
            "size": "x".join(map(str, p.image_size)),
            "format": "png",  # or another lossless one, see `synthesis_answers.read`
            "segmenter": without_folders(p.segmenter) or "none",
            "draws": p.draws,
        }

    def available(self, protocol: Any) -> Mapping[str, tuple[Any, str]]:
        """Without weights of the usual extractor, features of random weights; refused on real data.

        Raises:
            UserError: Judges that cannot be made, or more than one draw without LPIPS.
        """
        from bench.families.synthesis_score import lacking_extractor, lacking_lpips, try_judges

        try_judges(protocol)
        if protocol.draws > 1 and min(protocol.image_size) < LEAST:
            raise UserError(
                f"`draws={protocol.draws}` measures diversity by LPIPS, which needs sides of {LEAST} pixels "
                f"or more; `protocol.image_size` is {list(protocol.image_size)}."
            )
        if protocol.draws > 1 and (why := lacking_lpips()):
            raise UserError(
                f"`draws={protocol.draws}` measures diversity by LPIPS, and needs its network. {why}"
            )
        why = lacking_extractor(protocol.extractor)
        return {"extractor": (TRIAL, why)} if why else {}

    def load(self, samples: Labelled, protocol: Any) -> SynthesisData:
        """Split; refuse to judge photographs by features that mean nothing, and try the judge of labels."""
        if protocol.extractor == TRIAL and not samples.phantom:
            from bench.families.synthesis_score import lacking_extractor

            raise UserError(
                "Real images are not judged by features of random weights. "
                f"{lacking_extractor('inception-tf')} Or name another network with `extractor=`, such as "
                "`extractor=squeezenet-caffe` or `extractor=path/to/file.py:Class`."
            )
        data = synthesis_data.load(samples, protocol)
        if protocol.segmenter:
            from bench.families.synthesis_score import try_segmenter

            try_segmenter(protocol, len(samples.classes))
        return data

    def predict(self, method: Method, data: SynthesisData, ctx: Context) -> Generated:
        """Make every image that is not in the run folder yet."""
        p, names = ctx.protocol, data.test.examples.ids
        self._seed = ctx.seed
        folder = ctx.folder / FOLDER
        starts = range(0, len(names), p.batch_size)
        first: list[NDArray[np.uint8]] = []
        for draw, start in ctx.progress([(d, s) for d in range(p.draws) for s in starts], "make images"):
            indices = range(start, min(start + p.batch_size, len(names)))
            paths = [folder / str(draw) / f"{names[i]}.png" for i in indices]
            images = _made(paths, data.test.examples.size)
            if images is None:
                # A batch's own seed: what was made before an interruption does not shift what comes after.
                seeding.seed_round(ctx.seed, draw * len(names) + start)
                x = data.test.examples.conditions(indices, ctx.seed, draw)
                images = pixels(method.predict(x), (len(indices), *data.test.examples.size))
                for path, image in zip(paths, images, strict=True):
                    write_bytes(path, png(image))
            if draw == 0 and start < HELD:
                first.append(images)
        sets = []
        for draw in range(p.draws):
            found = open_set(folder / str(draw))
            by_name = {image.name: image for image in found.images}
            sets.append(ImageSet(found.path, tuple(by_name[f"{name}.png"] for name in names)))
        return Generated(tuple(sets), np.concatenate(first)[:HELD], str(ctx.fabric.device))

    def score(self, predictions: Generated, data: SynthesisData, protocol: Any) -> Scored:
        """Sets of features, diversity, agreement with the label maps."""
        from bench.families.synthesis_score import score

        return score(predictions, data, protocol)

    def scale(self, protocol: Any, fraction: float) -> Mapping[str, Any]:
        """Fewer epochs."""
        return {"epochs": max(1, round(protocol.epochs * fraction))}

    def adapt(self, cls: type, name: str) -> type[Method]:
        """A plain `nn.Module` of `(in_channels, 3)`, or a class with `fit` and `generate`."""
        from bench.families.synthesis_plain import adapted

        return adapted(cls, name)

    def labels(self, predictions: Generated) -> NDArray[np.int64]:
        """(n, H, W, 3) grey levels of the first images."""
        return predictions.first.astype(np.int64)

    def answer_singly(self, method: Method, data: SynthesisData) -> NDArray[np.int64]:
        """The same images, each made alone."""
        size = data.test.examples.size
        made = [
            pixels(method.predict(data.test.examples.conditions([i], self._seed)), (1, *size))
            for i in range(min(len(data.test), HELD))
        ]
        return np.concatenate(made).astype(np.int64)

    def portable(self, method: Method) -> str:
        """The fitted method pickles and copies."""
        written = pickle.dumps(vars(method))
        copy.deepcopy(vars(method))
        return f"the fitted method pickles ({len(written) / 2**20:.1f} MiB) and copies"

    def rehearse(
        self, method: Method, data: SynthesisData, ctx: Context, whole: Callable[[], Labelled]
    ) -> str:
        """One optimiser step at the protocol's batch size, and one image."""
        p = ctx.protocol
        once = replace(p, epochs=1, max_steps=1, max_val=1)
        start = time.monotonic()
        method.fit(data.train, data.val, replace(ctx, protocol=once))
        fitted = time.monotonic()
        method.predict(data.test.examples.conditions([0], ctx.seed))
        made = time.monotonic() - fitted
        return (
            f"{fitted - start:.2f} s for a fit of one step of {p.batch_size} images; an image takes "
            f"{made:.2f} s, and the protocol asks {p.draws} of every test label map"
        )

    def blind(self, data: SynthesisData) -> SynthesisData:
        """Test images all grey."""
        return replace(data, test=replace(data.test, blank=True))

    def flops(self, method: Method, data: SynthesisData) -> int | None:
        """Of one image, as torch counts them, where the method is one network."""
        from torch.utils.flop_counter import FlopCounterMode

        if not isinstance(getattr(method, "net", None), nn.Module):
            return None
        x = data.test.examples.conditions([0])
        with FlopCounterMode(display=False) as counter:
            method.predict(x)
        return counter.get_total_flops()

    def read_predictions(self, folder: Path, data: SynthesisData) -> Generated:
        """Images named as the test label maps, or a sub-folder of them for each draw."""
        from bench.families.synthesis_answers import read

        return read(folder, data)

    def gallery(
        self, folder: Path, predictions: Generated, data: SynthesisData, scored: Scored, caption: str
    ) -> Sequence[Path]:
        """Label map, real image and draws, side by side."""
        from bench.families.synthesis_answers import draw

        return draw(folder, predictions, data, caption)


def _made(paths: Sequence[Path], size: tuple[int, int]) -> NDArray[np.uint8] | None:
    """Images of an earlier start (B, H, W, 3); None where one is missing or no such image."""
    if not all(path.is_file() for path in paths):
        return None
    try:
        found = [decode(path.read_bytes(), str(path))[0] for path in paths]
    except UserError:  # damaged since; made again
        return None
    return np.stack(found) if all(image.shape[:2] == size for image in found) else None


def pixels(answer: Any, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """What a method answered as (B, H, W, 3) uint8; floats are rounded to the nearest of 256 levels.

    Raises:
        RunFailed: It is no (B, 3, H, W) tensor of floats or uint8, or not finite.
    """
    wanted = (shape[0], 3, *shape[1:])
    if not isinstance(answer, Tensor) or tuple(answer.shape) != wanted:
        got = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
        raise RunFailed(f"`predict` must return images of shape {wanted}, got {got}.")
    if answer.dtype != torch.uint8:
        if not answer.is_floating_point() or not bool(torch.isfinite(answer).all()):
            raise RunFailed(
                f"`predict` must return finite floats in [-1, 1] or uint8, got {answer.dtype}"
                f"{' with NaN or infinity' if answer.is_floating_point() else ''}."
            )
        answer = ((answer.detach().float() + 1) * 127.5).clamp(0, 255).round().to(torch.uint8)
    return answer.cpu().permute(0, 2, 3, 1).contiguous().numpy()


def png(image: NDArray[np.uint8]) -> bytes:
    """(H, W, 3) uint8 as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()
