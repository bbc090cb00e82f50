"""The family *segmentation*: a grey scan in, a label map out.

`fit` gets two `ScanSet`s (train, val); `predict` gets images (B, C, H, W) and returns labels (B, H, W).
Test targets stay with the `SegmentationData` that the engine holds.
"""

from __future__ import annotations

import copy
import pickle
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bench.core import Context, DataInfo, Method, Protocol, Scored, Task
from bench.errors import RunFailed, UserError
from bench.families.scan_sets import Interpolation, Place, ScanSet, SegmentationData, scan_set, spread
from bench.metrics import segmentation as metrics
from bench.nn.fit import evaluating, fit_supervised
from bench.nn.losses import Loss, build_loss
from bench.scans import Scans


@dataclass
class SegmentationNet(Method):
    """A network trained by the task's own recipe: Adam, the protocol's loss, best validation Dice.

    Args:
        lr: Learning rate of Adam.
        weight_decay: L2 term of Adam (not decoupled), on every parameter.
    """

    family: ClassVar[str] = "segmentation"

    lr: float = 5e-4
    weight_decay: float = 1e-4

    @abstractmethod
    def build(self, in_channels: int, num_classes: int) -> nn.Module:
        """Return the network, (B, C, H, W) -> logits (B, K, H, W)."""

    def fit(self, train: ScanSet, val: ScanSet, ctx: Context) -> None:
        """Train on `train`, keep the weights of the best validation Dice."""
        self.net = self.build(ctx.in_channels, ctx.num_classes)
        check_output(self.net, train, ctx.num_classes, type(self).__name__)
        official = ctx.protocol.selection is Selection.official

        def validate(net: nn.Module) -> float:
            with evaluating(net):
                pred = [
                    labels(net(ctx.fabric.to_device(x))).cpu()
                    for x in val.images.split(ctx.protocol.batch_size)
                ]
            return metrics.selection_score(torch.cat(pred), val.masks, ctx.num_classes, official)

        fit_supervised(
            self.net,
            build_loss(ctx.protocol.loss),
            train,
            validate,
            ctx,
            torch.optim.Adam(self.net.parameters(), lr=self.lr, weight_decay=self.weight_decay),
        )

    def predict(self, x: Tensor) -> Tensor:
        """Labels of highest score, (B, C, H, W) -> (B, H, W) int64."""
        with evaluating(self.net):
            device = next((p.device for p in self.net.parameters()), x.device)
            return labels(self.net(x.to(device))).cpu()

    def parameters_count(self) -> int | None:
        """Trainable parameters of the built network."""
        return sum(p.numel() for p in self.net.parameters() if p.requires_grad)


class Selection(StrEnum):
    """What the best validation epoch is chosen by.

    `dice` is the clean mean over foreground classes; `official` the mean over all classes, background
    included, of the official Dice (an absent class counts 2.0).
    """

    dice = "dice"
    official = "official"


@dataclass(frozen=True)
class SegmentationProtocol(Protocol):
    """The recipe and the evaluation grid of a segmentation task.

    Args:
        image_size: (H, W) that images and label maps are resized to; the aspect is not preserved.
        mean, std: Normalisation in grey levels, applied after resizing.
        mask_interpolation: How label maps are resized.
        epochs: Passes over the training split at most.
        batch_size: Scans in one optimiser step; the last batch of an epoch may be smaller.
        loss: The training loss of networks without one of their own.
        selection: What the best validation epoch is chosen by.
        validate_every: Validate after every this many epochs,
        validate_each_after: and after every epoch from here on. The last epoch always validates.
    """

    image_size: tuple[int, int] = (224, 224)
    mean: float = 0.0
    std: float = 1.0
    mask_interpolation: Interpolation = Interpolation.nearest
    epochs: int = 80
    batch_size: int = 10
    loss: Loss = Loss.dice_ce
    selection: Selection = Selection.dice
    validate_every: int = 10
    validate_each_after: int = 45

    def __post_init__(self) -> None:
        if len(self.image_size) != 2 or min(self.image_size) < 16:
            raise UserError(
                f"`protocol.image_size` takes two sides of at least 16 pixels, "
                f"got {list(self.image_size)}; write for instance `protocol.image_size=[224,224]`."
            )
        for name in ("epochs", "batch_size", "validate_every"):
            if getattr(self, name) < 1:
                raise UserError(f"`protocol.{name}` takes a whole number from 1, got {getattr(self, name)}.")
        if not self.std > 0:
            raise UserError(f"`protocol.std` takes a number above 0, got {self.std}.")


