"""Kill -9 in the middle of a federation: the same command ends bitwise where an uninterrupted run ends."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from conftest import only_record
from federation_data import phantom, words

from bench.federated import drive

MINE = """
import random

import numpy as np
from flwr.app import Array, ArrayRecord
from flwr.serverapp.strategy import FedAdam, FedAvg


class Momentum(FedAvg):
    '''Server momentum, kept as plain Python attributes.'''

    def __init__(self, beta: float = 0.5, **more):
        super().__init__(**more)
        self.beta = beta
        self.velocity = {}
        self.before = None
        self.history = []

    def configure_train(self, server_round, arrays, config, grid):
        self.before = arrays
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(self, server_round, replies):
        arrays, metrics = super().aggregate_train(server_round, replies)
        if arrays is None:
            return arrays, metrics
        out = {}
        for name, value in arrays.items():
            old = self.before[name].numpy()
            step = value.numpy() - old
            self.velocity[name] = self.beta * self.velocity.get(name, np.zeros_like(step)) + step
            out[name] = Array((old + self.velocity[name]).astype(np.float32))
        self.history.append((server_round, float(np.abs(step).sum())))
        assert [number for number, _ in self.history] == list(range(1, server_round + 1))
        return ArrayRecord(out), metrics


class Adaptive(FedAdam):
    '''Flower's own, as it is.'''


class Drawing(FedAvg):
    '''Keeps a generator that no checkpoint can hold.'''

    def __init__(self):
        super().__init__()
        self.random = random.Random(0)


class Alone(FedAvg):
    '''Runs its rounds by itself.'''

    def start(self, grid, initial_arrays, num_rounds=3, timeout=3600, train_config=None, **more):
        from flwr.serverapp.strategy import Result

        arrays = initial_arrays
        for number in range(1, num_rounds + 1):
            messages = self.configure_train(number, arrays, train_config, grid)
            replies = grid.send_and_receive(list(messages), timeout=timeout)
            arrays, _ = self.aggregate_train(number, replies)
        return Result(arrays=arrays)
"""
FILES = ("curves.csv", "units.parquet", "partition.csv", "config.yaml")


@pytest.fixture(scope="module")
def fashion(bench_home):
    return phantom("fashion_mnist", bench_home)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a user's file lies."""
    root = tmp_path_factory.mktemp("resume")
    (root / "mine_for_resume.py").write_text(MINE)
    return root


def killed(moment, count, command):
    """Run a command in a forked process that kills itself, kill -9, at the n-th call of a function."""
    child = multiprocessing.get_context("fork").Process(target=dies_at, args=(moment, count, command))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL, (moment, count, child.exitcode)


def dies_at(moment, count, command):
    from bench.cli import main

    os.environ["BENCH_CHECKPOINT_SECONDS"] = "0"  # a checkpoint after every round
    original, calls = getattr(drive._Federation, moment), [0]

    def dying(*args, **keywords):
        calls[0] += 1
        if calls[0] == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **keywords)

    setattr(drive._Federation, moment, dying)
    os._exit(main([str(word) for word in command]))


def metrics(out):
    return json.loads(only_record(out).read_text())["metrics"]


