"""Bars for people, silence for log files."""

from __future__ import annotations

from bench.files import without_folders
from bench.progress import Progress


def test_everything_is_yielded_in_order_and_drawn_when_shown(capfd):
    assert list(Progress(shown=True)(range(5), "count")) == [0, 1, 2, 3, 4]
    assert "count" in capfd.readouterr().err


def test_silent_when_standard_error_is_no_terminal(capfd):
    progress = Progress()
    assert list(progress(iter("abc"), "letters", total=3)) == ["a", "b", "c"]
    with progress.bar("train", 2) as advance:
        advance(loss=0.5)
    assert capfd.readouterr() == ("", "")


def test_bars_stand_inside_each_other(capfd):
    progress = Progress(shown=True)
    seen = []
    for outer in progress(range(2), "outer"):
        with progress.bar("inner", 1) as advance:
            advance(loss=0.25)
            seen.append(outer)
    assert seen == [0, 1]


def test_folders_never_show():
    assert without_folders("/home/ada/nets/my_net.py:MyNet") == "my_net.py:MyNet"
    assert without_folders("../nets/my net.py") == "my net.py"
    assert without_folders("data/ada", is_path=True) == "ada"
    assert without_folders("1e-3") == "1e-3"
    assert without_folders("a/b") == "a/b", "a published method is no path"
