"""The graph kernels from their formula, a pair of nodes at a time, and random graphs to try them on."""

import numpy as np

from bench.graphs.scene import SceneGraph

DEAD_ENDS = {"half": (0.5, 0.5), "match": (1, 0), "zero": (0, 0), "intended": (1, 0.5)}


def walk_kernel(a: SceneGraph, b: SceneGraph, length: int, dead_end: str) -> float:
    first, second = a.matrix(), b.matrix()
    labels_a, labels_b = a.labels.tolist(), b.labels.tolist()
    both, one = DEAD_ENDS[dead_end]

    def k(p: int, r: int, s: int) -> float:
        if labels_a[r] != labels_b[s]:
            return 0.0
        start = 1 / (labels_a.count(labels_a[r]) * labels_b.count(labels_b[s]))
        if p == 0:
            return start
        out_r, out_s = np.flatnonzero(first[r]).tolist(), np.flatnonzero(second[s]).tolist()
        if len(out_r) and len(out_s):
            return start * sum(k(p - 1, i, j) for i in out_r for j in out_s if first[r, i] == second[s, j])
        return start * (both if not len(out_r) and not len(out_s) else one)

    return sum(k(length - 1, r, s) for r in range(len(a)) for s in range(len(b)))


def node_kernel(a: SceneGraph, b: SceneGraph) -> float:
    first, second = a.labels.tolist(), b.labels.tolist()
    return sum(1 / (1 + abs(first.count(c) - second.count(c))) for c in set(first) & set(second))


def normalised(kernel, a, b, *rest) -> float:
    greater = max(kernel(a, a, *rest), kernel(b, b, *rest))
    return kernel(a, b, *rest) / greater if greater > 0 else 0.0


def matrix(kernel, xs, ys, *rest):
    own_x = [kernel(a, a, *rest) for a in xs]
    own_y = [kernel(b, b, *rest) for b in ys]
    found = np.zeros((len(xs), len(ys)))
    for i, a in enumerate(xs):
        for j, b in enumerate(ys):
            greater = max(own_x[i], own_y[j])
            found[i, j] = kernel(a, b, *rest) / greater if greater > 0 else 0.0
    return found


def mmd(xx, yy, xy) -> float:
    """Unbiased MMD squared of Gram matrices."""
    n, m = xy.shape
    within = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in (xx, yy)]
    return within[0] + within[1] - 2 * xy.sum() / (n * m)


def random_graph(rng, classes=4, predicates=3, nodes=8, density=0.2, name="") -> SceneGraph:
    """Repeated labels, dead ends, self relations, several predicates on a pair, sometimes no edge or node."""
    n = int(rng.integers(0, nodes + 1))
    m = int(rng.binomial(max(n * n, 1), density)) if n and rng.random() < 0.85 else 0
    return SceneGraph(
        rng.integers(0, classes, n),
        rng.integers(0, max(n, 1), (m, 2)),
        rng.integers(0, predicates, m),
        name=name,
    )
