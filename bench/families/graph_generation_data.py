"""Scene graphs under a protocol: what is learned from, and test graphs that only the engine holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bench.core import DataInfo
from bench.errors import UserError
from bench.files import digest
from bench.graphs.scene import SceneGraph, SceneGraphs, Vocabulary

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class TestGraphs:
    """Test graphs. Only the engine holds this object.

    Args:
        filtered: Those of `min_nodes` to `max_nodes`, which a method can also make.
        unfiltered: All of them.
    """

    filtered: tuple[SceneGraph, ...]
    unfiltered: tuple[SceneGraph, ...]


@dataclass(frozen=True)
class GraphData:
    """Training, validation, test; methods get the first two, filtered by number of nodes."""

    train: SceneGraphs
    val: SceneGraphs
    test: TestGraphs
    vocabulary: Vocabulary
    info: DataInfo
    protocol: Any
    departures: tuple[str, ...] = ()
    in_channels: int = 0


def load(scenes: SceneGraphs, protocol: Any) -> GraphData:
    """Split and filter.

    Raises:
        UserError: A split is missing, or holds too few graphs within the limits.
    """
    p = protocol
    lacking = [name for name in SPLITS if not scenes.splits.get(name)]
    if lacking:
        raise UserError(
            f"The data puts no graph into the {lacking[0]} split; each of train, val and test needs some."
        )
    own = {name: scenes.of(name) for name in SPLITS}
    kept = {name: within(graphs, p.min_nodes, p.max_nodes) for name, graphs in own.items()}
    for name, least in (("train", 1), ("val", 1), ("test", 2)):
        if len(kept[name]) < least:
            raise UserError(
                f"The {name} split has {len(kept[name])} graphs of {p.min_nodes} to {p.max_nodes} nodes "
                f"among {len(own[name])}, at least {least} are needed; change `protocol.min_nodes` or "
                "`protocol.max_nodes`."
            )
    val = spread(kept["val"], p.max_val)
    info = DataInfo(
        fingerprint=scenes.fingerprint(),
        split_sha256=digest({name: sorted(graph.name for graph in own[name]) for name in SPLITS}),
        counts={name: len(kept[name]) for name in SPLITS},
        unit="image",
        leaks=scenes.leaks(),
        classes=scenes.vocabulary.objects,
    )
    return GraphData(
        train=replace(scenes, graphs=kept["train"], splits={}),
        val=replace(scenes, graphs=val, splits={}),
        test=TestGraphs(spread(kept["test"], p.max_test), spread(own["test"], p.max_test)),
        vocabulary=scenes.vocabulary,
        info=info,
        protocol=p,
        departures=scenes.caveats,
    )


def within(graphs: Sequence[SceneGraph], least: int, most: int) -> tuple[SceneGraph, ...]:
    """Graphs of `least` to `most` nodes."""
    return tuple(graph for graph in graphs if least <= len(graph) <= most)


def spread(graphs: Sequence[SceneGraph], most: int | None) -> tuple[SceneGraph, ...]:
    """At most `most` graphs, evenly spread."""
    if most is None or most >= len(graphs):
        return tuple(graphs)
    return tuple(graphs[i] for i in np.linspace(0, len(graphs) - 1, most).round().astype(int))
