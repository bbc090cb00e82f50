"""Scene graphs made elsewhere, and the pictures of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.core import Scored
from bench.errors import UserError
from bench.families.graph_generation import SHARES, Generated
from bench.families.graph_generation_data import GraphData
from bench.graphs.scene import SceneGraphs, joined
from bench.splits import some

SHOWN = 6  # drawn graphs in the gallery


def read(folder: Path, data: GraphData) -> Generated:
    """Read graphs in the JSON layout of Visual Genome, as VG-SGG.h5 or as `graphs.jsonl`.

    Raises:
        UserError: The folder is none of these, names labels that the data lacks, or holds fewer than two.
    """
    from bench.graphs.read import read_graphs

    found = read_graphs(folder)
    own, both = joined(SceneGraphs(data.vocabulary, ()), found)
    for kind in ("objects", "predicates"):
        known = len(getattr(data.vocabulary, kind))
        foreign = getattr(own.vocabulary, kind)[known:]
        if foreign:
            raise UserError(
                f"`{folder}` names {some(foreign)}, no {kind} of the data; its vocabulary has {known} "
                f"{kind}, such as {some(getattr(data.vocabulary, kind)[:3])}."
            )
    if len(both.graphs) < 2:
        raise UserError(f"`{folder}` holds {len(both.graphs)} graphs; at least two are needed.")
    return Generated(both.graphs)


def draw(
    folder: Path, predictions: Generated, data: GraphData, scored: Scored, caption: str
) -> Sequence[Path]:
    """What a person would rather look at: graphs, completions, likelihoods, statistics."""
    from bench.report import scene_graphs as pictures

    written = []
    nearest = {graph.name: graph for graph in data.train.graphs}
    chosen = np.linspace(0, len(predictions.graphs) - 1, min(SHOWN, len(predictions.graphs)))
    pairs = []
    for i in dict.fromkeys(chosen.round().astype(int).tolist()):
        row: dict[str, Any] = scored.units[i]
        pairs.append((predictions.graphs[i], nearest[row["nearest"]], float(row["nearest_similarity"])))
    path = folder / "generated.png"
    pictures.generated_sheet(path, pairs, data.vocabulary, f"{caption}: drawn graphs, nearest in training")
    written.append(path)
    for i, one in enumerate(predictions.completed, 1):
        path = folder / f"completions_{i}.png"
        pictures.completion_sheet(path, one.partial, one.graphs, data.vocabulary, f"{caption}: completions")
        written.append(path)
    if predictions.likelihoods is not None:
        path = folder / "likelihoods.png"
        values = {share: predictions.likelihoods[share].mean(1) for share in SHARES}
        found = {share: scored.metrics[f"auroc_{share}"].value for share in SHARES if share}
        areas = {share: value for share, value in found.items() if value is not None}
        pictures.nll_histograms(path, values, areas, f"{caption}: likelihood of test graphs")
        written.append(path)
    test = data.test.filtered
    for name, act in (("cooccurrence", pictures.cooccurrence_maps), ("occurrence", pictures.occurrence_bars)):
        path = folder / f"{name}.png"
        act(path, predictions.graphs, test, data.vocabulary, caption)
        written.append(path)
    return written
