"""Clients that die, lie, stay silent or hold next to nothing: a result, or one clear sentence."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import numpy as np
import pytest
from federation_data import Engine, by_hand, clients, phantom, same, sick, words

from bench import registry
from bench.errors import RunFailed
from bench.federated.flower import Array, ArrayRecord, Message, MetricRecord, RecordDict

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


def process_threads(pid: int) -> list[str]:
    return os.listdir(f"/proc/{pid}/task")  # noqa: PTH208


def test_a_worker_that_died_between_rounds_costs_nothing(engine):
    import psutil

    def kill_workers(row, model_of):
        for process in psutil.Process().children():
            process.kill()
            # Collecting it is the grid's to do; its pipe closes with the last of its threads.
            while process.status() != psutil.STATUS_ZOMBIE or len(process_threads(process.pid)) > 1:
                time.sleep(0.01)

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
        made: Any = composed(parts)()
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
