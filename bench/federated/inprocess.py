"""The default grid: the ClientApp on worker processes of this machine, without a server in between.

One worker a core, each client on one torch thread; a free worker takes the next message. A worker that dies
or does not answer in time is replaced, and its message gets an error reply, as from a dead node.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection, wait
from typing import Any

from bench.federated.flower import (
    ClientApp,
    Context,
    ErrorCode,
    Grid,
    Message,
    RecordDict,
    identify,
)
from bench.federated.proxy import refusal

ORPHAN_S = 2.0  # how often a worker looks whether its parent is still there
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's numbers for mallopt


class WorkerGrid(Grid):
    """Flower's `Grid` on worker processes; node `k + 1` is client `k`.

    Args:
        app: Makes the ClientApp, in each worker.
        clients: K.
        workers: Processes; 0 computes in this process, one client after another (on a GPU, which is not
            shared).
    """

    def __init__(self, app: Callable[[], ClientApp], clients: int, workers: int):
        identify()
        self._app = app
        self._clients = clients
        # Forked workers need no second import of torch; a CUDA context does not survive a fork, but then
        # `workers` is 0.
        self._context: Any = multiprocessing.get_context("fork" if hasattr(os, "fork") else "spawn")
        self._workers = [_Worker(self._context, app, clients) for _ in range(workers)]
        self._own = app() if workers == 0 else None
        self._held: dict[str, Message] = {}

    def get_node_ids(self) -> Iterable[int]:
        """1 to K."""
        return list(range(1, self._clients + 1))

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Compute every message; one reply each, in the order asked."""
        asked = list(messages)
        if self._own is not None:
            return [_handle(self._own, message, self._clients) for message in asked]
        replies: dict[int, Message] = {}
        queue = deque(range(len(asked)))
        deadline = time.monotonic() + timeout if timeout is not None else None
        busy: dict[Connection, tuple[_Worker, int]] = {}
        free = deque(self._workers)
        while queue or busy:
            while queue and free:
                worker, place = free.popleft(), queue.popleft()
                if worker.give(asked[place]):
                    busy[worker.pipe] = (worker, place)
                else:  # it died while idle
                    worker.replace()
                    queue.appendleft(place)
                    free.appendleft(worker)
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready = wait(list(busy), left)
            if not ready:
                for worker, place in busy.values():
                    worker.replace()
                    replies[place] = _late(asked[place], timeout)
                for place in queue:
                    replies[place] = _late(asked[place], timeout)
                break
            for pipe in ready:
                worker, place = busy.pop(pipe)  # pyright: ignore[reportArgumentType]
                replies[place] = worker.take(asked[place])
                free.append(worker)
        return [replies[place] for place in range(len(asked))]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Compute now, keep the replies."""
        ids = []
        for reply in self.send_and_receive(messages):
            ids.append(f"reply-{len(self._held)}")
            self._held[ids[-1]] = reply
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Replies kept by `push_messages`."""
        return [self._held.pop(name) for name in message_ids if name in self._held]

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
        """No server, no run to be told apart from others."""

    @property
    def run(self) -> Any:
        """No server, no run to be told apart from others."""
        raise NotImplementedError(
            "the in-process grid has no Flower run; ask the engine for the seed instead"
        )

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers:
            worker.end()

    def __enter__(self) -> WorkerGrid:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _Worker:
    """One process and the pipe to it."""

    def __init__(self, context: Any, app: Callable[[], ClientApp], clients: int):
        self._make = (context, app, clients)
        self._start()

    def _start(self) -> None:
        context, app, clients = self._make
        self.pipe, theirs = context.Pipe()
        args = (theirs, app, clients, os.getpid())
        self._process = context.Process(target=_serve, args=args, daemon=True)
        self._process.start()
        theirs.close()

    def give(self, message: Message) -> bool:
        """Hand a message over; False if the worker is gone."""
        try:
            self.pipe.send(message)
        except (BrokenPipeError, ConnectionError):
            return False
        return True

    def take(self, asked: Message) -> Message:
        """Its reply, or an error where it died."""
        try:
            return self.pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            code = self._process.exitcode
            self.replace()
            why = f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"
            return refusal(asked, f"the client's process died ({why})", ErrorCode.CLIENT_APP_CRASHED)

    def replace(self) -> None:
        """Kill it and start another."""
        self.end()
        self._start()

    def end(self) -> None:
        """Kill it; it holds nothing that is not elsewhere."""
        self._process.kill()
        self._process.join()
        self._process.close()
        self.pipe.close()


def _serve(pipe: Connection, app: Callable[[], ClientApp], clients: int, parent: int) -> None:
    """A worker's life: message in, reply out, until the pipe closes or the parent is gone."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    torch.set_num_threads(1)
    _keep_memory()
    client_app = app()
    while True:
        try:
            message = pipe.recv()
        except EOFError:
            return
        pipe.send(_handle(client_app, message, clients))


def _end_with(parent: int) -> None:
    """End this process soon after its parent.

    A forked worker holds the parent's end of the pipe too: it never sees it close, and a reply that fills the
    pipe would block for ever.
    """
    while os.getppid() == parent:
        time.sleep(ORPHAN_S)
    os._exit(1)


def _handle(app: ClientApp, message: Message, clients: int) -> Message:
    """What a node does with a message; an exception becomes an error reply, as in Flower."""
    client = message.metadata.dst_node_id - 1
    context = Context(
        run_id=1,
        node_id=client + 1,
        node_config={"partition-id": client, "num-partitions": clients},
        state=RecordDict(),
        run_config={},
    )
    try:
        reply = app(message, context)
        if not isinstance(reply, Message):
            raise TypeError(f"the client answered with {type(reply).__name__} instead of a message")
        return reply
    except Exception:
        return refusal(message, traceback.format_exc(), ErrorCode.CLIENT_APP_RAISED_EXCEPTION)


def _late(asked: Message, timeout: float | None) -> Message:
    return refusal(asked, f"no reply within {timeout:g} s", ErrorCode.REPLY_MESSAGE_UNAVAILABLE)


def _keep_memory() -> None:
    """Let glibc keep the memory it has freed.

    By default it hands the activations of every step back to the system and takes zeroed pages for the next:
    a seventh of the time of a LeNet step. Other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 32 << 20)  # the most it takes
        mallopt(_TRIM_THRESHOLD, 1 << 30)
