"""The scene grammar: its likelihood is that of its samples, and its boxes agree with its relations."""

from __future__ import annotations

import itertools
from collections import Counter
from math import exp, inf, log
from typing import Any

import numpy as np
import pytest

from bench.graphs import scene as scene_graphs
from bench.phantoms import scene_tables as tables
from bench.phantoms.scene_boxes import SIZE, boxes_of
from bench.phantoms.scene_tables import Part
from bench.phantoms.scenes import Grammar

SceneGraph: Any = scene_graphs.SceneGraph  # takes arrays of any type, and says no more of its own
# Two places, up to two dogs with up to two parts each, one ball: at most 6 nodes.
TINY = Grammar(
    places={"park": 0.6, "room": 0.4},
    things={"park": {"dog": (0.3, 0.45, 0.25)}, "room": {"dog": (0.5, 0.5), "ball": (0.6, 0.4)}},
    parts={"dog": (Part("tail", 0.35, {"has": 0.7, "of": 0.3}, (0, 0, 0.5, 0.5)),)},
    relations={
        ("dog", "park"): {"on": 0.5},
        ("dog", "dog"): {"near": 0.2, "chases": 0.3},
        ("room", "dog", "ball"): {"chases": 0.6},
    },
    elsewhere={"near": 0.25},
)


def key(graph):
    """A sequence: labels in order and the matrix, whatever the order of edges."""
    return (*graph.labels.tolist(), -1, *graph.matrix().reshape(-1).tolist())


def sequences(grammar, most):
    """Every labelled matrix without self relations of at most `most` nodes that has a probability."""
    objects, predicates = len(grammar.vocabulary.objects), len(grammar.vocabulary.predicates)
    for n in range(1, most + 1):
        cells = [(i, j) for i in range(n) for j in range(n) if i != j]
        for labels in itertools.product(range(objects), repeat=n):
            for told in itertools.product(range(predicates + 1), repeat=len(cells)):
                matrix = np.zeros((n, n), np.int64)
                for cell, value in zip(cells, told, strict=True):
                    matrix[cell] = value
                yield SceneGraph.from_matrix(labels, matrix)


def with_three_nodes():
    """A grammar of at most 3 nodes, so that every sequence there is can be tried."""
    return Grammar(
        places={"park": 1.0},
        things={"park": {"dog": (0.3, 0.3, 0.4)}},
        parts={},
        relations={("dog", "park"): {"on": 0.5}, ("dog", "dog"): {"on": 0.2, "near": 0.3}},
        elsewhere={},
    )


def test_probabilities_of_all_sequences_sum_to_one():
    grammar = with_three_nodes()
    total, of_size = 0.0, np.zeros(4)
    for graph in sequences(grammar, 3):
        share = exp(grammar.log_prob(graph))
        total += share
        of_size[len(graph)] += share
    assert total == pytest.approx(1, abs=1e-12)
    assert of_size == pytest.approx(grammar.size_probabilities(), abs=1e-12)


def test_with_parts_too():
    grammar = Grammar(
        places={"park": 1.0},
        things={"park": {"dog": (0.4, 0.6)}},
        parts={"dog": (Part("tail", 0.35, {"has": 0.7, "of": 0.3}, (0, 0, 1, 1)),)},
        relations={("dog", "park"): {"of": 0.5}},
        elsewhere={},
    )
    total = sum(exp(grammar.log_prob(graph)) for graph in sequences(grammar, 3))
    assert total == pytest.approx(1, abs=1e-12)


def test_frequencies_of_samples_are_the_probabilities():
    count = 20_000
    drawn = TINY.sample(count, 3)
    told = Counter(key(graph) for graph in drawn)
    one_of = {key(graph): graph for graph in drawn}
    common = [(k, exp(TINY.log_prob(one_of[k]))) for k, c in told.most_common(200)]
    for k, share in common:
        spread = (share * (1 - share) / count) ** 0.5
        assert abs(told[k] / count - share) < 5 * spread, one_of[k]
    assert sum(share for _, share in common) == pytest.approx(
        sum(told[k] for k, _ in common) / count, abs=0.02
    )


