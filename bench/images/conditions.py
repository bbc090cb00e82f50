"""Label maps that images are made from: brought to size, with edges of things and randomness of their own.

Sizes and edges follow the published loader of Wang et al., Semantic Image Synthesis via Diffusion Models
(2022; data prepared as for SPADE): a test image is squashed to the size asked for, a training image is
resized and cropped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from bench import seeding
from bench.labelled import Triple
from bench.pictures import nearest

LARGEST = 1.25  # a training image is resized to at most so much more than the crop
Size = tuple[int, int]


@dataclass(frozen=True)
class Conditions:
    """Label maps to make one image of each from.

    Args:
        labels: (B, H, W) int64 class numbers.
        edges: (B, H, W) bool, borders between things; None where the dataset has no instance maps.
        classes: K.
        seed: Of the run.
        draw: Several images may be asked of one label map; this is the number of the image, from 0.
        indices: B positions in the split.
    """

    labels: Tensor
    edges: Tensor | None
    classes: int
    seed: int
    draw: int
    indices: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def channels(self) -> int:
        """K, and one more where there are edges."""
        return self.classes + (self.edges is not None)

    def planes(self) -> Tensor:
        """One-hot label maps and, last, edges: (B, channels, H, W) float32."""
        return planes(self.labels, self.edges, self.classes)

    def noise(self, *shape: int, step: int = 0) -> Tensor:
        """Normal numbers (B, *shape) float32, of an image by seed, draw, position and step alone.

        Asked again for the same step they are the same: a sampler that goes in steps numbers them.
        """
        made = [
            torch.randn(shape, generator=seeding.generator(self.seed, self.draw, index, step))
            for index in self.indices
        ]
        return torch.stack(made)


def planes(labels: Tensor, edges: Tensor | None, classes: int) -> Tensor:
    """(B, H, W) class numbers and edges as (B, K or K + 1, H, W) float32."""
    found = torch.zeros((len(labels), classes + (edges is not None), *labels.shape[1:]), device=labels.device)
    found.scatter_(1, labels[:, None], 1.0)
    if edges is not None:
        found[:, -1] = edges
    return found


def squashed(triple: Triple, size: Size) -> Triple:
    """All three at (H, W) whatever the aspect: images averaged, labels and instances by pixel centres."""
    image, labels, instances = triple
    return Triple(
        resized(image, size),
        nearest(labels, size),
        None if instances is None else nearest(instances, size),
    )


def cropped(triple: Triple, size: Size, rng: np.random.Generator) -> Triple:
    """A window of (H, W) of the three, resized so that it covers between all and 64 % of the shorter side.

    The shorter side (in units of the window) becomes 1 to `LARGEST` windows long, the aspect stays.
    """
    height, width = triple.image.shape[:2]
    scale = max(size[0] / height, size[1] / width) * rng.uniform(1, LARGEST)
    whole = (max(size[0], round(height * scale)), max(size[1], round(width * scale)))
    top, left = (int(rng.integers(0, a - b + 1)) for a, b in zip(whole, size, strict=True))
    window = slice(top, top + size[0]), slice(left, left + size[1])
    image, labels, instances = squashed(triple, whole)
    return Triple(image[window], labels[window], None if instances is None else instances[window])


def mirrored(triple: Triple) -> Triple:
    """Left becomes right."""
    image, labels, instances = triple
    return Triple(image[:, ::-1], labels[:, ::-1], None if instances is None else instances[:, ::-1])


def resized(image: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """(H', W', 3) uint8: halved by averaging as long as both sides allow it, then Pillow's bicubic filter."""
    height, width = size
    if image.shape[:2] == (height, width):
        return image
    picture = Image.fromarray(image)
    while picture.width >= 2 * width and picture.height >= 2 * height:
        picture = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BOX)
    return np.array(picture.resize((width, height), Image.Resampling.BICUBIC))


def edges(instances: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Pixels (H, W) that differ from the one to the left, right, above or below."""
    found = np.zeros(instances.shape, bool)
    down, across = instances[1:] != instances[:-1], instances[:, 1:] != instances[:, :-1]
    found[1:] |= down
    found[:-1] |= down
    found[:, 1:] |= across
    found[:, :-1] |= across
    return found
