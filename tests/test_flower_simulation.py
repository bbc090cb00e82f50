"""Flower's simulation engine as a grid in our hands."""

from __future__ import annotations

import importlib.util
import os
import threading
from pathlib import Path

import pytest
from flower_clients import below, check_rounds, home_watched, make_shards, until

from bench.errors import MissingExtra, RunFailed
from bench.federated.flower import ClientApp, Context, Message, RecordDict
from bench.federated.simulation import own_words, simulate, simulation_grid

pytest.importorskip("ray", reason="the extra `ray` is not installed")


@pytest.mark.slow
def test_two_rounds_give_what_a_client_computes_here_and_nothing_is_left(tmp_path: Path):
    root = tmp_path / "shards"
    hashes = make_shards(root, 3)
    environment, children = dict(os.environ), {process.pid for process in below(os.getpid())}
    with home_watched(tmp_path / "home"):
        with simulation_grid(root, 3, 2) as grid:
            scratch = Path(os.environ["FLWR_HOME"])
            assert scratch.is_dir()
            check_rounds(grid, root, hashes, timeout=120)
        assert not scratch.exists()
    assert dict(os.environ) == environment
    until(lambda: {process.pid for process in below(os.getpid())} <= children, 10)
    assert not [t for t in threading.enumerate() if t.name.startswith("flower-simulation")]


@pytest.mark.slow
def test_a_worker_that_dies_is_an_error_reply():
    app = ClientApp()

    @app.query()
    def query(message: Message, context: Context) -> Message:
        os._exit(3)

    with simulate(app, 2, 1) as grid:
        node = grid.get_node_ids()
        (reply,) = grid.send_and_receive([Message(RecordDict(), next(iter(node)), "query")], timeout=60)
        assert reply.has_error()


def test_an_engine_that_dies_is_one_sentence():
    app = ClientApp()
    with (
        pytest.raises(RunFailed, match=r"simulation engine (stopped|failed): .*\.$"),
        simulate(app, 2, 0) as grid,
    ):
        nodes = list(grid.get_node_ids())
        grid.send_and_receive([Message(RecordDict(), node, "query") for node in nodes])


def test_the_callers_own_error_passes_through():
    with pytest.raises(ZeroDivisionError), simulate(ClientApp(), 1, 1):
        _ = 1 / 0


def test_without_ray_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "ray" else find(name, *a)
    )
    with (
        pytest.raises(MissingExtra, match=r'pip install "fedmedgen-bench\[ray\]"'),
        simulation_grid(tmp_path, 3, 1),
    ):
        pass


def test_rays_account_of_an_error_is_cut_to_the_clients_words():
    reason = (
        "<class 'ray.exceptions.RayTaskError'>:<'ray::run()\n  File x\nKeyError: 'lr'\n\n"
        "The above exception was the direct cause of the following exception:\n\nmore'>"
    )
    assert own_words(reason) == "KeyError: 'lr'"
    assert own_words("plain") == "plain"
