"""The family *few-shot segmentation*: learn from other organs, adapt to a target, segment its volumes.

`fit` gets the sources and one support (k labelled slices) a shot selection; `predict` gets (selection, images
(B, 1, H, W)) and returns the probability of foreground (B, 1, H, W). Test targets stay with the `FewShotData`
that the engine holds.
"""

from __future__ import annotations

import copy
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.core import Context, Dataset, Method, Scored, Task
from bench.errors import RunFailed
from bench.families import fewshot_data
from bench.families.fewshot_data import FewShotData
from bench.metrics import volumes as metrics
from bench.volumes.msd import Folders

BATCH = 8  # slices answered at once; a network without batch statistics does not notice


@dataclass(frozen=True)
class Segmented:
    """Answers of every shot selection.

    Args:
        slices: (S, N, H, W) bool at the network's resolution.
        native: For each selection the N slices at their own resolution, (H0, W0) bool.
    """

    slices: NDArray[np.bool_]
    native: tuple[tuple[NDArray[np.bool_], ...], ...]

    def content(self) -> bytes:
        """Every answer, to tell one set of predictions from another."""
        parts = [np.packbits(self.slices).tobytes()]
        parts += [np.packbits(one).tobytes() for selection in self.native for one in selection]
        return b"".join(parts)

    def volume(self, data: FewShotData, selection: int, name: str) -> NDArray[np.bool_]:
        """(H0, W0, D): a selection's answer for one volume, empty in slices that are not evaluated."""
        found = np.zeros(data.test.cache.shape(name), bool)
        part = data.test.slices
        for i, volume in enumerate(part.volumes):
            if volume == name:
                found[..., int(part.positions[i])] = self.native[selection][i]
        return found


