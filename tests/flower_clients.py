"""What the tests of Flower's two grids share: shards, messages, and what a client must answer."""

from __future__ import annotations

import datetime
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from bench.federated.client import network, train_locally
from bench.federated.flower import ArrayRecord, ConfigRecord, Grid, Message, MetricRecord, RecordDict
from bench.federated.processes import program
from bench.federated.shards import folder_of, read_shard, write_shards

SHAPE = {"model": "lenet", "channels": 1, "classes": 3, "height": 28, "width": 28}
RECIPE = SHAPE | {
    "batch-size": 4,
    "local-epochs": 2,
    "mean": [0.5],
    "std": [0.25],
    "seed": 3,
    "server-round": 1,
}


def make_shards(root: Path, clients: int) -> list[str]:
    """Six, seven, ... random images a client."""
    rng = np.random.default_rng(5)
    shards = [
        (rng.integers(0, 256, (6 + i, 1, 28, 28), dtype=np.uint8), rng.integers(0, 3, 6 + i))
        for i in range(clients)
    ]
    return write_shards(root, shards, {})


def weights() -> dict[str, torch.Tensor]:
    """A network's state, the same at each call."""
    torch.manual_seed(0)
    net = network(*(SHAPE[name] for name in ("model", "channels", "classes", "height", "width")))  # pyright: ignore
    return {name: torch.randn_like(value) * 0.05 for name, value in net.state_dict().items()}


def train(node: int, state: dict[str, torch.Tensor], **changes: Any) -> Message:
    """A TRAIN message."""
    config = ConfigRecord({**RECIPE, **changes})
    return Message(RecordDict({"arrays": ArrayRecord(state), "config": config}), node, "train", group_id="1")


def partitions(grid: Grid, timeout: float) -> dict[int, tuple[int, str]]:
    """Partition id -> node id and hash of its shard, as the nodes say themselves."""
    asked = [Message(RecordDict(), node, "query") for node in grid.get_node_ids()]
    found = {}
    for reply in grid.send_and_receive(asked, timeout=timeout):
        assert not reply.has_error(), reply.error.reason
        config, metrics = reply.content.config_records["config"], reply.content.metric_records["metrics"]
        found[metrics["partition-id"]] = (reply.metadata.src_node_id, config["shard-sha256"])
    return found


def expected(
    root: Path, client: int, state: dict[str, torch.Tensor], **changes: Any
) -> tuple[Any, MetricRecord]:
    """What a client answers, computed here."""
    shard = read_shard(folder_of(root, client))
    arrays, metrics = train_locally(ArrayRecord(state), ConfigRecord({**RECIPE, **changes}), shard, client)
    return arrays.to_torch_state_dict(), metrics


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Bitwise, names and order too."""
    return list(a) == list(b) and all(
        torch.equal(a[name], b[name]) and a[name].dtype == b[name].dtype for name in a
    )


def check_rounds(grid: Grid, root: Path, hashes: list[str], timeout: float) -> None:
    """Two rounds on three clients, one of which raises in the first."""
    found = partitions(grid, timeout)
    assert {client: sha for client, (_, sha) in found.items()} == dict(enumerate(hashes))
    node = {client: found[client][0] for client in found}
    assert sorted(node.values()) == sorted(grid.get_node_ids())

    state = weights()
    replies = list(
        grid.send_and_receive(
            [
                train(node[0], state, lr=0.0),
                train(node[1], state, lr=0.1),
                train(node[2], state, lr=0.1, model="none"),
            ],
            timeout=timeout,
        )
    )
    by_node = {reply.metadata.src_node_id: reply for reply in replies}
    assert len(replies) == len(by_node) == 3
    assert same(
        by_node[node[0]].content.array_records["arrays"].to_torch_state_dict(), state
    )  # bits there and back
    first, metrics = expected(root, 1, state, lr=0.1)
    assert not same(first, state)
    assert same(by_node[node[1]].content.array_records["arrays"].to_torch_state_dict(), first)
    assert dict(by_node[node[1]].content.metric_records["metrics"]) == dict(metrics)
    assert by_node[node[2]].has_error() and not by_node[node[2]].has_content()
    assert "none" in str(by_node[node[2]].error.reason)

    changes = {"lr": 0.1, "server-round": 2}
    second = list(grid.send_and_receive([train(node[i], first, **changes) for i in (2, 1)], timeout=timeout))
    assert len(second) == 2
    for reply in second:
        client = next(i for i in node if node[i] == reply.metadata.src_node_id)
        assert same(
            reply.content.array_records["arrays"].to_torch_state_dict(),
            expected(root, client, first, **changes)[0],
        )


def until(condition: Callable[[], Any], seconds: float) -> Any:
    """Wait for a condition to hold and return its value; fail when it does not."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"still not so after {seconds:.0f} s"
        time.sleep(0.1)
    return value


def below(pid: int) -> list[psutil.Process]:
    """All descendants of a process, zombies left out."""
    return [p for p in psutil.Process(pid).children(recursive=True) if alive(p)]


def alive(process: psutil.Process) -> bool:
    """Whether a process runs."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def home_watched(home: Path) -> Iterator[None]:
    """A home folder of one's own, in which nothing may appear."""
    home.mkdir()
    before = os.environ["HOME"]
    os.environ["HOME"] = str(home)
    try:
        yield
    finally:
        os.environ["HOME"] = before
    assert list(home.iterdir()) == []


def certificates(folder: Path) -> tuple[str, str, str]:
    """A CA and a server certificate for `localhost`, as PEM files."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    def draft(subject: str, key: ec.EllipticCurvePrivateKey, is_ca: bool) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name("a CA of this test"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
        )

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = draft("a CA of this test", ca_key, True).sign(ca_key, hashes.SHA256())
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    server = draft("localhost", key, False).add_extension(names, False).sign(ca_key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "ca.crt").write_bytes(ca.public_bytes(pem))
    (folder / "server.pem").write_bytes(server.public_bytes(pem))
    (folder / "server.key").write_bytes(key.private_bytes(pem, *plain))
    return str(folder / "ca.crt"), str(folder / "server.pem"), str(folder / "server.key")


@contextmanager
def running(command: list[str], env: dict[str, str], log: Path) -> Iterator[None]:
    """A program of Flower's, started by hand."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            [program(command[0], env), *command[1:]], env=env, stdout=file, stderr=file
        )
    try:
        yield
    finally:
        family = below(process.pid)
        for each in [psutil.Process(process.pid), *family]:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        process.wait()
