"""Flower's simulation engine on Ray, as a `Grid` in the hands of the caller.

Flower wants to call a server application; our engine wants to drive the rounds itself. So a thread runs
Flower's simulation with a `ServerApp` that hands its grid over and then waits until the caller leaves the
context.
"""

from __future__ import annotations

import gc
import importlib.util
import logging
import os
import queue
import shutil
import tempfile
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.errors import MissingExtra, RunFailed
from bench.federated.client import client_app
from bench.federated.flower import ClientApp, Context, Error, Grid, Message
from bench.federated.polling import PollingGrid

STARTS_WITHIN = 300.0  # seconds; Ray takes five on an idle machine
ENDS_WITHIN = 60.0


@contextmanager
def simulation_grid(shards: Path, clients: int, workers: int) -> Iterator[Grid]:
    """Start Flower's simulation engine, and stop it when the context is left.

    Args:
        shards: Folder of all shards, one folder a client.
        clients: K, how many nodes there are.
        workers: How many of them compute at a time, each in a Ray process of its own on one core.

    Yields:
        Flower's grid of K nodes.

    Raises:
        MissingExtra: Ray is not installed.
        RunFailed: The engine did not start, died, or did not stop.
    """
    with simulate(client_app(shards), clients, workers) as grid:
        yield grid


@contextmanager
def simulate(app: ClientApp, clients: int, workers: int) -> Iterator[Grid]:
    """`simulation_grid` for any ClientApp."""
    if importlib.util.find_spec("ray") is None:
        raise MissingExtra("Flower's simulation engine (grid=flower)", "ray")
    import ray

    if ray.is_initialized():
        raise RunFailed(
            "Ray already runs in this process and Flower would stop it; call `ray.shutdown()` first."
        )
    with _scratch() as scratch, _quiet(scratch), _hasty_ray():
        engine = _Engine(app, clients, workers, scratch)
        try:
            with _careless():
                engine.start()
                grid = engine.wait_for_grid()
            yield SimulationGrid(grid, engine)
        finally:
            with _careless():
                engine.stop()
        engine.check_ended()


@contextmanager
def _careless() -> Iterator[None]:
    """Let Ray drop open files and ended processes without warnings at places that are not to blame."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            yield
        finally:
            gc.collect()


@contextmanager
def _hasty_ray() -> Iterator[None]:
    """Let Ray forget processes that it has just told to end, which it does in its thread at any time."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"subprocess \d+ is still running", ResourceWarning)
        yield


class _Engine:
    """The thread that Flower's simulation runs in."""

    def __init__(self, app: ClientApp, clients: int, workers: int, scratch: Path):
        self.app, self.clients = app, clients
        self.leave = threading.Event()
        self.handed: queue.Queue[Grid] = queue.Queue()
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name="flower-simulation", daemon=True)
        init: dict[str, Any] = {"num_cpus": workers, "num_gpus": 0, "include_dashboard": False}
        init |= {"address": "local", "log_to_driver": False, "logging_level": "ERROR"}
        if len(str(scratch)) <= 36:  # a socket's path may have 107 characters, and Ray appends up to 70
            init["_temp_dir"] = str(scratch)
        self.config: Any = {"init_args": init, "client_resources": {"num_cpus": 1, "num_gpus": 0.0}}

    def start(self) -> None:
        self.thread.start()

    def _run(self) -> None:
        from flwr.serverapp import ServerApp
        from flwr.simulation import run_simulation

        server = ServerApp()

        @server.main()
        def main(grid: Grid, context: Context) -> None:
            self.handed.put(grid)
            # A caller that ends without leaving its context must not keep the process alive.
            while not self.leave.wait(1.0) and threading.main_thread().is_alive():
                pass

        try:
            run_simulation(server, self.app, self.clients, backend_config=self.config)
        except BaseException as error:  # Flower also leaves by SystemExit
            self.error = error

    def wait_for_grid(self) -> Grid:
        """The grid, once Flower has registered its K nodes and Ray runs."""
        import ray

        waited = 0.0
        while waited < STARTS_WITHIN:
            try:
                grid = self.handed.get(timeout=0.1)
            except queue.Empty:
                self.check()
                waited += 0.1
                continue
            # Flower calls the server application before it has registered the nodes and started Ray.
            while waited < STARTS_WITHIN:
                if len(list(grid.get_node_ids())) == self.clients and ray.is_initialized():
                    return grid
                self.check()
                self.leave.wait(0.05)
                waited += 0.05
        raise RunFailed(f"Flower's simulation engine did not start within {STARTS_WITHIN:.0f} s.")

    def check(self) -> None:
        """Raise when the engine no longer runs."""
        if not self.thread.is_alive():
            raise RunFailed(f"Flower's simulation engine stopped: {_reason(self.error)}.") from self.error

    def stop(self) -> None:
        """Let the server application return and wait for the engine to end."""
        self.leave.set()
        self.thread.join(ENDS_WITHIN)

    def check_ended(self) -> None:
        """Raise when the engine failed on its way or has not ended."""
        if self.thread.is_alive():
            raise RunFailed(f"Flower's simulation engine did not stop within {ENDS_WITHIN:.0f} s.")
        if self.error is not None:
            raise RunFailed(f"Flower's simulation engine failed: {_reason(self.error)}.") from self.error