class SegmentationTask(Task):
    """What every segmentation task shares; a task file adds card, datasets and protocol."""

    family = "segmentation"

    def load(self, samples: Scans, protocol: SegmentationProtocol) -> SegmentationData:
        """Resize and normalise the scans of each split."""
        parts = {name: [s for s in samples.scans if s.split == name] for name in samples.counts()}
        for name, scans in parts.items():
            if not scans:
                raise UserError(f"The {name} split holds no scan; every split needs at least one.")
        parts["val"] = spread(parts["val"], protocol.max_val)
        parts["test"] = spread(parts["test"], protocol.max_test)
        info = DataInfo(
            fingerprint=samples.fingerprint(),
            split_sha256=samples.split_sha256(),
            counts={name: len(scans) for name, scans in parts.items()},
            unit=samples.unit,
            leaks=samples.leaks(),
            classes=samples.classes,
        )
        places = tuple(Place(s.full_size, (*s.window, *s.image.shape[:2])) for s in parts["test"])
        sets = {name: scan_set(scans, protocol) for name, scans in parts.items()}
        return SegmentationData(**sets, places=places, info=info)

    def score(self, predictions: Tensor, data: SegmentationData, protocol: Any) -> Scored:
        """The segmentation suite over the test split; `predictions` is (N, H, W)."""
        return metrics.suite(
            predictions,
            data.test.masks,
            classes=data.info.classes,
            units=data.test.units,
            ids=data.test.ids,
            unit_name=data.info.unit,
        )

    def scale(self, protocol: SegmentationProtocol, fraction: float) -> Mapping[str, Any]:
        """Fewer epochs; the validation schedule shrinks with them."""
        return {
            name: max(1, round(getattr(protocol, name) * fraction))
            for name in ("epochs", "validate_every", "validate_each_after")
        }

    def adapt(self, cls: type, name: str) -> type[Method]:
        """A plain `nn.Module` of `(in_channels, num_classes)` becomes a method with the task's recipe."""
        from bench.families.plain import plain_net

        return plain_net(cls, name)

    def predict(self, method: Method, data: SegmentationData, ctx: Context) -> Tensor:
        """Label maps of the test scans, (N, H, W) int64."""
        size = tuple(data.test.masks.shape[1:])
        parts = []
        batches = data.test.images.split(ctx.protocol.batch_size)
        for x in ctx.progress(batches, "predict"):
            y = method.predict(x.clone())
            if not isinstance(y, Tensor) or y.shape != (len(x), *size) or y.is_floating_point():
                got = f"{tuple(y.shape)} {y.dtype}" if isinstance(y, Tensor) else type(y).__name__
                raise RunFailed(
                    f"`predict` must return integer labels of shape {(len(x), *size)}, got {got}."
                )
            parts.append(y.to("cpu", torch.int64))
        pred = torch.cat(parts)
        low, high = int(pred.min()), int(pred.max())
        if low < 0 or high >= len(data.info.classes):
            raise RunFailed(
                f"`predict` returned labels from {low} to {high}; "
                f"the classes are 0 to {len(data.info.classes) - 1}."
            )
        return pred

    def blind(self, data: SegmentationData) -> SegmentationData:
        """Test label maps all background."""
        return replace(data, test=replace(data.test, masks=torch.zeros_like(data.test.masks)))

    small: ClassVar = {"epochs": 1, "max_steps": 2, "max_val": 2, "max_test": 3, "batch_size": 2}

    def labels(self, predictions: Tensor) -> Any:
        """(N, H, W) int64."""
        return predictions.numpy()

    def answer_singly(self, method: Method, data: SegmentationData) -> Any:
        """One scan at a time, (N, H, W) int64."""
        return torch.cat([method.predict(x[None]) for x in data.test.images]).numpy()

    def portable(self, method: Method) -> str:
        """The network pickles and copies."""
        net = getattr(method, "net", method)
        size = len(pickle.dumps(net))
        copy.deepcopy(net)
        return f"pickles ({size / 2**20:.1f} MiB) and copies"

    def rehearse(
        self, method: Method, data: SegmentationData, ctx: Context, whole: Callable[[], Scans]
    ) -> str:
        """One optimiser step at the protocol's batch size."""
        p = ctx.protocol
        start = time.monotonic()
        method.fit(data.train, data.val, replace(ctx, protocol=replace(p, epochs=1, max_steps=1, max_val=1)))
        seconds = time.monotonic() - start
        hours = seconds * -(-whole().counts()["train"] // p.batch_size) * p.epochs / 3600
        return f"{seconds:.2f} s for {p.batch_size} scans; the full protocol takes about {hours:.1f} h here"

    def flops(self, method: Method, data: SegmentationData) -> int | None:
        """Multiplications and additions of one forward pass, as torch counts them (no FFT, no batch norm)."""
        from torch.utils.flop_counter import FlopCounterMode

        net = getattr(method, "net", None)
        if not isinstance(net, nn.Module):
            return None
        x = data.test.images[:1]
        with evaluating(net), FlopCounterMode(display=False) as counter:
            net(x.to(next((p.device for p in net.parameters()), x.device)))
        return counter.get_total_flops()

    def read_predictions(self, folder: Path, data: SegmentationData) -> Tensor:
        """Label maps from PNG or npy files named as the test scans."""
        from bench.families.label_maps import read

        return read(folder, data.test.ids, data.places, data.test.masks.shape[1:], len(data.info.classes))

    def gallery(
        self, folder: Path, predictions: Tensor, data: SegmentationData, scored: Scored, caption: str
    ) -> Sequence[Path]:
        """Best, median and worst test scans: image, reference, prediction, error."""
        from bench.report.gallery import segmentation_gallery

        return segmentation_gallery(
            folder, data.test, predictions, classes=data.info.classes, scored=scored, caption=caption
        )


def labels(scores: Tensor) -> Tensor:
    """Class of highest score, (B, K, H, W) -> (B, H, W) int64."""
    return scores.argmax(1)


def check_output(net: nn.Module, train: ScanSet, num_classes: int, name: str) -> None:
    """Refuse a network whose output is not (B, K, H, W) before hours are spent on it."""
    x = train.images[:2]
    with evaluating(net):
        y = net(x)
    want = (len(x), num_classes, *x.shape[2:])
    if not isinstance(y, Tensor) or tuple(y.shape) != want:
        got = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
        raise RunFailed(
            f"`{name}` must map {tuple(x.shape)} to scores of shape {want}, got {got}; "
            "return one score for each class and pixel."
        )
