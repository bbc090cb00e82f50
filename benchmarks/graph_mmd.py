"""MMD of two sets of scene graphs: sparse features beside the kernel called for every pair of graphs.

Operation: from graphs to the unbiased MMD squared and its standard error, official walk kernel (three nodes,
0.5 at dead ends) and object kernel. Peers: the same walk kernel node by node for each pair of graphs, once on
arrays as the formula reads (`pairwise`; counts and neighbours are looked up where they are needed) and once
on lists with counts and neighbours prepared outside the clock (`prepared`); self-kernels are outside the
clock in both. They are timed on 60 against 60 graphs (3,600 pairs) and scaled to the 1,999,000 different
pairs among 1,000 and 1,000. All give the same kernels, which is checked on the timed pairs. Then growth: n
against n graphs, each size a process of its own; memory is what Python and numpy allocate at most beyond the
graphs, in a call of its own.
Run: `python benchmarks/graph_mmd.py [--root FOLDER]`, a folder that `bench metrics graphs` reads; otherwise
random graphs of about the sizes of VRD's.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import tracemalloc
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.graphs.scene import SceneGraph
from bench.metrics.graph_kernels import DeadEnd, gram, node_features, walk_features
from bench.metrics.mmd import compare

KERNEL = partial(walk_features, dead_end=DeadEnd.half)
PAIRS = 1000 * 999 + 1000 * 1000  # different pairs within and across two sets of 1,000
GOAL = 500
SIZES = (1000, 2000, 5000, 10000, 20000)


def random_graphs(count: int, seed: int) -> list[SceneGraph]:
    """Graphs of 1 to 20 nodes (7 on average), as many edges, 100 classes and 70 predicates, some common."""
    rng = np.random.default_rng(seed)
    objects, predicates = (1 / (1 + np.arange(kinds)) for kinds in (100, 70))
    objects, predicates = objects / objects.sum(), predicates / predicates.sum()
    found = []
    for i in range(count):
        n = int(np.clip(rng.poisson(7), 1, 20))
        pairs = rng.permutation(n * n)[: rng.poisson(n)]
        edges = np.column_stack([pairs // n, pairs % n])
        edges = edges[edges[:, 0] != edges[:, 1]]
        labels = rng.choice(100, n, p=objects)
        found.append(SceneGraph(labels, edges, rng.choice(70, len(edges), p=predicates), str(i)))
    return found


def given(root: Path | None, count: int) -> list[SceneGraph]:
    """So many graphs; real ones are drawn without replacement until there are none left, then again."""
    if root is None:
        return random_graphs(count, 0)
    from bench.graphs.read import read_graphs

    real, rng, found = read_graphs(root).graphs, np.random.default_rng(0), []
    while len(found) < count:
        found += [real[i] for i in rng.permutation(len(real))]
    return found[:count]


class Pairwise:
    """A graph as the formula has it: labels (n,), matrix (n, n)."""

    def __init__(self, graph: SceneGraph):
        self.labels, self.matrix = graph.labels, graph.matrix()

    def kernel(self, other: Pairwise) -> float:
        """Walks of three nodes, 0.5 where either node has no out-neighbour."""

        def k(p: int, r: int, s: int) -> float:
            label = self.labels[r]
            if label != other.labels[s]:
                return 0.0
            start = 1 / ((self.labels == label).sum() * (other.labels == label).sum())
            if p == 0:
                return start
            near, far = np.flatnonzero(self.matrix[r]).tolist(), np.flatnonzero(other.matrix[s]).tolist()
            if not len(near) or not len(far):
                return start * 0.5
            pairs = ((i, j) for i in near for j in far if self.matrix[r, i] == other.matrix[s, j])
            return start * sum(k(p - 1, i, j) for i, j in pairs)

        return float(sum(k(2, r, s) for r in range(len(self.labels)) for s in range(len(other.labels))))


class Prepared:
    """A graph as lists, with all that does not depend on the other graph."""

    def __init__(self, graph: SceneGraph):
        self.labels = graph.labels.tolist()
        self.counts = {label: self.labels.count(label) for label in set(self.labels)}
        matrix = graph.matrix().tolist()
        self.near = [[(j, told) for j, told in enumerate(row) if told] for row in matrix]

    def kernel(self, other: Prepared) -> float:
        """Walks of three nodes, 0.5 where either node has no out-neighbour."""

        def k(p: int, r: int, s: int) -> float:
            label = self.labels[r]
            if label != other.labels[s]:
                return 0.0
            start = 1 / (self.counts[label] * other.counts[label])
            if p == 0:
                return start
            if not self.near[r] or not other.near[s]:
                return start * 0.5
            return start * sum(k(p - 1, i, j) for i, a in self.near[r] for j, b in other.near[s] if a == b)

        return sum(k(2, r, s) for r in range(len(self.labels)) for s in range(len(other.labels)))


def peer(kind: Any, graphs: list[SceneGraph]) -> tuple[float, float]:
    """Seconds a pair of a peer on 60 against 60 graphs, and how far its kernels are from ours."""
    made = [kind(graph) for graph in graphs[:120]]
    own = [one.kernel(one) for one in made]
    start = time.perf_counter()
    slow = [[a.kernel(b) / (max(own[i], own[60 + j]) or 1) for j, b in enumerate(made[60:])]
            for i, a in enumerate(made[:60])]  # fmt: skip
    spent = time.perf_counter() - start
    features = KERNEL(graphs[:120])
    ours = gram(features.rows(slice(60)), features.rows(slice(60, None)))
    return spent / 3600, float(np.abs(ours - np.asarray(slow)).max())


def timed(call: Any, repeats: int) -> float:
    """Median seconds after a warm-up."""
    call()
    spent = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        spent.append(time.perf_counter() - start)
    return statistics.median(spent)


def one_size(root: Path | None, n: int) -> dict[str, Any]:
    """Time and memory of n against n graphs, official walk kernel, and of a permutation."""
    compare(random_graphs(10, 1), random_graphs(10, 2), KERNEL)  # imports
    graphs = given(root, 2 * n)

    def call(permutations: int = 0) -> float:
        start = time.perf_counter()
        compare(graphs[:n], graphs[n:], KERNEL, permutations=permutations)
        return time.perf_counter() - start

    plain, tested = (statistics.median(call(count) for _ in range(3)) for count in (0, 100))
    tracemalloc.start()
    call()
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {"n": n, "seconds": plain, "bytes": held, "permutation_s": max(0.0, tested - plain) / 100}


def main() -> None:
    """Print times, ratios, and the growth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--root", type=Path, help="folder of scene graphs; random ones unless given")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--largest", type=int, default=SIZES[-1], help="n of the growth")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.size:
        print(json.dumps(one_size(args.root, args.size)))
        return
    graphs = given(args.root, 2000)
    first, second = graphs[:1000], graphs[1000:]
    peers = {kind.__name__.lower(): peer(kind, graphs) for kind in (Pairwise, Prepared)}
    seconds = {
        "walk kernel": timed(lambda: compare(first, second, KERNEL), args.repeats),
        "object kernel": timed(lambda: compare(first, second, node_features), args.repeats),
        "walk kernel, 1,000 permutations": timed(
            lambda: compare(first, second, KERNEL, permutations=1000), args.repeats
        ),
    }
    report: dict[str, Any] = {
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "nodes": float(np.mean([len(graph) for graph in graphs])),
        "edges": float(np.mean([len(graph.edges) for graph in graphs])),
        "ms_a_pair": {name: 1000 * each for name, (each, _) in peers.items()},
        "greatest_difference": {name: apart for name, (_, apart) in peers.items()},
        "seconds": seconds,
        "faster": {name: PAIRS * each / seconds["walk kernel"] for name, (each, _) in peers.items()},
        "growth": [],
    }
    words = [] if args.root is None else [f"--root={args.root}"]
    for n in (size for size in SIZES if size <= args.largest):
        command = [sys.executable, __file__, *words, f"--size={n}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        report["growth"].append(json.loads(done.stdout))
    if args.json:
        print(json.dumps(report, indent=2))
        return
    print(f"{report['cores']} cores at load {report['load']:.1f}; graphs of {report['nodes']:.1f} nodes and "
          f"{report['edges']:.1f} edges on average")  # fmt: skip
    for name, (each, apart) in peers.items():
        print(f"{name}: {1000 * each:.3f} ms a pair, {PAIRS * each:,.0f} s for {PAIRS:,} pairs; kernels "
              f"differ by {apart:.1e}")  # fmt: skip
    for name, spent in seconds.items():
        print(f"1,000 against 1,000, {name}: {spent:.3f} s")
    for name, ratio in report["faster"].items():
        print(f"{name} / sparse: {ratio:,.0f}x ({f'goal {GOAL}x' if name == 'pairwise' else 'no goal'})")
    print(f"1,000 against 1,000 under a second: {'yes' if seconds['walk kernel'] < 1 else 'no'}")
    for row in report["growth"]:
        n, held = row["n"], row["bytes"] / 2**20
        print(f"{n:6,} against {n:6,}: {row['seconds']:7.2f} s, {held:6.1f} MiB, "
              f"{1000 * row['permutation_s']:.1f} ms a permutation")  # fmt: skip


if __name__ == "__main__":
    main()
