"""Regions of interest in image pairs: boxes, their enlargement, and the region that published code measures.

Where one object of an image is painted anew, the error of interest is the one in its box. The published
evaluation makes a copy of the image for every object larger than a twentieth of both sides, but measures copy
k in box k of the image instead of the box of the k-th object kept: once a small object was passed over, the
region is another object's. Both are here, the second as `official`.

Shapes: B pairs, R regions, n objects, H rows, W columns. Boxes are x0, y0, x1, y1 in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Ints = NDArray[np.int64]
Boxes = NDArray[np.float64]
MARGIN = 2  # pixels on each side
LEAST = 0.05  # of width and of height


@dataclass(frozen=True, eq=False)
class Regions:
    """Boxes to measure in a batch of pairs.

    Args:
        image: (R,) int64, the pair that a box lies in.
        boxes: (R, 4) float, as annotated, in pixels.
        official: (R, 4) float, the boxes that the published code measures instead; None where they are the
            same.
        margin: Pixels by which a box grows on each side.

    Raises:
        ValueError: Shapes that disagree, or coordinates that are not finite.
    """

    image: Ints
    boxes: Boxes
    official: Boxes | None = None
    margin: float = MARGIN

    def __post_init__(self) -> None:
        object.__setattr__(self, "image", np.asarray(self.image, np.int64).reshape(-1))
        for name in ("boxes", "official"):
            value = getattr(self, name)
            if value is None:
                continue
            value = np.asarray(value, np.float64)
            if value.shape != (len(self.image), 4) or not np.isfinite(value).all():
                raise ValueError(f"`{name}` must be finite ({len(self.image)}, 4), got {value.shape}")
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.image)

    def pixels(self, height: int, width: int, official: bool = False) -> Ints:
        """The boxes to measure as `enlarged` gives them, (R, 4)."""
        boxes = self.official if official and self.official is not None else self.boxes
        return enlarged(boxes, height, width, self.margin)


def enlarged(boxes: Any, height: int, width: int, margin: float = MARGIN) -> Ints:
    """Boxes grown by a margin, clamped to the image, then cut to whole pixels: (n, 4) int64, x1, y1 excluded.

    The order is the published one; a part of a pixel is cut off at every side, never rounded.
    """
    grown = np.asarray(boxes, np.float64).reshape(-1, 4) + margin * np.array([-1, -1, 1, 1])
    return np.clip(grown, 0, [width, height, width, height]).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Copies:
    """Copies of one image, one an object that is large enough.

    Args:
        masked: (k,) int64, the object that each copy hides: where the clean region is.
        official: (k,) int64, the object in whose box the published code measures that copy: 0, 1, ..., k-1.
    """

    masked: Ints
    official: Ints

    @property
    def wrong(self) -> int:
        """How many copies the published code measures in another object's box."""
        return int((self.masked != self.official).sum())


def copies(boxes: Any, height: int, width: int, least: float = LEAST) -> Copies:
    """The copies of an image with boxes (n, 4); an object counts if width and height exceed `least`."""
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    large = ((boxes[:, 2:] - boxes[:, :2]) / [width, height] > least).all(1)
    masked = np.flatnonzero(large).astype(np.int64)
    return Copies(masked, np.arange(len(masked)))


def box_means(maps: Tensor, image: Ints, boxes: Ints) -> NDArray[np.float64]:
    """Mean of maps (B, H, W) in whole-pixel boxes (R, 4): (R,) float64, NaN for a box without a pixel.

    One summed-area table serves all boxes; integers stay exact in it.
    """
    sums = maps.to(torch.float64 if maps.is_floating_point() else torch.int64).cumsum(1).cumsum(2)
    table = torch.nn.functional.pad(sums, (1, 0, 1, 0)).cpu().numpy()
    x0, y0, x1, y1 = np.asarray(boxes, np.int64).reshape(-1, 4).T
    total = table[image, y1, x1] - table[image, y0, x1] - table[image, y1, x0] + table[image, y0, x0]
    area = np.where((x1 > x0) & (y1 > y0), (x1 - x0) * (y1 - y0), 0)
    return np.divide(total, area, out=np.full(len(area), np.nan), where=area > 0)


def blackened(images: Tensor, boxes: Ints) -> Tensor:
    """Images (R, H, W, C) with everything outside their own box (R, 4) set to 0.

    What a filter with a zero border sees of a crop, at one size for all crops.
    """
    x0, y0, x1, y1 = (torch.from_numpy(side).to(images.device)[:, None] for side in np.asarray(boxes).T)
    rows, columns = (torch.arange(size, device=images.device)[None] for size in images.shape[1:3])
    inside = ((rows >= y0) & (rows < y1))[:, :, None] & ((columns >= x0) & (columns < x1))[:, None]
    return images * inside[..., None]