class FewShotTask(Task):
    """What few-shot segmentation tasks share; a task file adds card, datasets and protocol."""

    family = "fewshot_segmentation"
    axes: ClassVar[tuple[str, ...]] = ("target", "shots", "task_definition")
    top_level: ClassVar[tuple[str, ...]] = (*axes, "split")
    full_data: ClassVar[Mapping[str, Any]] = {}
    by_volume: ClassVar[Mapping[str, Mapping[str, Any]]] = {"clean": {}, "official": {}}

    def base(self, profile: str, dataset: str, axes: Mapping[str, Any]) -> Any:
        """Full data and volume tasks bring fields of their own."""
        fields = dict(self.profiles[profile])
        if "shots" in axes and axes["shots"] is None:
            fields |= self.full_data
        if axes.get("task_definition") == "volume":
            fields |= self.by_volume[profile]
        return replace(self.protocol(), **{**fields, **axes})

    def schemes(self) -> Mapping[str, Mapping[str, Any]]:
        """Full data, and volumes as tasks."""
        return {
            "shots=null": {"shots": None},
            "task_definition=volume": {"task_definition": "volume"},
        }

    def setting(self, protocol: Any) -> dict[str, Any]:
        """The axes; full data is `shots=all`."""
        found = super().setting(protocol)
        return {**found, "shots": "all" if protocol.shots is None else protocol.shots}

    def seeds(self, protocol: Any) -> dict[str, int]:
        """Seeds of splits without a file, and of the shot selections."""
        shots = protocol.shot_seeds if protocol.shots is not None else ()
        return {"split": protocol.split_seed} | {f"shots_{i}": seed for i, seed in enumerate(shots, 1)}

    def load(self, samples: Folders, protocol: Any) -> FewShotData:
        """Slices from the cache (which checks every volume), split, with shots drawn."""
        return fewshot_data.load(samples, protocol)

    def departures(self, data: FewShotData) -> tuple[str, ...]:
        """Sources that are not there, volumes left out."""
        return data.deviations

    def predict(self, method: Method, data: FewShotData, ctx: Context) -> Segmented:
        """Foreground above one half, at the network's resolution and, resized first, at the file's."""
        part, shape = data.test.slices, tuple(data.test.masks.shape[1:])
        shapes = [data.test.cache.shape(volume)[:2] for volume in part.volumes]
        flat, native = [], []
        starts = range(0, len(part), BATCH)
        jobs = [(s, start) for s in range(len(data.selections)) for start in starts]
        for selection, start in ctx.progress(jobs, "predict"):
            if start == 0:
                native.append([])
            index = np.arange(start, min(start + BATCH, len(part)))
            y = method.predict((selection, part.images(index)))
            checked(y, (len(index), *shape))
            y = y.detach().to("cpu", torch.float32)
            flat.append((y[:, 0] > 0.5).numpy())
            native[-1] += [at_size(one, shapes[i]) for i, one in zip(index, y, strict=True)]
        slices = np.concatenate(flat).reshape(len(data.selections), len(part), *shape[1:])
        return Segmented(slices, tuple(tuple(one) for one in native))

    def score(self, predictions: Segmented, data: FewShotData, protocol: Any) -> Scored:
        """The volume suite over the target's test patients."""
        part = data.test.slices
        return metrics.suite(
            slices_pred=predictions.slices,
            slices_ref=data.test.masks[:, 0].numpy() > 0.5,
            slice_ids=data.test.ids,
            slice_volumes=part.volumes,
            volume_pred=lambda selection, name: predictions.volume(data, selection, name),
            volume_ref=data.test.reference,
            zooms={name: data.test.cache.zooms(name) for name in part.patients},
            selections=data.selections,
        )

    def scale(self, protocol: Any, fraction: float) -> Mapping[str, Any]:
        """Fewer epochs of everything."""
        fields = ("epochs", "meta_epochs", "inner_epochs", "pretrain_epochs")
        root = fraction**0.5  # meta-training is meta_epochs times inner_epochs
        shares = {"meta_epochs": root, "inner_epochs": root}
        return {name: max(1, round(getattr(protocol, name) * shares.get(name, fraction))) for name in fields}

    def adapt(self, cls: type, name: str) -> type[Method]:
        """A plain learner stays what it is; a plain network is trained on the shots alone."""
        from bench.families.fewshot_plain import adapted

        return adapted(cls, name)

    def labels(self, predictions: Segmented) -> Any:
        """(S, N, H, W) int64."""
        return predictions.slices.astype(np.int64)

    def answer_singly(self, method: Method, data: FewShotData) -> Any:
        """One slice at a time, (S, N, H, W) int64."""
        part = data.test.slices
        found = [
            [method.predict((s, part.images([i])))[0, 0] > 0.5 for i in range(len(part))]
            for s in range(len(data.selections))
        ]
        return torch.stack([torch.stack(one) for one in found]).to("cpu", torch.int64).numpy()

    def portable(self, method: Method) -> str:
        """What adapted pickles and copies."""
        found = getattr(method, "predictors", [])
        if not all(isinstance(one, nn.Module) for one in found):
            return "runs, but a killed run adapts anew: what `adapt` returns is no `nn.Module`"
        size = len(pickle.dumps(found[0]))
        copy.deepcopy(found[0])
        return f"an adapted network pickles ({size / 2**20:.1f} MiB) and copies"

    def rehearse(self, method: Method, data: FewShotData, ctx: Context, whole: Callable[[], Folders]) -> str:
        """One selection with one optimiser step of each kind, at the protocol's image size."""
        p = ctx.protocol
        once = {"epochs": 1, "max_steps": 1, "meta_epochs": 1, "tasks_per_epoch": 1, "meta_shots": 1}
        tiny = {**once, "inner_epochs": 1, "slices_per_volume": 1, "pretrain_epochs": 1, "max_source": 1}
        one = replace(data.train, supports=data.train.supports[:1])
        start = time.monotonic()
        method.fit(one, data.val, replace(ctx, protocol=replace(p, **tiny)))
        seconds = time.monotonic() - start
        selections = len(p.shot_seeds) if p.shots else 1
        adapting = selections * p.epochs * -(-(p.shots or len(data.train.supports[0])) // p.batch_size)
        return (
            f"{seconds:.2f} s for the smallest fit; the protocol's {adapting:,} adaptation steps and "
            f"{p.meta_epochs * p.tasks_per_epoch:,} tasks of meta-training come on top"
        )

    def facts(self, dataset: Dataset, root: Path) -> dict[str, str]:
        """Volumes of every target by split; no voxel is read."""
        from bench.volumes.msd import find, pairs
        from bench.volumes.organs import ORGANS
        from bench.volumes.split import by_volume

        found, paths = {}, find(root)
        for organ in ORGANS.values():
            if organ.folder in paths:
                volumes = [pair.name for pair in pairs(paths[organ.folder])]
                assigned = by_volume(organ, volumes, 0)
                counts = [list(assigned.split.values()).count(s) for s in fewshot_data.SPLITS]
                found[f"target={organ.name} split=volume"] = (
                    f"{'/'.join(map(str, counts))} volumes in train/val/test ({assigned.source})"
                )
        return found

    def blind(self, data: FewShotData) -> FewShotData:
        """Test targets all background."""
        return replace(data, test=fewshot_data.blanked(data.test))

    def flops(self, method: Method, data: FewShotData) -> int | None:
        """Multiplications and additions for one slice, as torch counts them."""
        from torch.utils.flop_counter import FlopCounterMode

        net = next(iter(getattr(method, "predictors", [])), None)
        if not isinstance(net, nn.Module):
            return None
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            device = next((p.device for p in net.parameters()), torch.device("cpu"))
            net(data.test.slices.images([0]).to(device))
        return counter.get_total_flops()

    def read_predictions(self, folder: Path, data: FewShotData) -> Segmented:
        """NIfTI label maps `<volume>.nii.gz`, in a folder for each shot selection."""
        from bench.families.fewshot_answers import read

        return read(folder, data)

    def gallery(
        self, folder: Path, predictions: Segmented, data: FewShotData, scored: Scored, caption: str
    ) -> Sequence[Path]:
        """Best, median and worst volume with contours; IoU of every patient by selection."""
        from bench.families.fewshot_answers import draw

        return draw(folder, predictions, data, scored, caption)


def checked(y: Any, want: tuple[int, ...]) -> None:
    """Refuse what is not (B, 1, H, W) probabilities."""
    if not isinstance(y, Tensor) or tuple(y.shape) != want or not y.is_floating_point():
        got = f"{tuple(y.shape)} {y.dtype}" if isinstance(y, Tensor) else type(y).__name__
        raise RunFailed(f"`predict` must return probabilities of shape {want}, got {got}.")
    if not bool(((y >= 0) & (y <= 1)).all()):
        raise RunFailed("`predict` must return probabilities from 0 to 1, got NaN or numbers beyond.")


def at_size(y: Tensor, size: tuple[int, ...]) -> NDArray[np.bool_]:
    """Probabilities (1, H, W) resized to (H0, W0), then cut at one half."""
    resized = F.interpolate(y[None], size=tuple(size), mode="bilinear", antialias=True)
    return (resized[0, 0] > 0.5).numpy()
