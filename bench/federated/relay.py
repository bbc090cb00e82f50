"""A deployment's grid in the hands of the caller: the wire between our process and a ServerApp.

On a real SuperLink only a `ServerApp` in a process that Flower starts may use the grid. Ours does nothing but
that for us: it connects back over the loopback interface, shows the secret it found in its environment, and
then serves three questions (which nodes, send, fetch) until the connection closes. Messages cross as Flower's
own protobuf, so what a client gets is bitwise what was sent.

A frame is a JSON header with its length (4 bytes), then as many messages, each with its length (8 bytes), as
the header's `count` says.
"""

from __future__ import annotations

import hmac
import json
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from bench.errors import RunFailed
from bench.federated.flower import Context, Grid, Message
from bench.federated.polling import PollingGrid

from flwr.common.serde import message_from_proto, message_to_proto  # isort: skip
from flwr.proto.message_pb2 import Message as ProtoMessage  # isort: skip
from flwr.serverapp import ServerApp  # isort: skip

PORT, SECRET = "BENCH_RELAY_PORT", "BENCH_RELAY_SECRET"
LARGEST = 1 << 31  # bytes; protobuf takes no more in one message

app = ServerApp()


@app.main()
def serve(grid: Grid, context: Context) -> None:
    """The relay's far end, in the process that Flower starts."""
    wire = socket.create_connection(("127.0.0.1", int(os.environ[PORT])))
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    wire.sendall(bytes.fromhex(os.environ[SECRET]))
    # Open until the process ends: its closing tells the near end that Flower has been told of the run's end.
    _open.append(wire)
    while True:
        try:
            question, messages = receive(wire)
        except (EOFError, OSError):
            return  # the near end is gone
        if question["ask"] == "stop":
            return
        try:
            answer, replies = respond(grid, question, messages)
        except Exception as error:  # any failure of Flower's is the near end's to report
            answer, replies = {"error": f"{type(error).__name__} {error}"}, []
        send(wire, answer, replies)


_open: list[socket.socket] = []


def respond(
    grid: Grid, question: dict[str, Any], messages: list[Message]
) -> tuple[dict[str, Any], list[Message]]:
    """Ask the real grid."""
    if question["ask"] == "nodes":
        return {"nodes": list(grid.get_node_ids())}, []
    if question["ask"] == "push":
        # Made anew: only this process has the identity that the SuperLink knows.
        outgoing = []
        for message in messages:
            data = message.metadata
            outgoing.append(
                Message(
                    message.content, data.dst_node_id, data.message_type, ttl=data.ttl, group_id=data.group_id
                )
            )
        return {"ids": list(grid.push_messages(outgoing))}, []
    return {}, list(grid.pull_messages(question["ids"]))


class RelayGrid(PollingGrid):
    """The relay's near end.

    Args:
        wire: The connection to the far end.
        check: Raises `RunFailed` when a process of the deployment has died.
    """

    pull_interval = 0.2  # each look is a question to the SuperLink

    def __init__(self, wire: socket.socket, check: Callable[[], None]):
        self.wire, self.check_processes = wire, check
        self.lock = threading.Lock()

    @property
    def run(self) -> Any:
        """Flower's record of the run, which stays with the relay."""
        raise RuntimeError("The run of a deployment's grid is known to its SuperLink alone.")

    def check(self) -> None:
        """Raise `RunFailed` when a process of the deployment has died."""
        self.check_processes()

    def get_node_ids(self) -> list[int]:
        """Ids of the SuperNodes the SuperLink believes alive; a dead one counts for up to a minute more."""
        return self._ask({"ask": "nodes"})[0]["nodes"]

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Hand messages to the SuperLink; returns their ids, an empty one where it refused."""
        outgoing = list(messages)
        ids = [name or "" for name in self._ask({"ask": "push"}, outgoing)[0]["ids"]]
        for message, name in zip(outgoing, ids, strict=True):
            message.metadata.__dict__["_message_id"] = name
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Fetch the replies that have come."""
        return self._ask({"ask": "pull", "ids": list(message_ids)})[1]

    def stop(self, patience: float) -> None:
        """End the relay's run and wait until Flower's process has ended."""
        try:
            send(self.wire, {"ask": "stop"}, [])
            self.wire.settimeout(patience)
            while self.wire.recv(1 << 16):
                pass
        except OSError:
            pass  # it is gone already
        finally:
            self.wire.close()

    def _ask(
        self, question: dict[str, Any], messages: Sequence[Message] = ()
    ) -> tuple[dict[str, Any], list[Message]]:
        """One question, one answer."""
        try:
            with self.lock:
                send(self.wire, question, messages)
                answer, replies = receive(self.wire, self.check)
        except (EOFError, OSError) as error:
            self.check()  # a process that died explains more than a broken wire
            raise RunFailed("Flower's ServerApp process ended in the middle of the run.") from error
        if "error" in answer:
            raise RunFailed(f"Flower's SuperLink failed: {' '.join(str(answer['error']).split())[:300]}.")
        return answer, replies


def accept(listener: socket.socket, secret: bytes, check: Callable[[], bool]) -> socket.socket | None:
    """Wait for the far end.

    Args:
        listener: Bound to the loopback interface.
        secret: What the far end must show.
        check: Called twice a second; returns whether to go on, or raises.

    Returns:
        The connection; None when `check` said to stop.
    """
    listener.settimeout(0.5)
    while check():
        try:
            wire, _ = listener.accept()
        except TimeoutError:
            continue
        wire.settimeout(5.0)
        try:
            shown = _exactly(wire, len(secret))
        except (EOFError, OSError):
            shown = b""
        if hmac.compare_digest(shown, secret):
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return wire
        wire.close()  # not ours
    return None


def send(wire: socket.socket, header: dict[str, Any], messages: Sequence[Message]) -> None:
    """Send one frame."""
    text = json.dumps({**header, "count": len(messages)}).encode()
    wire.settimeout(None)
    wire.sendall(struct.pack(">I", len(text)) + text)
    for message in messages:
        data = message_to_proto(message).SerializeToString()
        wire.sendall(struct.pack(">Q", len(data)))
        wire.sendall(data)


def receive(
    wire: socket.socket, check: Callable[[], None] | None = None
) -> tuple[dict[str, Any], list[Message]]:
    """Receive one frame; `check` is called once a second of silence and may raise."""
    wire.settimeout(None if check is None else 1.0)
    (length,) = struct.unpack(">I", _exactly(wire, 4, check))
    header = json.loads(_exactly(wire, length, check))
    messages = []
    for _ in range(header["count"]):
        (length,) = struct.unpack(">Q", _exactly(wire, 8, check))
        if length > LARGEST:
            raise OSError(f"a message of {length} bytes")
        messages.append(message_from_proto(ProtoMessage.FromString(_exactly(wire, length, check))))
    return header, messages


def _exactly(wire: socket.socket, count: int, check: Callable[[], None] | None = None) -> bytes:
    """That many bytes, or `EOFError`."""
    data = bytearray(count)
    view, got = memoryview(data), 0
    while got < count:
        try:
            more = wire.recv_into(view[got:], min(count - got, 1 << 20))
        except TimeoutError:
            if check is None:
                raise
            check()
            continue
        if not more:
            raise EOFError("the wire is closed")
        got += more
    view.release()
    return bytes(data)
