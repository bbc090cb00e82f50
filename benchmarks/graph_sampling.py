"""Drawing graphs: graphs a second side by side against one at a time, from the network in its full size.

Operation: SceneGraphGen with 150 classes, 50 predicates, 25 nodes, trained for `--steps` steps on graphs of
the phantom's grammar, so that sizes and probabilities are those of a model in use. Every batch size draws
the same sample, which is compared. Goal: 512 at once draw 30 times as many a second as one at a time.
Run: `python benchmarks/graph_sampling.py`, on a GPU `--device cuda --batches 1,512,4096 --count 8192`.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np
import torch

from bench.graphs.draw import Draw
from bench.graphs.scene import SceneGraph
from bench.nn.graph_orders import Ordering, first_node
from bench.nn.graph_rnn import GraphRNN
from bench.nn.graph_sampling import Sampler
from bench.nn.graph_sequences import encode
from bench.nn.graph_training import losses, on_device, sample_batch
from bench.phantoms.scenes import Grammar

GOAL, CLASSES, PREDICATES, NODES = 30, 150, 50, 25


def sampler(steps: int, device: str) -> Sampler:
    """A network trained for a little while."""
    torch.manual_seed(0)
    net = GraphRNN(CLASSES, PREDICATES, NODES).to(device)
    data = encode(Grammar().sample(1000, 0, filtered=True), CLASSES, PREDICATES, NODES, np.full(CLASSES, 2))
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], 2e-3)
    for step in range(steps):
        b = on_device(sample_batch(data, Ordering.random, 48, 0, step), device)
        node, edge = losses(net(b), b)
        optimizer.zero_grad()
        (node + edge).backward()
        optimizer.step()
    prior = first_node(Ordering.random, data.labels, data.sizes, data.ranks, CLASSES)
    return Sampler(net.eval(), prior)


def timed(own: Sampler, indices: range, at_once: int) -> tuple[float, list[SceneGraph]]:
    """Seconds and graphs."""
    found: list[SceneGraph] = []
    start = time.perf_counter()
    for first in range(0, len(indices), at_once):
        found += own.draw(Draw(0, tuple(indices[first : first + at_once])))
    return time.perf_counter() - start, found


def main() -> None:
    """Draw the same sample in batches of every size; print graphs a second and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--batches", default="1,8,64,512", help="graphs at once, separated by commas")
    parser.add_argument("--count", type=int, default=512, help="graphs a repeat")
    parser.add_argument("--singly", type=int, default=64, help="graphs a repeat where one is drawn at a time")
    parser.add_argument("--steps", type=int, default=150, help="of training before")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 leaves its choice")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    own, batches = sampler(args.steps, args.device), [int(word) for word in args.batches.split(",")]
    timed(own, range(8), 4)  # warms up
    rates: dict[int, list[float]] = {size: [] for size in batches}
    drawn: dict[int, list[SceneGraph]] = {}
    for _ in range(args.repeats):
        for size in batches:
            count = args.singly if size == 1 else args.count
            spent, drawn[size] = timed(own, range(count), size)
            rates[size].append(count / spent)
    last = drawn[batches[-1]]
    alike = {
        size: all(a.content() == b.content() for a, b in zip(graphs, last, strict=False))
        for size, graphs in drawn.items()
    }
    sizes = np.asarray([len(graph) for graph in last])
    median = {size: float(np.median(found)) for size, found in rates.items()}
    report: dict[str, Any] = {
        "operation": f"{sizes.mean():.1f} nodes and {(sizes * (sizes - 1) / 2).mean():.0f} pairs a graph",
        "threads": torch.get_num_threads(),
        "device": args.device,
        "graphs_per_s": median,
        "spread": {size: (min(found), max(found)) for size, found in rates.items()},
        "ratio_to_first": {size: rate / median[batches[0]] for size, rate in median.items()},
        "same_graphs_as_last": alike,
        "goal": GOAL,
    }
    if args.json:
        print(json.dumps(report, indent=2))
        return
    print(f"{report['operation']}, {report['threads']} threads, {args.device}")
    for size in batches:
        low, high = report["spread"][size]
        print(
            f"{size:5} at once: {median[size]:8.1f} graphs a second ({low:.1f} to {high:.1f}), "
            f"{report['ratio_to_first'][size]:5.1f} times; the same graphs: {alike[size]}"
        )
    print(f"goal {GOAL} times at 512")


if __name__ == "__main__":
    main()
