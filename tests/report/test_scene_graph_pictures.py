"""Pictures of scene graphs: what is drawn, that it is legible, and that it is the same every time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from PIL import Image

from bench.graphs.scene import SceneGraph, Vocabulary
from bench.report import scene_graphs, scene_layout, scene_statistics
from bench.report.scene_graphs import (
    completion_sheet,
    cooccurrence_maps,
    draw_graph,
    generated_sheet,
    nll_histograms,
    occurrence_bars,
)
from bench.report.scene_layout import bend, bows, labelled, placed

VOCABULARY = Vocabulary(
    ("person", "traffic light", "$x_1$ sign", *(f"thing {i}" for i in range(40))),
    ("on", "in the front of", "has$"),
)
CAPTION = "graphs on vrd (phantom), 5$ and $x_{"


def graph_of(labels: Any, edges: Any = (), predicates: Any = (), name: str = "") -> SceneGraph:
    return SceneGraph(labels, edges, predicates, name)


FIRST = graph_of([0, 1, 2], [[0, 1], [1, 0], [2, 0]], [0, 1, 2])


def scene(n: int, m: int, seed: int = 0) -> SceneGraph:
    rng = np.random.default_rng(seed)
    found: dict[tuple[int, int], int] = {}
    while len(found) < m:
        a, b = rng.integers(0, n, 2).tolist()
        if a != b:
            found[a, b] = int(rng.integers(0, 3))
    labels = rng.integers(0, len(VOCABULARY.objects), n)
    return graph_of(labels, list(found), list(found.values()), f"image {seed}")


def drawn(graph: SceneGraph, given: int = 0, width: float = 5.4, height: float = 5.2) -> Any:
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    axis = figure.add_axes((0, 0, 1, 1))
    draw_graph(axis, graph, VOCABULARY, given)
    return axis


def boxes(axis: Any) -> list[FancyBboxPatch]:
    return [patch for patch in axis.patches if isinstance(patch, FancyBboxPatch)]


def arrows(axis: Any) -> list[FancyArrowPatch]:
    return [patch for patch in axis.patches if isinstance(patch, FancyArrowPatch)]


def words(axis: Any) -> list[str]:
    return [text.get_text() for text in axis.texts]


def is_png(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        image.verify()
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert np.asarray(image.convert("L")).std() > 5  # something is drawn
        return image.size


# ---- one graph


def test_every_node_and_every_related_pair_is_drawn_once_with_its_name():
    axis = drawn(FIRST)
    assert len(boxes(axis)) == 3
    assert len(arrows(axis)) == 3
    assert sorted(words(axis)) == sorted(
        ["person", "traffic light", r"\$x_1\$ sign", "on", "in the front of", r"has\$"]
    )


def test_arrows_run_from_subject_to_object():
    axis = drawn(graph_of([3, 4], [[1, 0]], [0]))
    (arrow,) = arrows(axis)
    curve = arrow._path_original.vertices  # pyright: ignore[reportAttributeAccessIssue]
    corners = [np.array(box.get_bbox().get_points()) for box in boxes(axis)]
    assert np.allclose(curve[0], corners[1].mean(0))
    # The head touches the border of the object's box from outside.
    beyond = np.abs(curve[-1] - corners[0].mean(0)) - np.ptp(corners[0], axis=0) / 2
    assert np.allclose(beyond.max(), 0, atol=1e-4)


def test_two_ways_bend_to_either_side_and_one_way_is_straight():
    spots = np.array([[0.0, 0.0], [1.0, 0.0], [9.0, 0.0]])
    assert bows(spots, [(0, 1), (1, 0), (1, 2)]) == [scene_layout.BOW, scene_layout.BOW, 0.0]
    there, back = bend(spots[0], spots[1], 0.2, 0.5), bend(spots[1], spots[0], 0.2, 0.5)
    assert there[1] < 0 < back[1]
    assert np.allclose(there[0], back[0])
    long = bows(np.array([[0.0, 0.0], [10.0, 0.0]]), [(0, 1), (1, 0)])
    assert long == [scene_layout.DEEPEST / 10] * 2


def test_several_predicates_share_an_arrow_and_a_self_relation_is_a_loop():
    axis = drawn(graph_of([3, 4], [[0, 1], [0, 1], [0, 1], [1, 1]], [0, 1, 0, 2]))
    assert len(arrows(axis)) == 2
    assert "on, in the front of" in words(axis)
    assert words(axis).count(r"has\$") == 1


@pytest.mark.parametrize("graph", [graph_of([]), graph_of([5], [], []), graph_of([5, 6], [], [])])
def test_graphs_without_edges_are_drawn(graph):
    axis = drawn(graph)
    assert len(boxes(axis)) == len(graph)
    assert not arrows(axis)
    assert ("no objects" in words(axis)) == (len(graph) == 0)


def test_what_was_added_is_marked_and_nothing_is_where_nothing_was_given():
    edges = [box.get_edgecolor() for box in boxes(drawn(FIRST, given=2))]
    assert edges[0] == edges[1] != edges[2]
    assert len({box.get_edgecolor() for box in boxes(drawn(FIRST))}) == 1
    tones = [arrow.get_edgecolor()[:3] for arrow in arrows(drawn(FIRST, given=2))]
    assert tones[0] == tones[1] != tones[2]


def test_a_class_has_one_colour_on_which_black_is_legible():
    shades = [scene_graphs.colour(label) for label in range(150)]
    assert len(set(shades)) == 150
    channel = np.array(shades)
    linear = np.where(channel <= 0.04045, channel / 12.92, ((channel + 0.055) / 1.055) ** 2.4)
    luminance = linear @ (0.2126, 0.7152, 0.0722)
    assert ((luminance + 0.05) / 0.05).min() > 7  # WCAG's highest grade of contrast


# ---- layout


@pytest.mark.parametrize(("n", "m", "seed"), [(3, 2, 0), (8, 10, 1), (16, 18, 2), (25, 26, 3), (25, 40, 4)])
def test_names_do_not_overlap_and_stay_in_the_panel(n, m, seed):
    axis = drawn(scene(n, m, seed))
    points = np.array([box.get_bbox().get_points() for box in boxes(axis)])
    low, high = points[:, 0], points[:, 1]
    assert (low >= -1e-6).all()
    assert (high <= np.array([5.4, 5.2]) + 1e-6).all()
    shared = np.minimum(high[:, None], high[None]) - np.maximum(low[:, None], low[None])
    both = (shared > 0.01).all(-1) & ~np.eye(n, dtype=bool)
    assert not both.any()


def test_a_path_on_one_line_leaves_room_for_its_labels():
    n = 5
    edges = np.array([[i, i + 1] for i in range(n - 1)])
    sizes, texts = np.full((n, 2), (0.5, 0.2)), np.full((n - 1, 2), (0.4, 0.1))
    spots = placed(edges, sizes, texts, (5.4, 3.0))
    way = np.abs(spots[edges[:, 0]] - spots[edges[:, 1]]) - sizes[0]
    assert ((way[:, 0] >= 0.4) | (way[:, 1] >= 0.15)).all()


def test_an_edge_does_not_run_through_a_foreign_node():
    sizes = np.full((3, 2), (0.6, 0.2))
    spots = scene_layout._apart(
        np.array([[0.5, 1.0], [2.5, 1.0], [4.5, 1.0]]),
        np.array([[0, 1], [1, 2], [0, 2]]),
        sizes,
        (sizes[:, None] + sizes[None]) / 2,
        (5.4, 2.0),
    )
    ends = spots[[0, 2]]
    height = np.interp(spots[1, 0], ends[:, 0], ends[:, 1])
    assert abs(spots[1, 1] - height) > 0.1


def test_labels_avoid_nodes_and_each_other():
    spots = np.array([[0.5, 1.0], [4.5, 1.0], [2.5, 1.0], [2.5, 1.9], [2.5, 0.1]])
    sizes = np.full((5, 2), (0.6, 0.2))
    texts = np.full((2, 2), (0.5, 0.15))
    found = labelled(spots, sizes, [(0, 1), (4, 3)], [0.0, 0.0], texts, (5.0, 2.0))
    for i, text in enumerate(found):
        over = np.abs(text - spots) < (sizes + texts[i]) / 2 - 1e-9
        assert not over.all(1).any()
    assert not (np.abs(found[0] - found[1]) < texts[0]).all()


def test_a_layout_is_the_same_on_every_call():
    graph = scene(20, 24)
    sizes, texts = np.full((20, 2), (0.5, 0.2)), np.full((24, 2), (0.3, 0.1))
    first = placed(graph.edges, sizes, texts, (5.4, 4.0))
    assert np.array_equal(first, placed(graph.edges, sizes, texts, (5.4, 4.0)))


@pytest.mark.parametrize("package", ["pygraphviz", "pydot"])
def test_graphviz_lays_out_where_it_is_there(package, monkeypatch):
    asked = []

    def layout(graph, prog):
        asked.append(prog)
        return {node: (72.0 * node, 36.0 * (node % 2)) for node in graph}

    found = {package: object()}
    monkeypatch.setattr(scene_layout.importlib.util, "find_spec", found.get)
    monkeypatch.setattr(scene_layout.shutil, "which", lambda name: f"/usr/bin/{name}")
    module = {"pygraphviz": "nx_agraph", "pydot": "nx_pydot"}[package]
    monkeypatch.setattr(getattr(scene_layout.nx, module), "graphviz_layout", layout)
    graph = scene_layout.nx.path_graph(3)
    spots = scene_layout._component(graph, [0, 1, 2], np.full((3, 2), 0.2))
    assert asked == ["dot"]
    assert spots.tolist() == [[0.0, 0.0], [1.0, 0.5], [2.0, 0.0]]
    monkeypatch.setattr(scene_layout.shutil, "which", lambda name: None)
    assert not scene_layout.graphviz()


# ---- sheets


def test_a_sheet_of_pairs_says_similarity_and_size(tmp_path, monkeypatch):
    titles = []
    panel = scene_graphs.Sheet.panel

    def spy(self, *place, **more):
        titles.append(place[-1])
        return panel(self, *place, **more)

    monkeypatch.setattr(scene_graphs.Sheet, "panel", spy)
    pairs = [(FIRST, scene(25, 30), 0.25), (graph_of([]), graph_of([1], [], [], "a$b"), 0.0)]
    width, height = is_png(generated_sheet(tmp_path / "sheet.png", pairs, VOCABULARY, CAPTION))
    assert titles == [
        "generated: 3 objects, 3 relations",
        "nearest in training: image 0, similarity 0.250, 25 objects, 30 relations",
        "generated: 0 objects, 0 relations",
        "nearest in training: a$b, similarity 0.000, 1 object, 0 relations",
    ]
    assert 900 < width < 1400
    assert 500 < height < 1200


@pytest.mark.parametrize("count", [1, 3, 4])
def test_a_tree_of_completions(tmp_path, monkeypatch, count):
    told = []
    monkeypatch.setattr(
        scene_graphs, "draw_graph", lambda axis, graph, vocabulary, given: told.append((len(graph), given))
    )
    completions = [scene(5 + i, 5, i) for i in range(count)]
    path = completion_sheet(tmp_path / "tree.png", FIRST, completions, VOCABULARY, CAPTION)
    assert told == [(3, 3), *((5 + i, 3) for i in range(count))]
    with Image.open(path) as image:
        assert image.width < 1600


def test_a_sheet_is_written_the_same_twice(tmp_path):
    pairs = [(FIRST, scene(12, 14), 0.5)]
    one = generated_sheet(tmp_path / "one.png", pairs, VOCABULARY, CAPTION).read_bytes()
    assert one == generated_sheet(tmp_path / "two.png", pairs, VOCABULARY, CAPTION).read_bytes()


def test_pyplot_is_not_needed(tmp_path):
    from conftest import python

    code = (
        "import sys, pathlib; from bench.graphs.scene import *; from bench.report.scene_graphs import *; "
        f"generated_sheet(pathlib.Path({str(tmp_path / 'x.png')!r}), [(SceneGraph([0], [], []), "
        "SceneGraph([0], [], []), 1.0)], Vocabulary(('a',), ()), 'x'); "
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = python("-c", code, cwd=Path(__file__).parents[2])
    assert (done.code, done.out.strip()) == (0, "False"), done.err


def test_nothing_to_draw_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one generated"):
        generated_sheet(tmp_path / "a.png", [], VOCABULARY, CAPTION)
    with pytest.raises(ValueError, match="at least one completion"):
        completion_sheet(tmp_path / "a.png", FIRST, [], VOCABULARY, CAPTION)
    with pytest.raises(ValueError, match="one of them is empty"):
        cooccurrence_maps(tmp_path / "a.png", [FIRST], [], VOCABULARY, CAPTION)
    with pytest.raises(ValueError, match="one of them is empty"):
        occurrence_bars(tmp_path / "a.png", [], [FIRST], VOCABULARY, CAPTION)
    with pytest.raises(ValueError, match="finite"):
        nll_histograms(tmp_path / "a.png", {0: np.array([np.inf])}, {}, CAPTION)
    assert not list(tmp_path.iterdir())


# ---- statistics


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are written, in order."""
    seen: list[Figure] = []
    write = scene_statistics.write_figure

    def spy(path: Path, figure: Figure) -> Path:
        seen.append(figure)
        return write(path, figure)

    monkeypatch.setattr(scene_statistics, "write_figure", spy)
    return seen


