"""Clients that hold next to nothing, draws of nobody, strategies that wait, and a poisoned client."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
from federation_data import Engine, by_hand, clients, phantom, same, words

from bench import registry
from bench.federated import proxy
from bench.federated.data import ClientImages, TrainSet


@pytest.fixture
def engine(tmp_path):
    return Engine(tmp_path / "engine")


@pytest.fixture(scope="session")
def fashion(bench_home):
    return phantom("fashion_mnist", bench_home)


# ---- clients that hold next to nothing


def of(*labels):
    """Clients with these labels."""
    whole = clients(sum(map(len, labels)), seed=3).clients[0].images
    cuts = np.cumsum([0, *map(len, labels)])
    return TrainSet(
        tuple(
            ClientImages(whole[a:b], np.array(own, np.int64))
            for a, b, own in zip(cuts[:-1], cuts[1:], labels, strict=True)
        )
    )


@pytest.mark.parametrize("method", ["fedavg", "ida", "intrac", "fedap", "local", "centralized"])
def test_clients_with_one_class_and_with_one_sample(engine, method):
    train = of([2, 2, 2, 2, 2], [1], [0, 1, 2, 0, 1, 2])
    if method == "centralized":
        train = train.merged()
    run = engine(method, train)
    assert run.outcome.facts["failed_replies"] == 0
    assert all(np.isfinite(value).all() for value in run.model.values())
    if method == "fedavg":
        same(run.model, by_hand(train, [(0, 1, 2)] * 2))


@pytest.mark.parametrize("method", ["fedavg", "mean", "ida", "intrac", "fedap", "local"])
def test_a_client_without_training_samples(engine, method):
    run = engine(method, of([0, 1, 2, 0], [], [0, 1, 2]))
    assert run.outcome.facts["failed_replies"] == 0
    assert all(np.isfinite(value).all() for value in run.model.values())
    if method == "fedavg":  # it counts for nothing
        same(run.model, by_hand(of([0, 1, 2, 0], [], [0, 1, 2]), [(0, 2)] * 2))


def test_a_federation_of_clients_without_samples_leaves_the_model(engine):
    run = engine("fedavg", of([], [0, 1], []), clients_per_round=1, rounds=6)
    assert run.outcome.facts["train_steps"] < 6, "some round drew nobody with a sample"
    assert all(np.isfinite(value).all() for value in run.model.values())


@pytest.mark.parametrize("size", [1, 5], ids=["one image", "a last batch of one"])
def test_batch_norm_takes_a_batch_of_one_image_by_its_running_statistics(engine, size):
    """MobileNetV2 at 8x8 pixels ends at 1x1: one image has no variance there."""
    train = clients(size, 8, channels=3)
    small = TrainSet(tuple(ClientImages(c.images[:, :, :8, :8].copy(), c.labels) for c in train.clients))
    normal = {"mean": (0.5,) * 3, "std": (0.25,) * 3}
    run = engine("fedavg", small, rounds=1, model="mobilenet_v2", lr=0.001, **normal)
    assert run.outcome.facts["failed_replies"] == 0
    assert all(np.isfinite(value).all() for value in run.model.values())
    own = run.outcome.trained[0]
    seen = {name: value.numpy() for name, value in own.items() if name.endswith("num_batches_tracked")}
    # The largest count is copied: two batches of the second client; then client 0 adds its own full batches.
    assert {int(value) for value in seen.values()} == {2 + size // 4}


# ---- nobody to ask


def test_a_share_that_draws_nobody_is_refused(bench, fashion, tmp_path):
    answer = bench("run", *words(fashion, tmp_path, method="fedavg", clients=4, participation=0.2))
    assert answer.code == 2
    assert answer.err.splitlines()[-1] == (
        "bench: `protocol.participation=0.2` of 4 clients draws nobody; give at least 0.25."
    )
    assert not list(tmp_path.rglob("record.json"))


WAITING = """
import time
from flwr.serverapp.strategy import FedAvg
from flwr.serverapp.strategy.strategy_utils import sample_nodes


class Patient(FedAvg):
    def configure_train(self, server_round, arrays, config, grid):
        sample_nodes(grid, 99, 2)
        return super().configure_train(server_round, arrays, config, grid)


class Restless(FedAvg):
    def configure_train(self, server_round, arrays, config, grid):
        while len(list(grid.get_node_ids())) < 99:
            time.sleep(0.02)
        return super().configure_train(server_round, arrays, config, grid)
"""


@pytest.mark.parametrize("name", ["Patient", "Restless"])
def test_a_strategy_that_waits_for_clients_who_do_not_exist_is_told_so(
    bench, fashion, tmp_path, monkeypatch, name
):
    if name == "Restless":
        monkeypatch.setattr(proxy, "IDLE_S", 1.0)
    path = tmp_path / f"waiting_{name.lower()}.py"
    path.write_text(WAITING)
    start = time.monotonic()
    answer = bench("run", *words(fashion, tmp_path / "runs", method=f"{path}:{name}"))
    assert time.monotonic() - start < 30
    assert answer.code == 1
    assert answer.err.splitlines()[-1].startswith(
        "bench: The strategy waits for more clients than the 3 there are; lower its `min_available_nodes`"
    )


# ---- a poisoned client


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ida_withstands_a_poisoned_client_that_ruins_fedavg_and_mean(engine, fashion, seed):
    """The claim of thesis 6.4: one client of ten that sends noise ruins an average and hardly touches IDA."""
    task = registry.load("task", "federated_fashion_mnist").target()
    protocol = dataclasses.replace(
        task.protocol(), clients=10, classes_per_client=10, poisoned=1, partition_seed=seed
    )
    data = task.load(registry.load("dataset", "fashion_mnist").target().load(fashion), protocol)
    assert list(data.train.noisy.values()) == [1.0]
    settings = {"rounds": 10, "batch_size": 4, "lr": 0.1, "evaluate_every": 99}

    def accuracy(method):
        outcome = engine(method, data.train, seed=seed, **settings).outcome
        return float((outcome.predict(0, data.test.images) == data.test.targets).mean())

    found = {name: accuracy(name) for name in ("ida", "fedavg")}
    # All hold as many samples, so FedAvg is the mean; said once.
    found["mean"] = accuracy("mean") if seed == 0 else found["fedavg"]
    assert len({len(client) for client in data.train.clients}) == 1
    print(f"accuracy with a poisoned client: {found}")
    assert found["ida"] > 0.3, "ida itself learns; a guess is right in one of ten"
    assert found["ida"] > found["fedavg"] + 0.15
    assert found["ida"] > found["mean"] + 0.15
