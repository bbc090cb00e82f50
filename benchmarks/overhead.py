"""A training run through the harness beside the same model and data in a bare loop.

Operation: fit with validation and checkpoints, as `bench run` does it, without data loading and scoring.
Peer: the shortest loop that does the same arithmetic. Both are timed in turn in one process, after a
warm-up of each; the ratio is that of the medians. Run: `python benchmarks/overhead.py`.
"""

from __future__ import annotations

import argparse
import copy
import gc
import statistics
import tempfile
import time
from pathlib import Path

import torch

from bench import seeding
from bench.checkpoint import Checkpoint
from bench.core import Context
from bench.curves import Curves
from bench.device import make_fabric
from bench.families.scan_sets import ScanSet
from bench.metrics.segmentation import selection_score
from bench.nn.fit import validates
from bench.nn.losses import build_loss
from bench.progress import Progress
from bench.registry import load


def scans(count: int, size: int) -> ScanSet:
    """Random scans and labels of two classes."""
    generator = torch.Generator().manual_seed(0)
    return ScanSet(
        torch.randn(count, 1, size, size, generator=generator),
        torch.randint(0, 2, (count, size, size), generator=generator),
        tuple(map(str, range(count))),
        tuple(map(str, range(count))),
    )


def through_bench(method, train, val, protocol, device, folder) -> None:
    """The harness's own fit."""
    curves = Curves(folder / "curves.csv")
    ctx = Context(
        seed=0,
        protocol=protocol,
        profile="clean",
        num_classes=2,
        in_channels=1,
        folder=folder,
        fabric=make_fabric(device, protocol.precision),
        checkpoint=Checkpoint(folder / "checkpoint", curves),
        progress=Progress(),
        log=lambda line: None,
        curve=curves,
    )
    method.fit(train, val, ctx)


def bare_loop(method, train, val, protocol, device) -> None:
    """The same steps, validation and best weights, with nothing around them."""
    device = "cuda" if device == "auto" and torch.cuda.is_available() else "cpu"
    net = method.build(1, 2).to(device)
    loss = build_loss(protocol.loss)
    optimizer = torch.optim.Adam(net.parameters(), lr=method.lr, weight_decay=method.weight_decay)
    best, weights = -1.0, None
    for epoch in range(1, protocol.epochs + 1):
        net.train()
        for batch in torch.randperm(len(train)).split(protocol.batch_size):
            value = loss(net(train.images[batch].to(device)), train.masks[batch].to(device))
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            value.item()
        if validates(epoch, protocol.epochs, protocol):
            net.eval()
            with torch.inference_mode():
                pred = [net(x.to(device)).argmax(1).cpu() for x in val.images.split(protocol.batch_size)]
            score = selection_score(torch.cat(pred), val.masks, 2, official=False)
            if score > best:
                best, weights = score, copy.deepcopy(net.state_dict())
    net.load_state_dict(weights)


def main() -> None:
    """Time both in turn and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", default="unet")
    parser.add_argument("--size", type=int, default=64, help="side of the square scans")
    parser.add_argument("--train", type=int, default=66)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=6)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    task = load("task", "oct").target
    protocol = task.protocol(image_size=(args.size, args.size), epochs=args.epochs, validate_every=1)
    method = load("method", args.method).target()
    train, val = scans(args.train, args.size), scans(22, args.size)
    seeding.seed_everything(0)
    times: dict[str, list[float]] = {"bench": [], "bare": []}
    for turn in range(args.repeats + 1):
        # Whoever goes second inherits a heap: take turns.
        for name in ("bare", "bench") if turn % 2 else ("bench", "bare"):
            gc.collect()
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                if name == "bare":
                    bare_loop(method, train, val, protocol, args.device)
                else:
                    through_bench(method, train, val, protocol, args.device, Path(folder))
                spent = time.perf_counter() - start
            if turn:  # the first turn warms up
                times[name].append(spent)
    ratios = [a / b for a, b in zip(times["bench"], times["bare"], strict=True)]
    size = (
        f"{args.train} scans {args.size}x{args.size}, {args.epochs} epochs, {torch.get_num_threads()} threads"
    )
    print(f"operation  fit of {args.method}, {size}")
    for name, values in times.items():
        print(f"{name:<10} median {statistics.median(values):.2f} s ({min(values):.2f} to {max(values):.2f})")
    print(f"ratio      {statistics.median(ratios):.3f} (goal 1.03 or less)")


if __name__ == "__main__":
    main()
