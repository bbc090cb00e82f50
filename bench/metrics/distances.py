"""Squared Euclidean distances between many samples, by tiles: who is within whose reach, safe from rounding.

A matrix product in float32 gives a distance with a known error. Where that error could change the answer,
the distance is taken again from the differences themselves in float64: a few pairs in a thousand. Where it
could change too many (features far from zero, or many of them equal), the tile is taken in float64, and what
is within rounding of zero there counts as zero.

Shapes: N, M samples, D features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Real = NDArray[np.floating]
Flags = NDArray[np.bool_]
ROWS, COLUMNS = 1024, 4096
DOUBTFUL = 0.02  # share of a tile that is taken from differences at most
SLACK = np.float32(1e-6)  # of an edge itself when written in float32
_PAIRS = 4096  # taken at once


def reach(x: Real, neighbours: Sequence[int]) -> list[Floats]:
    """Squared distance of every sample to its k-th nearest other one, (N,) for each k.

    Args:
        x: (N, D).
        neighbours: Each k, from 1 to N - 1.
    """
    furthest = max(neighbours)
    best = np.full((len(x), furthest), np.inf)
    shift = np.asarray(x[0], np.float64)
    starts = range(0, len(x), ROWS)
    for start in starts:
        rows = slice(start, min(start + ROWS, len(x)))
        part = _Part(x[rows], shift)
        for at in starts:
            if at < start:  # a tile serves its rows and its columns
                continue
            columns = slice(at, min(at + ROWS, len(x)))
            other = part if at == start else _Part(x[columns], shift)
            d, e, f = _product(part, other, double=False)
            if at == start:
                np.fill_diagonal(d, np.inf)
            best[rows] = _nearest(part, other, best[rows], (d, e, f), own=at == start)
            if at != start:
                best[columns] = _nearest(other, part, best[columns], (d.T, f.T, e.T), own=False)
    best.sort(axis=1)
    return [best[:, k - 1].copy() for k in neighbours]


def inside(
    x: Real, y: Real, edges: Sequence[tuple[Floats, bool]]
) -> Iterator[tuple[slice, slice, list[Flags]]]:
    """Which squared distances are below each edge, tile by tile.

    Args:
        x: (N, D).
        y: (M, D).
        edges: Squared distances (N, 1) or (1, M), and whether the edge itself counts.

    Yields:
        Rows of x, columns of y, and a (rows, columns) answer for each edge.
    """
    shift = np.asarray(y[0], np.float64)
    for start in range(0, len(x), ROWS):
        rows = slice(start, min(start + ROWS, len(x)))
        part = _Part(x[rows], shift)
        for at in range(0, len(y), COLUMNS):
            columns = slice(at, min(at + COLUMNS, len(y)))
            asked = [(e[:, columns] if len(e) == 1 else e[rows], closed) for e, closed in edges]
            yield rows, columns, _below(part, _Part(y[columns], shift), asked)


class _Part:
    """Some samples about a common shift, in float32 and when asked in float64, with their squared norms."""

    def __init__(self, x: Real, shift: Floats):
        self.raw, self.shift = x, shift
        exact = x - shift  # float64, whatever x is
        self.norms = np.einsum("nd,nd->n", exact, exact)
        # Beyond float32's range distances turn infinite or NaN and are all taken again.
        with np.errstate(over="ignore"):
            self.single = exact.astype(np.float32)

    def double(self) -> Floats:
        """The shifted samples again: not kept, they are seldom asked for."""
        return self.raw - self.shift


def _product(x: _Part, y: _Part, double: bool) -> tuple[Real, Floats, Floats]:
    """Squared distances (n, m), and their error's parts: at most e (n, 1) + f (1, m)."""
    kind = np.float64 if double else np.float32
    a, b = (x.double(), y.double()) if double else (x.single, y.single)
    # |x·y| computed in D steps errs by at most (D + 2) u |x| |y|; norms and sums add a few u each. And
    # 2 |x| |y| is at most |x|² + |y|².
    unit = (a.shape[1] + 8) * float(np.finfo(kind).eps) / 2
    with np.errstate(over="ignore", invalid="ignore"):
        d = a @ b.T
        d *= -2
        d += x.norms.astype(kind)[:, None]
        d += y.norms.astype(kind)
    least = a.shape[1] * float(np.finfo(kind).tiny)  # products that underflow
    return d, unit * x.norms[:, None] + least, unit * y.norms[None] + least


