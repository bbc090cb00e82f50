"""The grid a strategy with rounds of its own is given: nothing it trains escapes the engine's count."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bench.federated.flower import Grid, Message, MessageType
from bench.federated.proxy import SubGrid


class Counted(SubGrid):
    """The whole grid, with training messages screened and counted on their way.

    Args:
        inner: The grid.
        send: Takes training messages and gives their screened replies.
    """

    def __init__(self, inner: Grid, send: Callable[[list[Message]], list[Message]]):
        super().__init__(inner, list(inner.get_node_ids()))
        self._replies: list[Message] = []
        self._send = send

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Training goes through the engine's count; what else a strategy asks goes straight on."""
        asked = list(messages)
        if asked and all(m.metadata.message_type == MessageType.TRAIN for m in asked):
            return self._send(asked)
        return self.inner.send_and_receive(asked, timeout=timeout)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Deliver now, keep the replies."""
        first = len(self._replies)
        self._replies += self.send_and_receive(messages)
        return [str(place) for place in range(first, len(self._replies))]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Replies kept by `push_messages`."""
        return [self._replies[int(place)] for place in message_ids]