class SimulationGrid(PollingGrid):
    """Flower's in-memory grid, watched: a call raises when the engine has died."""

    pull_interval = 0.02  # seconds; replies are in this process's memory

    def __init__(self, grid: Grid, engine: _Engine):
        self.grid, self.engine = grid, engine

    def check(self) -> None:
        """Raise `RunFailed` when the engine has died."""
        self.engine.check()

    @property
    def run(self) -> Any:
        """Flower's record of the run."""
        return self.grid.run

    def get_node_ids(self) -> list[int]:
        """Ids of the K nodes, random and in no order."""
        self.check()
        return list(self.grid.get_node_ids())

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Queue messages; returns their ids."""
        self.check()
        return list(self.grid.push_messages(messages))

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Replies that are there."""
        replies = list(self.grid.pull_messages(message_ids))
        for reply in replies:
            if reply.has_error():
                reply.error = Error(reply.error.code, own_words(str(reply.error.reason)))
        return replies


def own_words(reason: str) -> str:
    """The client's own exception out of Ray's account of it, which is three tracebacks in colour."""
    before, chained, _ = reason.partition("\n\nThe above exception was the direct cause")
    return before.splitlines()[-1].strip() if chained else reason


def _reason(error: BaseException | None) -> str:
    """The innermost cause of an error, in its own words, on one line."""
    while error is not None and error.__cause__ is not None:
        error = error.__cause__
    if error is None:
        return "it gave no reason"
    return " ".join(f"{type(error).__name__} {error}".split())[:300].rstrip(".")


@contextmanager
def _quiet(scratch: Path) -> Iterator[None]:
    """Keep Flower off the terminal and out of the user's home, and take back its changes of the environment.

    What goes wrong reaches the caller as an exception or an error reply, so nothing of the log is lost.
    """
    log = logging.getLogger("flwr")
    level, before = log.level, _ours()
    log.setLevel(logging.CRITICAL + 1)
    os.environ["FLWR_HOME"] = str(scratch)  # Flower leaves an identity file there, telemetry or not
    # Ray warns unless told what an actor without a GPU of its own sees: what this process sees.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        yield
    finally:
        log.setLevel(level)
        for name in _ours():
            del os.environ[name]
        os.environ.update(before)


def _ours() -> dict[str, str]:
    """What this module, Flower and Ray set in the environment."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in ("FLWR_HOME", "PYTHONPATH", "PYTHONBREAKPOINT") or name.startswith("RAY_")
    }


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder for Ray's session and Flower's files that goes when they go."""
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
