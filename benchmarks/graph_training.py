"""Training SceneGraphGen: steps a second of packed against padded batches, and the arithmetic that counts.

Operation: one optimiser step of the network in its full size (150 classes, 50 predicates, 25 nodes). Sizes
are those of real graphs, `--data` a folder, or of random ones of about 7 nodes. `packed` is what training
does; `longest` pads every graph to the largest of its batch, `padded` to 25 nodes, rows of edges alike. All
three compute one loss, which is compared. Run: `python benchmarks/graph_training.py --batch 64`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from bench.graphs.scene import SceneGraph
from bench.nn.graph_orders import Ordering
from bench.nn.graph_rnn import GraphRNN
from bench.nn.graph_sequences import Batch, Encoded, batch, encode, useful
from bench.nn.graph_training import losses, on_device

NODES, CLASSES, PREDICATES = 25, 150, 50


def graphs(data: Path | None, count: int = 4000) -> list[SceneGraph]:
    """Real graphs of 3 to 25 nodes, or random ones."""
    if data is not None:
        from bench.graphs.read import read_graphs

        return [graph for graph in read_graphs(data).graphs if 3 <= len(graph) <= NODES]
    rng, found = np.random.default_rng(0), []
    for n in np.clip(rng.poisson(7, count), 3, NODES):
        matrix = (rng.random((n, n)) < 0.12) * rng.integers(1, PREDICATES + 1, (n, n))
        found.append(SceneGraph.from_matrix(rng.integers(0, CLASSES, n), matrix))
    return found


def arithmetic(b: Batch) -> tuple[int, int]:
    """Steps over nodes and over edges that a batch computes."""
    return sum(b.node_sizes), sum(b.edge_sizes)


def main() -> None:
    """Take turns, compare losses, print steps a second and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--data", type=Path, help="a folder of scene graphs that `bench metrics graphs` reads"
    )
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 leaves its choice")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    own = graphs(args.data)
    objects = max(CLASSES, 1 + max(int(graph.labels.max()) for graph in own))
    predicates = max(PREDICATES, 1 + max(int(graph.predicates.max(initial=0)) for graph in own))
    data: Encoded = encode(own, objects, predicates, NODES, np.full(objects, 2))
    torch.manual_seed(0)
    net = GraphRNN(objects, predicates, NODES).to(args.device)
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], 0.0)  # weights stay
    rng = np.random.default_rng(0)
    spent: dict[str, list[float]] = {"packed": [], "longest": [], "padded": []}
    values: dict[str, float] = {}
    counted: dict[str, tuple[int, int]] = {}
    for turn in range(args.repeats + 1):
        rows = rng.integers(len(data), size=args.batch)
        keys = rng.random((args.batch, NODES))
        for name in list(spent)[:: 1 if turn % 2 == 0 else -1]:
            start = time.perf_counter()
            layout = {"packed": None, "longest": int(data.sizes[rows].max()), "padded": NODES}[name]
            b = on_device(batch(data, rows, keys, Ordering.random, layout), args.device)
            node, edge = losses(net(b), b)
            optimizer.zero_grad()
            (node + edge).backward()
            optimizer.step()
            values[name] = (node + edge).item()
            if turn:  # the first turn warms up
                spent[name].append(time.perf_counter() - start)
            counted[name] = arithmetic(b)
    median = {name: statistics.median(found) for name, found in spent.items()}
    whole = useful(data.sizes, NODES)
    report = {
        "operation": f"{args.batch} of {len(data)} graphs of {data.sizes.mean():.1f} nodes",
        "threads": torch.get_num_threads(),
        "device": args.device,
        "steps_per_s": {name: 1 / found for name, found in median.items()},
        "spread_s": {name: (min(found), max(found)) for name, found in spent.items()},
        "ratio": {name: found / median["packed"] for name, found in median.items()},
        "useful": {
            name: {"nodes": counted["packed"][0] / count[0], "edges": counted["packed"][1] / count[1]}
            for name, count in counted.items()
        },
        "useful_of_all_graphs_padded": whole,
        "losses_differ_by": max(values.values()) - min(values.values()),
    }
    if args.json:
        print(json.dumps(report, indent=2))
        return
    print(f"{report['operation']}, {report['threads']} threads, {args.device}")
    for name in spent:
        part = report["useful"][name]
        print(
            f"{name:8} {report['steps_per_s'][name]:7.3f} steps a second, {report['ratio'][name]:5.2f} times "
            f"the time of packed; useful: nodes {part['nodes']:.1%}, edges {part['edges']:.1%}"
        )
    print(f"losses differ by {report['losses_differ_by']:.1e}")
    print(f"all graphs padded to {NODES}: nodes {whole['nodes']:.1%}, edges {whole['edges']:.1%}")


if __name__ == "__main__":
    main()