def _exact(x: _Part, y: _Part, pairs: tuple[NDArray[np.intp], ...]) -> Floats:
    """Squared distances of pairs (P,), from differences in float64."""
    found = np.empty(len(pairs[0]))
    for start in range(0, len(found), _PAIRS):
        i, j = (side[start : start + _PAIRS] for side in pairs)
        gap = x.raw[i].astype(np.float64) - y.raw[j]
        found[start : start + _PAIRS] = np.einsum("nd,nd->n", gap, gap)
    return found


def _snapped(x: _Part, y: _Part) -> Floats:
    """Squared distances in float64, zero where they are within rounding of it."""
    d, e, f = _product(x, y, double=True)
    d[d <= e + f] = 0
    return np.asarray(d, np.float64)


def _below(x: _Part, y: _Part, edges: Sequence[tuple[Floats, bool]]) -> list[Flags]:
    """Answers for one tile, see `inside`."""
    d, e, f = _product(x, y, double=False)
    answers, doubtful = [], np.zeros(d.shape, bool)
    with np.errstate(over="ignore", invalid="ignore"):
        error = (e + f).astype(np.float32)
        for edge, _ in edges:
            single = edge.astype(np.float32)
            # Not "at most": what is infinite or NaN is doubtful.
            doubtful |= ~(np.abs(d - single) > error + single * SLACK)
            answers.append(d <= single)
    pairs = np.nonzero(doubtful)
    if len(pairs[0]) <= max(DOUBTFUL * d.size, _PAIRS):
        again = _exact(x, y, pairs)
        for answer, (edge, closed) in zip(answers, edges, strict=True):
            limit = np.broadcast_to(edge, d.shape)[pairs]
            answer[pairs] = again <= limit if closed else again < limit
        return answers
    d = _snapped(x, y)
    return [d <= edge if closed else d < edge for edge, closed in edges]


def _nearest(x: _Part, y: _Part, best: Floats, tile: tuple[Real, Floats, Floats], own: bool) -> Floats:
    """The smallest squared distances (n, k) of `best` and the tile; where x is y, a sample's own left out."""
    k = best.shape[1]
    d, e, f = tile
    if d.shape[1] > k:
        # The k nearest are among those that may be as near as the k-th seems, or as the best so far.
        error = e + f.max()
        limit = np.partition(d, k - 1, axis=1)[:, k - 1 : k].astype(np.float64) + 2 * error
        limit = np.minimum(limit, best.max(1, keepdims=True) + error)
        with np.errstate(over="ignore", invalid="ignore"):
            candidates = ~(d > limit.astype(np.float32) * (1 + SLACK))
    else:
        candidates = np.ones(d.shape, bool)
    if own:
        np.fill_diagonal(candidates, False)
    pairs = np.nonzero(candidates)
    if len(pairs[0]) <= max(DOUBTFUL * d.size, _PAIRS):
        # Rows hold different numbers of candidates: each row is filled from the left.
        counts = candidates.sum(1)
        places = np.arange(len(pairs[0])) - np.repeat(np.cumsum(counts) - counts, counts)
        filled = np.full((len(d), int(counts.max(initial=0))), np.inf)
        filled[pairs[0], places] = _exact(x, y, pairs)
    else:
        filled = _snapped(x, y)
        if own:
            np.fill_diagonal(filled, np.inf)
    return np.partition(np.concatenate([best, filled], axis=1), k - 1, axis=1)[:, :k]
