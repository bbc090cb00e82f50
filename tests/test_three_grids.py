"""One algorithm on three grids: worker processes, Flower's simulation and a deployment agree bitwise."""

from __future__ import annotations

import importlib.util
import json

import pytest
from conftest import only_record
from federation_data import phantom, words

# Drawn clients, a server step, and in the end a model of its own for every client.
METHOD = {"method": "ida+fedap", "method.fedap.personal_epochs": 1, "participation": 0.7}


def computed(grid, home, out):
    """Metrics, curves and record of a run on a grid."""
    from bench.cli import main

    changes = {**METHOD, "grid": grid, "protocol.evaluate_every": 2}
    assert main(["run", *words(phantom("fashion_mnist", home), out, **changes)]) == 0
    folder = only_record(out).parent
    record = json.loads((folder / "record.json").read_text())
    assert not (folder / "checkpoint").exists()
    return record["metrics"], (folder / "curves.csv").read_bytes(), record


@pytest.fixture(scope="module")
def default(bench_home, tmp_path_factory):
    return computed("inprocess", bench_home, tmp_path_factory.mktemp("inprocess"))


@pytest.mark.slow
@pytest.mark.parametrize("grid", ["flower", "deployment"])
def test_a_grid_gives_bitwise_the_table_and_curves_of_the_default(default, bench_home, tmp_path, grid):
    if grid == "flower" and importlib.util.find_spec("ray") is None:
        pytest.skip('Flower\'s simulation needs ray: pip install "fedmedgen-bench[ray]"')
    metrics, curves, record = default
    found, points, theirs = computed(grid, bench_home, tmp_path)
    assert found == metrics
    assert points == curves
    assert theirs["run_id"] != record["run_id"], "computed, not read"
    assert theirs["environment"]["grid"] == grid
    assert theirs["task"] == record["task"], "where clients compute changes no protocol"