def test_histograms_name_mean_area_and_what_is_not_finite(tmp_path, figures):
    values = {20: np.array([3.0, 5.0, np.nan]), 0: np.array([1.0, 2.0, 3.0])}
    is_png(nll_histograms(tmp_path / "nll.png", values, {20: 0.875}, CAPTION))
    (legend,) = figures[0].legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "as they are: mean 2.0",
        "20 % corrupted: mean 4.0, AUROC 0.875, 1 not finite",
    ]


def test_a_histogram_of_one_value_and_of_a_long_tail(tmp_path, figures):
    nll_histograms(tmp_path / "one.png", {0: np.full(5, 7.0)}, {}, CAPTION)
    nll_histograms(tmp_path / "tail.png", {0: np.append(np.linspace(0, 1, 999), 1e6)}, {}, CAPTION)
    assert "beyond" not in figures[0].axes[0].get_xlabel()
    assert figures[1].axes[0].get_xlabel().endswith("; 5 lie beyond the right end")
    assert figures[1].axes[0].get_xlim()[1] < 2


def test_maps_show_both_sides_and_their_difference(tmp_path, figures):
    ours, theirs = [graph_of([0, 1], [], [])], [graph_of([0, 1], [], []), graph_of([2, 2], [], [])]
    is_png(cooccurrence_maps(tmp_path / "maps.png", ours, theirs, VOCABULARY, CAPTION))
    images = [axis.images[0].get_array() for axis in figures[0].axes[:3]]
    assert [float(image[0, 1]) for image in images] == [1.0, 0.5, 0.5]
    assert all(image.mask.diagonal().all() for image in images)
    assert [axis.images[0].get_clim() for axis in figures[0].axes[:3]] == [
        (0, 0.05),
        (0, 0.05),
        (-0.05, 0.05),
    ]
    assert len(figures[0].axes[0].get_xticklabels()) == scene_statistics.MAPPED


def test_bars_show_shares_of_labels_and_say_what_is_left(tmp_path, figures):
    ours, theirs = [FIRST], [graph_of([0, 0, 0, 1], [[0, 1]], [1])]
    is_png(occurrence_bars(tmp_path / "bars.png", ours, theirs, VOCABULARY, CAPTION))
    left, right = figures[0].axes
    generated, test = left.containers
    assert [float(bar.get_width()) for bar in test[:2]] == [0.75, 0.25]
    assert float(generated[0].get_width()) == pytest.approx(1 / 3)
    assert left.get_title() == "objects; 13 more hold 0.0% (generated) and 0.0% (test)"
    assert right.get_title() == "predicates"
    assert [float(bar.get_width()) for bar in right.containers[1]] == [1.0, 0.0, 0.0]


def test_bars_of_sides_without_any_edge(tmp_path):
    lone = [graph_of([0], [], [])]
    is_png(occurrence_bars(tmp_path / "bars.png", lone, lone, VOCABULARY, CAPTION))
