"""Slices a second into training: the slice cache beside nibabel on every access and two caches of MONAI.

Operation: batches of slices of one organ in random order, images and masks (B, 1, H, W) float32 at the
protocol's 256x256. Contenders are processes of their own that take turns: `cache` (ours), `nibabel` (read,
decompress, cut and resize on every access), `CacheDataset` (the same tensors in memory) and
`PersistentDataset` (the same tensors in files), the last two by MONAI's `DataLoader` without workers;
`stacked` is CacheDataset with its tensors stacked by hand, the least that can be done. The first slices of
each are compared with ours. Memory is what a contender holds beyond its imports: resident, and the anonymous
part of it, which the system cannot take back. Run: `python benchmarks/fewshot_slices.py --root DIR`, where
DIR holds TaskNN folders.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

CONTENDERS = ("cache", "nibabel", "CacheDataset", "stacked", "PersistentDataset")
COMPARED = 16  # slices held against ours
GOALS = {"nibabel": "at least 5x faster", "CacheDataset": "not slower, a tenth of its memory"}


def memory() -> dict[str, int]:
    """Resident bytes of this process and the anonymous part of them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    found = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith("kB")}
    return {"resident": found["VmRSS"], "anonymous": found["RssAnon"]}


@functools.lru_cache(maxsize=1)
def decoded(image: str, label: str) -> tuple[Any, Any]:
    """A volume's voxels; remembered so that filling a cache decompresses each file once."""
    return raw(image), raw(label)


def raw(path: str) -> Any:
    """All voxels of a file."""
    import nibabel

    return np.asarray(nibabel.load(path).dataobj)  # pyright: ignore[reportAttributeAccessIssue, reportPrivateImportUsage]


def cut(item: dict[str, Any], read: Any, side: int) -> dict[str, Any]:
    """One slice as the cache makes it, from the files."""
    import torch

    from bench.volumes import pixels

    image, label = read(item["image"], item["label"])
    grey, _, _ = pixels.image(image[..., item["position"]].astype(np.float32), (side, side))
    drawn = pixels.mask(label[..., item["position"]] == item["id"], (side, side), "half")
    x = torch.from_numpy(grey.astype(np.float32)[None]).div_(255)
    return {"x": x, "y": torch.from_numpy(drawn.astype(np.float32)[None])}


@dataclass(frozen=True)
class Each:
    """Items made anew on every access."""

    items: list[Any]
    make: Callable[..., Any]

    def __getitem__(self, i: int) -> Any:
        return self.make(self.items[i])


def contend(
    name: str, root: Path, organ_name: str, side: int, batch: int, seconds: float, home: Path
) -> dict[str, Any]:
    """Be one contender; what it measured, and its first slices as a file."""
    import torch
    from monai.data.dataloader import DataLoader
    from monai.data.dataset import CacheDataset, PersistentDataset
    from monai.transforms.transform import Transform

    from bench.volumes.cache import SliceCache, slices
    from bench.volumes.msd import find, pairs
    from bench.volumes.organs import ORGANS
    from bench.volumes.slices import Normalisation

    torch.set_num_threads(1)
    organ = ORGANS[organ_name]
    folder = find(root)[organ.folder]
    start = time.perf_counter()
    before = memory()
    part = slices(SliceCache.open(folder, (side, side), "half", home), organ, Normalisation.slice_minmax)
    opened = time.perf_counter() - start
    files = {pair.name: pair for pair in pairs(folder)}
    items = [
        {
            "image": str(files[volume].image),
            "label": str(files[volume].label),
            "position": int(position),
            "id": organ.label,
        }
        for volume, position in zip(part.volumes, part.positions, strict=True)
    ]
    rng = np.random.default_rng(0)
    order = rng.permutation(len(items))
    if name == "cache":

        def batches() -> Iterator[Any]:
            for at in range(0, len(order) - batch + 1, batch):
                yield part[order[at : at + batch]]

        sample = torch.cat(part[order[:COMPARED]], 1)
    else:
        # What is listed above is not the contender's: measure from here.
        before, start = memory(), time.perf_counter()
        if name == "nibabel":
            both = lambda image, label: (raw(image), raw(label))  # noqa: E731
            held: Any = Each(items, functools.partial(cut, read=both, side=side))
        else:

            class Cut(Transform):  # MONAI caches what its own base class marks as fixed
                def __call__(self, data: Any) -> Any:
                    return cut(data, decoded, side)

            if name == "PersistentDataset":
                held = PersistentDataset(items, Cut(), cache_dir=home / "persistent")
                for i in range(len(items)):
                    held[i]
            else:
                held = CacheDataset(items, Cut(), num_workers=0, progress=False)
        decoded.cache_clear()
        opened = time.perf_counter() - start

        def batches() -> Iterator[Any]:
            if name in ("nibabel", "stacked"):
                for at in range(0, len(order) - batch + 1, batch):
                    found = [held[int(i)] for i in order[at : at + batch]]
                    yield tuple(torch.stack([one[key] for one in found]) for key in ("x", "y"))
            else:
                yield from DataLoader(held, batch_size=batch, shuffle=True, num_workers=0)

        chosen = [held[int(i)] for i in order[:COMPARED]]
        sample = torch.cat([torch.stack([one[key] for one in chosen]) for key in ("x", "y")], 1)
    np.save(home / f"{name}.npy", sample.numpy())
    start, count, spent = time.perf_counter(), 0, 0.0
    while spent < seconds:
        for _ in batches():
            count += batch
            if (spent := time.perf_counter() - start) >= seconds:
                break
    after = memory()
    return {
        "slices": len(items),
        "per_s": count / spent,
        "ready_s": opened,
        **{f"{kind}_bytes": after[kind] - before[kind] for kind in before},
    }


