"""Sections side by side along one number of their setting."""

from __future__ import annotations

import pytest

from bench.report.along import courses
from bench.report.board import Key, Row, Section
from bench.report.course import draw_courses


def section(shots, values, split="s", deviations=(), **setting):
    rows = tuple(
        Row(name, name, "builtin", "reimplemented", 1, ({"metrics": {"iou": {"value": v, "n": 3}}},), 1)
        for name, v in values.items()
    )
    key = Key("decathlon", "real", "f", split, "clean", f"protocol of {shots}")
    told = {"target": "heart", "shots": shots, **setting}
    return Section(key, "patient", 3, 0, tuple(deviations), ("iou",), (), rows, told)


def test_one_column_a_value_and_a_dash_where_a_method_was_not_run():
    sections = [section("all", {"a": 0.9}), section(15, {"a": 0.5, "b": 0.6}), section(1, {"a": 0.1})]
    (course,) = courses(sections, "iou")
    grid = course.grid()
    assert grid.headers == ("method", "shots=1", "shots=15", "shots=all")
    assert grid.rows == (("a", "0.100", "0.500", "0.900"), ("b", "-", "0.600", "-"))
    assert "target=heart" in grid.title


@pytest.mark.parametrize(
    "other",
    [
        section(5, {"a": 0.2}, split="another"),
        section(5, {"a": 0.2}, deviations=("epochs: 1 instead of 20",)),
        section(5, {"a": 0.2}, target="spleen"),
        section(1, {"a": 0.2}),
    ],
)
def test_what_differs_in_more_or_in_nothing_stays_apart(other):
    assert not list(courses([section(1, {"a": 0.1}), other], "iou"))


def test_words_and_switches_are_no_course():
    sections = [section(1, {"a": 0.1}, kind=kind) for kind in ("standard", "volume", True, False)]
    assert not list(courses(sections, "iou"))


def test_a_picture_a_course(tmp_path):
    from PIL import Image

    sections = [section("all", {"a": 0.9}), section(15, {"a": 0.5, "$b$": 0.6}), section(1, {"a": 0.1})]
    (path,) = draw_courses(tmp_path / "new", list(courses(sections, "iou")), "few shots")
    with Image.open(path) as image:
        assert image.size[0] > 400
    assert path.parent == tmp_path / "new"


def test_the_command_draws_or_says_that_there_is_nothing(bench, tmp_path):
    answer = bench("leaderboard", "oct", "--committed", "--figures", tmp_path / "f")
    assert answer.code == 0
    assert "No figure" in answer.err
    (tmp_path / "file").write_text("")
    assert bench("leaderboard", "oct", "--committed", "--figures", tmp_path / "file").code == 2
