"""Do generated images show what they were asked for? Labels that a segmenter finds, with their ceiling.

A segmenter errs on real images too, and a generator can please it better than reality does: so what it finds
in the real images of the same conditions always stands beside what it finds in the generated ones.

Shapes: B images, H rows, W columns, K classes. Boxes and relations of scene graphs: `bench.metrics.layouts`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.core import MetricValue

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Segmenter = Callable[[Any], Any]


class Confusion:
    """Pixels by reference and predicted class, of any number of images.

    Args:
        classes: K.
        ignore: A reference label that is not scored, such as 255; None scores every pixel.

    Raises:
        ValueError: No class.
    """

    def __init__(self, classes: int, ignore: int | None = None):
        if classes < 1:
            raise ValueError(f"a confusion matrix needs a class, got {classes}")
        self.classes, self.ignore = classes, ignore
        self.table: Ints = np.zeros((classes, classes), np.int64)
        """(K, K) int64, row the reference class, column the predicted one."""
        self.ignored = 0
        """Pixels left out."""

    def add(self, predicted: Any, reference: Any) -> None:
        """Take in integer labels (B, H, W), torch tensors or numpy arrays.

        Raises:
            ValueError: Shapes differ, labels are no integers, or one is no class (nor `ignore`, in the
                reference).
        """
        p, t = _labels(predicted, "predicted"), _labels(reference, "reference")
        if p.shape != t.shape:
            raise ValueError(
                f"predicted labels are {p.shape}, reference ones {t.shape}; the segmenter must resize its own"
            )
        p, t = p.ravel(), t.ravel()
        if self.ignore is not None:
            kept = t != self.ignore
            self.ignored += int(len(t) - kept.sum())
            p, t = p[kept], t[kept]
        for labels, name in ((p, "predicted"), (t, "reference")):
            if len(labels) and not 0 <= labels.min() <= labels.max() < self.classes:
                low, high = int(labels.min()), int(labels.max())
                raise ValueError(
                    f"{name} labels go from {low} to {high}, classes from 0 to {self.classes - 1}"
                )
        joint = t.astype(np.int64) * self.classes + p.astype(np.int64)
        self.table += np.bincount(joint, minlength=self.classes**2).reshape(self.classes, self.classes)

    def iou(self) -> Floats:
        """Intersection over union by class, (K,); NaN for a class in neither reference nor prediction."""
        hit = self.table.diagonal()
        union = self.table.sum(0) + self.table.sum(1) - hit
        return np.divide(hit, union, out=np.full(self.classes, np.nan), where=union > 0)

    @property
    def absent(self) -> list[int]:
        """Classes in neither reference nor prediction: the mean leaves them out."""
        return np.flatnonzero(np.isnan(self.iou())).tolist()

    @property
    def pixels(self) -> int:
        """Pixels scored."""
        return int(self.table.sum())

    def miou(self) -> float | None:
        """Mean IoU of the classes that are there; one that is predicted but in no reference counts 0."""
        return float(np.nanmean(self.iou())) if self.pixels else None

    def accuracy(self) -> float | None:
        """Share of pixels with the right class."""
        return float(self.table.trace() / self.pixels) if self.pixels else None


@dataclass(frozen=True)
class Beside:
    """A value of generated images beside that of the real images of the same conditions.

    Args:
        generated: None where nothing was scored.
        ceiling: The same, of real images.
    """

    generated: float | None
    ceiling: float | None

    @property
    def above(self) -> bool:
        """The segmenter likes generated images better than real ones: the value then ranks its taste."""
        return self.generated is not None and self.ceiling is not None and self.generated > self.ceiling


class Agreement:
    """Agreement of images with the label maps they were made from, by a segmenter.

    Args:
        segmenter: Of a batch of images, integer labels (B, H, W) of the size of the label maps; images go to
            it as they came, and resizing is its own affair.
        classes: K.
        ignore: A reference label that is not scored.
        names: Of the classes, K of them; their numbers by default.

    Raises:
        ValueError: Names that are not K.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        classes: int,
        ignore: int | None = None,
        names: Sequence[str] | None = None,
    ):
        self.segmenter = segmenter
        self.names = tuple(names) if names is not None else tuple(map(str, range(classes)))
        if len(self.names) != classes:
            raise ValueError(f"{len(self.names)} names for {classes} classes")
        self.generated, self.real = Confusion(classes, ignore), Confusion(classes, ignore)
        self.images = 0
        """Conditions scored."""

    @torch.no_grad()
    def add(self, generated: Any, real: Any, labels: Any) -> None:
        """Score a batch.

        Args:
            generated: B generated images, as the segmenter takes them.
            real: The real images of the same conditions.
            labels: Integer (B, H, W).

        Raises:
            ValueError: Not as many real images as generated ones, or see `Confusion.add`.
        """
        if not len(generated) == len(real) == len(labels):
            raise ValueError(
                f"{len(generated)} generated images, {len(real)} real ones and {len(labels)} label maps; "
                "each condition needs one of each"
            )
        # Both before either is counted: an error must not leave one side ahead.
        found = self.segmenter(generated), self.segmenter(real)
        trial = Confusion(self.generated.classes, self.generated.ignore)
        trial.add(found[1], labels)
        self.generated.add(found[0], labels)
        self.real.table += trial.table
        self.real.ignored += trial.ignored
        self.images += len(labels)

    def miou(self) -> Beside:
        """Mean IoU, each side over the classes that are there."""
        return Beside(self.generated.miou(), self.real.miou())

    def accuracy(self) -> Beside:
        """Pixel accuracy."""
        return Beside(self.generated.accuracy(), self.real.accuracy())

    def metrics(self) -> dict[str, MetricValue]:
        """`miou`, `pixel_accuracy`, and `_real` of each, as a record holds them; IoU by class."""
        found = {}
        for suffix, side in (("", self.generated), ("_real", self.real)):
            n = self.images if side.pixels else 0
            by_class = {
                name: MetricValue(float(value), n)
                for name, value in zip(self.names, side.iou(), strict=True)
                if np.isfinite(value)
            }
            found[f"miou{suffix}"] = MetricValue(side.miou(), n, per_class=by_class)
            found[f"pixel_accuracy{suffix}"] = MetricValue(side.accuracy(), n)
        return found


def _labels(x: Any, name: str) -> NDArray:
    a = x.detach().cpu().numpy() if hasattr(x, "detach") else np.asarray(x)
    if a.ndim != 3 or a.dtype.kind not in "iu":
        raise ValueError(f"{name} labels must be integers (B, H, W), got {a.dtype} {a.shape}")
    return a
