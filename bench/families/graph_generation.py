"""The family *graph generation*: learn a distribution of scene graphs, draw from it, tell how likely one is.

`fit` gets training and validation graphs (`SceneGraphs`), `predict` a `Draw` and returns that many graphs.
Two functions more are used where a method has them: `nll(graphs, orderings, seed)` -> (N, R) float64 in nats,
and `complete(partial, draw)` -> graphs that begin with the nodes of `partial`. Test graphs stay with the
engine; for likelihoods a method is handed them, clean and corrupted, without being told which is which.
"""

from __future__ import annotations

import copy
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from bench.core import Context, Dataset, Method, Scored, Task
from bench.errors import RunFailed
from bench.families import graph_generation_data
from bench.families.graph_generation_data import GraphData, TestGraphs, spread, within
from bench.graphs.draw import Draw
from bench.graphs.scene import SceneGraph, SceneGraphs, Vocabulary
from bench.metrics import graphs as metrics
from bench.metrics.anomaly import corrupted

AT_ONCE = 2048  # graphs drawn together; see benchmarks/README.md
SHARES = (0, 20, 50, 100)  # percent of nodes and edges that get another label
COMPLETED = 3  # partial graphs that are completed for the gallery,
COMPLETIONS = 4  # and how often each
GIVEN = 3  # nodes of a partial graph at most


@dataclass(frozen=True)
class Completed:
    """A partial graph and what a method made of it."""

    partial: SceneGraph
    graphs: tuple[SceneGraph, ...]


@dataclass(frozen=True)
class Generated:
    """What a fitted method answered.

    Args:
        graphs: Drawn graphs.
        likelihoods: Percent corrupted -> (N, R) nats of N test graphs in R orderings; None without `nll`.
        completed: Empty without `complete`.
    """

    graphs: tuple[SceneGraph, ...]
    likelihoods: Mapping[int, NDArray[np.float64]] | None = None
    completed: tuple[Completed, ...] = ()

    def content(self) -> bytes:
        """Every graph, to tell one set of predictions from another."""
        return b"|".join(graph.content() for graph in self.graphs)


class GraphTask(Task):
    """What scene-graph generation tasks share; a task file adds card, datasets and protocol."""

    family = "graph_generation"

    def load(self, samples: SceneGraphs, protocol: Any) -> GraphData:
        """Split and filter by number of nodes."""
        data = graph_generation_data.load(samples, protocol)
        if samples.cleaned:
            from bench.run import say  # the engine imports no family

            told = ", ".join(f"{count:,} {what}" for what, count in samples.cleaned.items())
            say(f"Put in order on loading: {told}.")
        return data

    def departures(self, data: GraphData) -> tuple[str, ...]:
        """What sets the data apart from what the papers used."""
        return data.departures

    def predict(self, method: Method, data: GraphData, ctx: Context) -> Generated:
        """Draw, complete, and measure likelihoods of clean and corrupted test graphs."""
        p = ctx.protocol
        graphs: list[SceneGraph] = []
        starts = range(0, p.samples, AT_ONCE)
        for start in ctx.progress(starts, "draw graphs"):
            indices = tuple(range(start, min(start + AT_ONCE, p.samples)))
            graphs += checked(method.predict(Draw(p.draw_seed, indices)), len(indices), data.vocabulary)
        return Generated(tuple(graphs), self._likelihoods(method, data, ctx), _completed(method, data, p))

    def _likelihoods(
        self, method: Method, data: GraphData, ctx: Context
    ) -> dict[int, NDArray[np.float64]] | None:
        measure: Callable[..., Any] | None = getattr(method, "nll", None)
        if measure is None:
            return None
        p = ctx.protocol
        test = measured(data, p)
        found = {}
        for share in ctx.progress(SHARES, "likelihoods"):
            graphs = [
                corrupted(graph, share / 100, p.draw_seed + i, data.vocabulary) if share else graph
                for i, graph in enumerate(test)
            ]
            nll = np.asarray(measure(graphs, p.orderings, p.draw_seed), np.float64)
            if nll.ndim != 2 or len(nll) != len(graphs) or not np.isfinite(nll).all():
                raise RunFailed(
                    f"`nll` must return finite nats ({len(graphs)}, orderings), got shape {nll.shape}."
                )
            found[share] = nll
        return found

    def score(self, predictions: Generated, data: GraphData, protocol: Any) -> Scored:
        """The graph suite."""
        n = np.asarray([len(graph) for graph in measured(data, protocol)])
        return metrics.suite(
            generated=predictions.graphs,
            filtered=data.test.filtered,
            unfiltered=data.test.unfiltered,
            train=data.train.graphs,
            vocabulary=data.vocabulary,
            likelihoods=predictions.likelihoods,
            tokens=n + 1 + n * (n - 1),  # nodes, the end, and a slot for every ordered pair
            permutations=protocol.permutations,
            seed=protocol.draw_seed,
        )

    def scale(self, protocol: Any, fraction: float) -> Mapping[str, Any]:
        """Fewer epochs, and the schedule of the learning rate with them."""
        fields = ("epochs", "constant_epochs", "lr_step", "validate_every")
        return {name: max(1, round(getattr(protocol, name) * fraction)) for name in fields}

    def adapt(self, cls: type, name: str) -> type[Method]:
        """A class with `fit(train, ctx)` and `sample(count, seed)`."""
        from bench.families.graph_generation_plain import adapted

        return adapted(cls, name)

    def keep(self, folder: Path, data: GraphData, predictions: Generated) -> None:
        """The drawn graphs, in the project's own format."""
        from bench.graphs.own import write_own

        write_own(folder / "generated", SceneGraphs(data.vocabulary, predictions.graphs))

    def labels(self, predictions: Generated) -> NDArray[np.int64]:
        """(N, 1 + n + n * n) int64 of N graphs: nodes, labels, matrix, padded with -1."""
        return flat(predictions.graphs)

    def answer_singly(self, method: Method, data: GraphData) -> NDArray[np.int64] | None:
        """Every graph drawn alone; None of a method that draws its sample as a whole."""
        if not getattr(method, "draws_singly", True):
            return None
        p = data.protocol
        return flat([method.predict(Draw(p.draw_seed, (i,)))[0] for i in range(p.samples)])

    def portable(self, method: Method) -> str:
        """The fitted method, or the user's object in it, pickles and draws the same again."""
        draw, again = Draw(0, (0, 1)), copy.copy(method)
        written = pickle.dumps(vars(method))
        vars(again).update(pickle.loads(written))  # noqa: S301 - written one line above
        if not np.array_equal(flat(again.predict(draw)), flat(method.predict(draw))):
            raise RunFailed("a pickled copy draws other graphs than the method; keep its whole state on it.")
        return f"the fitted method pickles ({len(written) / 2**20:.1f} MiB) and draws the same"

    def rehearse(
        self, method: Method, data: GraphData, ctx: Context, whole: Callable[[], SceneGraphs]
    ) -> str:
        """One optimiser step at the protocol's batch size, on a phantom of full size."""
        p = ctx.protocol
        full = self.load(whole(), p)
        once = replace(p, epochs=1, batches_per_epoch=1, max_steps=1)
        start = time.monotonic()
        method.fit(full.train, replace(full.val, graphs=full.val.graphs[:2]), replace(ctx, protocol=once))
        seconds = time.monotonic() - start
        return (
            f"{seconds:.2f} s for a fit of one step of {p.batch_size} graphs; the protocol has "
            f"{p.epochs * p.batches_per_epoch:,} steps"
        )

    def facts(self, dataset: Dataset, root: Path) -> dict[str, str]:
        """Graphs of every split and those that the protocol's filter leaves."""
        scenes, p = dataset.load(root), cast(Any, self.protocol())
        found = {"vocabulary": f"{len(scenes.vocabulary.objects)} objects, "}
        found["vocabulary"] += f"{len(scenes.vocabulary.predicates)} predicates"
        for name in graph_generation_data.SPLITS:
            own = scenes.of(name)
            kept = len(within(own, p.min_nodes, p.max_nodes))
            found[name] = f"{len(own):,} graphs, {kept:,} of {p.min_nodes} to {p.max_nodes} nodes"
        return found | {what: f"{count:,}" for what, count in scenes.cleaned.items()}

    def blind(self, data: GraphData) -> GraphData:
        """Test graphs that are all the same one."""
        test = data.test
        same = tuple(replace(test.filtered[0], name=graph.name) for graph in test.filtered)
        return replace(data, test=TestGraphs(same, same))

    def read_predictions(self, folder: Path, data: GraphData) -> Generated:
        """Graphs in any layout that `bench metrics graphs` reads."""
        from bench.families.graph_generation_answers import read

        return read(folder, data)

    def gallery(
        self, folder: Path, predictions: Generated, data: GraphData, scored: Scored, caption: str
    ) -> Sequence[Path]:
        """Drawn graphs beside their nearest training graph, completions, likelihoods, statistics."""
        from bench.families.graph_generation_answers import draw

        return draw(folder, predictions, data, scored, caption)


