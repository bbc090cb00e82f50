"""A Flower `Grid` that waits for replies without ever waiting on a runtime that is gone."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

from bench.federated.flower import Grid, Message, RecordDict


class PollingGrid(Grid):
    """What the grids of Flower's own runtimes share: send by push, receive by pull, look after the runtime.

    Flower's own grids sleep up to three seconds between two pulls and go on pulling when the runtime beneath
    them has died. This one pulls every `pull_interval` seconds and calls `check` in between.
    """

    pull_interval = 0.1  # seconds between two looks for replies

    @abstractmethod
    def check(self) -> None:
        """Return while the runtime lives; raise `RunFailed` when it does not."""

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Send messages and collect their replies in order of arrival.

        Args:
            messages: One message a node.
            timeout: Seconds to wait for replies; None waits until each message has a reply or the runtime
                itself declares its node lost (an error reply).

        Returns:
            The replies that came in time, so at most one a message; an error reply where a client failed.

        Raises:
            RunFailed: The runtime died.
        """
        end = None if timeout is None else time.monotonic() + timeout
        waiting = {message_id for message_id in self.push_messages(list(messages)) if message_id}
        replies: list[Message] = []
        while waiting:
            self.check()
            came = list(self.pull_messages(waiting))
            waiting -= {reply.metadata.reply_to_message_id for reply in came}
            replies += came
            if not waiting or (end is not None and time.monotonic() >= end):
                break
            time.sleep(self.pull_interval)
        return replies

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Make a message; Flower asks for this method, its `Message(...)` does the same."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def set_run(self, run: Any) -> None:
        """Refuse: the runtime has set its run already."""
        raise RuntimeError("The run of this grid is set by Flower's runtime.")
