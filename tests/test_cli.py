"""The command line itself: what it imports, what it lists and shows."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from conftest import python

HEAVY = [
    "torch",
    "numpy",
    "pandas",
    "monai",
    "flwr",
    "hydra",
    "omegaconf",
    "pydantic",
    "rich",
    "matplotlib",
    "scipy",
]


@pytest.mark.parametrize("words", [["--help"], ["list"], ["list", "methods", "--json"], ["run", "--help"]])
def test_help_and_list_import_nothing_heavy(words):
    code = (
        "import sys, bench.cli\n"
        f"assert bench.cli.main({words!r}) == 0\n"
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "sys.stderr.write(repr(heavy))"
    )
    answer = python("-c", code)
    assert answer.code == 0, answer.err
    assert answer.err == "[]"


def test_the_scan_of_entry_points_is_cached_until_packages_change(tmp_path, monkeypatch):
    from bench import plugins

    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    scans = []
    real = plugins._scan
    monkeypatch.setattr(plugins, "_scan", lambda: scans.append(1) or real())
    for _ in range(3):
        plugins.published("methods")
    assert len(scans) == 1
    (tmp_path / "new package").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "new package"))
    plugins.published("methods")
    assert len(scans) == 2


def test_a_method_from_an_installed_package(bench, small, tiny_net, tmp_path, monkeypatch):
    """As `pip install` leaves it: a module and a dist-info folder with entry points."""
    site = tmp_path / "site"
    info = site / "theirpkg-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "theirpkg_net.py").write_text(tiny_net.read_text())
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirpkg\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[bench.methods]\ntheirnet = theirpkg_net:TinyNet\nbroken = not_there_at_all:Net\n"
    )
    monkeypatch.syspath_prepend(str(site))
    assert "theirnet" in bench("list", "methods").out
    words = [word for word in small if not word.startswith("method=")]
    answer = bench("run", *words, "method=theirnet")
    assert answer.code == 0, answer.err
    (record,) = (tmp_path / "runs").rglob("record.json")
    method = json.loads(record.read_text())["method"]
    assert (method["name"], method["source"]) == ("theirnet", "entry_point")
    assert bench("run", *words, "method=theirpkg/theirnet").code == 0
    answer = bench("run", *words, "method=broken")
    assert answer.code == 2
    assert "package `theirpkg`" in answer.err
    assert answer.err.count("\n") == 1


def test_list_names_everything(bench):
    out = bench("list").out
    for name in ("oct", "unet", "ynet", "relaynet", "duke_oct", "umn_oct", "folder", "dice@official"):
        assert f"  {name} " in out, name
    listed = json.loads(bench("list", "reported", "--json").out)
    assert len(listed) == 39


def test_show_a_task(bench):
    facts = json.loads(bench("show", "oct", "--json").out)
    assert facts["protocol"]["epochs"] == 80
    assert facts["protocol under official"] == {
        "mask_interpolation": "bilinear",
        "epochs": 100,
        "loss": "official",
        "selection": "official",
    }
    assert facts["splits"]["duke_oct"] == {"train": 6, "val": 2, "test": 2}
    assert facts["splits"]["umn_oct"] == {"train": 19, "val": 5, "test": 5}
    assert "dice@official" in bench("show", "oct").out


def test_show_a_method(bench):
    facts = json.loads(bench("show", "ynet", "--json").out)
    assert facts["fields"]["method.alpha"] == "float = 0.5"
    assert "6,925,353" in facts["parameters"]
    assert "interleaved" in bench("show", "ynet").out


def test_show_a_dataset_a_users_file_and_a_reported_row(bench, tiny_net):
    assert "Subject" in bench("show", "duke_oct").out
    facts = json.loads(bench("show", f"{tiny_net}:TinyNet", "--json").out)
    assert facts["fields"]["method.width"] == "int = 4"
    row = json.loads(bench("show", "thesis_tab8.1:045", "--json").out)
    assert row["printed"] == "0.855"


def test_doctor(bench):
    facts = json.loads(bench("doctor", "--json").out)
    assert facts["missing_packages"] == []
    assert set(facts["extras"]) == {"ray", "slurm", "joblib", "hf", "fid"}
    text = bench("doctor").out
    for extra, found in facts["extras"].items():
        line = next(line for line in text.splitlines() if line.startswith(f"extra       {extra} "))
        assert ("installed" in line) == found
        assert found or f'pip install "fedmedgen-bench[{extra}]"' in line


def test_version(bench):
    import bench as package

    assert bench("--version").out == f"bench {package.__version__}\n"


def test_telemetry_is_off():
    answer = python(
        "-c", "import bench, os; print(os.environ['FLWR_TELEMETRY_ENABLED'], os.environ['DO_NOT_TRACK'])"
    )
    assert answer.out == "0 1\n"


def test_imports_point_one_way():
    """The engine names no task, method or dataset; methods import no task and no other method."""
    root = Path(__file__).parents[1]
    for folder in ("tasks", "methods", "datasets"):
        for path in (root / folder).glob("*.py"):
            text = path.read_text()
            forbidden = {
                "tasks": ["bench.methods"],
                "datasets": ["bench.methods", "bench.tasks", "bench.datasets"],
            }
            for module in forbidden.get(folder, ["bench.tasks", "bench.methods", "bench.datasets"]):
                assert f"from {module}" not in text, path
                assert f"import {module}" not in text, path
    names = {p.stem for f in ("tasks", "methods", "datasets") for p in (root / f).glob("*.py")}
    for path in (root / "bench").rglob("*.py"):
        if path.resolve().is_relative_to(root / "bench"):
            for name in names - {"folder", "unet"}:
                for folder in ("tasks", "methods", "datasets"):
                    assert f"bench.{folder}.{name}" not in path.read_text(), path


def test_python_minus_m(bench):
    assert sys.version_info >= (3, 11)
    assert python("-m", "bench", "--version").code == 0
