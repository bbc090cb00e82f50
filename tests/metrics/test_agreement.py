"""Agreement: labels beside their ceiling, boxes, relations; torchmetrics, torchvision, scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import jaccard_score
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_jaccard_index
from torchvision.ops import box_iou as torchvision_iou

from bench.graphs.scene import SceneGraph, Vocabulary
from bench.metrics.agreement import Agreement, Beside, Confusion
from bench.metrics.layouts import NONE, RELATIONS, Layouts, box_iou, relations

WORDS = Vocabulary(("thing",), ("left of", "on", "above", "inside"))


def labels(seed=0, classes=5, shape=(3, 8, 9)):
    rng = np.random.default_rng(seed)
    t = rng.integers(0, classes, shape)
    p = np.where(rng.random(shape) < 0.6, t, rng.integers(0, classes, shape))
    return p, t


def counted(p, t, classes=5, ignore=None):
    found = Confusion(classes, ignore)
    found.add(p, t)
    return found


# Labels.


def test_iou_and_accuracy_are_those_of_torchmetrics_and_sklearn():
    p, t = labels()
    found = counted(p, t)
    a, b = torch.from_numpy(p), torch.from_numpy(t)
    assert found.miou() == pytest.approx(float(multiclass_jaccard_index(a, b, 5)), rel=1e-6)
    assert found.accuracy() == pytest.approx(float(multiclass_accuracy(a, b, 5, average="micro")), rel=1e-6)
    each = [jaccard_score(t.ravel() == i, p.ravel() == i) for i in range(5)]
    assert found.iou() == pytest.approx(np.asarray(each, float))


def test_ignored_pixels_are_those_torchmetrics_ignores():
    p, t = labels()
    t[:, :3] = 255
    found = counted(p, t, ignore=255)
    a, b = torch.from_numpy(p), torch.from_numpy(t)
    assert found.miou() == pytest.approx(float(multiclass_jaccard_index(a, b, 5, ignore_index=255)), rel=1e-6)
    assert (found.ignored, found.pixels) == (3 * 3 * 9, 3 * 5 * 9)


def test_absent_classes_are_left_out_and_invented_ones_are_not():
    p, t = np.array([[[0, 0, 1, 3]]]), np.array([[[0, 0, 1, 1]]])
    found = counted(p, t)
    assert found.absent == [2, 4]
    assert found.iou() == pytest.approx([1, 0.5, np.nan, 0, np.nan], nan_ok=True)
    assert found.miou() == pytest.approx(0.5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_laws_of_label_agreement(seed):
    p, t = labels(seed)
    found = counted(p, t)
    parts = Confusion(5)
    for i in range(len(p)):
        parts.add(torch.from_numpy(p[i : i + 1]), torch.from_numpy(t[i : i + 1]))
    assert (parts.table == found.table).all()
    assert counted(t, t).miou() == counted(t, t).accuracy() == 1
    assert counted(t, p).miou() == pytest.approx(found.miou())
    assert np.nanmin(found.iou()) >= 0 and np.nanmax(found.iou()) <= 1
    other = np.random.default_rng(seed).permutation(5)
    assert counted(other[p], other[t]).miou() == pytest.approx(found.miou())


def brightness(images):
    """A segmenter: a label is a range of grey."""
    return (images[..., 0] // 64).astype(np.int64)


def painted(t, noise, seed=0):
    drawn = t * 64 + 32 + np.random.default_rng(seed).normal(0, noise, t.shape)
    return np.repeat(np.clip(drawn, 0, 255)[..., None], 3, -1).astype(np.uint8)


def test_the_ceiling_stands_beside_the_value():
    _, t = labels(classes=4)
    found = Agreement(brightness, 4, names=["sky", "road", "tree", "car"])
    for i in range(len(t)):
        one = t[i : i + 1]
        found.add(painted(one, 60), painted(one, 20, 1), one)
    value = found.miou()
    assert value.generated is not None and value.ceiling is not None
    assert 0 < value.generated < value.ceiling < 1 and not value.above
    metrics = found.metrics()
    assert metrics["miou"].value == value.generated and metrics["miou_real"].value == value.ceiling
    assert metrics["pixel_accuracy"].value == found.accuracy().generated
    assert metrics["pixel_accuracy_real"].value == found.accuracy().ceiling
    assert metrics["miou"].n == 3 and set(metrics["miou"].per_class) == {"sky", "road", "tree", "car"}
    mean = np.mean([part.value or 0.0 for part in metrics["miou"].per_class.values()])
    assert mean == pytest.approx(value.generated)


def test_more_noise_agrees_less():
    _, t = labels(classes=4)
    values = []
    for noise in (10, 40, 160):
        found = Agreement(brightness, 4)
        found.add(painted(t, noise), painted(t, 0), t)
        values.append(found.miou().generated)
        assert found.miou().ceiling == 1
    assert values == sorted(values, reverse=True) and len(set(values)) == 3


def test_a_value_above_its_ceiling_is_said_to_be():
    _, t = labels(classes=4)
    found = Agreement(brightness, 4)
    found.add(painted(t, 0), painted(t, 50), t)
    assert found.miou().above and found.accuracy().above
    assert not Beside(None, 0.5).above


def test_an_error_leaves_both_sides_as_they_were():
    _, t = labels(classes=4)
    calls = []

    def fails_on_generated(images):
        calls.append(1)
        return brightness(images) + (9 if len(calls) == 1 else 0)

    found = Agreement(fails_on_generated, 4)
    with pytest.raises(ValueError, match="predicted labels go from"):
        found.add(painted(t, 0), painted(t, 0), t)
    assert found.images == found.generated.pixels == found.real.pixels == 0
    assert found.miou() == Beside(None, None)
    assert found.metrics()["miou"].value is None and found.metrics()["miou"].n == 0


@pytest.mark.parametrize(
    ("p", "t", "said"),
    [
        (np.zeros((1, 2, 2), int), np.zeros((1, 4, 4), int), "must resize"),
        (np.zeros((1, 2, 2)), np.zeros((1, 2, 2), int), "predicted labels must be integers"),
        (np.zeros((2, 2), int), np.zeros((2, 2), int), "must be integers"),
        (np.full((1, 2, 2), 5), np.zeros((1, 2, 2), int), "predicted labels go from 5 to 5"),
        (np.zeros((1, 2, 2), int), np.full((1, 2, 2), 255), "reference labels go from 255 to 255"),
        (np.zeros((1, 2, 2), int), np.full((1, 2, 2), -1), "reference labels go from -1"),
    ],
)
def test_labels_that_are_none_are_refused(p, t, said):
    with pytest.raises(ValueError, match=said):
        counted(p, t)


def test_sides_of_different_length_and_names_are_refused():
    _, t = labels(classes=4)
    with pytest.raises(ValueError, match="3 generated images, 2 real ones"):
        Agreement(brightness, 4).add(painted(t, 0), painted(t[:2], 0), t)
    with pytest.raises(ValueError, match="1 names for 4"):
        Agreement(brightness, 4, names=["sky"])
    with pytest.raises(ValueError, match="needs a class"):
        Confusion(0)


# Boxes.


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_overlap_is_that_of_torchvision(seed):
    corners = np.random.default_rng(seed).uniform(0, 60, (2, 12, 2, 2))
    a, b = np.sort(corners, 2).reshape(2, 12, 4)
    expected = torchvision_iou(torch.from_numpy(a), torch.from_numpy(b)).diagonal().numpy()
    assert box_iou(a, b) == pytest.approx(expected, rel=1e-12)
    assert box_iou(a, b) == pytest.approx(box_iou(b, a))
    assert box_iou(a, a) == pytest.approx(1)


def test_boxes_without_area():
    found = box_iou(
        [[0, 0, 4, 4], [5, 5, 5, 9], [5, 5, 5, 9], [9, 9, 1, 1]],
        [[2, 0, 6, 4], [0, 0, 9, 9], [1] * 4, [0, 0, 9, 9]],
    )
    assert found == pytest.approx([8 / 24, 0, np.nan, 0], nan_ok=True)
    assert box_iou([], []).shape == (0,)
    with pytest.raises(ValueError, match="2 predicted boxes for 1"):
        box_iou([[0, 0, 1, 1]] * 2, [[0, 0, 1, 1]])
    with pytest.raises(ValueError, match="finite"):
        box_iou([[0, 0, np.inf, 1]], [[0, 0, 1, 1]])
    with pytest.raises(ValueError, match="finite"):
        box_iou([[0, 0, 1]], [[0, 0, 1, 1]])


# Relations.


def stated_by_the_specification(s, o):
    """Containment first, then quarters of the angle from the object's to the subject's centre."""
    if s[0] < o[0] and s[1] < o[1] and s[2] > o[2] and s[3] > o[3]:
        return "surrounding"
    if s[0] > o[0] and s[1] > o[1] and s[2] < o[2] and s[3] < o[3]:
        return "inside"
    theta = math.atan2((s[1] + s[3] - o[1] - o[3]) / 2, (s[0] + s[2] - o[0] - o[2]) / 2)
    if abs(theta) >= 3 * math.pi / 4:
        return "left of"
    if theta < -math.pi / 4:
        return "above"
    return "right of" if theta < math.pi / 4 else "below"


@pytest.mark.parametrize(
    ("subject", "named"),
    [
        ([0, 40, 10, 60], "left of"),
        ([90, 40, 99, 60], "right of"),
        ([40, 0, 60, 10], "above"),
        ([40, 80, 60, 99], "below"),
        ([45, 45, 55, 55], "inside"),
        ([0, 0, 99, 99], "surrounding"),
        ([40, 45, 60, 55], None),  # one centre, neither inside the other
        ([0, 0, 20, 20], "left of"),  # on the diagonal, -3/4 pi
        ([80, 0, 100, 20], "right of"),  # -1/4 pi
        ([80, 80, 100, 100], "below"),  # 1/4 pi
        ([0, 80, 20, 100], "left of"),  # 3/4 pi
    ],
)
def test_relations_by_hand(subject, named):
    found = relations([subject, [40, 40, 60, 60]], [[0, 1]])
    assert found.tolist() == [NONE if named is None else RELATIONS.index(named)]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_relations_are_those_of_the_specification_and_turn_round(seed):
    rng = np.random.default_rng(seed)
    boxes = np.sort(rng.uniform(0, 60, (6, 2, 2)), 1).reshape(6, 4)
    edges = np.array([(i, j) for i in range(6) for j in range(6) if i != j])
    found = [RELATIONS[i] for i in relations(boxes, edges)]
    assert found == [stated_by_the_specification(boxes[s], boxes[o]) for s, o in edges]
    turned = dict(
        zip(RELATIONS, ("right of", "left of", "below", "above", "surrounding", "inside"), strict=True)
    )
    assert [RELATIONS[i] for i in relations(boxes, edges[:, ::-1])] == [turned[name] for name in found]


def graph_of(labels, edges, predicates, name="", boxes=None):
    boxes = None if boxes is None else np.asarray(boxes, np.float32)
    labels, edges, predicates = (np.asarray(x, np.int64) for x in (labels, edges, predicates))
    return SceneGraph(labels, edges, predicates, name, boxes)


def scene(predicates=(0, 2, 1, 3)):
    boxes = np.array([[0, 40, 10, 60], [40, 40, 60, 60], [40, 70, 60, 90]])
    return graph_of([0, 0, 0], [[0, 1], [1, 2], [2, 1], [0, 2]][: len(predicates)], predicates, "s", boxes)


def test_layouts_count_what_boxes_bear_out_beside_the_graphs_own():
    found = Layouts(WORDS)
    graph = scene()  # left of: so; above: so; on: not decided; inside: the graph's own boxes deny it
    found.add(graph, graph.boxes)
    assert graph.boxes is not None
    swapped = graph.boxes[[0, 2, 1]]
    found.add(graph, swapped)
    metrics = found.metrics()
    assert metrics["relation_accuracy_real"].value == pytest.approx(2 / 3)
    # Swapped: "left of" still (at -2.55, beyond -3/4 pi = -2.36), "above" no longer, "inside" never.
    assert metrics["relation_accuracy"].value == pytest.approx((2 + 1) / 6)
    assert metrics["relation_accuracy"].n == 6
    by = {name: part.value for name, part in metrics["relation_accuracy"].per_class.items()}
    assert by == {"left of": 1, "above": 0.5, "inside": 0}
    assert found.undecided == {"on": 2} and found.scenes == 2
    assert metrics["box_iou"].value == pytest.approx((3 + 1) / 6)
    assert metrics["box_recall_0.5"].value == pytest.approx(4 / 6) and metrics["box_iou"].n == 6


def test_other_predicates_can_be_given_a_meaning():
    found = Layouts(WORDS, {"on": "above"})
    graph = scene((1,))
    found.add(graph, [[0, 0, 10, 10], [3, 30, 9, 40], [0, 0, 1, 1]])
    assert found.metrics()["relation_accuracy"].value == 1
    assert found.metrics()["relation_accuracy_real"].value == 0
    with pytest.raises(ValueError, match="`on top` is none of"):
        Layouts(WORDS, {"on": "on top"})


def test_where_nothing_is_decided_there_is_a_reason():
    found = Layouts(WORDS)
    assert found.reason == "there is no scene"
    assert {value.value for value in found.metrics().values()} == {None}
    graph = scene((1,))
    found.add(graph, np.zeros((3, 4)))
    assert found.reason == "no edge states a relation that boxes decide"
    assert found.metrics()["relation_accuracy"].n == 0 and found.metrics()["box_iou"].value == 0
    found.add(graph_of([0], [], [], boxes=[[1, 1, 1, 1]]), [[2, 2, 2, 2]])
    assert found.flat == 1 and found.metrics()["box_iou"].n == 3


def test_graphs_without_boxes_are_refused():
    found = Layouts(WORDS)
    with pytest.raises(ValueError, match="scene `bare` has no boxes"):
        found.add(graph_of([0], [], [], "bare"), [[0, 0, 1, 1]])
    with pytest.raises(ValueError, match="2 predicted boxes for 3"):
        found.add(scene(), np.zeros((2, 4)))
    assert found.scenes == 0
