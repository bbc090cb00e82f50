"""Scene-graph generation from words to record, through the command line, on the tiny phantom."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest
from conftest import only_record

from bench import registry
from bench.graphs.own import read_own
from bench.record import json_schema

METHODS = ("scenegraphgen", "graphrnn", "empirical", "shuffle")
DATASETS = ("vg150", "visual_genome", "vrd")
MINE = """
import random


class Resample:
    def __init__(self, keep: int = 1000):
        self.keep = keep

    def fit(self, train, ctx):
        self.graphs = train.graphs[: self.keep]

    def sample(self, count, seed):
        return random.Random(seed).choices(self.graphs, k=count)
"""


@pytest.fixture(scope="module")
def roots(bench_home):
    found = {}
    for name in DATASETS:
        found[name] = bench_home / "phantoms_of_tests" / name
        if not found[name].exists():
            found[name].parent.mkdir(parents=True, exist_ok=True)
            registry.load("dataset", name).target().write_phantom(found[name], 0, "tiny")
    return found


def words(roots, out, dataset="vg150", **changes):
    given = {key.replace("__", "."): value for key, value in changes.items()}
    base = {
        "task": "scene_graph_generation",
        "method": "empirical",
        "dataset": dataset,
        "data_root": roots[dataset],
        "budget": "smoke",
        "out": out,
    }
    return [f"{key}={value}" for key, value in {**base, **given}.items()]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_runs_and_says_what_it_ran_on(bench, roots, tmp_path, method):
    answer = bench("run", *words(roots, tmp_path, method=method))
    assert answer.code == 0, answer.err
    assert "PHANTOM" in answer.err
    path = only_record(tmp_path)
    found = json.loads(path.read_text())
    jsonschema.validate(found, json_schema())
    assert found["data"]["variant"] == "phantom"
    assert found["data"]["unit"] == "image"
    assert found["data"]["leaks"] == 0
    metrics = found["metrics"]
    card = registry.card("task", "scene_graph_generation")
    likelihood = {"nll", "nll_token", "auroc_20", "auroc_50", "auroc_100"}
    has = likelihood <= set(metrics)
    assert has or not likelihood & set(metrics)
    assert set(metrics) == set(card.metrics) - (set() if has else likelihood)
    assert has == (method in ("scenegraphgen", "graphrnn") or has)
    assert 0 <= metrics["novel"]["value"] <= 1
    assert metrics["valid"]["value"] > 0.9 or method in ("scenegraphgen", "graphrnn")
    drawn = read_own(path.parent / "generated")
    assert len(drawn.graphs) == 64
    units = pd.read_parquet(path.parent / "units.parquet")
    assert len(units) == 64
    assert units["nodes"].tolist() == [len(graph) for graph in drawn.graphs]
    pictures = {p.stem for p in (path.parent / "gallery").glob("*.png")}
    assert {"generated", "cooccurrence", "occurrence"} <= pictures
    assert ("likelihoods" in pictures) == has


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_layout_runs_and_the_ceiling_is_near_zero(bench, roots, tmp_path, dataset):
    answer = bench("run", *words(roots, tmp_path, dataset))
    assert answer.code == 0, answer.err
    found = json.loads(only_record(tmp_path).read_text())
    value = found["metrics"]["mmd_graph_x1e3"]
    assert value["ci_low"] < value["value"] < value["ci_high"]
    assert (
        abs(value["value"]) < 60
    )  # 40 test graphs or so: the spread is wide, a broken set is at 200 and above
    assert found["metrics"]["novel"]["value"] == 0
    unreleased = any("relations" in line for line in found["task"]["deviations"])
    assert unreleased == (dataset == "vg150")


def test_the_same_words_give_the_same_numbers(bench, roots, tmp_path):
    for out in ("a", "b"):
        less = ("protocol.samples=8", "protocol.batches_per_epoch=2")
        assert bench("run", *words(roots, tmp_path / out, method="graphrnn"), *less).code == 0
    one, other = (json.loads(only_record(tmp_path / out).read_text())["metrics"] for out in ("a", "b"))
    assert one == other


def test_a_class_that_knows_nothing_of_bench(bench, roots, tmp_path):
    file = tmp_path / "resample_graphs.py"
    file.write_text(MINE)
    answer = bench("run", *words(roots, tmp_path / "o", method=f"{file}:Resample", method__keep=30))
    assert answer.code == 0, answer.err
    found = json.loads(only_record(tmp_path / "o").read_text())
    assert found["method"]["config"] == {"keep": 30}
    assert found["metrics"]["novel"]["value"] == 0
    answer = bench("check", f"method={file}:Resample")
    assert answer.code == 0, answer.out + answer.err
    assert "not asked: the method answers as a whole" in answer.out


def test_graphs_of_another_program_score_as_the_run_that_drew_them(bench, roots, tmp_path):
    assert bench("run", *words(roots, tmp_path / "run", method="shuffle")).code == 0
    path = only_record(tmp_path / "run")
    scored = [
        word
        for word in words(roots, tmp_path / "score")
        if word.partition("=")[0] not in ("method", "budget")
    ]
    limits = ["protocol.max_test=64", "protocol.permutations=100", "protocol.samples=64"]
    answer = bench("score", *scored, *limits, f"predictions={path.parent / 'generated'}")
    assert answer.code == 0, answer.err
    run = json.loads(path.read_text())["metrics"]
    other = json.loads(only_record(tmp_path / "score").read_text())["metrics"]
    for name in ("mmd_graph_x1e3", "mmd_node_x1e3@official", "kl_objects", "novel"):
        assert other[name]["value"] == pytest.approx(run[name]["value"], abs=1e-9)
    assert "auroc_20" not in other


def test_foreign_labels_in_predictions_are_refused(bench, roots, tmp_path):
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "graphs.jsonl").write_text(
        json.dumps({"format": "bench scene graphs", "version": 1, "objects": ["unicorn"], "predicates": []})
        + "\n"
        + '{"name": "1", "labels": [0], "edges": []}\n' * 2
    )
    scored = [
        word for word in words(roots, tmp_path / "o") if word.partition("=")[0] not in ("method", "budget")
    ]
    answer = bench("score", *scored, f"predictions={folder}")
    assert answer.code == 2
    assert "names `unicorn`, no objects of the data" in answer.err
    assert len([line for line in answer.err.splitlines() if line.startswith("bench:")]) == 1
    assert not list((tmp_path / "o").rglob("record.json"))


def test_official_compares_with_a_thousand_graphs_and_switches_the_method(bench, roots, tmp_path):
    answer = bench("run", *words(roots, tmp_path, method="scenegraphgen", profile="official"))
    assert answer.code == 0, answer.err
    found = json.loads(only_record(tmp_path).read_text())
    assert found["task"]["profile"] == "official"
    assert found["method"]["config"]["drop_last"] is True
    drawn = read_own(only_record(tmp_path).parent / "generated")
    assert max(len(graph) for graph in drawn.graphs) <= 24


def test_another_family_is_refused(bench, tmp_path):
    answer = bench("run", "task=scene_graph_generation", "method=unet", f"out={tmp_path}")
    assert answer.code == 2
    for name in METHODS:
        assert name in answer.err


def test_the_real_graphs(bench, shared_data: Path, tmp_path):
    answer = bench(
        "run",
        "task=scene_graph_generation",
        "dataset=vrd",
        f"data_root={shared_data / 'vrd'}",
        "method=empirical",
        "protocol.permutations=50",
        f"out={tmp_path}",
    )
    assert answer.code == 0, answer.err
    assert "139 self relations" in answer.err
    assert "3,606 repeated pairs" in answer.err
    found = json.loads(only_record(tmp_path).read_text())
    assert found["data"]["variant"] == "real"
    assert np.isfinite(found["metrics"]["mmd_graph_x1e3"]["value"])
    assert found["metrics"]["known_triples"]["value"] == 1
