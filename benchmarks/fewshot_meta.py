"""Meta-training: tasks a second of `bench` beside a plain Reptile loop with the same steps.

Operation: Reptile over three sources of 64x64 slices in memory, five tasks a meta-epoch, 15 slices each, two
passes, batch 1, Adam anew for every task, on one thread. `fit` is the whole of the method's `fit` (without
shots to adapt to), `loop` is written out below. Both take turns in one process; their weights are compared.
Goal: `fit` takes at most 1.03 times the loop's time. Run: `python benchmarks/fewshot_meta.py`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bench import seeding
from bench.checkpoint import Checkpoint
from bench.core import Context
from bench.curves import Curves
from bench.device import make_fabric
from bench.families.fewshot_protocol import FewShotProtocol
from bench.fewshot.method import META, SETUP, FewShotTrain
from bench.nn.unet_cells import build_network
from bench.progress import Progress
from bench.registry import load
from bench.volumes.slices import ArrayStore, SliceSet, Source

SIDE, SLICES, GOAL = 64, 60, 1.03


def sources() -> tuple[Source, ...]:
    """Three sources of random slices with a bright square."""
    rng = np.random.default_rng(0)
    found = []
    for number, name in enumerate(("lung", "pancreas", "hepatic_vessel")):
        drawn = np.zeros((SLICES, SIDE, SIDE), bool)
        drawn[:, 10 + number : 40, 20:50] = True
        grey = np.clip(90 + 60 * drawn + rng.normal(0, 25, drawn.shape), 0, 255).astype(np.uint8)
        volumes = tuple(f"v{i // 10}" for i in range(SLICES))
        part = SliceSet(name, ArrayStore(grey, drawn), np.arange(SLICES), volumes, np.arange(SLICES) % 10)
        found.append(Source(name, part, part, 1.0))
    return tuple(found)


def context(folder: Path, protocol: Any) -> Context:
    """What the engine gives a method."""
    curves = Curves(folder / "curves.csv")
    return Context(
        seed=0,
        protocol=protocol,
        profile="clean",
        num_classes=1,
        in_channels=1,
        folder=folder,
        fabric=make_fabric("cpu", "32-true"),
        checkpoint=Checkpoint(folder / "checkpoint", curves),
        progress=Progress(),
        log=lambda line: None,
        curve=curves,
    )


def loop(parts: tuple[Source, ...], p: Any, method: Any) -> dict[str, torch.Tensor]:
    """Reptile in the shortest form: the same draws, the same steps."""
    seeding.seed_round(0, SETUP)
    net = build_network(p.network, p.image_size)
    seeding.seed_round(0, META)
    net.train()
    meta = {name: value.clone() for name, value in net.state_dict().items()}
    criterion = nn.BCEWithLogitsLoss()
    for epoch in range(1, p.meta_epochs + 1):
        draw = seeding.generator(0, epoch, 1)
        weights = torch.tensor([part.weight for part in parts], dtype=torch.float64)
        chosen = torch.multinomial(weights, p.tasks_per_epoch, replacement=True, generator=draw).tolist()
        places = [torch.randint(SLICES, (p.meta_shots,), generator=draw) for _ in chosen]
        for number, (source, place) in enumerate(zip(chosen, places, strict=True)):
            x, y = parts[source].train[place]
            net.load_state_dict(meta)
            optimizer = torch.optim.Adam(
                net.parameters(), lr=method.inner_lr, weight_decay=method.inner_weight_decay
            )
            for inner in range(1, p.inner_epochs + 1):
                for group in optimizer.param_groups:
                    group["lr"] = method.inner_lr * method.gamma ** ((inner - 1) // 2)
                order = torch.randperm(len(x), generator=seeding.generator(0, epoch, 2 + number, inner))
                for i in order.split(1):
                    loss = criterion(net(x[i]), y[i])
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            meta = {k: v + method.meta_lr * (net.state_dict()[k] - v) for k, v in meta.items()}
    return meta


def main() -> None:
    """Take turns, compare the weights, print tasks a second and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--meta-epochs", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    p = FewShotProtocol(image_size=(SIDE, SIDE), meta_epochs=args.meta_epochs, inner_epochs=2)
    parts, tasks = sources(), args.meta_epochs * p.tasks_per_epoch
    spent: dict[str, list[float]] = {"fit": [], "loop": []}
    states: dict[str, dict[str, torch.Tensor]] = {}

    def fit() -> dict[str, torch.Tensor]:
        method = load("method", "reptile").target()
        with tempfile.TemporaryDirectory() as scratch:
            method.fit(FewShotTrain(parts, ()), parts[0].val, context(Path(scratch), p))
        return method.net.state_dict()

    contenders = {"fit": fit, "loop": lambda: loop(parts, p, load("method", "reptile").target())}
    for turn in range(args.repeats + 1):
        for name in list(contenders)[:: 1 if turn % 2 == 0 else -1]:
            start = time.process_time()
            states[name] = contenders[name]()
            if turn:  # the first turn imports and warms up
                spent[name].append(time.process_time() - start)
    apart = max(float((states["fit"][k] - states["loop"][k]).abs().max()) for k in states["loop"])
    ratios = [a / b for a, b in zip(spent["fit"], spent["loop"], strict=True)]
    report = {
        "operation": f"{tasks} tasks of 15 slices {SIDE}x{SIDE}, 2 passes",
        "tasks_per_s": {name: tasks / statistics.median(found) for name, found in spent.items()},
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "ratio_of_fastest": min(spent["fit"]) / min(spent["loop"]),
        "weights_differ_by": apart,
        "goal": GOAL,
    }
    if args.json:
        print(json.dumps(report, indent=2))
        return
    print(report["operation"])
    for name, rate in report["tasks_per_s"].items():
        print(f"{name:5} {rate:6.2f} tasks a second of processor time")
    print(
        f"fit / loop: {report['ratio']:.3f} (median of turns), {report['ratio_of_fastest']:.3f} (fastest of "
        f"each); goal {GOAL} or less; weights differ by {apart:.1e}"
    )


if __name__ == "__main__":
    main()
