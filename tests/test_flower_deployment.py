"""A real Flower deployment: processes of Flower's own, on the loopback interface."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from flower_clients import (
    alive,
    below,
    certificates,
    check_rounds,
    home_watched,
    make_shards,
    partitions,
    running,
    same,
    train,
    until,
    weights,
)

from bench.errors import RunFailed, UserError
from bench.federated import deployment
from bench.federated.deployment import deployment_grid
from bench.federated.flower import Grid
from bench.federated.processes import environment, free_ports, program
from bench.federated.relay import accept
from bench.federated.superlink import SuperLink, quoted

PATIENCE = 240.0  # seconds for a round on a machine with much else to do; a quiet one needs ten


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("it's data")  # a quote and a space in a SuperNode's configuration


@pytest.fixture(scope="module")
def hashes(root: Path) -> list[str]:
    return make_shards(root, 3)


@pytest.fixture(scope="module")
def grid(root: Path, hashes: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grid]:
    """One deployment for the module; when it has ended nothing of it is left."""
    folder = tmp_path_factory.mktemp("deployment")
    before, threads = set(below(os.getpid())), set(threading.enumerate())
    with home_watched(tmp_path_factory.mktemp("away") / "home"):
        with deployment_grid(root, 3, folder) as grid:
            mine = set(below(os.getpid())) - before
            assert (
                len(mine) >= 10
            )  # SuperLink, relay, three SuperNodes with an executor each, and their guards
            yield grid
        until(lambda: not [process for process in mine if alive(process)], 10)
    assert set(below(os.getpid())) <= before
    assert set(threading.enumerate()) <= threads
    logs = {path.name for path in folder.glob("*.log")}
    assert logs == {
        "superlink.log", "superexec.log", "flwr-run.log", "client_000.log", "client_001.log", "client_002.log"
    }  # fmt: skip


@pytest.mark.slow
def test_two_rounds_give_what_a_client_computes_here(grid: Grid, root: Path, hashes: list[str]):
    check_rounds(grid, root, hashes, PATIENCE)


@pytest.mark.slow
def test_a_supernode_is_told_of_its_own_folder_alone(grid: Grid, root: Path):
    for i, process in enumerate(supernodes(3)):
        command = " ".join(process.cmdline())
        assert str(root / f"client_00{i}") in command
        assert not [j for j in range(3) if j != i and f"client_00{j}" in command]
        assert process.environ()["OMP_NUM_THREADS"] == "1"
        assert process.environ()["FLWR_TELEMETRY_ENABLED"] == "0"


@pytest.mark.slow
def test_nothing_listens_or_speaks_outside_this_machine(grid: Grid):
    seen = 0
    for process in below(os.getpid()):
        with contextlib.suppress(psutil.Error):
            for connection in process.net_connections("inet"):
                seen += 1
                assert connection.laddr.ip in ("127.0.0.1", "::1")
                assert not connection.raddr or connection.raddr.ip in ("127.0.0.1", "::1")
    assert seen >= 4


@pytest.mark.slow
def test_a_supernode_killed_in_a_round_costs_its_reply_alone(grid: Grid):
    node = {client: found[0] for client, found in partitions(grid, PATIENCE).items()}
    state = weights()
    waiting = set(grid.push_messages([train(node[i], state, lr=0.0) for i in range(3)]))
    victim = supernodes(3)[1]
    until(lambda: [p for p in below(victim.pid) if "flwr-clientapp" in " ".join(p.cmdline())], 60)
    family = [victim, *below(victim.pid)]
    victim.kill()

    def live_ones_answered() -> bool:
        for reply in grid.pull_messages(waiting):
            waiting.remove(reply.metadata.reply_to_message_id)
            assert reply.metadata.src_node_id != node[1]
            assert same(reply.content.array_records["arrays"].to_torch_state_dict(), state)
        return len(waiting) == 1

    until(live_ones_answered, PATIENCE)
    until(lambda: not [process for process in family if alive(process)], 20)  # what it computed went with it
    for reply in grid.send_and_receive(
        [train(node[1], state)], timeout=2.0
    ):  # asked again: silence, or an error
        assert reply.has_error()


def supernodes(clients: int) -> list[psutil.Process]:
    """The SuperNode processes below this one, in partition order."""
    found = {}
    for process in below(os.getpid()):
        words = process.cmdline()
        for i in range(clients):
            if any(word.startswith(f"partition-id={i} ") for word in words) and "guard.py" not in " ".join(
                words
            ):
                found[i] = process
    return [found[i] for i in range(clients)]


@pytest.mark.slow
def test_a_running_superlink_is_joined_over_tls(tmp_path: Path):
    """The commands of the module's documentation, on one machine."""
    make_shards(tmp_path, 1)
    ca, certificate, key = certificates(tmp_path)
    secret = tmp_path / "secret"
    secret.write_bytes(os.urandom(32))
    env = environment(tmp_path / "flower")
    port, other = free_ports(2)
    server = ["flower-superlink", "--isolation", "process", "--host", "127.0.0.1", "--port", str(port)]
    server += ["--ssl-ca-certfile", ca, "--ssl-certfile", certificate, "--ssl-keyfile", key]
    server += ["--superexec-auth-secret-file", str(secret)]
    node = [
        "flower-supernode",
        "--superlink",
        f"localhost:{port}",
        "--root-certificates",
        ca,
        "--port",
        str(other),
    ]
    node += ["--node-config", f"partition-id=0 num-partitions=1 data-root='{tmp_path / 'client_000'}'"]
    with running(server, env, tmp_path / "server.log"), running(node, env, tmp_path / "node.log"):
        text = f"localhost:{port},ca={ca},secret={secret}"
        with deployment_grid(tmp_path / "not-read", 1, tmp_path / "run", text) as grid:
            assert list(partitions(grid, PATIENCE)) == [0]
    assert "SuperNode ID" in (tmp_path / "node.log").read_text()