def test_filtered_is_given_the_number_of_nodes():
    sizes = TINY.size_probabilities()
    assert sizes.sum() == pytest.approx(1, abs=1e-12)
    drawn = TINY.sample(8_000, 0)
    seen = np.bincount([len(graph) for graph in drawn], minlength=len(sizes)) / len(drawn)
    assert seen == pytest.approx(sizes, abs=0.02)
    kept = TINY.sample(300, 1, filtered=True)
    assert min(map(len, kept)) >= 3
    inside = sizes[3:].sum()
    for graph in kept[:50]:
        assert TINY.log_prob(graph, filtered=True) == pytest.approx(TINY.log_prob(graph) - log(inside))
    small = next(graph for graph in drawn if len(graph) < 3)
    assert TINY.log_prob(small, filtered=True) == -inf < TINY.log_prob(small)
    four = TINY.log_prob(kept[0], filtered=True, least=len(kept[0]), most=len(kept[0]))
    assert four == pytest.approx(TINY.log_prob(kept[0]) - log(sizes[len(kept[0])]))


def test_every_order_of_nodes_is_as_likely():
    grammar, rng = Grammar(), np.random.default_rng(0)
    for graph in grammar.sample(30, 5):
        value = grammar.log_prob(graph)
        assert value > -inf
        for _ in range(3):
            moved = graph.permuted(rng.permutation(len(graph)))
            assert grammar.log_prob(moved) == pytest.approx(value, abs=1e-9)


def changed(graph, **arrays):
    base = {"labels": graph.labels, "edges": graph.edges, "predicates": graph.predicates}
    return SceneGraph(**{**base, **arrays})


def test_what_the_rules_cannot_make_is_impossible():
    names = TINY.vocabulary.objects
    park, dog, tail = (names.index(name) for name in ("park", "dog", "tail"))
    has, on, chases = (TINY.vocabulary.predicates.index(name) for name in ("has", "on", "chases"))
    good = SceneGraph(np.array([dog, park, tail]), np.array([[0, 1], [0, 2]]), np.array([on, has]))
    assert TINY.log_prob(good) > -inf
    bad = {
        "no place": changed(good, labels=np.array([dog, dog, tail])),
        "two places": changed(good, labels=np.array([dog, park, park])),
        "a tail of no dog": changed(good, edges=good.edges[:1], predicates=good.predicates[:1]),
        "a tail of a park": changed(good, edges=np.array([[0, 1], [1, 2]])),
        "a tail with a relation": changed(
            good, edges=np.array([[0, 1], [0, 2], [2, 1]]), predicates=np.array([on, has, on])
        ),
        "a predicate that parts have not": changed(good, predicates=np.array([on, chases])),
        "a predicate that places have not": changed(good, predicates=np.array([chases, has])),
        "the place as subject": changed(good, edges=np.array([[1, 0], [0, 2]])),
        "a self relation": changed(good, edges=np.array([[0, 0], [0, 2]])),
        "a pair twice": changed(
            good, edges=np.array([[0, 1], [0, 2], [0, 1]]), predicates=np.array([on, has, on])
        ),
        "too many dogs": SceneGraph(np.array([park, dog, dog, dog]), np.zeros((0, 2)), np.zeros(0)),
        "a ball in the park": SceneGraph(
            np.array([park, names.index("ball")]), np.zeros((0, 2)), np.zeros(0)
        ),
    }
    for what, graph in bad.items():
        assert TINY.log_prob(graph) == -inf, what


def test_structure_that_marginals_miss():
    """The same nodes with their edges dealt out anew are far less likely."""
    grammar, rng = Grammar(), np.random.default_rng(1)
    graphs = [graph for graph in grammar.sample(200, 2) if len(graph.edges) > 1]
    worse = 0
    for graph in graphs:
        cells = [(i, j) for i in range(len(graph)) for j in range(len(graph)) if i != j]
        chosen = rng.choice(len(cells), len(graph.edges), replace=False)
        dealt = changed(graph, edges=np.array(cells)[chosen])
        worse += grammar.log_prob(dealt) < grammar.log_prob(graph)
    assert worse > 0.95 * len(graphs)


