"""Datasets of scene graphs: phantoms in three layouts that hold one grammar, cards, complete releases."""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf

import numpy as np
import pytest
from refusals import refused

from bench.data import dataset_named
from bench.datasets import vg150, visual_genome
from bench.graphs import sg2im
from bench.graphs.read import read_graphs
from bench.graphs.scene import SceneGraph, SceneGraphs, Vocabulary, joined
from bench.graphs.vg_h5 import write_h5
from bench.phantoms.marker import MARKER, expected_units, is_phantom
from bench.phantoms.scenes import Grammar
from bench.progress import Progress
from bench.registry import card

NAMES = ("vg150", "visual_genome", "vrd")


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    """The phantom of 60 images of each dataset, read only."""
    root = tmp_path_factory.mktemp("scene_phantoms")
    for name in NAMES:
        dataset_named(name).write_phantom(root / name, size="tiny")
    return root


def in_grammar(scenes):
    """The graphs in the vocabulary of the grammar."""
    grammar = Grammar()
    words, moved = joined(SceneGraphs(grammar.vocabulary, ()), scenes)
    assert words.vocabulary.objects == grammar.vocabulary.objects  # no further name
    assert words.vocabulary.predicates == grammar.vocabulary.predicates
    return moved.graphs


@pytest.mark.parametrize("name", NAMES)
def test_cards(name):
    own = card("dataset", name)
    assert own.unit == "image" and own.family == "graph_generation"
    assert own.citation and own.licence and own.files


@pytest.mark.parametrize("name", NAMES)
def test_a_phantom_is_recognised_and_is_read_like_the_data(phantoms, name):
    root = phantoms / name
    assert is_phantom(root) and len(expected_units(root) or ()) == 60
    scenes = dataset_named(name).load(root, Progress(False))
    counts = scenes.counts()
    assert set(counts) == {"train", "val", "test"} and min(counts.values()) >= 3 and scenes.leaks() == 0
    assert counts["train"] > counts["test"] > counts["val"]
    assert scenes.cleaned["self relations"] > 0 and scenes.cleaned["repeated pairs"] > 0
    assert bool(scenes.caveats) == (name == "vg150")


def test_two_layouts_hold_the_same_graphs(phantoms):
    one, other = (dataset_named(name).load(phantoms / name) for name in ("vg150", "vrd"))
    assert one.fingerprint() == other.fingerprint() and one.cleaned == other.cleaned
    assert one.splits != other.splits  # the h5 file marks no validation images


@pytest.mark.parametrize("name", NAMES)
def test_what_is_read_follows_the_grammar(tmp_path, name):
    dataset, grammar = dataset_named(name), Grammar()
    dataset.write_phantom(tmp_path / name, size="small")
    graphs = in_grammar(dataset.load(tmp_path / name))
    drawn = {graph.name: graph for graph in grammar.sample(1200, 0)}
    assert len(graphs) > 1000
    for graph in graphs:
        value = grammar.log_prob(graph)
        assert value > -inf and value == pytest.approx(grammar.log_prob(drawn[graph.name]), abs=1e-9)
    if name != "visual_genome":
        own = [graph.boxes for graph in drawn.values()]
        assert all(
            np.array_equal(np.asarray(a.boxes), np.asarray(b)) for a, b in zip(graphs, own, strict=True)
        )


