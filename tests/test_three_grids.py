"""One algorithm on three grids: worker processes, Flower's simulation and a deployment agree bitwise."""

from __future__ import annotations

import importlib.util
import json

import pytest
from conftest import only_record
from federation_data import phantom, words

METHODS = {
    "ida+fedavg": {"participation": 0.7},
    # Partial participation, server step, and a model of its own for every client.
    "fedap": {"method.personal_epochs": 1},
}


@pytest.fixture(scope="module")
def fashion(bench_home):
    return phantom("fashion_mnist", bench_home)


@pytest.fixture
def run(bench, fashion, tmp_path):
    def call(grid, method):
        changes = {"method": method, "grid": grid, **METHODS[method]}
        answer = bench("run", *words(fashion, tmp_path / grid, **changes), "--json")
        assert answer.code == 0, answer.err
        folder = only_record(tmp_path / grid).parent
        record = json.loads((folder / "record.json").read_text())
        assert not (folder / "checkpoint").exists()
        return answer.out, (folder / "curves.csv").read_bytes(), record

    return call


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("grid", ["flower", "deployment"])
def test_a_grid_gives_bitwise_the_table_and_curves_of_the_default(run, grid, method):
    if grid == "flower" and importlib.util.find_spec("ray") is None:
        pytest.skip('Flower\'s simulation needs ray: pip install "fedmedgen-bench[ray]"')
    metrics, curves, record = run("inprocess", method)
    found, points, theirs = run(grid, method)
    assert found == metrics
    assert points == curves
    assert len(curves.splitlines()) == 3, "a point each round"
    assert theirs["run_id"] != record["run_id"], "computed, not read"
    assert theirs["environment"]["grid"] == grid
    # No protocol is changed by where clients compute.
    assert theirs["task"] == record["task"]
