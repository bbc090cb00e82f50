"""How much the images of one condition differ: the diversity score (DS), also called multimodal LPIPS.

Several images are made for each condition (a label map, a scene graph); the value of a condition is the mean
distance over all their pairs, and the score the mean over conditions. Higher is more diverse, which is no
praise by itself: noise is diverse too.

Shapes: n images of a condition, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from bench.core import MetricValue

Floats = NDArray[np.float64]
MINIBATCH = 50  # of the published mean
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, on [0, 1]

Distance = Callable[[Tensor, Tensor], Tensor]


@runtime_checkable
class Embedding(Protocol):
    """A distance that can look at each image once, such as `bench.nn.lpips.LPIPS`."""

    def embed(self, images: Tensor) -> tuple[Tensor, ...]:
        """Of (B, 3, H, W), tensors (B, ...)."""
        ...

    def between(self, first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> Tensor:
        """Distances (B,) of two embeddings."""
        ...


@torch.no_grad()
def pair_distances(images: Tensor, distance: Distance | Embedding, batch: int = 16) -> Floats:
    """Distances of all pairs i < j of images (n, 3, H, W), row by row: (n (n - 1) / 2,) float64.

    Args:
        images: As `distance` takes them; for LPIPS float32 in [-1, 1].
        distance: Of two batches, (B,); one with `embed` and `between` sees every image once instead of
            n - 1 times.
        batch: Images that go through `distance` at a time.

    Raises:
        ValueError: Not four-dimensional, or a distance that is not finite.
    """
    if images.ndim != 4:
        raise ValueError(f"images must be (n, 3, H, W), got {tuple(images.shape)}")
    first, second = (torch.from_numpy(index) for index in np.triu_indices(len(images), 1))
    if not len(first):
        return np.zeros(0)
    found = []
    if isinstance(distance, Embedding):
        blocks = [distance.embed(part) for part in images.split(batch)]
        layers = tuple(torch.cat(parts) for parts in zip(*blocks, strict=True))
        for i, j in zip(first.split(batch), second.split(batch), strict=True):
            pair = (tuple(layer[index.to(layer.device)] for layer in layers) for index in (i, j))
            found.append(distance.between(*pair))
    else:
        for i, j in zip(first.split(batch), second.split(batch), strict=True):
            found.append(distance(images[i.to(images.device)], images[j.to(images.device)]))
    values = torch.cat(found).to(torch.float64).cpu().numpy()
    if values.shape != (len(first),) or not np.isfinite(values).all():
        raise ValueError(f"a distance must give one finite number a pair, got shape {values.shape}")
    return values


@dataclass
class Diversity:
    """Mean distances by condition, of conditions that come one at a time.

    Memory holds the images of one condition and a number for each.

    Args:
        distance: Of two batches (B, 3, H, W), (B,).
        batch: Images that go through it at a time.
    """

    distance: Any
    batch: int = 16
    values: dict[str, float] = field(default_factory=dict)
    """Condition -> mean over its pairs, in the order of arrival."""
    counts: dict[str, int] = field(default_factory=dict)
    """Condition -> images, also of those without a pair."""

    def add(self, condition: str, images: Tensor) -> float | None:
        """Take in all images (n, 3, H, W) of a condition; its value, None where there is no pair.

        Raises:
            ValueError: The condition was there before, or see `pair_distances`.
        """
        if condition in self.counts:
            raise ValueError(f"condition `{condition}` came twice; all of its images must come together")
        distances = pair_distances(images, self.distance, self.batch)
        self.counts[condition] = len(images)
        if not len(distances):
            return None
        self.values[condition] = float(distances.mean())
        return self.values[condition]

    @property
    def single(self) -> list[str]:
        """Conditions with fewer than two images, which have no value."""
        return [condition for condition in self.counts if condition not in self.values]

    @property
    def reason(self) -> str | None:
        """Why there is no score, if there is none."""
        if self.values:
            return None
        return "no condition has two images" if self.counts else "there is no condition"

    def clean(self) -> float | None:
        """Mean over conditions, each alike; None where there is none."""
        return float(np.mean(list(self.values.values()))) if self.values else None

    def official(self, minibatch: int = MINIBATCH) -> float | None:
        """The published mean: of means of minibatches in order of arrival, a short last one counting whole.

        It depends on the order of conditions unless `minibatch` divides their number.

        Raises:
            ValueError: `minibatch` is not positive.
        """
        if minibatch < 1:
            raise ValueError(f"a minibatch has one condition at least, got {minibatch}")
        own = np.asarray(list(self.values.values()))
        parts = [own[i : i + minibatch].mean() for i in range(0, len(own), minibatch)]
        return float(np.mean(parts)) if parts else None

    def metrics(self, name: str = "ds", minibatch: int = MINIBATCH) -> dict[str, MetricValue]:
        """Both means as a record holds them, `name` and `name@official`."""
        n = len(self.values)
        return {
            name: MetricValue(self.clean(), n, "distance", "higher"),
            f"{name}@official": MetricValue(self.official(minibatch), n, "distance", "higher", "official"),
        }


def published_inputs(images: NDArray[np.uint8], side: int = 299) -> Tensor:
    """Images as the published loader hands them to LPIPS: (n, 3, side, side) float32, beyond [-1, 1].

    They are resized to a square (PIL, bilinear, on bytes) and normalised with ImageNet's mean and deviation,
    though LPIPS does so itself to what it takes to be in [-1, 1]. Values are not comparable with LPIPS at the
    images' own size.

    Args:
        images: (n, H, W, 3) uint8.
        side: Height and width afterwards.

    Raises:
        ValueError: Another shape or type.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or not images[:1].size:
        raise ValueError(f"images must be uint8 (n, H, W, 3), got {images.dtype} {images.shape}")
    squares = [
        np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR)) for image in images
    ]
    x = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).to(torch.float32) / 255
    return (x - torch.tensor(MEAN).reshape(3, 1, 1)) / torch.tensor(DEVIATION).reshape(3, 1, 1)
