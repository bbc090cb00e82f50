"""Pictures of a federated run: valid files of sane size for any number of clients, and what they show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from bench.report import federation
from bench.report.federation import federation_gallery

CAPTION = "fedavg+hc on federated_ham10k (phantom), profile clean, seed 0"


def run(s: int, k: int = 7, seed: int = 0) -> dict[str, Any]:
    """Clients of three classes each and thirty logged rounds."""
    rng = np.random.default_rng(seed)
    train = np.zeros((s, k), np.int64)
    for row in train:
        row[rng.choice(k, min(3, k), replace=False)] = rng.integers(1, 60, min(3, k))
    accuracy = rng.random(s)
    return {
        "train_counts": train,
        "test_counts": train // 4,
        "classes": [f"class {i}" for i in range(k)],
        "client_accuracy": accuracy,
        "client_accuracy_trained": np.sqrt(accuracy),
        "majority_accuracy": 0.31,
        "curves": [
            {"round": r, "steps": 20 * r, "loss": 9.0 / (r + 1), "accuracy": r / 40, "local_accuracy": r / 50}
            for r in range(30)
        ],
        "caption": CAPTION,
    }


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are written, in order."""
    seen: list[Figure] = []
    write = federation._write

    def spy(path: Path, figure: Figure, caption: str) -> Path:
        seen.append(figure)
        return write(path, figure, caption)

    monkeypatch.setattr(federation, "_write", spy)
    return seen


def check(paths: list[Path]) -> None:
    for path in paths:
        with Image.open(path) as image:
            image.verify()
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert 300 <= image.width <= 2000
            assert 200 <= image.height <= 2000
            assert len(np.unique(np.asarray(image.convert("L")))) > 10  # not blank


def labels(axis: Any) -> list[str]:
    return [text.get_text() for text in axis.get_xticklabels()]


@pytest.mark.parametrize("s", [1, 5, 34, 60, 61, 1000])
def test_files(s: int, tmp_path: Path, figures: list[Figure]) -> None:
    paths = federation_gallery(tmp_path / "gallery", **run(s))
    assert [path.name for path in paths] == ["labels.png", "clients.png", "curves.png"]
    assert sorted(path.name for path in (tmp_path / "gallery").iterdir()) == sorted(p.name for p in paths)
    check(paths)
    assert [figure.get_suptitle() for figure in figures] == [CAPTION] * 3