def main() -> None:
    """Let contenders take turns, compare their slices, print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--root", type=Path, help="folder of TaskNN folders; the small phantom unless given")
    parser.add_argument("--organ", default="hippocampus_anterior")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.contender:
        work = (args.root, args.organ, args.side, args.batch, args.seconds, args.home)
        print(json.dumps(contend(args.contender, *work)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        if args.root is None:
            from bench.registry import load

            args.root = home / "phantom"
            load("dataset", "decathlon").target().write_phantom(args.root, 0, "small")
        words = [f"--root={args.root}", f"--organ={args.organ}", f"--side={args.side}", f"--home={home}"]
        words += [f"--batch={args.batch}", f"--seconds={args.seconds}"]
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS}
        built = None
        for turn in range(args.repeats):
            for name in CONTENDERS[:: 1 if turn % 2 == 0 else -1]:
                command = [sys.executable, __file__, *words, "--contender", name]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                runs[name].append(json.loads(done.stdout.splitlines()[-1]))
                if built is None:
                    built = runs[name][0]["ready_s"]
        ours = np.load(home / "cache.npy")
        apart = {name: float(np.abs(np.load(home / f"{name}.npy") - ours).max()) for name in CONTENDERS}
    middle = {
        name: {key: statistics.median(run[key] for run in found) for key in found[0]}
        for name, found in runs.items()
    }
    report = {
        "operation": f"{middle['cache']['slices']:.0f} slices of {args.organ} at {args.side}x{args.side}, "
        f"batch {args.batch}",
        "build_s": built,
        "contenders": middle,
        "greatest_difference": apart,
        "faster": {name: middle["cache"]["per_s"] / middle[name]["per_s"] for name in CONTENDERS[1:]},
        "anonymous_memory": {
            name: middle["cache"]["anonymous_bytes"] / max(1, middle[name]["anonymous_bytes"])
            for name in CONTENDERS[1:]
        },
    }
    if args.json:
        print(json.dumps(report, indent=2))
        return
    print(report["operation"], f"(cache built in {built:.1f} s)")
    for name, found in middle.items():
        print(
            f"{name:18} {found['per_s']:10,.0f} slices/s  ready in {found['ready_s']:6.2f} s  "
            f"resident {found['resident_bytes'] / 2**20:7.1f} MiB, "
            f"anonymous {found['anonymous_bytes'] / 2**20:7.1f} MiB  differs by {apart[name]:.4f}"
        )
    for name, ratio in report["faster"].items():
        print(
            f"cache / {name}: {ratio:.2f}x the slices a second, {report['anonymous_memory'][name]:.3f} "
            f"of its anonymous memory ({GOALS.get(name, 'no goal')})"
        )


if __name__ == "__main__":
    main()
