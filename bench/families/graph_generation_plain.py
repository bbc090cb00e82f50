"""A user's plain class as a graph-generation method: `fit(train, ctx)` and `sample(count, seed)`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.core import Context, Method
from bench.errors import RunFailed, UserError
from bench.families.plain_class import as_method, lacking, own_parameters
from bench.graphs.draw import Draw
from bench.graphs.scene import SceneGraph


@dataclass
class Generator(Method):
    """A user's class that need not know `bench`; its graphs may be SceneGraph, networkx or PyG `Data`."""

    family: ClassVar[str] = "graph_generation"
    draws_singly: ClassVar[bool] = False  # graph i of `sample` may depend on how many are drawn
    made: ClassVar[Callable[..., Any]]
    options: ClassVar[tuple[str, ...]] = ()

    def fit(self, train: Any, val: Any, ctx: Context) -> None:
        """Make the generator and let it learn."""
        self.own = type(self).made(**{name: getattr(self, name) for name in self.options})
        self.own.fit(train, ctx)
        self.seed = ctx.seed

    def predict(self, x: Draw) -> list[SceneGraph]:
        """As many graphs as indices, under a seed made of the run's, the draw's and the first index."""
        seed = int(np.random.SeedSequence([x.seed, self.seed, x.indices[0]]).generate_state(1)[0])
        return [scene(graph) for graph in self.own.sample(len(x.indices), seed)]

    def parameters_count(self) -> int | None:
        """Trainable parameters where the user's object has `parameters()`."""
        return own_parameters(getattr(self, "own", None))


def _nll(self: Any, graphs: Sequence[SceneGraph], orderings: int, seed: int) -> NDArray[np.float64]:
    """(N, 1) or (N, R) nats, as the user's `nll(graphs)` gives them."""
    found = np.asarray(self.own.nll(graphs), np.float64)
    return found[:, None] if found.ndim == 1 else found


def _complete(self: Any, partial: SceneGraph, draw: Draw) -> list[SceneGraph]:
    """The user's `complete(partial, count, seed)`."""
    return [scene(graph) for graph in self.own.complete(partial, len(draw.indices), draw.seed)]


def scene(graph: Any) -> SceneGraph:
    """A drawn graph as a `SceneGraph`.

    Raises:
        RunFailed: It is none, nor a directed networkx graph, nor PyG `Data`, or lacks labels.
    """
    if isinstance(graph, SceneGraph):
        return graph
    try:
        if hasattr(graph, "edge_index"):
            return SceneGraph.from_pyg(graph)
        if hasattr(graph, "nodes"):
            return SceneGraph.from_networkx(graph)
    except (AttributeError, KeyError, ValueError, TypeError) as error:
        raise RunFailed(
            f"A graph of `sample` cannot be read ({type(error).__name__}: {error}); a networkx graph has "
            "`label` on nodes and `predicate` on edges, PyG `Data` has x, edge_index and edge_attr."
        ) from error
    raise RunFailed(
        f"`sample` must return SceneGraph, networkx.DiGraph or PyG Data, got {type(graph).__name__}."
    )


def adapted(cls: type, name: str) -> type[Method]:
    """Make a method of a plain class; keyword arguments with plain defaults become its fields.

    Raises:
        UserError: It lacks `fit` or `sample`, or cannot be made without arguments.
    """
    if absent := lacking(cls, "fit", "sample"):
        raise UserError(
            f"`{name}` is no graph generator: it lacks {absent}; "
            "write `fit(train, ctx)`, where `train.graphs` are the training graphs, and "
            "`sample(count, seed)`, which returns that many."
        )
    more = {"nll": _nll, "complete": _complete}
    held = {part: made for part, made in more.items() if callable(getattr(cls, part, None))}
    return as_method(cls, name, Generator, held)
