"""Maximum mean discrepancy between two sets of graphs: estimate, standard error, permutation test.

MMD squared (thesis equation 10.13) is the mean kernel within one set plus that within the other minus twice
the mean across; without the pairs of a graph with itself it is unbiased, and may be negative. Papers print
1,000 times this under the name "MMD".

**Without a Gram matrix.** k(a, b) / max(k(a, a), k(b, b)) is no inner product, but with graphs in the order
of their self-kernels the greater one is that of the later graph. So the sum over all earlier graphs is one
product with the running sum of their features, and all row sums cost as much as a sort: memory grows with the
graphs, not with their pairs. Up to `DENSE` graphs the Gram matrix is made once, because a thousand
permutations are then one matrix product; above that every permutation takes running sums. Both are exact.

**Standard error.** By Hoeffding's decomposition of a U-statistic the variance is V1 + V2: V1 from how the
mean kernels of single graphs vary, V2 from what is left of pairs,
V2 = 2 s_xx / (n (n - 1)) + 2 s_yy / (m (m - 1)) + 4 s_xy / (n m), with s the mean squares of doubly centred
kernels (U-centred within a set). The plain plug-in P = 4 var(h_x) / n + 4 var(h_y) / m, with h_x(i) the mean
kernel of graph i to the rest of its set minus that to the other set, has the expectation V1 + 2 V2: the
estimate is P - V2, and V2 at least, since V1 is not negative; so where both sets have one distribution and
V1 is 0 it errs to the large side. Above `DENSE` graphs s comes from `SAMPLED` graphs of each set, P from all.

**Permutation test.** Of "both sets are drawn from one distribution": labels of the pooled graphs are
shuffled B times, p = (1 + shuffles with at least this MMD) / (1 + B).

Shapes: n graphs of the first set, m of the second, N = n + m, B permutations, F patterns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from bench.graphs.scene import SceneGraph
from bench.metrics.graph_kernels import Features, Floats, gram

DENSE = 2000  # graphs whose Gram matrix is kept: 32 MB; with more, running sums are faster too
SAMPLED = 1000  # graphs of each set that V2 is estimated from above that
_ROUNDING = 1e-13  # permutations that only differ by rounding are ties


@dataclass(frozen=True)
class Estimate:
    """MMD squared of two sets.

    Args:
        value: Unbiased estimate, or None where a set has fewer than two graphs.
        se: Standard error, or None where a set has fewer than four.
        p: Of the permutation test, or None without one.
        n, m: Graphs of the first and of the second set.
        reason: Why there is no value, in words; empty where there is one.
    """

    value: float | None
    se: float | None
    p: float | None
    n: int
    m: int
    reason: str = ""

    def interval(self) -> tuple[float, float] | None:
        """The value and 1.96 standard errors to either side."""
        if self.value is None or self.se is None:
            return None
        return self.value - 1.96 * self.se, self.value + 1.96 * self.se


def compare(
    first: Sequence[SceneGraph],
    second: Sequence[SceneGraph],
    kernel: Callable[[Sequence[SceneGraph]], Features],
    *,
    permutations: int = 0,
    seed: int = 0,
) -> Estimate:
    """MMD squared of two sets of graphs under a kernel.

    Args:
        first: n graphs.
        second: m graphs.
        kernel: Makes features, such as `node_features` or a partial `walk_features`.
        permutations: B; no test where 0.
        seed: Of the permutations, and of what V2 is estimated from in large sets.
    """
    return mmd(kernel([*first, *second]), len(first), permutations=permutations, seed=seed)


def mmd(features: Features, n: int, *, permutations: int = 0, seed: int = 0) -> Estimate:
    """MMD squared of the first n graphs of `features` and of the m others; see `compare`."""
    total = len(features)
    m = total - n
    if min(n, m) < 2:
        return Estimate(None, None, None, n, m, f"a set of {min(n, m)} graphs has no pairs")
    dense = _without_diagonal(gram(features)) if total <= DENSE else None
    sums = Sums(features) if dense is None else None
    member = np.zeros((total, 2))
    member[:n, 0] = member[n:, 1] = 1.0
    if dense is not None:
        rows = dense @ member
    else:
        assert sums is not None
        rows = sums.rows(member)
    value = _value(rows[:n, 0].sum(), rows[n:, 1].sum(), rows[:n, 1].sum(), n, m)
    se = _standard_error(rows, n, _second_order(features, dense, n, seed)) if min(n, m) >= 4 else None
    p = None
    if permutations > 0:
        drawn = _drawn(total, n, permutations, seed)
        within = _dense_within(dense, drawn) if sums is None else sums.within(drawn)
        # Row sums over all graphs give the other two sums of every permutation.
        every = rows.sum(1)
        across = every @ drawn.T - within
        shuffled = _value(within, every.sum() - 2 * across - within, across, n, m)
        p = float((1 + np.count_nonzero(shuffled >= value - _ROUNDING)) / (1 + permutations))
    return Estimate(float(value), se, p, n, m)


class Sums:
    """Sums of normalised kernels by running sums over features, never as a matrix.

    Args:
        features: N graphs.
    """

    def __init__(self, features: Features):
        own = features.own()
        order = np.argsort(own, kind="stable")
        sorted_own = own[order]
        inverse = np.divide(1.0, sorted_own, out=np.zeros_like(own), where=sorted_own > 0)
        values = sparse.csr_array(features.values[order]).tocoo()
        others = sparse.csr_array(features.weighed()[order]).tocsc()
        others.sort_indices()
        count = len(features)
        self._count, self._order = count, order
        self._row, self._amount = values.row, values.data
        self._inverse = inverse
        self._other_row, self._other = others.indices, others.data
        # Where, among the entries of a pattern sorted by graph, those of earlier and of later graphs end.
        width = np.diff(others.indptr)
        key = np.repeat(np.arange(len(width)), width) * count + others.indices
        wanted = values.col.astype(np.int64) * count + values.row
        self._before = np.searchsorted(key, wanted, "left")
        self._after = np.searchsorted(key, wanted, "right")
        self._start, self._end = others.indptr[:-1][values.col], others.indptr[1:][values.col]

    def rows(self, weights: Floats) -> Floats:
        """Sums over all other graphs j of weight(j) k(i, j): (N, K) of weights (N, K), both float64."""
        found = np.zeros((self._count, weights.shape[1]))
        for column, weight in enumerate(weights[self._order].T):
            before = self._earlier(weight) * self._inverse
            reached = _running(weight[self._other_row] * self._inverse[self._other_row] * self._other)
            after = self._collected(reached[self._end] - reached[self._after])
            found[self._order, column] = before + after
        return found

    def within(self, chosen: Floats) -> Floats:
        """Sums of k over ordered pairs of different chosen graphs: (B,) of (B, N) zeros and ones."""
        found = np.zeros(len(chosen))
        for b, drawn in enumerate(chosen):
            weight = drawn[self._order]
            found[b] = 2 * float(weight @ (self._earlier(weight) * self._inverse))
        return found

    def _earlier(self, weight: Floats) -> Floats:
        """Sums over earlier graphs of weight(j) and the kernel before it is normalised, in sorted order."""
        reached = _running(weight[self._other_row] * self._other)
        return self._collected(reached[self._before] - reached[self._start])

    def _collected(self, entries: Floats) -> Floats:
        found = np.bincount(self._row, entries * self._amount, minlength=self._count)
        return found.astype(np.float64)  # whole numbers where there is no entry at all


def _running(values: Floats) -> Floats:
    """Sums of the first 0, 1, ... values."""
    return np.concatenate([[0.0], np.cumsum(values)])


def _value(first: Floats, second: Floats, across: Floats, n: int, m: int) -> Floats:
    """MMD squared of sums over ordered pairs within the sets and over pairs across them."""
    return first / (n * (n - 1)) + second / (m * (m - 1)) - 2 * across / (n * m)


def _drawn(total: int, n: int, permutations: int, seed: int) -> Floats:
    """Who is in the first set, (B, N) float64 of zeros and ones with n ones a row."""
    rng = np.random.default_rng([seed, 1])
    drawn = np.zeros((permutations, total))
    for row in drawn:
        row[rng.permutation(total)[:n]] = 1.0
    return drawn


def _dense_within(kernels: Floats | None, drawn: Floats) -> Floats:
    assert kernels is not None
    return np.einsum("bi,bi->b", drawn @ kernels, drawn)


def _without_diagonal(kernels: Floats) -> Floats:
    np.fill_diagonal(kernels, 0.0)
    return kernels


def _standard_error(rows: Floats, n: int, second_order: float) -> float:
    """From row sums (N, 2) over the first and the second set, and V2."""
    m = len(rows) - n
    first = rows[:n, 0] / (n - 1) - rows[:n, 1] / m
    second = rows[n:, 1] / (m - 1) - rows[n:, 0] / n
    plug_in = 4 * first.var(ddof=1) / n + 4 * second.var(ddof=1) / m
    return float(np.sqrt(max(plug_in - second_order, second_order)))


def _second_order(features: Features, dense: Floats | None, n: int, seed: int) -> float:
    """V2: the variance that a statistic of pairs has beyond that of its single graphs."""
    m = len(features) - n
    if dense is not None:
        xx, yy, xy = dense[:n, :n], dense[n:, n:], dense[:n, n:]
    else:
        rng = np.random.default_rng([seed, 2])
        x = features.rows(rng.permutation(n)[:SAMPLED])
        y = features.rows(n + rng.permutation(m)[:SAMPLED])
        xx, yy, xy = _without_diagonal(gram(x)), _without_diagonal(gram(y)), gram(x, y)
    return (
        2 * _spread_within(xx) / (n * (n - 1))
        + 2 * _spread_within(yy) / (m * (m - 1))
        + 4 * _spread_across(xy) / (n * m)
    )


def _spread_within(kernels: Floats) -> float:
    """Mean square of the U-centred kernels of a set, (k, k) with an empty diagonal, k at least 4."""
    k = len(kernels)
    rows = kernels.sum(1)
    centred = kernels - rows[:, None] / (k - 2) - rows[None, :] / (k - 2)
    centred += rows.sum() / ((k - 1) * (k - 2))
    np.fill_diagonal(centred, 0.0)
    return float(np.einsum("ij,ij->", centred, centred) / (k * (k - 3)))


def _spread_across(kernels: Floats) -> float:
    """Mean square of the doubly centred kernels across two sets, (k, l)."""
    centred = kernels - kernels.mean(1, keepdims=True) - kernels.mean(0, keepdims=True) + kernels.mean()
    k, other = kernels.shape
    return float(np.einsum("ij,ij->", centred, centred) / ((k - 1) * (other - 1)))
