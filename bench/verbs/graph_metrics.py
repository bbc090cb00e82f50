"""`bench metrics graphs --generated A --reference B`: compare any two sets of graphs, without a task."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.errors import UserError
from bench.splits import some
from bench.verbs.metrics import as_json as metrics_json
from bench.verbs.metrics import chosen

if TYPE_CHECKING:
    from bench.core import MetricValue
    from bench.graphs.scene import SceneGraphs

LAYOUTS = ("box_iou", "relation_accuracy")  # of graphs of one name on both sides; on request


def run(
    generated: str | Path,
    reference: str | Path,
    metrics: str | None = None,
    *,
    as_json: bool = False,
    permutations: int = 1000,
    seed: int = 0,
) -> int:
    """Print metrics of a set of graphs beside another.

    Exactly the graphs given are compared: nothing is filtered; what reading put in order is told in one line
    on standard error.

    Args:
        generated: Folder or file of the set that is judged, in any layout of `bench.graphs.read`.
        reference: Folder or file of the set it is compared with.
        metrics: Names joined by commas, and those of `LAYOUTS`; the official MMDs are there with any other
            MMD. None for all but `LAYOUTS`.
        as_json: `{"metrics": {name: {...}}}` on standard output and nothing else.
        permutations: Of the tests behind `mmd_node_p` and `mmd_graph_p`; 0 leaves them out.
        seed: Of these.

    Returns:
        The exit code, 0.

    What is undefined, such as the MMD of a single graph, is null, with the reason on standard error.

    Raises:
        UserError: An unknown metric, or a set that cannot be read.
    """
    if permutations < 0 or seed < 0:
        name, value = ("permutations", permutations) if permutations < 0 else ("seed", seed)
        raise UserError(f"`--{name}` takes a whole number from 0, got {value}.")
    from bench.metrics.graphs import SET_METRICS, against

    wanted = _wanted(metrics, (*SET_METRICS, *LAYOUTS), permutations)
    from bench.graphs.read import read_graphs
    from bench.graphs.scene import joined

    first, second = joined(read_graphs(Path(generated)), read_graphs(Path(reference)))
    sets = {"generated": first, "reference": second}
    print(cleaned_line(sets), file=sys.stderr)
    found: dict[str, MetricValue] = {}
    if of_sets := tuple(name for name in wanted if name not in LAYOUTS):
        for (side, scenes), path in zip(sets.items(), (generated, reference), strict=True):
            if len(scenes) < 2:
                held = "1 graph" if len(scenes) == 1 else "no graph"
                print(f"MMD is undefined: {side} `{path}` holds {held}, so no pair.", file=sys.stderr)
        found |= against(
            first.graphs,
            second.graphs,
            first.vocabulary,
            permutations=permutations,
            seed=seed,
            wanted=of_sets,
        )
    if of_layouts := [name for name in wanted if name in LAYOUTS]:
        found |= _layouts(first, second, of_layouts)
    if as_json:
        print(json.dumps({"metrics": metrics_json(found)}, indent=2))
    else:
        _table(sets, found)
    return 0


def _layouts(first: SceneGraphs, second: SceneGraphs, wanted: list[str]) -> dict[str, MetricValue]:
    """Boxes of generated graphs against those of the reference graphs of the same names.

    Raises:
        UserError: Names that do not agree, a graph without boxes, or with other objects than its counterpart.
    """
    from bench.metrics.layouts import Layouts

    own = {graph.name: graph for graph in first.graphs}
    alone = sorted({graph.name for graph in second.graphs} ^ own.keys())
    if alone or len(own) < len(first):
        twice = "" if alone else " (a name stands twice)"
        raise UserError(
            f"{' and '.join(LAYOUTS)} need the same graphs on both sides, by name{twice}: "
            f"{some(alone) if alone else 'give each graph a name of its own'}."
        )
    measure = Layouts(first.vocabulary)
    for graph in second.graphs:
        made = own[graph.name]
        if made.boxes is None or graph.boxes is None:
            raise UserError(
                f"The graph `{graph.name}` has no boxes on one side; write `boxes` for each object."
            )
        if not np.array_equal(made.labels, graph.labels):
            raise UserError(
                f"The graph `{graph.name}` holds other objects on the two sides; boxes are compared object "
                "by object, in the same order."
            )
        measure.add(graph, made.boxes)
    if measure.undecided:
        told = some([name for name, _ in measure.undecided.most_common()])
        count = sum(measure.undecided.values())
        print(f"{count:,} relations are not decided by boxes and left out: {told}.", file=sys.stderr)
    if measure.flat:
        print(f"{measure.flat:,} objects have no area on either side and no IoU.", file=sys.stderr)
    found = measure.metrics()
    if measure.reason and "relation_accuracy" in wanted:
        print(f"relation_accuracy is undefined: {measure.reason}.", file=sys.stderr)
    return {
        name: value
        for name, value in found.items()
        if name.startswith(tuple("box_" if one == "box_iou" else one for one in wanted))
    }


def cleaned_line(sets: Mapping[str, SceneGraphs]) -> str:
    """What reading put in order, on one line."""
    told = []
    for side, scenes in sets.items():
        counts = ", ".join(f"{count:,} {what}" for what, count in scenes.cleaned.items() if count)
        told.append(f"{side}: {counts or 'nothing'}")
    return f"Put in order on reading: {'; '.join(told)}."


def _wanted(metrics: str | None, known: tuple[str, ...], permutations: int) -> tuple[str, ...]:
    from bench.metrics.graphs import OFFICIAL

    if metrics is None:
        return tuple(name for name in known if name not in LAYOUTS)
    names = chosen(metrics, known, "two sets of graphs")
    for name in names:
        if name.endswith("_p") and not permutations:
            raise UserError(f"`{name}` is a permutation test; give `--permutations` above 0.")
    beside = () if set(names) <= set(LAYOUTS) else OFFICIAL
    return tuple(name for name in known if name in names or name in beside)


def _table(sets: Mapping[str, SceneGraphs], found: Mapping[str, MetricValue]) -> None:
    from rich.text import Text

    from bench.report.grids import Grid, bounds, number
    from bench.report.tables import Fitted, console

    out = console()
    sizes = ", ".join(f"{len(scenes):,} {side}" for side, scenes in sets.items())
    meaning = "; MMD is MMD squared times 1000, unbiased" if any("mmd" in name for name in found) else ""
    out.print(Text(f"{sizes} graphs{meaning}.", style="bold"))
    lines = [
        (name, number(metric.value), bounds(metric.ci_low, metric.ci_high), str(metric.n), metric.unit)
        for name, metric in found.items()
    ]
    out.print(Fitted(Grid("", (), ("metric", "value", "95 %", "n", "unit"), tuple(lines), tail=1)))
