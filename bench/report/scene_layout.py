"""Where the nodes and edge labels of a drawn scene graph go.

Shape legend: n nodes, m edges. Lengths are inches on paper; the origin is the lower left of the panel.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Sequence

import networkx as nx
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LENGTH = 1.35  # inches of an edge where there is room
GAP = 0.14  # inches between components, and kept free around nodes
STARTS = 4  # layouts tried a component, of which the least tangled stands
STEPS = 120  # of pulling nodes apart
BOW, DEEPEST = 0.22, 0.5  # how far an edge with an opposite one bends, by its length and at most
INSET = 0.16  # kept free above and below for edges that bend
ALONG = (0.5, 0.42, 0.58, 0.34, 0.66, 0.27, 0.73)  # where on an edge its label may stand


def placed(edges: NDArray[np.int64], sizes: Floats, texts: Floats, room: tuple[float, float]) -> Floats:
    """Positions of nodes in a panel, the same on every call.

    Graphviz's `dot` lays out each component where it is installed with pygraphviz or pydot; Kamada-Kawai
    otherwise. Components stand beside each other; then nodes are pulled apart until names do not overlap and
    edges do not run through foreign nodes, as far as the panel allows.

    Args:
        edges: (m, 2) subject and object of every edge.
        sizes: (n, 2) width and height of the nodes.
        texts: (m, 2) width and height of the edges' labels, for which room is made.
        room: Width and height of the panel.

    Returns:
        (n, 2) centres.
    """
    n = len(sizes)
    if n == 0:
        return np.zeros((0, 2))
    proper = edges[:, 0] != edges[:, 1]
    pairs, first = np.unique(np.sort(edges[proper], axis=1), axis=0, return_inverse=True)
    wanted = (sizes[:, None] + sizes[None]) / 2 + GAP / 2
    length = np.zeros(len(pairs))
    np.maximum.at(length, first.reshape(-1), texts[proper, 0])
    for (a, b), wide in zip(pairs.tolist(), length.tolist(), strict=True):
        wanted[a, b] += (wide + 0.1, 0.2)
        wanted[b, a] = wanted[a, b]
    graph = nx.Graph()
    graph.add_nodes_from(range(n))
    graph.add_edges_from(pairs.tolist())
    found = np.zeros((n, 2))
    boxes, groups = [], []
    parts = sorted(nx.connected_components(graph), key=lambda part: (-len(part), min(part)))
    for part in parts:
        nodes = sorted(part)
        spots = _component(graph.subgraph(nodes), nodes, sizes[nodes])
        low = (spots - sizes[nodes] / 2).min(0)
        found[nodes] = spots - low
        boxes.append((spots + sizes[nodes] / 2).max(0) - low)
        groups.append(nodes)
    for nodes, corner in zip(groups, _packed(boxes, room), strict=True):
        found[nodes] += corner
    inset = INSET if len(np.unique(edges[proper], axis=0)) > len(pairs) else 0.0
    free = room[0], max(room[1] - 2 * inset, 0.3)
    return _apart(_fitted(found, sizes, free), pairs, sizes, wanted, free) + np.array([0.0, inset])


def _component(graph: nx.Graph, nodes: Sequence[int], sizes: Floats) -> Floats:
    """(n, 2) centres of a connected graph, wider than tall."""
    if len(nodes) == 1:
        return np.zeros((1, 2))
    if len(nodes) == 2:
        return np.array([[0.0, 0.0], [LENGTH + sizes[:, 0].mean() / 2, 0.0]])
    if graphviz():
        return _dot(graph, nodes)
    plain = nx.relabel_nodes(graph, {node: i for i, node in enumerate(nodes)})
    pairs = np.asarray(plain.edges)
    tried = []
    for start in range(STARTS):
        first = nx.circular_layout(plain)
        if start:
            turn = np.random.default_rng(start)
            first = {i: turn.normal(size=2) for i in range(len(nodes))}
        spots = nx.kamada_kawai_layout(plain, pos=first)
        found = _level(np.array([spots[i] for i in range(len(nodes))]))
        ways = found[pairs[:, 0]] - found[pairs[:, 1]]
        found *= LENGTH / np.sqrt((ways**2).sum(1)).mean()
        tried.append((_crossings(found, pairs), start, found))
    return min(tried, key=lambda one: one[:2])[2]


def graphviz() -> bool:
    """Whether `dot` and one of the packages through which networkx calls it are installed."""
    bound = any(importlib.util.find_spec(name) for name in ("pygraphviz", "pydot"))
    return bound and shutil.which("dot") is not None


def _dot(graph: nx.Graph, nodes: Sequence[int]) -> Floats:
    """Layers from top to bottom, 72 points an inch."""
    plain = nx.Graph(graph.edges)
    if importlib.util.find_spec("pygraphviz"):
        spots = nx.nx_agraph.graphviz_layout(plain, prog="dot")
    else:
        spots = nx.nx_pydot.graphviz_layout(plain, prog="dot")
    return np.array([spots[node] for node in nodes]) / 72


def _level(spots: Floats) -> Floats:
    """Turned so that the longest way lies flat: panels and names are wider than tall."""
    centred = spots - spots.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes * np.where(axes[np.arange(2), np.abs(axes).argmax(1)] < 0, -1, 1)[:, None]
    return centred @ axes.T


def _crossings(spots: Floats, pairs: NDArray[np.int64]) -> int:
    """How many pairs of edges cross."""
    a, b = spots[pairs[:, 0]], spots[pairs[:, 1]]

    def side(p: Floats, q: Floats, r: Floats) -> Floats:
        return (q[..., 0] - p[..., 0]) * (r[..., 1] - p[..., 1]) - (q[..., 1] - p[..., 1]) * (
            r[..., 0] - p[..., 0]
        )

    one, two = (a[:, None], b[:, None]), (a[None], b[None])
    apart = side(*one, two[0]) * side(*one, two[1]) < -1e-12
    return int((apart & apart.T).sum()) // 2


def _packed(boxes: Sequence[Floats], room: tuple[float, float]) -> list[Floats]:
    """Lower left corners of boxes in shelves, whose outline comes close to the panel's proportions."""
    whole = sum(float((box[0] + GAP) * (box[1] + GAP)) for box in boxes)
    widest = max(max(float(box[0]) for box in boxes), float(np.sqrt(whole * room[0] / room[1])) * 1.1)
    corners, x, y, tall = [], 0.0, 0.0, 0.0
    for box in boxes:
        if x and x + box[0] > widest:
            x, y, tall = 0.0, y - tall - GAP, 0.0
        corners.append(np.array([x, y - box[1]]))
        x, tall = x + box[0] + GAP, max(tall, float(box[1]))
    return corners