@pytest.mark.slow
def test_all_processes_end_when_the_owner_is_killed(tmp_path: Path):
    make_shards(tmp_path, 1)
    script = (
        "import sys, time, pathlib; from bench.federated.deployment import deployment_grid\n"
        "root = pathlib.Path(sys.argv[1])\n"
        "with deployment_grid(root, 1, root / 'run'):\n"
        "    print('ready', flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None and owner.stdout.readline() == "ready\n"
        family = below(owner.pid)
        assert len(family) >= 6
        os.kill(owner.pid, signal.SIGKILL)
    until(lambda: not [process for process in family if alive(process)], 20)


def test_a_program_that_does_not_start_is_one_sentence_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(deployment, "free_ports", lambda count: [port] * count)
        before = set(below(os.getpid()))
        with (
            pytest.raises(RunFailed, match=r"^The SuperLink ended: .*superlink\.log") as caught,
            deployment_grid(tmp_path, 1, tmp_path / "run"),
        ):
            pass
    assert "\n" not in str(caught.value)
    assert set(below(os.getpid())) <= before


def test_a_missing_program_is_one_sentence(tmp_path: Path):
    with pytest.raises(RunFailed, match="`flower-nothing` is not found"):
        program("flower-nothing", environment(tmp_path))


def test_a_superlink_that_is_not_there_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(deployment, "JOINS_WITHIN", 0.5)
    (port,) = free_ports(1)
    with (
        pytest.raises(RunFailed, match=f"SuperLink at 127.0.0.1:{port} does not answer"),
        deployment_grid(tmp_path, 1, tmp_path / "run", f"127.0.0.1:{port},insecure"),
    ):
        pass


@pytest.mark.parametrize(
    "text", ["host", "host:port", ":8000", "host:1,tls", "host:1,ca=", "host:1,ca=/no/file", "host:1,ca"]
)
def test_a_bad_superlink_is_one_sentence(text: str):
    with pytest.raises(UserError) as caught:
        SuperLink.parse(text)
    assert text in str(caught.value) and "\n" not in str(caught.value)


def test_a_superlink_as_flower_takes_it(tmp_path: Path):
    ca = tmp_path / "ca.crt"
    ca.touch()
    assert SuperLink.parse("[::1]:8000,insecure").flags() == ["--insecure"]
    assert SuperLink.parse("host:8000").flags() == []
    assert SuperLink.parse(f"host:8000,ca={ca}").flags() == ["--root-certificates", str(ca)]
    with pytest.raises(UserError):
        SuperLink.parse(f"host:8000,insecure,ca={ca}")


def test_a_folder_with_both_quotes_is_refused():
    assert quoted(Path("/a b")) == "'/a b'"
    assert quoted(Path("/a'b")) == '"/a\'b"'
    with pytest.raises(UserError):
        quoted(Path("/a'\"b"))


def test_a_stranger_on_the_relays_port_is_turned_away():
    secret = os.urandom(32)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stranger = socket.create_connection(listener.getsockname())
        friend = socket.create_connection(listener.getsockname())
        with stranger, friend:
            stranger.sendall(bytes(32))
            friend.sendall(secret)
            wire = accept(listener, secret, lambda: True)
            assert wire is not None
            with wire:
                assert wire.getpeername() == friend.getsockname()
            assert stranger.recv(1) == b""
        assert accept(listener, secret, lambda: False) is None