def test_sg2im_leaves_out_small_graphs_and_reads_attributes(phantoms):
    scenes = dataset_named("visual_genome").load(phantoms / "visual_genome")
    assert min(map(len, scenes.graphs)) == 3 and all(len(graph.edges) for graph in scenes.graphs)
    assert set(scenes.vocabulary.attributes) <= {"white", "black", "green", "blue", "red", "brown"}
    assert any(own for graph in scenes.graphs for own in graph.attributes or ())
    raw = read_graphs(phantoms / "visual_genome").vocabulary  # exactly as written
    assert {"automobile", "bicycle", "gentleman"} & set(raw.objects) and {"HAS", "NEXT TO"} & set(
        raw.predicates
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_writes_the_same_bytes(phantoms, tmp_path, name):
    dataset = dataset_named(name)
    dataset.write_phantom(tmp_path / "a", size="tiny")
    dataset.write_phantom(tmp_path / "b", seed=1, size="tiny")
    one, other = dataset.load(tmp_path / "a"), dataset.load(tmp_path / "b")
    assert one.fingerprint() == dataset.load(phantoms / name).fingerprint() != other.fingerprint()
    for path in phantoms.joinpath(name).glob("*.json"):
        assert path.read_bytes() == (tmp_path / "a" / path.name).read_bytes()


def test_a_phantom_has_sizes_and_an_empty_folder(phantoms):
    for name in NAMES:
        refused(lambda name=name: dataset_named(name).write_phantom(phantoms / "x", size="huge"), "`huge`")
        refused(lambda name=name: dataset_named(name).write_phantom(phantoms / name), "already holds files")


@pytest.mark.parametrize("name", NAMES)
def test_verify_tells_counts_and_what_was_put_in_order(phantoms, name):
    facts = dataset_named(name).verify(phantoms / name)
    scenes = dataset_named(name).load(phantoms / name)
    assert facts["graphs of train"] == str(scenes.counts()["train"]) and facts["predicates"] == "15"
    assert int(facts["self relations"]) > 0 and facts["fingerprint"] == scenes.fingerprint()
    assert not any("release" in fact for fact in facts.values())


def test_vg150_is_held_against_the_release(tmp_path, monkeypatch):
    """A small file stands for the release: a part of it is told apart, a complete one must be right."""
    words = Vocabulary(("man", "table"), ("near",))
    graph = SceneGraph(np.array([0, 1]), np.array([[0, 1]]), np.array([0]))
    graphs = tuple(replace(graph, name=str(i + 1)) for i in range(120))
    names = [one.name for one in graphs]
    write_h5(tmp_path, SceneGraphs(words, graphs, {"train": tuple(names[:100]), "test": tuple(names[100:])}))
    facts = vg150.VG150().verify(tmp_path)
    assert facts["graphs of train"] == "92 (the complete release has 57,723)"
    assert facts["objects"] == "2 (the complete release has 150)"
    monkeypatch.setattr(vg150, "IMAGES", 120)
    refused(lambda: vg150.VG150().verify(tmp_path), "all its images", "92 graphs of train", "57,723")
    right = {"graphs of train": 92, "graphs of val": 8, "graphs of test": 20, "objects": 2, "predicates": 1}
    monkeypatch.setattr(vg150, "EXPECTED", right)
    assert vg150.VG150().verify(tmp_path)["graphs of val"] == "8, as released"


def test_visual_genome_is_held_against_the_published_numbers(tmp_path, monkeypatch):
    root = tmp_path / "vg"
    dataset = visual_genome.VisualGenome()
    dataset.write_phantom(root, size="small")
    (root / MARKER).unlink()
    refused(lambda: dataset.load(root), "2,000 times", "840 training images")  # the published thresholds
    rules = sg2im.Rules(objects=2, attributes=2, predicates=2)
    monkeypatch.setattr(sg2im, "Rules", lambda: rules)
    assert "the complete release has 178" in dataset.verify(root)["objects"]
    monkeypatch.setattr(visual_genome, "IMAGES", 1200)
    refused(lambda: dataset.verify(root), "all its images", "62,565")


def test_vrd_needs_splits(tmp_path):
    root = tmp_path / "vrd"
    dataset = dataset_named("vrd")
    dataset.write_phantom(root, size="tiny")
    (root / "splits.json").unlink()
    refused(lambda: dataset.load(root), "lacks `splits.json`")


def test_real_vrd(shared_data):
    facts = dataset_named("vrd").verify(shared_data / "vrd")
    assert (facts["graphs of train"], facts["graphs of val"], facts["graphs of test"]) == (
        "3,380",
        "400",
        "955",
    )
    assert (facts["self relations"], facts["repeated pairs"]) == ("139", "3,606")
    assert (facts["objects"], facts["predicates"]) == ("100", "70")
    assert not is_phantom(shared_data / "vrd")


@pytest.mark.parametrize("name", NAMES)
def test_damage_is_refused(tmp_path, name):
    dataset = dataset_named(name)
    dataset.write_phantom(tmp_path / name, size="tiny")
    file = {"vg150": "VG-SGG.h5"}.get(name, "relationships.json")
    path = tmp_path / name / file
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused(lambda: dataset.load(tmp_path / name), file, "cut off")


def test_the_command_line_verifies_and_refuses(bench, phantoms, tmp_path):
    answer = bench("data", "verify", "vrd", "--root", phantoms / "vrd", "--json")
    assert answer.code == 0 and json.loads(answer.out)["variant"] == "PHANTOM, not real data"
    answer = bench("data", "phantom", "vg150", "--root", tmp_path / "p", "--size", "tiny")
    assert answer.code == 0 and (tmp_path / "p" / "VG-SGG.h5").is_file()
    (tmp_path / "p" / "VG-SGG-dicts.json").unlink()
    answer = bench("data", "verify", "vg150", "--root", tmp_path / "p")
    assert answer.code == 2 and "VG-SGG-dicts.json" in answer.err and "Traceback" not in answer.err
