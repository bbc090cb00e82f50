"""What is shipped: one top-level package, links that stay links, the reported rows inside."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINKS = ("tasks", "methods", "datasets", "leaderboards")


@pytest.mark.parametrize("name", LINKS)
def test_links_are_links(name):
    link = ROOT / "bench" / name
    assert link.is_symlink()
    assert link.readlink() == Path("..") / name
    assert not (ROOT / name / "__init__.py").exists()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Wheel and sdist, built without isolation so that no network is needed."""
    target = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(target), str(ROOT)],
        check=True,
        capture_output=True,
    )
    return target


def test_the_wheel_has_one_top_level_package(built):
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"bench"}
    for name in (
        "bench/tasks/oct.py",
        "bench/methods/ynet.py",
        "bench/datasets/duke_oct.py",
        "bench/datasets/duke_oct.splits.csv",
        "bench/leaderboards/reported/thesis_tab8.1.csv",
        "bench/record.schema.json",
        "bench/report/page.html.j2",
    ):
        assert name in names, name
    # Committed pictures belong to the leaderboards' pages, not to what is installed.
    assert not [name for name in names if "shared" in name or name.endswith((".mat", ".png"))]


def test_the_sdist_builds_the_same(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as bundle:
        names = {name.partition("/")[2] for name in bundle.getnames()}
    assert {"bench/cli.py", "bench/tasks/oct.py", "bench/methods/ynet.py", "pyproject.toml"} <= names


def test_every_file_is_short_enough():
    """No file over 300 lines without a reason; there is none so far."""
    long = {
        str(path.relative_to(ROOT)): count
        for folder in ("bench", "tasks", "methods", "datasets", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if path.resolve().is_relative_to(ROOT / folder)
        and (count := len(path.read_text().splitlines())) > 300
    }
    assert long == {}