def _fitted(spots: Floats, sizes: Floats, room: tuple[float, float]) -> Floats:
    """Stretched to the panel along each axis by itself, small graphs not beyond their natural size."""
    half = sizes.max(0) / 2
    low, high = spots.min(0), spots.max(0)
    free = np.maximum(np.array(room) - 2 * half - 0.06, 0.1)
    scale = np.minimum(free / np.maximum(high - low, 1e-9), 1.7)
    return (spots - (low + high) / 2) * scale + np.array(room) / 2


def _apart(
    spots: Floats, pairs: NDArray[np.int64], sizes: Floats, wanted: Floats, room: tuple[float, float]
) -> Floats:
    """Pull nodes apart that are nearer than wanted (n, n, 2), and nodes off the edges that are not theirs."""
    low, high = sizes / 2 + 0.03, np.array(room) - sizes / 2 - 0.03
    low, high = np.minimum(low, high), np.maximum(low, high)
    spots = np.clip(spots, low, high)
    others = np.ones((len(pairs), len(spots)), bool)
    others[np.arange(len(pairs))[:, None], pairs] = False
    for step in range(STEPS):
        away = spots[:, None] - spots[None]
        # Two nodes on one spot part by their order.
        tie = np.sign(np.arange(len(spots))[:, None] - np.arange(len(spots))[None])
        sign = np.where(np.abs(away) > 1e-9, np.sign(away), tie[..., None])
        over = np.where(np.eye(len(spots), dtype=bool)[..., None], -1.0, wanted - np.abs(away))
        clash = (over > 0).all(-1)
        along = over[..., 0] < 1.5 * over[..., 1]
        move = np.where(np.stack([clash & along, clash & ~along], -1), over, 0)
        shift = 0.5 * (move * sign).sum(1)
        if step < STEPS // 2 and len(pairs):  # the last word is that of nodes that overlap
            shift += 0.35 * _off_edges(spots, pairs, sizes, others)
        elif not clash.any():
            break
        spots = np.clip(spots + np.clip(shift, -0.25, 0.25), low, high)
    return spots


