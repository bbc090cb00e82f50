"""The suite of scene-graph generation: what drawn graphs are worth, beside test graphs and training graphs.

`mmd_*_x1e3` is MMD *squared* times 1,000, as thesis Table 10.1 prints it under "MMD"; it is unbiased and may
be negative. Variants: clean has the dead-end rule `match`, `@official` the official code's 0.5
(`bench.metrics.graph_kernels`); the object kernel knows no walks, so `mmd_node_x1e3` is the same in both. The
clean protocol compares with test graphs filtered like the training graphs, `_unfiltered` with all of them, as
the official evaluation does, which drawn graphs cannot match: they are never larger than training graphs.

Intervals are 95 %: 1.96 standard errors around MMD, means and areas, Wilson's for shares.

Shapes: N graphs, T test graphs whose likelihood was measured, R orderings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core import MetricValue, Scored
from bench.graphs.scene import SceneGraph, Vocabulary
from bench.metrics import graph_statistics as statistics
from bench.metrics.anomaly import auroc, auroc_error
from bench.metrics.graph_identity import distinct, novel, refined
from bench.metrics.graph_kernels import DeadEnd, Features, node_features, walk_features
from bench.metrics.mmd import Estimate, compare

Graphs = Sequence[SceneGraph]
Floats = NDArray[np.float64]

# What needs two sets of graphs and nothing else, in the order of output.
SET_METRICS = (
    "mmd_graph_x1e3",
    "mmd_graph_x1e3@official",
    "mmd_node_x1e3",
    "mmd_node_x1e3@official",
    "mmd_graph_p",
    "mmd_node_p",
    "kl_objects",
    "kl_predicates",
    "kl_cooccurrence",
    "kl_counts",
    "valid",
    "unique",
)
OFFICIAL = ("mmd_graph_x1e3@official", "mmd_node_x1e3@official")
# A kernel, the names of its MMD, and the name of its test.
_KERNELS: tuple[tuple[Callable[[Graphs], Features], tuple[str, ...], str], ...] = (
    (partial(walk_features, dead_end=DeadEnd.match), ("mmd_graph_x1e3",), "mmd_graph_p"),
    (partial(walk_features, dead_end=DeadEnd.half), ("mmd_graph_x1e3@official",), ""),
    (node_features, ("mmd_node_x1e3", "mmd_node_x1e3@official"), "mmd_node_p"),
)
_Z = 1.96


def suite(
    *,
    generated: Graphs,
    filtered: Graphs,
    unfiltered: Graphs,
    train: Graphs,
    vocabulary: Vocabulary,
    likelihoods: Mapping[int, Floats] | None,
    tokens: NDArray[Any] | None,
    permutations: int,
    seed: int,
    progress: Callable[..., Any] | None = None,
) -> Scored:
    """Everything at once.

    Args:
        generated: N drawn graphs.
        filtered: Test graphs of the sizes that were trained on.
        unfiltered: All test graphs.
        train: Training graphs, at least one.
        vocabulary: Of all of them.
        likelihoods: Percent of labels corrupted (0 and others) -> (T, R) nats of the same T test graphs in
            the same order; None of a method that gives none, and their metrics are left out.
        tokens: (T,) predictions that the likelihood of each clean graph is made of; None leaves out
            `nll_token`.
        permutations: Of the tests behind `mmd_node_p` and `mmd_graph_p`.
        seed: Of these.
        progress: Puts a bar around the parts.

    Returns:
        Metrics:

        - `mmd_graph_x1e3`, `mmd_node_x1e3`, also `@official`, `_unfiltered` and both; `mmd_graph_p`,
          `mmd_node_p`, the probability of so great a clean MMD if both sets came from one distribution.
        - `kl_objects`, `kl_predicates`, `kl_cooccurrence` in nats; `kl_counts`, the plain mean over classes
          in both sets (`bench.metrics.graph_statistics`). Against the filtered test graphs.
        - `valid`; `unique`, distinct graphs by N; `novel`, graphs that are not in training; `known_triples`,
          edges whose triple is; `nearest_train`, mean similarity to the most similar training graph.
        - `nll`, mean over graphs and orderings (in random orderings above -log p of a graph); `nll_token`,
          the same by the number of tokens; `auroc_20` and so on, of the mean over orderings.

        `n` is N, for likelihoods T. Units: a row a drawn graph.

    Raises:
        ValueError: Likelihoods of differing graphs, or no training graph.
    """
    if likelihoods is not None:
        _check(likelihoods, tokens)
    parts: list[Callable[[], dict[str, MetricValue]]] = [
        lambda: against(generated, filtered, vocabulary, permutations=permutations, seed=seed),
        lambda: _unfiltered(generated, unfiltered, seed),
        lambda: _likelihoods(likelihoods or {}, tokens),
    ]
    rows: list[dict[str, Any]] = []
    parts.insert(2, lambda: _training(generated, train, vocabulary, rows))
    metrics: dict[str, MetricValue] = {}
    for part in parts if progress is None else progress(parts, "score graphs"):
        metrics |= part()
    return Scored(metrics, rows)


def against(
    generated: Graphs,
    reference: Graphs,
    vocabulary: Vocabulary,
    *,
    permutations: int,
    seed: int,
    wanted: Sequence[str] = SET_METRICS,
) -> dict[str, MetricValue]:
    """Metrics of two sets of graphs in one vocabulary.

    Args:
        generated: N graphs, the set that is judged.
        reference: The set it is compared with.
        vocabulary: Of both.
        permutations: Of the tests behind `mmd_node_p` and `mmd_graph_p`; where 0 these are left out.
        seed: Of these.
        wanted: Some of `SET_METRICS`.

    Returns:
        The metrics wanted, in the order of `SET_METRICS`; those of sets too small are undefined.
    """
    found = _mmds(generated, reference, wanted, permutations, seed)
    n = len(generated)
    classes, predicates = len(vocabulary.objects), len(vocabulary.predicates)
    objects = partial(statistics.object_counts, classes=classes)
    relations = partial(statistics.predicate_counts, predicates=predicates)
    makers: dict[str, Callable[[], MetricValue]] = {
        "kl_objects": lambda: _kl(statistics.divergence(objects(generated), objects(reference)), n),
        "kl_predicates": lambda: _kl(statistics.divergence(relations(generated), relations(reference)), n),
        "kl_cooccurrence": lambda: _kl(statistics.cooccurrence_divergence(generated, reference, classes), n),
        "kl_counts": lambda: _kl_counts(generated, reference, vocabulary),
        "valid": lambda: _share(sum(statistics.valid(graph, vocabulary) for graph in generated), n),
        "unique": lambda: MetricValue(distinct(refined(generated)) / n if n else None, n),
    }
    found |= {name: make() for name, make in makers.items() if name in wanted}
    return {name: found[name] for name in SET_METRICS if name in found}


def _mmds(
    generated: Graphs, reference: Graphs, wanted: Sequence[str], permutations: int, seed: int
) -> dict[str, MetricValue]:
    found: dict[str, MetricValue] = {}
    for kernel, values, test in _KERNELS:
        tested = permutations if test in wanted else 0
        if tested or any(name in wanted for name in values):
            estimate = compare(generated, reference, kernel, permutations=tested, seed=seed)
            found |= {name: _mmd(estimate, "official" if "@" in name else "clean") for name in values}
            if tested:
                n = 0 if estimate.p is None else estimate.n
                found[test] = MetricValue(estimate.p, n, direction="none")
    return {name: value for name, value in found.items() if name in wanted}


def _mmd(estimate: Estimate, variant: str) -> MetricValue:
    low, high = estimate.interval() or (None, None)
    thousand = [None if value is None else 1000 * value for value in (estimate.value, low, high)]
    n = 0 if estimate.value is None else estimate.n
    return MetricValue(thousand[0], n, "score", "lower", variant, thousand[1], thousand[2])


def _unfiltered(generated: Graphs, unfiltered: Graphs, seed: int) -> dict[str, MetricValue]:
    names = tuple(name for name in SET_METRICS if "x1e3" in name)
    found = _mmds(generated, unfiltered, names, 0, seed)
    return {name.replace("x1e3", "x1e3_unfiltered"): found[name] for name in names}


def _kl(value: float | None, n: int) -> MetricValue:
    return MetricValue(value, 0 if value is None else n, "nats", "lower")


def _kl_counts(generated: Graphs, reference: Graphs, vocabulary: Vocabulary) -> MetricValue:
    classes = len(vocabulary.objects)
    values = statistics.count_divergences(generated, reference, classes)
    held = np.diff(statistics.instance_counts(generated, classes).tocsc().indptr).tolist()
    defined = [value for value in values if value is not None]
    found = _kl(float(np.mean(defined)) if defined else None, len(generated))
    named = zip(vocabulary.objects, values, held, strict=True)
    found.per_class = {name: _kl(value, int(n)) for name, value, n in named}
    return found


def _training(
    generated: Graphs, train: Graphs, vocabulary: Vocabulary, rows: list[dict[str, Any]]
) -> dict[str, MetricValue]:
    """Metrics that need training graphs; appends a row for each drawn graph."""
    fresh = novel(refined(generated), refined(train))
    known, edges = statistics.known_triples(generated, train)
    places, similarities = statistics.nearest(generated, train)
    for i, graph in enumerate(generated):
        rows.append(
            {
                "name": graph.name or f"{i:06d}",
                "nodes": len(graph),
                "edges": len(graph.edges),
                "valid": statistics.valid(graph, vocabulary),
                "novel": bool(fresh[i]),
                "known_triples": int(known[i]),
                "nearest_similarity": float(similarities[i]),
                "nearest": train[int(places[i])].name or f"{int(places[i]):06d}",
            }
        )
    return {
        "novel": _share(int(fresh.sum()), len(generated)),
        "known_triples": _ratio(known, edges, "fraction", "higher", (0, 1)),
        "nearest_train": _ratio(similarities, np.ones(len(generated)), "score", "none", (0, 1)),
    }


def _likelihoods(likelihoods: Mapping[int, Floats], tokens: NDArray[Any] | None) -> dict[str, MetricValue]:
    if not likelihoods:
        return {}
    means = {share: nats.mean(axis=1) for share, nats in likelihoods.items()}
    clean = means[0]
    found = {"nll": _ratio(clean, np.ones(len(clean)), "nats", "lower")}
    if tokens is not None:
        found["nll_token"] = _ratio(clean, tokens, "nats", "lower")
    for share in sorted(means):
        if share:
            area = MetricValue(auroc(clean, means[share]), len(clean), "score", "higher")
            found[f"auroc_{share}"] = _bounded(area, auroc_error(clean, means[share]), (0, 1))
    return found


def _check(likelihoods: Mapping[int, Floats], tokens: NDArray[Any] | None) -> None:
    shapes = {share: nats.shape for share, nats in likelihoods.items()}
    if 0 not in shapes or len(set(shapes.values())) > 1 or len(shapes[0]) != 2 or not all(shapes[0]):
        raise ValueError(f"likelihoods of one shape (T, R), clean ones under 0, are wanted, got {shapes}")
    if tokens is not None and len(tokens) != shapes[0][0]:
        raise ValueError(f"{len(tokens)} numbers of tokens for {shapes[0][0]} graphs")


def _share(hits: int, n: int) -> MetricValue:
    """Hits of n with Wilson's interval, which has a width even where all or none are hits."""
    if not n:
        return MetricValue(None, 0)
    p, z2 = hits / n, _Z**2 / n
    middle = (p + z2 / 2) / (1 + z2)
    half = _Z * math.sqrt(p * (1 - p) / n + z2 / (4 * n)) / (1 + z2)
    return MetricValue(p, n, ci_low=min(p, middle - half), ci_high=max(p, middle + half))


def _ratio(
    parts: NDArray[Any],
    wholes: NDArray[Any],
    unit: str,
    direction: str,
    limits: tuple[float, float] = (-math.inf, math.inf),
) -> MetricValue:
    """Sum of (n,) parts over sum of (n,) wholes, with the linearised error over graphs."""
    n = len(parts)
    if not n or not wholes.sum():
        return MetricValue(None, 0, unit, direction)
    value = float(parts.sum() / wholes.sum())
    left = parts - value * wholes
    error = float(np.sqrt((left**2).sum() * n / (n - 1)) / wholes.sum()) if n > 1 else None
    return _bounded(MetricValue(value, n, unit, direction), error, limits)


def _bounded(metric: MetricValue, error: float | None, limits: tuple[float, float]) -> MetricValue:
    """The metric with its interval, but none where nothing varies: a width of zero would be a claim."""
    if error and metric.value is not None:
        metric.ci_low = max(limits[0], metric.value - _Z * error)
        metric.ci_high = min(limits[1], metric.value + _Z * error)
    return metric
