"""Expressions, refusals, and what users bring: strategies, weightings and networks of their own."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pandas as pd
import pytest
from conftest import only_record
from federation_data import phantom, record, refused, words

MINE = """
import numpy as np
import torch
from flwr.serverapp.strategy import FedAvg
from torch import nn

from bench.federated.strategy import Weighting


class Square(FedAvg):
    '''A plain Flower strategy with an option.'''

    def __init__(self, power: float = 1.0, **more):
        super().__init__(**more)
        self.power = power


class Rare(Weighting):
    '''Small clients count more.'''

    def coefficients(self, updates, federation):
        return 1 / np.array([update.examples for update in updates], float)


class Net(nn.Module):
    def __init__(self, in_channels, num_classes):
        super().__init__()
        self.flat = nn.Linear(in_channels * 28 * 28, num_classes)

    def forward(self, x):
        return self.flat(x.flatten(1))
"""


@pytest.fixture(scope="module")
def fashion(bench_home):
    return phantom("fashion_mnist", bench_home)


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    path = tmp_path_factory.mktemp("mine") / "mine_for_federations.py"
    path.write_text(MINE)
    return path


# ---- expressions


def test_an_expression_is_canonical_in_record_folder_and_identity(bench, fashion, tmp_path):
    for method in ("fedavg+ida", "ida+fedavg"):
        answer = bench("run", *words(fashion, tmp_path, method=method, rounds=1, method__ida__eps=0.5))
        assert answer.code == 0, answer.err
    found = record(tmp_path)  # the second order is the same run
    assert found["method"]["name"] == "ida+fedavg"
    assert only_record(tmp_path).parent.parent.name == "ida+fedavg"
    assert found["method"]["config"]["ida"]["eps"] == 0.5


def test_the_official_profile_reaches_into_the_parts(bench, fashion, tmp_path):
    for profile, chance in (("official", "clients"), ("clean", "classes")):
        out = tmp_path / profile
        answer = bench("run", *words(fashion, out, method="ida+intrac", rounds=1, profile=profile))
        assert answer.code == 0, answer.err
        assert record(out)["method"]["config"]["intrac"]["chance"] == chance


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"method": "ida+fedavg", "method.ida.epss": 1}, ["No field `ida.epss`", "Did you mean `ida.eps`?"]),
        ({"method": "hc"}, ["`hc` wraps another method", "method=fedavg+hc"]),
        ({"method": "hc+finetune"}, ["wraps nothing"]),
        ({"method": "fedavg+fedavg"}, ["names `fedavg` 2 times"]),
        ({"method": "fedavg+unet"}, ["unet", "segmentation", "these fit", "fedavg"]),
        ({"method": "fedavg+centralized"}, ["`centralized`", "use it alone"]),
        ({"method": "ida+local"}, ["`local` in `ida+local` is a strategy of its own"]),
        ({"method": "fedavg+"}, ["empty part"]),
        ({"method": "fedavgg+ida"}, ["No method `fedavgg`", "Did you mean `fedavg`?"]),
        ({"method": "fedavg", "grid": "ray"}, ["grid", "ray", "inprocess", "deployment"]),
        ({"method": "fedavg", "partition": "fedap"}, ["partition=fedap", "balanced, thousand"]),
        ({"method": "fedavg", "clients": 0}, ["clients", "from 1", "0"]),
        ({"method": "fedavg", "participation": 1.5}, ["participation", "1.5"]),
        ({"method": "fedavg", "protocol.poisoned": 3}, ["poisoned=3", "no honest client"]),
        ({"method": "fedavg", "protocol.model": "lenett"}, ["protocol.model", "lenett"]),
        ({"method": "fedavg", "protocol.max_steps": 2}, ["max_steps=2"]),
    ],
)
def test_words_that_are_refused(bench, fashion, tmp_path, change, told):
    answer = bench("run", *words(fashion, tmp_path, **change))
    if "protocol.max_steps" in change:  # known only when the clients are
        assert answer.code == 1
        assert all(part in answer.err.splitlines()[-1] for part in told)
        return
    refused(answer, *told)
    assert not list(tmp_path.rglob("record.json"))


def test_grid_is_a_word_of_federated_tasks_only(bench, folder_data, tmp_path):
    answer = bench(
        "run", "task=oct", "dataset=folder", f"data_root={folder_data}", "method=unet", "grid=flower"
    )
    refused(answer, "grid")


# ---- what users bring


def test_a_users_strategy_with_an_option(bench, fashion, mine, tmp_path):
    answer = bench("run", *words(fashion, tmp_path, method=f"{mine}:Square", rounds=1, method__power=2))
    assert answer.code == 0, answer.err
    found = record(tmp_path)
    assert found["method"] | {"config": {}} == {
        "name": "Square",
        "source": "file",
        "state": "external",
        "config": {},
        "file_sha256": hashlib.sha256(mine.read_bytes()).hexdigest(),
        "parameters": 61_706,
    }
    assert found["method"]["config"]["power"] == 2


def test_a_users_strategy_without_changes_is_our_fedavg(bench, fashion, mine, tmp_path):
    for name in (f"{mine}:Square", "fedavg"):
        changes = {"clients": 4, "participation": 0.5, "method": name}
        assert bench("run", *words(fashion, tmp_path / name[-6:], **changes)).code == 0
    theirs, ours = (
        pd.read_csv(only_record(tmp_path / name).parent / "curves.csv") for name in ("Square", "fedavg")
    )
    assert theirs["bytes_up"].to_list() == ours["bytes_up"].to_list()
    # The same clients are drawn; Flower averages in float32 and we in float64.
    np.testing.assert_allclose(theirs["train_loss"], ours["train_loss"], rtol=1e-3)


@pytest.mark.parametrize("method", ["ida+{mine}:Rare", "{mine}:Rare+ida", "{mine}:Rare"])
def test_a_users_weighting_as_a_part(bench, fashion, mine, tmp_path, method):
    answer = bench("run", *words(fashion, tmp_path, method=method.format(mine=mine), rounds=1))
    assert answer.code == 0, answer.err
    found = record(tmp_path)
    assert found["method"]["name"] == ("Rare" if method == "{mine}:Rare" else "ida+Rare")
    assert found["method"]["source"] == "file"
    assert found["method"]["state"] == "external"
    assert str(mine.parent) not in only_record(tmp_path).read_text()


def test_a_users_network_is_no_method_but_a_model(bench, fashion, mine, tmp_path):
    refused(
        bench("run", *words(fashion, tmp_path / "a", method=f"{mine}:Net")),
        "`Net` is a network",
        "method=fedavg protocol.model=",
    )
    out = tmp_path / "b"
    answer = bench("run", *words(fashion, out, method="fedavg", protocol__model=f"{mine}:Net", rounds=1))
    assert answer.code == 0, answer.err
    found = record(out)
    assert "model: mine_for_federations.py:Net instead of lenet" in found["task"]["deviations"]
    assert found["method"]["parameters"] == 28 * 28 * 10 + 10
    for path in out.rglob("*"):
        if path.is_file() and path.suffix not in (".png", ".parquet"):
            assert str(mine.parent).encode() not in path.read_bytes(), path.name


def test_check_on_a_users_strategy(bench, mine):
    answer = bench("check", f"method={mine}:Square", "task=federated_fashion_mnist", "--json")
    assert answer.code == 0, answer.out
    found = json.loads(answer.out)
    assert found["passed"]
    names = [check["name"] for check in found["checks"]]
    assert names[:2] == ["fit, predict, shapes", "deterministic, blind to test targets"]