def _off_edges(spots: Floats, pairs: NDArray[np.int64], sizes: Floats, others: NDArray[np.bool_]) -> Floats:
    """(n, 2) how nodes and edges that touch would have to move."""
    start, way = spots[pairs[:, 0]], spots[pairs[:, 1]] - spots[pairs[:, 0]]
    length = np.maximum((way**2).sum(-1), 1e-9)
    t = ((spots[None] - start[:, None]) * way[:, None]).sum(-1) / length[:, None]
    gap = spots[None] - (start[:, None] + np.clip(t, 0, 1)[..., None] * way[:, None])  # (m, n, 2)
    distance = np.sqrt((gap**2).sum(-1))
    normal = np.stack([-way[:, 1], way[:, 0]], -1) / np.sqrt(length)[:, None]
    # Half of the node's extent across the edge.
    reach = (np.abs(normal)[:, None] * sizes[None] / 2).sum(-1) + 0.05
    clash = others & (distance < reach) & (t > 0) & (t < 1)
    side = np.where((gap * normal[:, None]).sum(-1) >= 0, 1.0, -1.0)
    push = np.where(clash, reach - distance, 0)[..., None] * side[..., None] * normal[:, None]
    shift = push.sum(0)
    np.add.at(shift, pairs[:, 0], -0.5 * push.sum(1))
    np.add.at(shift, pairs[:, 1], -0.5 * push.sum(1))
    return shift


def bows(spots: Floats, ends: Sequence[tuple[int, int]]) -> list[float]:
    """The `rad` of matplotlib's `arc3` for every edge: 0 where no edge runs the other way."""
    both = set(ends) & {(target, subject) for subject, target in ends}
    length = [max(float(np.hypot(*(spots[s] - spots[o]))), 1e-9) for s, o in ends]
    return [min(BOW, DEEPEST / far) if end in both else 0.0 for end, far in zip(ends, length, strict=True)]


def bend(start: Floats, end: Floats, bow: float, t: float) -> Floats:
    """(2,) the point at `t` of matplotlib's `arc3` from `start` to `end`, a quadratic Bézier curve."""
    way = end - start
    middle = (start + end) / 2 + bow * np.array([way[1], -way[0]])
    return (1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * end


def labelled(
    spots: Floats,
    sizes: Floats,
    ends: Sequence[tuple[int, int]],
    bent: Sequence[float],
    texts: Floats,
    room: tuple[float, float],
) -> Floats:
    """Where edge labels stand: on their edge, off nodes and off one another where the edge allows.

    Args:
        spots: (n, 2) centres of nodes.
        sizes: (n, 2) their width and height.
        ends: m pairs of subject and object, none a self relation.
        bent: m bends.
        texts: (m, 2) width and height of the labels.
        room: Width and height of the panel, which labels do not leave.

    Returns:
        (m, 2) centres.
    """
    taken = [*np.concatenate([spots, sizes], axis=1)]
    weights = [3.0] * len(taken)
    found = np.zeros((len(ends), 2))
    for i, (subject, target) in enumerate(ends):
        tried = []
        for order, t in enumerate(ALONG):
            spot = bend(spots[subject], spots[target], bent[i], t)
            spot = np.clip(spot, texts[i] / 2, np.maximum(np.array(room) - texts[i] / 2, texts[i] / 2))
            boxes = np.array(taken)
            side = np.minimum(spot + texts[i] / 2, boxes[:, :2] + boxes[:, 2:] / 2) - np.maximum(
                spot - texts[i] / 2, boxes[:, :2] - boxes[:, 2:] / 2
            )
            shared = (np.maximum(side, 0).prod(1) * np.array(weights)).sum()
            tried.append((round(float(shared), 6), order, spot))
        found[i] = min(tried, key=lambda one: one[:2])[2]
        taken.append(np.concatenate([found[i], texts[i]]))
        weights.append(1.0)
    return found
