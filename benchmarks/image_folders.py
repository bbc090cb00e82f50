"""All set metrics of two folders beside torch-fidelity, from files to values, with the same network.

Operation: two folders of PNG images, FID, KID, Inception Score, precision and recall with `inception-tf`,
whose weights are drawn at random (the arithmetic is the same): decoding, network and metrics, nothing cached.
Run: `python benchmarks/image_folders.py`, on a GPU `--device cuda --count 50000`. Goal: 2 times as fast.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from PIL import Image

from bench.images.extractors import open_extractor
from bench.images.features import features
from bench.images.files import open_set
from bench.images.protocol import ImageProtocol
from bench.metrics.image_sets import compare

GOAL = 2.0
GROUPS = ("fid", "kid", "is", "pr")
NAMES = {
    "fid": "frechet_inception_distance",
    "kid_x1e3": "kernel_inception_distance_mean",
    "inception_score": "inception_score_mean",
    "precision": "precision",
    "recall": "recall",
}


def write(folder: Path, count: int, side: int, seed: int) -> Path:
    """Smooth colour noise, all images different; the second folder is brighter."""
    folder.mkdir()
    source = np.random.default_rng(seed)
    for i in range(count):
        coarse = Image.fromarray(source.integers(128 * seed, 256, (8, 8, 3), np.uint8))
        coarse.resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{i:05}.png")
    return folder


def weights(path: Path) -> Path:
    """A state of torch-fidelity's network that keeps activations in range."""
    from torch_fidelity import feature_extractor_inceptionv3 as package

    cls = package.FeatureExtractorInceptionV3
    with (
        mock.patch.object(package, "load_state_dict_from_url", lambda *_, **__: {}),
        mock.patch.object(cls, "load_state_dict", lambda *_, **__: None),
    ):
        net = cls("inception-v3-compat", ["2048", "logits_unbiased"])
    source, state = torch.Generator().manual_seed(0), net.state_dict()
    for key, value in state.items():
        if value.is_floating_point() and value.ndim > 1:
            value.normal_(0, (2 / value[0].numel()) ** 0.5, generator=source)
        elif value.is_floating_point():
            value.fill_(1.0 if key.endswith(("running_var", "bn.weight")) else 0.0)
    torch.save(state, path)
    return path


def ours(sides: tuple[Path, Path], state: Path, device: str) -> tuple[dict[str, float], dict[str, float]]:
    """Values, and seconds of features and of metrics."""
    with tempfile.TemporaryDirectory() as cache:
        start = time.perf_counter()
        extractor, protocol = (
            open_extractor("inception-tf", state, device=device),
            ImageProtocol("inception-tf"),
        )
        first, second = (features(open_set(side), extractor, protocol, Path(cache)) for side in sides)
        middle = time.perf_counter()
        found = compare(first.pooled, second.pooled, first.logits, GROUPS).metrics
        end = time.perf_counter()
    values = {name: found[name].value or 0.0 for name in NAMES}
    values["kid_x1e3"] /= 1000
    return values, {"features": middle - start, "metrics": end - middle, "all": end - start}


def theirs(sides: tuple[Path, Path], state: Path, device: str) -> tuple[dict[str, float], dict[str, float]]:
    """The same of torch-fidelity."""
    from torch_fidelity import calculate_metrics

    start = time.perf_counter()
    found = calculate_metrics(
        input1=str(sides[0]),
        input2=str(sides[1]),
        feature_extractor="inception-v3-compat",  # otherwise precision and recall take VGG
        feature_layer_prc="2048",
        feature_extractor_weights_path=str(state),
        cuda=device != "cpu",
        cache=False,
        verbose=False,
        save_cpu_ram=True,
        isc=True,
        fid=True,
        kid=True,
        prc=True,
        kid_subset_size=min(1000, len(list(sides[0].iterdir()))),
    )
    return {name: float(found[key]) for name, key in NAMES.items()}, {"all": time.perf_counter() - start}


def main() -> None:
    """Run both in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=256, help="images of a folder")
    parser.add_argument("--side", type=int, default=128, help="of an image, in pixels")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    seconds: dict[str, list[dict[str, float]]] = {"ours": [], "torch-fidelity": []}
    values: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        there = Path(scratch)
        sides = write(there / "a", args.count, args.side, 0), write(there / "b", args.count, args.side, 1)
        state = weights(there / "inception.pth")
        for _ in range(args.repeats):
            for name, work in (("ours", ours), ("torch-fidelity", theirs)):
                values[name], spent = work(sides, state, args.device)
                seconds[name].append(spent)
                print(f"{name}: {spent}", file=sys.stderr)
    best = {name: min(one["all"] for one in found) for name, found in seconds.items()}
    report: dict[str, Any] = {
        "threads": torch.get_num_threads(),
        "device": args.device,
        "seconds": seconds,
        "ratio": best["torch-fidelity"] / best["ours"],
        "images_per_s": 2 * args.count / best["ours"],
        "values": values,
        "goal": GOAL,
    }
    if args.json:
        print(json.dumps(report, indent=2))
        return
    print(
        f"{2 * args.count} images of {args.side} pixels, {report['threads']} threads, {args.device}: "
        f"{best['ours']:.1f} s against {best['torch-fidelity']:.1f} s, ratio {report['ratio']:.2f} "
        f"(goal {GOAL})"
    )
    for name in NAMES:
        print(f"{name}: {values['ours'][name]:.8g} and {values['torch-fidelity'][name]:.8g}")


if __name__ == "__main__":
    main()
