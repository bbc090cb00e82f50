"""The scene graph, one type for every task: labelled nodes, directed labelled edges, boxes, attributes.

Shape legend: n nodes, m edges, N graphs. Labels are positions in a `Vocabulary`, from 0; tokens such as an
end of sequence or "no edge" belong to models, never to a graph.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import networkx as nx
    from torch_geometric.data import Data, HeteroData

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Vocabulary:
    """Names of labels: a label is a position in one of these.

    Raises:
        ValueError: A name that stands twice.
    """

    objects: tuple[str, ...]
    predicates: tuple[str, ...]
    attributes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for kind in ("objects", "predicates", "attributes"):
            names = getattr(self, kind)
            if len(set(names)) != len(names):
                twice = next(name for i, name in enumerate(names) if name in names[:i])
                raise ValueError(f"`{twice}` stands twice among the {kind} of a vocabulary")


@dataclass(frozen=True, eq=False)
class SceneGraph:
    """One scene.

    Args:
        labels: (n,) int64, positions in `Vocabulary.objects`.
        edges: (m, 2) int64, positions of subject and object among the nodes.
        predicates: (m,) int64, positions in `Vocabulary.predicates`.
        name: Of the scene, such as an image id; empty for a generated one.
        boxes: (n, 4) float32, x0, y0, x1, y1 in pixels, or None.
        attributes: For each node the positions in `Vocabulary.attributes`, or None.
        size: Width and height of the image in pixels, or None.

    Raises:
        ValueError: Arrays that disagree, or an edge to a node that is not there.
    """

    labels: Ints
    edges: Ints
    predicates: Ints
    name: str = ""
    boxes: NDArray[np.float32] | None = None
    attributes: tuple[tuple[int, ...], ...] | None = None
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for name, shape in (("labels", (-1,)), ("edges", (-1, 2)), ("predicates", (-1,))):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.int64).reshape(shape))
        n = len(self.labels)
        if len(self.edges) != len(self.predicates):
            raise ValueError(f"{len(self.edges)} edges but {len(self.predicates)} predicates")
        if len(self.edges) and not (self.edges.min() >= 0 and self.edges.max() < n):
            raise ValueError(f"an edge names node {int(self.edges.max())} of a graph of {n} nodes")
        if self.boxes is not None:
            object.__setattr__(self, "boxes", np.asarray(self.boxes, np.float32).reshape(-1, 4))
        for name in ("boxes", "attributes"):
            value = getattr(self, name)
            if value is not None and len(value) != n:
                raise ValueError(f"{len(value)} {name} for {n} nodes")

    def __len__(self) -> int:
        return len(self.labels)

    def triples(self) -> set[tuple[int, int, int]]:
        """Labels (subject, predicate, object) of the edges, each once."""
        ends = self.labels[self.edges]
        return {(int(s), int(p), int(o)) for (s, o), p in zip(ends, self.predicates, strict=True)}

    def matrix(self) -> Ints:
        """(n, n) int64: 1 + predicate of the edge from row to column, 0 where there is none.

        Of several edges on one ordered pair the first stands.
        """
        found = np.zeros((len(self), len(self)), np.int64)
        for (subject, target), predicate in zip(self.edges[::-1], self.predicates[::-1], strict=True):
            found[subject, target] = 1 + predicate
        return found

    @classmethod
    def from_matrix(cls, labels: Any, matrix: Any, name: str = "") -> SceneGraph:
        """The graph of labels (n,) and a matrix (n, n) as `matrix` gives it."""
        matrix = np.asarray(matrix, np.int64)
        edges = np.argwhere(matrix > 0)
        return cls(np.asarray(labels), edges, matrix[edges[:, 0], edges[:, 1]] - 1, name)

    def permuted(self, order: Sequence[int] | Ints) -> SceneGraph:
        """The same scene with node `order[i]` as node i; nodes left out take their edges with them."""
        order = np.asarray(order, np.int64).reshape(-1)
        place = np.full(len(self), -1, np.int64)
        place[order] = np.arange(len(order))
        kept = (place[self.edges] >= 0).all(1)
        return replace(
            self,
            labels=self.labels[order],
            edges=place[self.edges[kept]],
            predicates=self.predicates[kept],
            boxes=None if self.boxes is None else self.boxes[order],
            attributes=None if self.attributes is None else tuple(self.attributes[i] for i in order),
        )

    def relabelled(self, objects: Ints, predicates: Ints) -> SceneGraph:
        """The same scene in another vocabulary: label k becomes `objects[k]`, predicates alike."""
        return replace(self, labels=objects[self.labels], predicates=predicates[self.predicates])

    def content(self) -> bytes:
        """Everything but the name, to tell one scene from another."""
        parts = [np.asarray([len(self), len(self.edges)]), self.labels, self.edges, self.predicates]
        found = b"".join(np.ascontiguousarray(part, "<i8").tobytes() for part in parts)
        if self.boxes is not None:
            found += b"boxes" + np.ascontiguousarray(self.boxes, "<f4").tobytes()
        if self.attributes is not None:
            found += f"attributes{self.attributes}".encode()
        return found + (f"size{self.size}".encode() if self.size else b"")

    def to_networkx(self, vocabulary: Vocabulary | None = None) -> nx.MultiDiGraph:
        """Nodes 0..n-1 with `label` and `box`, edges with `predicate`; names too, given a vocabulary."""
        import networkx as nx

        found = nx.MultiDiGraph(name=self.name)
        for i, label in enumerate(self.labels.tolist()):
            named = {} if vocabulary is None else {"name": vocabulary.objects[label]}
            box = {} if self.boxes is None else {"box": tuple(self.boxes[i].tolist())}
            has = {} if self.attributes is None else {"attributes": self.attributes[i]}
            found.add_node(i, label=label, **named, **box, **has)
        for (subject, target), predicate in zip(self.edges.tolist(), self.predicates.tolist(), strict=True):
            named = {} if vocabulary is None else {"name": vocabulary.predicates[predicate]}
            found.add_edge(subject, target, predicate=predicate, **named)
        return found

    @classmethod
    def from_networkx(cls, graph: Any) -> SceneGraph:
        """The scene of a directed graph whose nodes have `label` and whose edges have `predicate`."""
        place = {node: i for i, node in enumerate(graph.nodes)}
        facts = [graph.nodes[node] for node in place]
        edges = [(place[s], place[o], data["predicate"]) for s, o, data in graph.edges(data=True)]
        boxes = [fact["box"] for fact in facts] if facts and all("box" in fact for fact in facts) else None
        has = facts and all("attributes" in fact for fact in facts)
        return cls(
            np.asarray([fact["label"] for fact in facts], np.int64),
            np.asarray([edge[:2] for edge in edges], np.int64),
            np.asarray([edge[2] for edge in edges], np.int64),
            name=str(graph.graph.get("name", "")),
            boxes=None if boxes is None else np.asarray(boxes, np.float32),
            attributes=tuple(tuple(fact["attributes"]) for fact in facts) if has else None,
        )

    def to_pyg(self) -> Data:
        """PyG `Data`: `x` (n,) labels, `edge_index` (2, m), `edge_attr` (m,) predicates, `boxes` (n, 4)."""
        from bench.graphs import pyg

        return pyg.to_data(self)

    @classmethod
    def from_pyg(cls, data: Data) -> SceneGraph:
        """The scene of what `to_pyg` makes."""
        from bench.graphs import pyg

        return pyg.from_data(data)

    def to_hetero(self, vocabulary: Vocabulary) -> HeteroData:
        """PyG `HeteroData`: node type `object`, an edge type (`object`, predicate, `object`) a predicate.

        The order of edges is kept within a predicate.
        """
        from bench.graphs import pyg

        return pyg.to_hetero(self, vocabulary)

    @classmethod
    def from_hetero(cls, data: HeteroData, vocabulary: Vocabulary) -> SceneGraph:
        """The scene of what `to_hetero` makes; edges come back predicate by predicate."""
        from bench.graphs import pyg

        return pyg.from_hetero(data, vocabulary)


@dataclass(frozen=True)
class SceneGraphs:
    """Scenes with the vocabulary of their labels.

    Args:
        vocabulary: Names of the labels.
        graphs: N scenes; names are unique where `splits` is not empty.
        splits: `train`, `val`, `test` -> names of scenes, disjoint; empty where there is no assignment.
        cleaned: What was put in order on loading, in words -> how often, such as `self relations`.
        source: Where the assignment to splits comes from, in words.
        caveats: What sets the data apart from what the papers used, in words; each a deviation of a run.
    """

    vocabulary: Vocabulary
    graphs: tuple[SceneGraph, ...]
    splits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cleaned: Mapping[str, int] = field(default_factory=dict)
    source: str = ""
    caveats: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.graphs)

    def of(self, split: str) -> tuple[SceneGraph, ...]:
        """The scenes of one split, in the order of the data."""
        wanted = set(self.splits.get(split, ()))
        return tuple(graph for graph in self.graphs if graph.name in wanted)

    def counts(self) -> dict[str, int]:
        """Scenes in each split."""
        return {split: len(names) for split, names in self.splits.items()}

    def leaks(self) -> int:
        """Scenes that stand in the test split and in another one."""
        others = {name for split, names in self.splits.items() if split != "test" for name in names}
        return len(others & set(self.splits.get("test", ())))

    def fingerprint(self) -> str:
        """SHA-256 over the vocabulary and every scene with its name, whatever layout it was read from."""
        digest = hashlib.sha256(repr(self.vocabulary).encode())
        for graph in sorted(self.graphs, key=lambda graph: graph.name):
            digest.update(f"|{graph.name}|".encode() + graph.content())
        return digest.hexdigest()


def joined(first: SceneGraphs, second: SceneGraphs) -> tuple[SceneGraphs, SceneGraphs]:
    """Two sets of scenes in one vocabulary, that of the first with the second's further names behind it."""
    names = {
        kind: tuple(dict.fromkeys([*getattr(first.vocabulary, kind), *getattr(second.vocabulary, kind)]))
        for kind in ("objects", "predicates", "attributes")
    }
    both = Vocabulary(**names)
    return _in(first, both), _in(second, both)


def _in(scenes: SceneGraphs, vocabulary: Vocabulary) -> SceneGraphs:
    def places(own: Iterable[str], wanted: tuple[str, ...]) -> Ints:
        index = {name: i for i, name in enumerate(wanted)}
        return np.asarray([index[name] for name in own], np.int64)

    old = scenes.vocabulary
    objects = places(old.objects, vocabulary.objects)
    predicates = places(old.predicates, vocabulary.predicates)
    has = places(old.attributes, vocabulary.attributes)
    moved = (graph.relabelled(objects, predicates) for graph in scenes.graphs)
    graphs = tuple(
        graph
        if graph.attributes is None
        else replace(graph, attributes=tuple(tuple(has[list(one)].tolist()) for one in graph.attributes))
        for graph in moved
    )
    return replace(scenes, vocabulary=vocabulary, graphs=graphs)