CASES = {
    "ida+fedavg": (["method=ida+fedavg"], [("_round", 3), ("_watch", 1), ("outcome", 1)]),
    "fedap": (["method=fedap", "method.personal_epochs=1"], [("_each", 3)]),
    # Clusters exist from round 2 on; a small threshold makes several.
    "fedavg+hc": (
        ["method=fedavg+hc", "method.hc.rounds=1", "method.hc.threshold=0.01"],
        [("_round", 4)],
    ),
    "local": (["method=local"], [("_round", 3), ("_save", 1)]),
    "Momentum": (["method={folder}/mine_for_resume.py:Momentum"], [("_round", 3), ("_round", 2)]),
    "FedAdam": (["method={folder}/mine_for_resume.py:Adaptive"], [("_round", 4)]),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_killed_server_goes_on_after_its_last_finished_round(bench, fashion, folder, tmp_path, case):
    method, moments = CASES[case]
    method = [word.replace("{folder}", str(folder)) for word in method]

    def command(out):
        changes = {"rounds": 5, "participation": 0.7}
        return ["run", *words(fashion, tmp_path / out, **changes), *method]

    whole = bench(*command("whole"))
    assert whole.code == 0, whole.err
    for moment, count in moments:
        killed(moment, count, command("broken"))
        assert json.loads(only_record(tmp_path / "broken").read_text())["status"] == "running"
    last = bench(*command("broken"))
    assert last.code == 0, last.err
    ours, theirs = only_record(tmp_path / "broken").parent, only_record(tmp_path / "whole").parent
    for name in FILES:
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name
    assert metrics(tmp_path / "broken") == metrics(tmp_path / "whole")
    assert "resumed after round" in (ours / "log.txt").read_text()
    assert not (ours / "checkpoint").exists()
    assert not list(ours.rglob("*.part"))
    if case == "fedavg+hc":
        assert metrics(tmp_path / "whole")["clusters"]["value"] > 1


@pytest.mark.parametrize("around", ["", "hc+"])
def test_a_strategy_that_no_checkpoint_can_hold_says_so_and_starts_anew(
    bench, fashion, folder, tmp_path, around
):
    def command(out):
        method = f"{around}{folder}/mine_for_resume.py:Drawing"
        more = {"method.hc.rounds": 1} if around else {}
        return ["run", *words(fashion, tmp_path / out, rounds=3, method=method, **more)]

    told = "`Clustered` cannot be resumed" if around else "`Drawing` cannot be resumed"
    whole = bench(*command("whole"))
    assert whole.code == 0, whole.err
    assert whole.err.count(told) == 1
    killed("_round", 3, command("broken"))
    last = bench(*command("broken"))
    assert last.code == 0, last.err
    log = (only_record(tmp_path / "broken").parent / "log.txt").read_text()
    assert log.count(told) == 2, "before the kill and after it"
    assert "resumed after" not in log
    assert metrics(tmp_path / "broken") == metrics(tmp_path / "whole")


def test_a_strategy_with_a_loop_of_its_own_runs_and_says_it_cannot_be_resumed(
    bench, fashion, folder, tmp_path
):
    def run(name):
        method = f"{folder}/mine_for_resume.py:{name}" if name == "Alone" else name
        return bench("run", *words(fashion, tmp_path / name, method=method, rounds=3))

    answer = run("Alone")
    assert answer.code == 0, answer.err
    assert "`Alone` overrides `start`: it runs its own rounds and cannot be resumed." in answer.err
    found = json.loads(only_record(tmp_path / "Alone").read_text())
    assert found["status"] == "done"
    assert found["metrics"]["accuracy"]["value"] is not None
    # Its messages are counted like those of the engine's own loop.
    assert run("fedavg").code == 0
    same = json.loads(only_record(tmp_path / "fedavg").read_text())
    assert found["cost"]["bytes_communicated"] == same["cost"]["bytes_communicated"] > 0
    for name in ("train_steps", "failed_replies", "bytes_up", "bytes_down"):
        assert found["metrics"][name]["value"] == same["metrics"][name]["value"], name
    curves = (only_record(tmp_path / "Alone").parent / "curves.csv").read_text().splitlines()
    assert len(curves) == 2, "one point, at its end"


def below(pid):
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


@pytest.mark.parametrize("busy", [True, False], ids=["clients at work", "clients idle"])
def test_no_worker_outlives_a_killed_server(fashion, folder, tmp_path, busy):
    """Workers in the middle of a client's training too: their reply must not block on a pipe nobody reads."""
    epochs = 400 if busy else 1
    script = folder / f"waits_{busy}.py"
    # Idle: the server sleeps between rounds.
    script.write_text(
        "import sys, time\nfrom bench.federated import drive\n"
        + ("" if busy else "drive._Federation._watch = lambda self: time.sleep(600)\n")
        + "from bench.cli import main\nsys.exit(main(sys.argv[1:]))\n"
    )
    changes = {"rounds": 2, "protocol.local_epochs": epochs, "protocol.batch_size": 1}
    command = [sys.executable, str(script), "run", *words(fashion, tmp_path, method="fedavg", **changes)]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=dict(os.environ))
    workers = []
    try:
        until(lambda: list(tmp_path.rglob("shard.json")) and below(server.pid), 120)
        workers = below(server.pid)
        if busy:
            until(lambda: any(process.cpu_times().user > 0.3 for process in workers), 60)
        else:
            until(lambda: all(process.status() == psutil.STATUS_SLEEPING for process in workers), 60)
        server.kill()
        server.wait()
        until(lambda: not any(alive(process) for process in workers), 30)
    finally:
        server.kill()
        server.wait()
        for process in workers:
            if alive(process):
                process.kill()


def alive(process):
    """Running, and not a dead child that nobody has collected."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def until(met, seconds):
    end = time.monotonic() + seconds
    while not (found := met()):
        assert time.monotonic() < end, f"not so within {seconds} s"
        time.sleep(0.05)
    return found
