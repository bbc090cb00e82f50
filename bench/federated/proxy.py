"""The canonical grid: whatever runs the clients, a strategy sees the same nodes in the same order.

Stock Flower differs from run to run: node ids are random, replies come in the order of arrival. The proxy
asks every node once for its partition id and presents nodes `1` to `K` in that order. It also ends
what Flower would wait for without end: nodes that do not exist, and replies that never come.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from bench.errors import RunFailed
from bench.federated.flower import (
    ConfigRecord,
    Error,
    ErrorCode,
    Grid,
    Message,
    MessageType,
    RecordDict,
)

PAUSE_S = 0.5  # asking again after this long without sending anything is waiting
PATIENCE = 3  # such questions in a row before the wait is ended
IDLE_S = 30.0  # sleep between questions of any rhythm before the wait is ended


class CanonicalGrid(Grid):
    """A grid in front of another one.

    Args:
        inner: The grid that reaches the nodes, with ids and order of its own.
        shards: SHA-256 of each client's shard; node `k + 1` must hold shard `k`.
        timeout: Seconds to wait for the replies of a round, unless a call says otherwise.

    Raises:
        RunFailed: A node does not answer, or holds other data than the run's partition says.
    """

    def __init__(self, inner: Grid, shards: Sequence[str], timeout: float):
        self.inner = inner
        self.timeout = timeout
        self._outbox: dict[str, Message] = {}
        self._asked = 0.0
        self._worked = 0.0
        self._waited = 0
        self._idle = 0.0
        self._nodes = self._meet(shards)

    def _meet(self, shards: Sequence[str]) -> list[int]:
        """Inner node ids in partition order."""
        found: dict[int, int] = {}
        ids = list(self.inner.get_node_ids())
        questions = [Message(RecordDict({"config": ConfigRecord()}), node, MessageType.QUERY) for node in ids]
        for reply in self.inner.send_and_receive(questions, timeout=self.timeout):
            if reply.has_error():
                raise RunFailed(f"A client could not say who it is: {first_line(reply.error.reason)}.")
            content = reply.content
            partition = int(content.metric_records["metrics"]["partition-id"])  # pyright: ignore[reportArgumentType]
            if partition in found or not 0 <= partition < len(shards):
                raise RunFailed(
                    f"Two nodes or a stranger answer as client {partition} of {len(shards)}; "
                    "give every node a `partition-id` of its own, counted from 0."
                )
            if content.config_records["config"]["shard-sha256"] != shards[partition]:
                raise RunFailed(
                    f"Client {partition} holds other data than this run's partition gives it; "
                    "write its folder anew with the same task, protocol and partition seed."
                )
            found[partition] = reply.metadata.src_node_id
        missing = sorted(set(range(len(shards))) - set(found))
        if missing:
            shown = ", ".join(map(str, missing[:5])) + (" ..." if len(missing) > 5 else "")
            raise RunFailed(f"{len(missing)} of {len(shards)} clients did not answer: {shown}.")
        return [found[partition] for partition in range(len(shards))]

    def get_node_ids(self) -> Iterable[int]:
        """1 to K, in partition order.

        Raises:
            RunFailed: A strategy keeps asking for nodes that will never come.
        """
        now, worked = time.monotonic(), time.thread_time()
        if self._asked:
            gap = now - self._asked
            self._waited += gap > PAUSE_S
            self._idle += gap - (worked - self._worked)  # a strategy that computes is not waiting
        self._asked, self._worked = now, worked
        if self._waited > PATIENCE or self._idle > IDLE_S:
            raise RunFailed(
                f"The strategy waits for more clients than the {len(self._nodes)} there are; "
                "lower its `min_available_nodes` or `min_train_nodes`, or raise `protocol.clients`."
            )
        return list(range(1, len(self._nodes) + 1))

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """One reply for each message, in the order of nodes; a missing one is an error."""
        self._asked, self._waited, self._idle = 0.0, 0, 0.0
        asked = sorted(messages, key=lambda message: message.metadata.dst_node_id)
        outgoing = []
        for place, message in enumerate(asked):
            node = message.metadata.dst_node_id
            if not 1 <= node <= len(self._nodes):
                raise RunFailed(f"The strategy sends to node {node}; the nodes are 1 to {len(self._nodes)}.")
            outgoing.append(
                Message(
                    message.content,
                    self._nodes[node - 1],
                    message.metadata.message_type,
                    ttl=message.metadata.ttl,
                    group_id=str(place),
                )
            )
        waiting = self.timeout if timeout is None else timeout
        answers: dict[int, Message] = {}
        if outgoing:
            for reply in self.inner.send_and_receive(outgoing, timeout=waiting):
                answers[int(reply.metadata.group_id)] = reply
        return [self._answer(message, answers.get(i), waiting) for i, message in enumerate(asked)]

    def _answer(self, asked: Message, reply: Message | None, waited: float) -> Message:
        """The reply as from the node that was asked."""
        if reply is None:
            return refusal(asked, f"no reply within {waited:g} s", ErrorCode.REPLY_MESSAGE_UNAVAILABLE)
        if reply.has_error():
            return Message(reply.error, reply_to=asked)
        return Message(reply.content, reply_to=asked)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Keep messages; they are delivered together when their replies are pulled."""
        ids = []
        for message in messages:
            ids.append(f"message-{len(self._outbox)}")
            self._outbox[ids[-1]] = message
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Deliver the messages of these ids and return their replies."""
        held = [self._outbox.pop(name) for name in message_ids if name in self._outbox]
        return self.send_and_receive(held)

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """A message, as Flower's older interface makes it."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def set_run(self, run: Any) -> None:
        """Hand the run to the inner grid."""
        self.inner.set_run(run)

    @property
    def run(self) -> Any:
        """The inner grid's run."""
        return self.inner.run


class SubGrid(Grid):
    """Some nodes of another grid, as the whole world of a strategy.

    Args:
        inner: The grid that reaches them.
        nodes: Their ids there, which they keep.
    """

    def __init__(self, inner: Grid, nodes: Sequence[int]):
        self.inner = inner
        self.nodes = list(nodes)

    def get_node_ids(self) -> Iterable[int]:
        """The chosen nodes."""
        self.inner.get_node_ids()  # notices a strategy that waits
        return list(self.nodes)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """As the inner grid."""
        return self.inner.send_and_receive(messages, timeout=timeout)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """As the inner grid."""
        return self.inner.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """As the inner grid."""
        return self.inner.pull_messages(message_ids)

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """As the inner grid."""
        return self.inner.create_message(content, message_type, dst_node_id, group_id, ttl)

    def set_run(self, run: Any) -> None:
        """As the inner grid."""
        self.inner.set_run(run)

    @property
    def run(self) -> Any:
        """As the inner grid."""
        return self.inner.run


def refusal(asked: Message, reason: str, code: int = ErrorCode.UNKNOWN) -> Message:
    """An error reply to a message."""
    return Message(Error(code, reason), reply_to=asked)


def first_line(reason: str | None) -> str:
    """The last non-empty line of a traceback, or the one line there is."""
    lines = [line.strip() for line in str(reason or "no reason given").splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else "no reason given"
