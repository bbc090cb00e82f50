"""Kernels between scene graphs, exactly, as sparse features: a Gram matrix is one sparse product.

Thesis chapter 10 (equations 10.6 to 10.9) compares graphs by pairs of directed walks with the same labels and
by the objects they hold; the official code visits every pair of nodes of every pair of graphs. Here a graph
becomes one sparse row x, how much of each *pattern* it holds, and k(a, b) = x_a M x_b for a sparse symmetric
matrix M that tells how alike two patterns are.

**Walks.** With w(r) = 1 / (nodes of the graph that share the class of r), K_0(r, s) = w(r) w(s) where the
classes of r and s agree, else 0, and K_p(r, s) = K_0(r, s) T(r, s), where T sums K_{p-1} over pairs of
out-neighbours of r and of s behind the same predicate; where r or s has no out-neighbour T follows `DeadEnd`.
The kernel sums K_{L-1} over all pairs of nodes, L the length of a walk in nodes. Patterns are the label
sequences (class, predicate, class, ...) of L nodes, with the product of w as their amount, and two for every
shorter sequence: nodes reached that have no way on (D) and that have one (O). A pair D, D counts `both`, a
pair D, O counts `one`, O, O nothing, since the walks go on. M thus has blocks [[both, one], [one, 0]]: the
dead-end rule is a correction of rank two in every shorter sequence. Nothing is subtracted anywhere, so
kernels that should be 0 are 0 and small ones keep their digits.

**Objects.** Classes in both graphs, each 1 / (1 + difference of the counts): patterns are (class, count).

Both kernels are set in proportion to the greater self-kernel, k(a, b) / max(k(a, a), k(b, b)), and a pair
whose self-kernels are both 0 counts 0. A graph has one predicate on an ordered pair of nodes: of several the
first stands, as in `SceneGraph.matrix`. Self relations that were not cleaned away are edges like others.

Shapes: N graphs, F patterns, L nodes of a walk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from bench.graphs.scene import SceneGraph

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LENGTH = 3  # nodes of a walk: two edges
_EXPANDED = 4_000_000  # walks held at once before equal ones are added up


class DeadEnd(StrEnum):
    """What T is where a walk cannot go on.

    - `half`: 0.5 where either node has no out-neighbour (the official code); not positive semi-definite.
    - `match`: 1 where neither has one, 0 where one has: a walk that ends early is like walks that end there.
      Positive semi-definite, and what the clean metrics use.
    - `zero`: 0, so only walks of exactly L nodes count (equation 10.6 to the letter).
    - `intended`: 1 where neither has one, 0.5 where one has (what the official code's comments are after).
    """

    half = "half"
    match = "match"
    zero = "zero"
    intended = "intended"

    def values(self) -> tuple[float, float]:
        """T where neither node goes on, and where one of them does not."""
        return {"half": (0.5, 0.5), "match": (1.0, 0.0), "zero": (0.0, 0.0), "intended": (1.0, 0.5)}[self]


@dataclass(frozen=True, eq=False)
class Features:
    """Graphs as amounts of patterns.

    Args:
        values: (N, F) CSR float64, never negative.
        metric: (F, F) CSR float64, symmetric: how alike two patterns are.
    """

    values: sparse.csr_array
    metric: sparse.csr_array

    def __len__(self) -> int:
        return len(self.values.indptr) - 1

    def weighed(self) -> sparse.csr_array:
        """`values` times `metric`, (N, F) CSR."""
        return sparse.csr_array(self.values @ self.metric)

    def own(self) -> Floats:
        """Kernel of every graph with itself, (N,) float64."""
        return self._own(self.weighed())

    def _own(self, weighed: sparse.csr_array) -> Floats:
        return np.asarray(self.values.multiply(weighed).sum(axis=1), np.float64).reshape(-1)

    def rows(self, chosen: slice | Ints) -> Features:
        """Some of the graphs, of the same patterns."""
        return Features(sparse.csr_array(self.values[chosen]), self.metric)


def gram(rows: Features, columns: Features | None = None, *, normalised: bool = True) -> Floats:
    """Kernels of all pairs of graphs.

    Args:
        rows: N graphs.
        columns: N' graphs with the same patterns, that is from one call of a function below; the rows again
            unless given.
        normalised: Divide by the greater self-kernel.

    Returns:
        (N, N') float64, from 0 to 1 where normalised and the rule is positive semi-definite.
    """
    other = rows if columns is None else columns
    weighed = other.weighed()
    found = np.asarray((rows.values @ weighed.T).toarray(), np.float64)
    if not normalised:
        return found
    across = other._own(weighed)
    down = across if other is rows else rows.own()
    greater = np.maximum(down[:, None], across[None, :])
    greater[greater == 0] = 1.0  # two graphs without any pattern: 0
    found /= greater
    return found


def node_features(graphs: Sequence[SceneGraph]) -> Features:
    """Patterns of the object kernel: (class, how many of it).

    Args:
        graphs: N graphs; those to be compared with each other must be in one call.

    Returns:
        Features whose rows hold a 1 for each class of a graph.
    """
    owner, labels = _nodes(graphs)
    if not len(labels):
        return _empty(len(graphs))
    classes = int(labels.max()) + 1
    held, counts = np.unique(owner * classes + labels, return_counts=True)
    most = int(counts.max()) + 1
    patterns, columns = np.unique(held % classes * most + counts, return_inverse=True)
    values = _csr(held // classes, columns, np.ones(len(held)), (len(graphs), len(patterns)))
    # Patterns of one class stand in a row: each is compared with those up to `reach` places on.
    kinds, amounts = patterns // most, patterns % most
    parts = [(np.arange(len(patterns)),) * 2]
    for reach in range(1, most):
        near = np.flatnonzero(kinds[reach:] == kinds[:-reach])
        parts += [(near, near + reach), (near + reach, near)]
    first, second = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    alike = 1.0 / (1 + np.abs(amounts[first] - amounts[second]))
    return Features(values, _csr(first, second, alike, (len(patterns), len(patterns))))


def walk_features(
    graphs: Sequence[SceneGraph], length: int = LENGTH, dead_end: DeadEnd = DeadEnd.match
) -> Features:
    """Patterns of the walk kernel: label sequences of walks, and of those that may end early.

    Built from the end: patterns behind a node are those behind its out-neighbours with one predicate and one
    class in front, so equal beginnings are never walked twice.

    Args:
        graphs: N graphs; those to be compared with each other must be in one call.
        length: Nodes of a walk, from 1.
        dead_end: Rule for walks that cannot go on.

    Returns:
        Features with one column for each pattern that any graph holds.

    Raises:
        ValueError: A length below 1, or so many labels and patterns that 64 bits do not number them.
    """
    if length < 1:
        raise ValueError(f"a walk has at least 1 node, got {length}")
    both, one = dead_end.values()
    owner, labels = _nodes(graphs)
    if not len(labels):
        return _empty(len(graphs))
    source, target, predicates = _edges(graphs)
    goes_on = np.bincount(source, minlength=len(labels)) > 0
    kinds, labels = np.unique(labels, return_inverse=True)
    used, predicates = np.unique(predicates, return_inverse=True)
    held, counts = np.unique(owner * len(kinds) + labels, return_inverse=True, return_counts=True)[1:]
    importance = 1.0 / counts[held]
    nodes = np.arange(len(labels))
    # Level 0: the class of a node. `twin` is the column of O for D and of D for O, -1 for whole walks; `dead`
    # tells D.
    behind = _csr(nodes, labels, importance, (len(labels), len(kinds)))
    twin, dead = np.full(len(kinds), -1), np.zeros(len(kinds), np.bool_)
    for level in range(1, length):
        last = level == length - 1
        size = len(twin)
        codes = 2 + len(used) * size  # D, O, then (predicate, pattern behind it)
        if len(kinds) * codes >= 2**63:
            raise ValueError(f"{len(kinds)} classes and {codes} patterns are too many to number in 64 bits")
        row_of = owner if last else nodes
        parts = []
        if both or one:
            ends = nodes if one else nodes[~goes_on]
            parts.append((row_of[ends], labels[ends] * codes + goes_on[ends], importance[ends]))
        for start, stop in _blocks(np.diff(behind.indptr)[target]):
            edge, entry = _expanded(behind.indptr, target[start:stop])
            edge += start
            r = source[edge]
            key = labels[r] * codes + 2 + predicates[edge] * size + behind.indices[entry]
            parts.append(_added(row_of[r], key, importance[r] * behind.data[entry]))
        row, key, value = (np.concatenate([part[i] for part in parts] or [[]]) for i in range(3))
        patterns, columns = np.unique(key.astype(np.int64), return_inverse=True)
        rows = len(graphs) if last else len(nodes)
        behind = _csr(row.astype(np.int64), columns, value, (rows, len(patterns)))
        twin, dead = _twins(patterns, codes, size, twin, dead)
    if length == 1:
        behind = _csr(owner, labels, importance, (len(graphs), len(kinds)))
    return Features(behind, _metric(twin, dead, both, one))


def _twins(
    patterns: Ints, codes: int, size: int, twin: Ints, dead: NDArray[np.bool_]
) -> tuple[Ints, NDArray[np.bool_]]:
    """Twins and dead ends of one level, from those of the level behind it."""
    code = patterns % codes
    walks = code >= 2
    inner = np.where(walks, (code - 2) % max(size, 1), 0)
    own = twin[inner] if size else np.full(len(code), -1)
    other = np.where(walks, np.where(own >= 0, code - inner + own, -1), 1 - code)
    wanted = np.where(other >= 0, patterns - code + other, -1)
    place = np.minimum(np.searchsorted(patterns, wanted), max(len(patterns) - 1, 0))
    found = np.where(patterns[place] == wanted, place, -1)
    # An end without a counterpart in the data is its own twin: -1 is left to whole walks.
    ends = (code < 2) | (walks & (own >= 0))
    found = np.where(ends & (found < 0), np.arange(len(patterns)), found)
    return found, np.where(walks, dead[inner] if size else False, code == 0)


def _metric(twin: Ints, dead: NDArray[np.bool_], both: float, one: float) -> sparse.csr_array:
    """Whole walks 1 with themselves, D `both` with itself, D and O `one` with each other."""
    places = np.arange(len(twin))
    whole = twin < 0
    alone = whole | dead
    pairs = ~whole & (twin != places)
    rows = np.concatenate([places[alone], places[pairs]])
    columns = np.concatenate([places[alone], twin[pairs]])
    values = np.concatenate([np.where(whole, 1.0, both)[alone], np.full(int(pairs.sum()), one)])
    kept = values != 0
    return _csr(rows[kept], columns[kept], values[kept], (len(twin), len(twin)))


def _nodes(graphs: Sequence[SceneGraph]) -> tuple[Ints, Ints]:
    """Graph and class of every node of all graphs."""
    owner = np.repeat(np.arange(len(graphs)), [len(graph) for graph in graphs])
    return owner, np.concatenate([graph.labels for graph in graphs] or [np.zeros(0, np.int64)])


def _edges(graphs: Sequence[SceneGraph]) -> tuple[Ints, Ints, Ints]:
    """Source, target and predicate of every edge of all graphs, sorted, one an ordered pair of nodes."""
    sizes = np.asarray([len(graph) for graph in graphs])
    starts = np.repeat(np.cumsum(sizes) - sizes, [len(graph.edges) for graph in graphs])
    edges = np.concatenate([graph.edges for graph in graphs]) + starts[:, None]
    predicates = np.concatenate([graph.predicates for graph in graphs])
    total = int(sizes.sum())
    pairs, first = np.unique(edges[:, 0] * total + edges[:, 1], return_index=True)
    return pairs // total, pairs % total, predicates[first]


def _blocks(counts: Ints) -> list[tuple[int, int]]:
    """Ranges of edges that expand to about `_EXPANDED` walks or, for a single edge, to more."""
    if not len(counts):
        return []
    block = np.cumsum(counts) // _EXPANDED
    cuts = [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), len(counts)]
    return list(pairwise(cuts))


def _expanded(indptr: NDArray, rows: Ints) -> tuple[Ints, Ints]:
    """All entries of given rows of a CSR matrix: which of the rows, and the place among the entries."""
    counts = (indptr[rows + 1] - indptr[rows]).astype(np.int64)
    which = np.repeat(np.arange(len(rows)), counts)
    within = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    return which, indptr[rows].astype(np.int64)[which] + within


def _added(rows: Ints, keys: Ints, values: Floats) -> tuple[Ints, Ints, Floats]:
    """Entries with the same row and key added up."""
    patterns, columns = np.unique(keys, return_inverse=True)
    high = int(rows.max()) + 1 if len(rows) else 0
    found = _csr(rows, columns, values, (high, len(patterns))).tocoo()
    return found.row.astype(np.int64), patterns[found.col], np.asarray(found.data, np.float64)


def _csr(rows: Ints, columns: Ints, values: Floats, shape: tuple[int, int]) -> sparse.csr_array:
    found = sparse.csr_array(sparse.coo_array((np.asarray(values, np.float64), (rows, columns)), shape=shape))
    found.sum_duplicates()
    return found


def _empty(count: int) -> Features:
    return Features(sparse.csr_array((count, 0)), sparse.csr_array((0, 0)))