def measured(data: GraphData, protocol: Any) -> tuple[SceneGraph, ...]:
    """The test graphs whose likelihood is measured."""
    return spread(data.test.filtered, protocol.max_likelihoods)


def _completed(method: Method, data: GraphData, protocol: Any) -> tuple[Completed, ...]:
    """Test graphs cut down to their first related nodes, and completed."""
    complete: Callable[..., Any] | None = getattr(method, "complete", None)
    if complete is None:
        return ()
    found = []
    for graph in spread([one for one in data.val.graphs if len(one.edges)], COMPLETED):
        first = list(dict.fromkeys(graph.edges.reshape(-1).tolist()))[:GIVEN]
        partial = replace(graph.permuted(first), boxes=None, attributes=None, size=None)
        answer = complete(partial, Draw(protocol.draw_seed, tuple(range(COMPLETIONS))))
        found.append(Completed(partial, tuple(checked(answer, COMPLETIONS, data.vocabulary))))
    return tuple(found)


def checked(answer: Any, count: int, vocabulary: Vocabulary) -> list[SceneGraph]:
    """Refuse what is not `count` scene graphs in the vocabulary."""
    if not isinstance(answer, list | tuple) or len(answer) != count:
        got = f"{len(answer)} of them" if isinstance(answer, list | tuple) else type(answer).__name__
        raise RunFailed(f"`predict` must return a list of {count} graphs, got {got}.")
    for graph in answer:
        if not isinstance(graph, SceneGraph):
            raise RunFailed(f"`predict` must return graphs of type SceneGraph, got {type(graph).__name__}.")
        for kind, own in (("objects", graph.labels), ("predicates", graph.predicates)):
            known = len(getattr(vocabulary, kind))
            if len(own) and not 0 <= own.min() <= own.max() < known:
                raise RunFailed(
                    f"`predict` returned label {int(own.max())} among the {kind}, of which there are {known}."
                )
    return list(answer)


def flat(graphs: Sequence[SceneGraph]) -> NDArray[np.int64]:
    """Graphs as rows of one array, padded with -1."""
    rows = [np.concatenate([[len(g)], g.labels, g.matrix().reshape(-1)]) for g in graphs]
    found = np.full((len(rows), max(map(len, rows), default=0)), -1, np.int64)
    for place, row in zip(found, rows, strict=True):
        place[: len(row)] = row
    return found
