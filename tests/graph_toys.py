"""Small graphs and networks for tests of sequence models."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.checkpoint import Checkpoint
from bench.core import Context
from bench.curves import Curves
from bench.device import make_fabric
from bench.families.graph_generation_protocol import GraphProtocol
from bench.graphs.scene import SceneGraph, SceneGraphs, Vocabulary
from bench.nn.graph_rnn import GraphRNN
from bench.nn.graph_sequences import Encoded, encode
from bench.progress import Progress

TINY: dict[str, Any] = {"hidden": 8, "layers": 2}


def random_graphs(
    count: int, seed: int = 0, objects: int = 5, predicates: int = 3, sizes: tuple[int, int] = (1, 6)
) -> list[SceneGraph]:
    """Graphs of random labels; about one ordered pair in three has an edge."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        n = int(rng.integers(sizes[0], sizes[1] + 1))
        matrix = (rng.random((n, n)) < 0.35) * rng.integers(1, predicates + 1, (n, n))
        np.fill_diagonal(matrix, 0)
        found.append(SceneGraph.from_matrix(rng.integers(0, objects, n), matrix, str(i)))
    return found


def made(labels: Any, edges: Any = (), predicates: Any = (), name: str = "") -> SceneGraph:
    """A graph of plain lists."""
    nodes, ends, words = (np.asarray(part, np.int64) for part in (labels, edges, predicates))
    return SceneGraph(nodes, ends, words, name)


def scenes(graphs: list[SceneGraph], objects: int = 5, predicates: int = 3) -> SceneGraphs:
    words = Vocabulary(tuple(f"o{i}" for i in range(objects)), tuple(f"p{i}" for i in range(predicates)))
    return SceneGraphs(words, tuple(graphs))


def encoded(graphs: list[SceneGraph], objects: int = 5, predicates: int = 3, most: int = 6) -> Encoded:
    return encode(graphs, objects, predicates, most, np.arange(objects) % 3 + 1)


def network(seed: int = 0, sharp: float = 1.0, **changes: Any) -> GraphRNN:
    """A network as initialised, with `sharp` times the weights: what training does to them."""
    given = {"objects": 5, "predicates": 3, "max_nodes": 6, **TINY, **changes}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = GraphRNN(**given)
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if weight.dim() > 1 and not name.startswith("embed"):
                weight.mul_(sharp)
    return net.eval()


def in_order(count: int, most: int) -> np.ndarray:
    """Keys under which the random ordering leaves every graph as it is stored."""
    return np.tile(np.arange(most) / most, (count, 1))


def every_graph(objects: int, predicates: int, most: int) -> list[SceneGraph]:
    """All sequences of 1 to `most` nodes."""
    found = []
    for n in range(1, most + 1):
        pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
        for labels in itertools.product(range(objects), repeat=n):
            for edges in itertools.product(range(predicates + 1), repeat=len(pairs)):
                matrix = np.zeros((n, n), np.int64)
                for (i, j), edge in zip(pairs, edges, strict=True):
                    matrix[i, j] = edge
                found.append(SceneGraph.from_matrix(np.array(labels), matrix))
    return found


def context(folder: Path, log: list[str] | None = None, seed: int = 0, **protocol: Any) -> Context:
    """What the engine gives a method."""
    curves = Curves(folder / "curves.csv")
    lines = [] if log is None else log
    return Context(
        seed=seed,
        protocol=GraphProtocol(**protocol),
        profile="clean",
        num_classes=5,
        in_channels=0,
        folder=folder,
        fabric=make_fabric("cpu", "32-true"),
        checkpoint=Checkpoint(folder / "checkpoint", curves),
        progress=Progress(False),
        log=lines.append,
        curve=curves,
    )
