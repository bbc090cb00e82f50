"""How annotated graphs are put in order on loading: ordinary slips are mended and counted, never refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from bench.graphs.scene import SceneGraph

SELF, REPEATED, BARE = "self relations", "repeated pairs", "graphs without edges"


def cleaned(graph: SceneGraph) -> tuple[SceneGraph, Counter[str]]:
    """One graph without self relations and with the first edge alone of every ordered pair.

    Returns:
        The graph, its edges in their old order, and how often what was met: `self relations` and
        `repeated pairs` are edges left out, and a self relation that is said twice is both; a graph that has
        no edges, or none any more, stays and is counted.
    """
    found: Counter[str] = Counter()
    own = graph.edges[:, 0] == graph.edges[:, 1]
    pairs = graph.edges[:, 0] * max(1, len(graph)) + graph.edges[:, 1]
    first = np.zeros(len(pairs), bool)
    first[np.unique(pairs, return_index=True)[1]] = True
    kept = first & ~own
    found[SELF] = int(own.sum())
    found[REPEATED] = int((~first).sum())
    found[BARE] = int(not kept.any())
    if not kept.all():
        graph = replace(graph, edges=graph.edges[kept], predicates=graph.predicates[kept])
    return graph, +found


def all_cleaned(graphs: Iterable[SceneGraph]) -> tuple[tuple[SceneGraph, ...], dict[str, int]]:
    """Every graph put in order, and the counts together, those above zero in a fixed order of words."""
    kept, found = [], Counter()
    for graph in graphs:
        graph, counts = cleaned(graph)
        kept.append(graph)
        found += counts
    return tuple(kept), {what: found[what] for what in (SELF, REPEATED, BARE) if found[what]}
