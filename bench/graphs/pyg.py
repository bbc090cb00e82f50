"""Scene graphs to and from PyG."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # PyG is made with torch.jit.script, which torch retires
    from torch_geometric.data import Data, HeteroData

from bench.graphs.scene import SceneGraph, Vocabulary


def to_data(graph: SceneGraph) -> Data:
    """See `SceneGraph.to_pyg`."""
    found = Data(
        x=torch.from_numpy(graph.labels.copy()),
        edge_index=torch.from_numpy(np.ascontiguousarray(graph.edges.T)),
        edge_attr=torch.from_numpy(graph.predicates.copy()),
        name=graph.name,
        num_nodes=len(graph),
    )
    if graph.boxes is not None:
        found.boxes = torch.from_numpy(graph.boxes.copy())
    return found


def from_data(data: Data) -> SceneGraph:
    """See `SceneGraph.from_pyg`."""
    boxes: Any = data.boxes if "boxes" in data else None
    return SceneGraph(
        np.asarray(data.x),
        np.asarray(data.edge_index).T,
        np.asarray(data.edge_attr),
        name=str(data.name) if "name" in data else "",
        boxes=None if boxes is None else np.asarray(boxes),
    )


def to_hetero(graph: SceneGraph, vocabulary: Vocabulary) -> HeteroData:
    """See `SceneGraph.to_hetero`."""
    found = HeteroData()
    found["object"].x = torch.from_numpy(graph.labels.copy())
    found["object"].num_nodes = len(graph)
    if graph.boxes is not None:
        found["object"].boxes = torch.from_numpy(graph.boxes.copy())
    for predicate in np.unique(graph.predicates).tolist():
        chosen = np.ascontiguousarray(graph.edges[graph.predicates == predicate].T)
        found["object", vocabulary.predicates[predicate], "object"].edge_index = torch.from_numpy(chosen)
    return found


def from_hetero(data: HeteroData, vocabulary: Vocabulary) -> SceneGraph:
    """See `SceneGraph.from_hetero`."""
    edges, predicates = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.int64)]
    for kind in data.edge_types:
        index = np.asarray(data[kind].edge_index).T
        edges.append(index)
        predicates.append(np.full(len(index), vocabulary.predicates.index(kind[1]), np.int64))
    nodes = data["object"]
    boxes = np.asarray(nodes.boxes) if "boxes" in nodes else None
    return SceneGraph(np.asarray(nodes.x), np.concatenate(edges), np.concatenate(predicates), boxes=boxes)