def test_the_built_in_grammar_is_what_its_description_says():
    grammar = Grammar()
    assert len(grammar.vocabulary.objects) == 33 and len(grammar.vocabulary.predicates) == 15
    sizes = grammar.size_probabilities()
    assert len(sizes) == 26 and sizes[-1] > 0 and sizes.sum() == pytest.approx(1)
    assert 0.02 < sizes[:3].sum() < 0.12
    graphs = grammar.sample(400, 0)
    assert [graph.name for graph in graphs[:2]] == ["1", "2"]
    assert 0.02 < np.mean([len(graph.edges) == 0 for graph in graphs]) < 0.12
    named = {name for pair in tables.RELATIONS for name in pair}
    assert named <= set(grammar.vocabulary.objects)


def test_a_sample_depends_on_seed_and_place_alone():
    grammar = Grammar()
    few, many = grammar.sample(5, 7), grammar.sample(20, 7)
    assert [graph.content() for graph in few] == [graph.content() for graph in many[:5]]
    assert grammar.sample(5, 8)[0].content() != few[0].content()


def test_boxes_agree_with_relations():
    grammar = Grammar()
    names = grammar.vocabulary
    parts = {part.name for own in tables.PARTS.values() for part in own}
    seen = Counter()
    for graph in grammar.sample(600, 4):
        boxes = graph.boxes
        assert boxes is not None and graph.size == SIZE
        assert (boxes % 4 == 0).all() and (boxes[:, 2:] - boxes[:, :2] >= 32).all()
        assert (boxes >= 0).all() and (boxes[:, 2:] <= SIZE).all()
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        for (s, o), p in zip(graph.edges, graph.predicates, strict=True):
            told = names.predicates[p]
            kind = names.objects[graph.labels[o]]
            if kind in parts:
                assert (boxes[o, :2] >= boxes[s, :2]).all() and (boxes[o, 2:] <= boxes[s, 2:]).all()
            elif kind in tables.PLACES:
                assert boxes[o].tolist() == [0, 0, 1024, 768]
            elif told in tables.HIGHER:
                assert middle[s, 1] < middle[o, 1]
            elif told in tables.LOWER:
                assert middle[s, 1] > middle[o, 1]
            elif told in tables.LEFT:
                assert middle[s, 0] < middle[o, 0]
            seen[told] += 1
    assert set(seen) == set(names.predicates)


def test_relations_that_no_boxes_satisfy_are_refused():
    circle = [(1, "above", 2), (2, "above", 1)]
    with pytest.raises(ValueError, match="contradict each other"):
        boxes_of(["hill", "bird", "bird"], circle, 2, {}, np.random.default_rng(0))


def test_every_relation_of_the_tables_can_hold_with_all_others():
    """No circle of classes from top to bottom, nor from left to right, whatever is drawn."""
    for kinds in (((tables.HIGHER, 1), (tables.LOWER, -1)), ((tables.LEFT, 1),)):
        below = set()
        for pair, shares in tables.RELATIONS.items():
            for words, sign in kinds:
                if words & set(shares) and pair[-1] not in tables.PLACES:
                    below.add(pair[-2:][::sign])
        left = {name for pair in below for name in pair}
        assert left
        while free := {name for name in left if not any(o == name and s in left for s, o in below)}:
            left -= free
        assert not left


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"places": {"park": 0.5}}, "do not sum to 1"),
        ({"relations": {("dog", "dog"): {"near": 0.7, "on": 0.4}}}, "exceed 1"),
        (
            {"parts": {"dog": (Part("park", 0.5, {"has": 1.0}, (0, 0, 1, 1)),)}},
            "two of place, thing and part",
        ),
        ({"parts": {"dog": (Part("tail", 0.5, {"has": 1.0}, (0, 0, 1, 1)),) * 2}}, "two parts of one class"),
    ],
)
def test_a_grammar_that_is_none_is_refused(changes, words):
    base = {"places": {"park": 1.0}, "things": {"park": {"dog": (0.5, 0.5)}}, "parts": {}, "relations": {}}
    with pytest.raises(ValueError, match=words):
        Grammar(**{**base, **changes})