def test_the_heat_map_shows_the_counts(tmp_path: Path, figures: list[Figure]) -> None:
    given = run(5)
    federation_gallery(tmp_path, **given)
    heat, size = figures[0].axes[:2]
    shown = heat.get_images()[0].get_array()
    assert shown is not None
    np.testing.assert_array_equal(np.ma.filled(shown, 0), given["train_counts"])
    written = {(int(t.get_position()[1]), int(t.get_position()[0])): int(t.get_text()) for t in heat.texts}
    train = given["train_counts"]
    assert written == {(int(i), int(j)): train[i, j] for i, j in zip(*np.nonzero(train), strict=True)}
    assert labels(heat) == given["classes"]
    bars: Any = size.patches
    np.testing.assert_array_equal([bar.get_width() for bar in bars[:5]], train.sum(axis=1))
    np.testing.assert_array_equal([bar.get_width() for bar in bars[5:]], (train // 4).sum(axis=1))


def test_many_clients_are_sorted_and_none_is_lost(tmp_path: Path, figures: list[Figure]) -> None:
    given = run(200)
    federation_gallery(tmp_path, **given)
    heat, size = figures[0].axes[:2]
    cells: Any = heat.get_images()[0].get_array()
    shown = np.ma.filled(cells, 0)
    assert sorted(map(tuple, shown)) == sorted(map(tuple, given["train_counts"]))
    assert (np.diff(shown.argmax(axis=1)) >= 0).all()
    assert not heat.texts
    assert not list(heat.get_yticks())
    bars: Any = size.patches
    np.testing.assert_array_equal([bar.get_width() for bar in bars[:200]], shown.sum(axis=1))


def test_clients_from_worst_to_best_with_mean_and_majority(tmp_path: Path, figures: list[Figure]) -> None:
    given = run(5)
    given["client_accuracy"] = [0.5, None, 0.25, float("nan"), 1.0]
    given["client_accuracy_trained"] = [0.6, None, 0.3, None, 0.9]
    federation_gallery(tmp_path, **given)
    axis: Any = figures[1].axes[0]
    assert [bar.get_height() for bar in axis.patches] == [0.25, 0.5, 1.0]
    assert labels(axis) == ["2", "0", "4"]
    points, *lines = axis.get_lines()
    assert list(points.get_ydata()) == [0.3, 0.6, 0.9]
    assert [line.get_ydata()[0] for line in lines] == pytest.approx([1.75 / 3, 0.6, 0.31])
    (legend,) = figures[1].legends
    texts = {text.get_text() for text in legend.get_texts()}
    assert {"mean, served model: 58.3%", "majority class: 31.0%"} <= texts


@pytest.mark.parametrize("trained", [None, [None] * 5])
def test_no_trained_models_are_not_named(trained: Any, tmp_path: Path, figures: list[Figure]) -> None:
    federation_gallery(tmp_path, **{**run(5), "client_accuracy_trained": trained})
    (legend,) = figures[1].legends
    assert not [text.get_text() for text in legend.get_texts() if "local" in text.get_text()]


def test_a_histogram_counts_every_client(tmp_path: Path, figures: list[Figure]) -> None:
    given = run(300)
    given["client_accuracy"][:20] = np.nan
    given["client_accuracy"][20:30] = 1.0
    federation_gallery(tmp_path, **{**given, "client_accuracy_trained": None})
    axis: Any = figures[1].axes[0]
    assert sum(bar.get_height() for bar in axis.patches) == 280


def test_curves_over_rounds_and_over_steps(tmp_path: Path, figures: list[Figure]) -> None:
    given = run(5)
    given["curves"] = [
        {"round": 1, "steps": 10, "accuracy": 0.1},
        {"round": 2, "accuracy": 0.2, "local_accuracy": 0.4},
        {"round": 3, "steps": 30, "loss": 1.0},
        {"round": 4, "steps": 40, "accuracy": float("nan"), "local_accuracy": None},
        {"round": 5, "steps": 50, "accuracy": "0.5", "local_accuracy": ""},
    ]
    federation_gallery(tmp_path, **given)
    drawn = [
        {str(line.get_label()): np.asarray(line.get_xydata()).tolist() for line in axis.get_lines()}
        for axis in figures[2].axes
    ]
    assert drawn == [
        {"accuracy": [[1, 0.1], [2, 0.2], [5, 0.5]], "local_accuracy": [[2, 0.4]]},
        {"accuracy": [[10, 0.1], [50, 0.5]]},
    ]
    (legend,) = figures[2].legends
    assert [text.get_text() for text in legend.get_texts()] == ["accuracy", "local_accuracy"]


@pytest.mark.parametrize("curves", [[], [{"round": 1, "loss": 2.0}], [{"accuracy": 0.5}]])
def test_no_points_no_curves(curves: list[dict[str, float]], tmp_path: Path) -> None:
    paths = federation_gallery(tmp_path, **{**run(3), "curves": curves})
    assert [path.name for path in paths] == ["labels.png", "clients.png"]


def test_no_test_images_no_clients(tmp_path: Path) -> None:
    given = {**run(3), "client_accuracy": [None] * 3, "client_accuracy_trained": None}
    paths = federation_gallery(tmp_path, **given)
    assert [path.name for path in paths] == ["labels.png", "curves.png"]


@pytest.mark.parametrize("s", [4, 80])
def test_edge_cases_draw(s: int, tmp_path: Path) -> None:
    """Nothing to train on, one class, no baseline, a formula in the names, a caption of several lines."""
    given = run(s, k=1)
    zeros = np.zeros((s, 1), np.int64)
    given |= {"train_counts": zeros, "test_counts": zeros, "classes": ["a $^ b$"], "majority_accuracy": None}
    check(federation_gallery(tmp_path, **{**given, "caption": "costs $5_ and $6^ " * 12}))


def test_what_does_not_belong_together_is_refused(tmp_path: Path) -> None:
    given = run(5)
    for name, value in (
        ("train_counts", given["train_counts"][:4]),
        ("test_counts", given["test_counts"][:, :3]),
        ("client_accuracy_trained", [0.5]),
        ("classes", ["one"]),
    ):
        with pytest.raises(ValueError, match=r"need counts .*; pass one row a client"):
            federation_gallery(tmp_path, **{**given, name: value})
    assert not list(tmp_path.iterdir())
