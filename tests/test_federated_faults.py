"""Clients that die, lie, stay silent or hold next to nothing: a result, or one clear sentence."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest
from federation_data import CLASSES, SIDE, Engine, clients, phantom, sick, words

from bench import registry
from bench.errors import RunFailed
from bench.federated import proxy
from bench.federated.client import train_locally
from bench.federated.data import ClientImages, TrainSet
from bench.federated.flower import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from bench.federated.recipe import initial_model, recipe_of
from bench.federated.shards import Shard

SIZES = (6, 9, 12)


@pytest.fixture
def engine(tmp_path):
    return Engine(tmp_path / "engine")


@pytest.fixture(scope="session")
def fashion(bench_home):
    return phantom("fashion_mnist", bench_home)


def training(number, *who):
    """In a round, these clients; never after the last round."""
    return lambda client, at, purpose: purpose == "train" and at == number and client in who


# ---- what stands in place of a reply


def dies(app, message, context):
    os._exit(3)


def is_killed(app, message, context):
    os.kill(os.getpid(), signal.SIGKILL)


def sleeps(app, message, context):
    time.sleep(600)


def raises(app, message, context):
    raise ValueError("no disk left at the clinic")


def changed(change):
    """The honest reply with its arrays or metrics changed."""

    def fault(app, message, context):
        reply = app(message, context)
        arrays = {name: np.array(value.numpy()) for name, value in reply.content["arrays"].items()}
        metrics = dict(reply.content["metrics"])
        arrays = change(arrays, metrics) or arrays
        record = ArrayRecord({name: Array(value) for name, value in arrays.items()})
        content = {"arrays": record, "metrics": MetricRecord(metrics)}
        return Message(RecordDict(content), reply_to=message)

    return fault


def answers(make):
    """A reply with other content."""
    return lambda app, message, context: Message(
        RecordDict(make(app(message, context).content)), reply_to=message
    )


def one_entry(value):
    def change(arrays, metrics):
        arrays["conv2.weight"][0, 0, 0, 0] = value

    return changed(change)


def one_metric(name, value):
    return changed(lambda arrays, metrics: metrics.update({name: value}))


FAULTS = {
    "dies": (dies, "died (exit code 3)"),
    "is killed": (is_killed, "died (signal SIGKILL)"),
    "raises": (raises, "ValueError: no disk left at the clinic"),
    "NaN": (one_entry(np.nan), "`conv2.weight` that is not finite"),
    "infinity": (one_entry(np.inf), "`conv2.weight` that is not finite"),
    "minus infinity": (one_entry(-np.inf), "`conv2.weight` that is not finite"),
    "wrong shape": (
        changed(lambda a, m: {**a, "fc2.bias": a["fc2.bias"][:-1]}),
        "`fc2.bias` of shape (83,) instead of (84,)",
    ),
    "right size, wrong shape": (
        changed(lambda a, m: {**a, "fc2.weight": a["fc2.weight"].T}),
        "`fc2.weight` of shape (120, 84) instead of (84, 120)",
    ),
    "wrong name": (
        changed(lambda a, m: {name.replace("fc2.bias", "fc2.bais"): v for name, v in a.items()}),
        "array `fc2.bais` is missing or unknown",
    ),
    "an array too few": (
        changed(lambda a, m: {name: v for name, v in a.items() if name != "fc2.bias"}),
        "array `fc2.bias` is missing or unknown",
    ),
    "an array too many": (
        changed(lambda a, m: {**a, "more": np.zeros(1, np.float32)}),
        "array `more` is missing or unknown",
    ),
    "whole numbers": (
        changed(lambda a, m: {name: v.astype(np.int32) for name, v in a.items()}),
        "of dtype int32 instead of float32",
    ),
    "complex numbers": (
        changed(lambda a, m: {**a, "fc2.bias": a["fc2.bias"] + 1j}),
        "of dtype complex64 instead of float32",
    ),
    "no arrays": (answers(lambda c: {"metrics": c["metrics"]}), "0 models instead of one"),
    "two models": (
        answers(lambda c: {"arrays": c["arrays"], "again": c["arrays"], "metrics": c["metrics"]}),
        "2 models instead of one",
    ),
    "an empty message": (answers(lambda c: {}), "0 models instead of one"),
    "nothing at all": (lambda app, message, context: None, "answered with NoneType"),
    "no number of examples": (answers(lambda c: {"arrays": c["arrays"]}), "`num-examples` None"),
    "a negative number of examples": (one_metric("num-examples", -1), "`num-examples` -1"),
    "endless examples": (one_metric("num-examples", np.inf), "`num-examples` inf"),
    "a loss that is NaN": (one_metric("train-loss", np.nan), "`train-loss` that is not finite"),
}


def by_hand(train, alive, seed=0):
    """FedAvg from the formula: rounds in which the clients of `alive[round - 1]` answer."""
    from types import SimpleNamespace

    from bench.families.federated_protocol import FederatedProtocol

    protocol = FederatedProtocol(batch_size=4, lr=0.1, image_size=(SIDE, SIDE), clients=len(train))
    ctx = SimpleNamespace(
        protocol=protocol, in_channels=1, num_classes=CLASSES, seed=seed, fabric=SimpleNamespace(device="cpu")
    )
    recipe = recipe_of(ctx)  # pyright: ignore[reportArgumentType]
    model = initial_model(recipe, ctx)  # pyright: ignore[reportArgumentType]
    for number, who in enumerate(alive, 1):
        config = ConfigRecord({**recipe, "server-round": number, "purpose": "train"})
        total = sum(len(train.clients[c]) for c in who)
        mean = {name: np.zeros(value.shape) for name, value in model.items()}
        for c in who:
            shard = Shard(train.clients[c].images, train.clients[c].labels, "")
            arrays, _ = train_locally(model, config, shard, c)
            for name, value in arrays.items():
                mean[name] += len(train.clients[c]) / total * value.numpy()
        if who:
            model = ArrayRecord({name: Array(value.astype(np.float32)) for name, value in mean.items()})
    return {name: value.numpy() for name, value in model.items()}


def same(ours, theirs):
    assert list(ours) == list(theirs)
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5, atol=1e-7, err_msg=name)


def test_the_oracle_agrees_on_a_healthy_federation(engine):
    train = clients(*SIZES)
    run = engine("fedavg", train)
    same(run.model, by_hand(train, [(0, 1, 2)] * 2))
    assert run.outcome.facts["failed_replies"] == 0


@pytest.mark.parametrize("kind", FAULTS)
def test_a_client_that_fails_in_one_round_is_left_out_of_it(engine, monkeypatch, kind):
    fault, told = FAULTS[kind]
    sick(monkeypatch, fault, training(1, 1))
    train = clients(*SIZES)
    run = engine("fedavg", train)
    same(run.model, by_hand(train, [(0, 2), (0, 1, 2)]))
    assert run.outcome.facts["failed_replies"] == 1
    (line,) = [line for line in run.log if line.startswith("client ")]
    assert line.startswith("client 1: ")
    assert told in line
    # Its work is not counted: two clients of 6 and 12 samples, then all three, in batches of 4.
    assert run.outcome.facts["train_steps"] == (2 + 3) + (2 + 3 + 3)
    size = sum(value.nbytes for value in run.model.values())
    assert run.outcome.facts["bytes_down"] == 6 * size
    assert run.outcome.facts["bytes_up"] == 5 * size


def test_a_client_that_does_not_answer_in_time(engine, monkeypatch):
    sick(monkeypatch, sleeps, training(1, 1))
    train = clients(*SIZES)
    start = time.monotonic()
    run = engine("fedavg", train, timeout_s=5.0)
    assert time.monotonic() - start < 60
    same(run.model, by_hand(train, [(0, 2), (0, 1, 2)]))
    assert run.outcome.facts["failed_replies"] == 1
    assert "client 1: no reply within 5 s" in run.log


def test_a_worker_that_died_between_rounds_costs_nothing(engine):
    import psutil

    def kill_workers(row, model_of):
        for process in psutil.Process().children():
            process.kill()
            process.wait()

    engine.probe = kill_workers
    train = clients(*SIZES)
    run = engine("fedavg", train)
    assert run.outcome.facts["failed_replies"] == 0
    same(run.model, by_hand(train, [(0, 1, 2)] * 2))


def test_a_client_that_cannot_read_its_data_is_named_before_the_first_round(engine, monkeypatch):
    def broken(folder):
        raise OSError(f"cannot read {folder.name}")

    monkeypatch.setattr("bench.federated.client.read_shard", broken)
    with pytest.raises(RunFailed, match=r"could not say who it is: OSError: cannot read client_000\.$"):
        engine("fedavg", clients(*SIZES))


@pytest.mark.parametrize("method", ["fedavg", "mean", "ida", "intrac", "fedprox"])
def test_one_survivor_is_the_model(engine, monkeypatch, method):
    sick(monkeypatch, raises, training(1, 0, 2))
    train = clients(*SIZES)
    run = engine(method, train, rounds=1)
    assert run.outcome.facts["failed_replies"] == 2
    assert all(np.isfinite(value).all() for value in run.model.values())
    if method != "fedprox":  # its clients train otherwise
        same(run.model, by_hand(train, [(1,)]))


@pytest.mark.parametrize("method", ["fedavg", "ida", "local", "hc", "fedadam"])
def test_a_round_without_survivors_leaves_the_model_as_it_was(engine, monkeypatch, method):
    from flwr.serverapp.strategy import FedAdam

    from bench.federated.compose import composed
    from bench.federated.plain import plain_strategy

    if method == "hc":
        parts = [(name, registry.load("method", name).target) for name in ("fedavg", "hc")]
        made = composed(parts)()
        made.hc.rounds = 1  # round 2, that of the clustering, fails and is made up for by round 3
    elif method == "fedadam":
        made = plain_strategy(FedAdam, "FedAdam")()
    else:
        made = method
    train = clients(*SIZES)
    sick(monkeypatch, raises, training(2, 0, 1, 2))
    run = engine(made, train, rounds=3)
    assert run.outcome.facts["failed_replies"] == 3
    why = "client 2: ValueError: no disk left at the clinic"
    assert f"round 2: no usable reply, the model stays as it was ({why})" in run.log
    if method == "fedavg":
        same(run.model, by_hand(train, [(0, 1, 2), (), (0, 1, 2)]))
    if method == "hc":
        assert run.outcome.facts["clusters"] >= 1
    assert all(np.isfinite(value).all() for value in run.model.values())


def test_no_survivor_in_any_round_is_one_sentence(engine, monkeypatch):
    sick(monkeypatch, raises, lambda *_: True)
    with pytest.raises(RunFailed) as caught:
        engine("fedavg", clients(*SIZES))
    sentence = (
        "No client returned a usable update in 2 rounds: client 2: ValueError: no disk left at the clinic."
    )
    assert str(caught.value) == sentence


def test_a_client_that_fails_after_the_last_round_keeps_the_federations_model(engine, monkeypatch):
    sick(monkeypatch, raises, lambda client, at, purpose: purpose != "train" and client == 1)
    run = engine("fedap", clients(*SIZES), evaluate_every=9)
    base = run.outcome.served[1]
    # Personalisation and the look at the trained model failed, so both are what it was served before.
    same(
        {name: value.numpy() for name, value in base.items()},
        {name: value.numpy() for name, value in run.outcome.trained[1].items()},
    )
    assert not np.array_equal(base["fc1.weight"].numpy(), run.outcome.served[0]["fc1.weight"].numpy())
    assert run.outcome.facts["failed_replies"] == 2


def test_the_command_line_ends_in_one_sentence_and_a_failed_record(bench, fashion, tmp_path, monkeypatch):
    sick(monkeypatch, is_killed, lambda *_: True)
    answer = bench("run", *words(fashion, tmp_path, method="ida"), "data=phantom")
    assert answer.code == 1
    lines = [line for line in answer.err.splitlines() if line.startswith("bench: ")]
    assert lines == [
        "bench: No client returned a usable update in 2 rounds: client 2: "
        "the client's process died (signal SIGKILL)."
    ]
    assert "Traceback" not in answer.err
    (record,) = tmp_path.rglob("record.json")
    assert '"failed"' in record.read_text()


def test_failed_replies_stand_in_record_and_log(bench, fashion, tmp_path, monkeypatch):
    import json

    sick(monkeypatch, dies, training(2, 0))
    answer = bench("run", *words(fashion, tmp_path, method="fedavg"), "--json")
    assert answer.code == 0, answer.err
    (record,) = tmp_path.rglob("record.json")
    found = json.loads(record.read_text())
    assert found["metrics"]["failed_replies"]["value"] == 1
    log = (record.parent / "log.txt").read_text()
    assert "client 0: the client's process died (exit code 3)" in log


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
    import dataclasses

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

    found = {name: accuracy(name) for name in ("ida", "fedavg", "mean")}
    print(f"accuracy with a poisoned client: {found}")
    assert found["ida"] > 0.3, "ida itself learns; a guess is right in one of ten"
    assert found["ida"] > found["fedavg"] + 0.15
    assert found["ida"] > found["mean"] + 0.15
