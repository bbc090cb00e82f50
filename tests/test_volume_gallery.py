"""`volume_gallery`: valid pictures of sane size, of the answers they claim to show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from PIL import Image

from bench.core import Scored
from bench.report import volumes
from bench.report.volumes import volume_gallery

CAPTION = "reptile on fewshot_decathlon (phantom), 5$ and $x"
SHAPE = (30, 40, 12)


def run(patients: int = 4, selections: int = 3, slices: int = 9) -> dict[str, Any]:
    """Blocks, answered worse with every selection and patient; the last answer is empty."""
    names = [f"heart_{v}" for v in range(patients)]
    chosen = [f"shots_{s}" for s in range(selections)]
    ref = np.zeros(SHAPE, bool)
    ref[8:20, 10:22, 1 : 1 + slices] = True
    last = (selections - 1, names[-1])

    def prediction(s: int, name: str) -> np.ndarray:
        return np.zeros(SHAPE, bool) if (s, name) == last else np.roll(ref, s + names.index(name), axis=0)

    rows = []
    for s, selection in enumerate(chosen):
        for v, name in enumerate(names):
            iou = (12 - s - v) / (12 + s + v) if s + v < 12 else 0.0
            row = {"id": f"{selection}/{name}", "unit": name, "selection": selection, "iou": iou}
            rows.append({**row, "hd95": 0.9 * (s + v), "predicted_mm3": 100.0})
    rows[-1] |= {"iou": 0.0, "hd95": None, "predicted_mm3": 0.0}
    noise = np.random.default_rng(0).random(SHAPE)
    return {
        "scored": Scored({}, rows),
        "image": lambda name, position: noise[..., position],
        "reference": lambda name: ref,
        "prediction": prediction,
        "positions": {name: list(range(slices, 0, -1)) for name in names},
        "zooms": dict.fromkeys(names, (0.9, 1.8, 5.0)),
        "selections": chosen,
        "title": "heart",
        "caption": CAPTION,
    }


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are written, in order."""
    seen: list[Figure] = []
    write = volumes._write

    def spy(path: Path, figure: Figure, caption: str) -> Path:
        seen.append(figure)
        return write(path, figure, caption)

    monkeypatch.setattr(volumes, "_write", spy)
    return seen


def check(paths: list[Path]) -> None:
    assert [path.name for path in paths] == ["volumes.png", "selections.png"]
    for path in paths:
        with Image.open(path) as image:
            image.verify()
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert 200 < image.width < 2000
            assert 200 < image.height < 1500


def outlines(axis: Any) -> list[ContourSet]:
    return [artist for artist in axis.get_children() if isinstance(artist, ContourSet)]


def test_best_median_and_worst_are_named_with_their_numbers(tmp_path, figures):
    check(volume_gallery(tmp_path, **run()))
    picture, dots = figures
    titles = [part.get_suptitle() for part in picture.subfigs]
    assert titles == [
        "best: heart_0, shots_0    IoU 1.000    HD95 0.0 mm",
        "median: heart_3, shots_0    IoU 0.600    HD95 2.7 mm",
        "worst: heart_3, shots_2    IoU 0.000    no HD95: empty prediction",
    ]
    said = picture.get_suptitle().replace(r"\$", "$")
    assert said == f"{CAPTION}\nheart: best, median, worst of 12 answers by 3D IoU"
    assert dots.get_suptitle().replace(r"\$", "$") == CAPTION
    (legend,) = picture.legends
    assert [text.get_text() for text in legend.get_texts()] == ["reference", "prediction"]


def test_slices_are_spread_and_outlined_in_true_proportion(tmp_path, figures):
    volume_gallery(tmp_path, **run())
    for part, drawn in zip(figures[0].subfigs, (2, 2, 1), strict=True):
        assert [axis.get_title() for axis in part.axes] == [f"slice {i}" for i in (1, 3, 5, 7, 9)]
        for axis in part.axes:
            assert len(outlines(axis)) == drawn
            assert axis.get_aspect() == pytest.approx(0.5)
            (image,) = axis.images
            assert np.ptp(image.get_extent()[:2]) < SHAPE[1]  # cut to the object


def test_outlines_lie_around_their_masks(tmp_path, figures):
    volume_gallery(tmp_path, **run())
    drawn = outlines(figures[0].subfigs[1].axes[2])
    reference, answer = (np.asarray(c.get_paths()[0].vertices) for c in drawn)
    assert np.ptp(reference, axis=0) == pytest.approx([12, 12])
    shift = answer.mean(axis=0) - reference.mean(axis=0)
    assert shift == pytest.approx([0, 3], abs=0.3)


def test_few_slices_and_few_rows(tmp_path, figures):
    check(volume_gallery(tmp_path, **run(1, 1, 2)))
    (part,) = figures[0].subfigs
    assert [axis.get_title() for axis in part.axes] == ["slice 1", "slice 2"]
    assert part.get_suptitle().startswith("only: heart_0")
    check(volume_gallery(tmp_path, **run(2, 1, 1)))
    assert [part.get_suptitle()[:5] for part in figures[2].subfigs] == ["best:", "worst"]


@pytest.mark.parametrize(("patients", "selections"), [(1, 5), (70, 5), (3, 14), (40, 1)])
def test_any_number_of_patients_and_selections(tmp_path, figures, patients, selections):
    check(volume_gallery(tmp_path, **run(patients, selections)))
    left, right = figures[1].axes
    dots = [len(points.get_offsets()) for points in left.collections if hasattr(points, "get_sizes")]
    assert sum(dots[:selections]) == patients * selections
    assert len(left.get_xticklabels()) == (0 if patients > volumes.LEGIBLE else patients)
    assert [text.get_text() for text in right.get_xticklabels()] == [f"shots_{s}" for s in range(selections)]


def test_dots_stand_at_their_patients_from_best_to_worst(tmp_path, figures):
    given = run()
    volume_gallery(tmp_path, **given)
    left = figures[1].axes[0]
    assert [text.get_text() for text in left.get_xticklabels()] == [f"heart_{v}" for v in range(4)]
    first = np.asarray(left.collections[0].get_offsets())
    rows = {row["id"]: row["iou"] for row in given["scored"].units}
    assert first[:, 0].round().tolist() == [0, 1, 2, 3]
    assert first[:, 1] == pytest.approx([rows[f"shots_0/heart_{v}"] for v in range(4)])


def test_constant_images_full_and_empty_masks_are_drawn(tmp_path):
    full = {
        "image": lambda name, position: np.zeros(SHAPE[:2]),
        "reference": lambda name: np.ones(SHAPE, bool),
        "prediction": lambda s, name: np.ones(SHAPE, bool),
    }
    check(volume_gallery(tmp_path, **{**run(), **full}))
    empty = {
        "reference": lambda name: np.zeros(SHAPE, bool),
        "prediction": lambda s, n: np.zeros(SHAPE, bool),
    }
    check(volume_gallery(tmp_path, **{**run(), **empty}))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"scored": Scored({}, [])}, "no row"),
        ({"selections": ["shots_0", "shots_1"]}, "shots_2/heart_0"),
        ({"positions": {"heart_0": [1]}}, "shots_0/heart_1"),
        ({"positions": {f"heart_{v}": [] for v in range(4)}}, "shots_0/heart_0"),
    ],
)
def test_rows_that_do_not_belong_are_refused(tmp_path, changes, told):
    with pytest.raises(ValueError, match=told):
        volume_gallery(tmp_path, **{**run(), **changes})
