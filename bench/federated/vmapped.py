"""Many clients at once as one batch: `grid=vmap`, for small networks on one device.

Clients compute what `bench.federated.client` computes; sums run in another order, so weights agree with the
other grids within 1e-5 after a round and not bitwise. The arithmetic is in `bench.federated.stacked`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import UserError
from bench.federated.client import client_app, network_of, one_thread
from bench.federated.flower import ConfigRecord, Message, MessageType, RecordDict
from bench.federated.inprocess import WorkerGrid
from bench.federated.proxy import first_line, refusal
from bench.federated.shards import folder_of, read_shard
from bench.federated.stacked import Chunk, Job
from bench.nn.classifiers import has_batch_norm, has_dropout

CPU_BYTES = 2**29  # of one chunk on a CPU
CUDA_SHARE = 4  # one chunk takes at most one part in this many of the device


class VmapGrid(WorkerGrid):
    """Flower's `Grid` that trains many clients as one batch; node `k + 1` is client `k`.

    TRAIN messages of one call are grouped by equal recipe; the arrays they start from may differ. A group is
    cut into chunks of clients by the memory that training takes: a chunk may hold 512 MiB on a CPU and a
    quarter of the device's memory on a GPU, whatever is free, so that a run can be repeated. A client counts
    with four copies of its weights, its images, and twice what autograd keeps of one batch. What is no
    training is answered by the task's ClientApp in this process. Time-outs cannot be kept within a batch.
    Made for a GPU: on a CPU one thread computes everything, and worker processes are faster.

    Args:
        shards: Folder of all shards.
        clients: K.
    """

    def __init__(self, shards: Path, clients: int):
        super().__init__(partial(client_app, shards), clients, 0)
        self._shards = shards

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Compute every message; one reply each, in the order asked.

        Raises:
            UserError: The network cannot be mapped over clients.
        """
        asked = list(messages)
        replies: dict[int, Message] = {}
        groups: dict[Hashable, list[Job]] = {}
        others = []
        for place, message in enumerate(asked):
            if message.metadata.message_type != MessageType.TRAIN:
                others.append(place)
                continue
            job = self._job(place, message)
            if isinstance(job, Message):
                replies[place] = job
            else:
                groups.setdefault(_key(job.config), []).append(job)
        answers = super().send_and_receive([asked[place] for place in others], timeout=timeout)
        replies |= dict(zip(others, answers, strict=True))
        # Grouped convolutions, which mapped ones become, lose on a CPU by every thread beyond the first.
        with one_thread():
            for jobs in groups.values():
                for place, found in _trained(jobs):
                    wrong = isinstance(found, str)
                    replies[place] = (
                        refusal(asked[place], found) if wrong else Message(found, reply_to=asked[place])
                    )
        return [replies[place] for place in range(len(asked))]

    def _job(self, place: int, message: Message) -> Job | Message:
        """What a message asks for, or an error reply."""
        client = message.metadata.dst_node_id - 1
        try:
            arrays = next(iter(message.content.array_records.values()))
            config = next(iter(message.content.config_records.values()))
            shard = read_shard(folder_of(self._shards, client))
        except (StopIteration, UserError, OSError, ValueError) as error:
            return refusal(message, str(error) or "the message lacks arrays or recipe")
        return Job(place, client, shard, arrays, config)


def _key(config: ConfigRecord) -> Hashable:
    """Equal recipes have equal keys."""
    return tuple(sorted((k, tuple(v) if isinstance(v, list) else v) for k, v in config.items()))


def _trained(jobs: Sequence[Job]) -> Iterable[tuple[int, RecordDict | str]]:
    """Place of every job and its reply, or why it has none; all have the same recipe."""
    config = jobs[0].config
    net = network_of(config)
    _refuse(net, str(config["model"]))
    net.to(str(config.get("device", "cpu")))
    shapes = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    fitting = []
    for job in jobs:
        if {name: tuple(value.shape) for name, value in job.arrays.items()} == shapes:
            job.plan()
            fitting.append(job)
        else:
            yield job.place, f"the arrays sent do not fit the network `{config['model']}`"
    # Clients with as many steps stand together, the longest first: at each step those who train are a prefix.
    queue = sorted(fitting, key=lambda job: -len(job.batches))
    with _batchable(str(config["model"])):
        size = _chunk(net, queue) if queue else 1
        for start in range(0, len(queue), size):
            yield from Chunk(net, queue[start : start + size]).replies()


def _refuse(net: nn.Module, model: str) -> None:
    """Only networks whose clients and samples do not touch each other, and that draw nothing."""
    for found, what in ((has_batch_norm(net), "batch norm"), (has_dropout(net), "dropout")):
        if found:
            raise UserError(
                f"`grid=vmap` trains clients as one batch and cannot do so for `{model}`, which has {what}; "
                "use `grid=inprocess`."
            )


@contextmanager
def _batchable(model: str) -> Any:
    """A network that `torch.func` cannot map is the user's to know about."""
    try:
        yield
    except RuntimeError as error:
        raise UserError(
            f"`grid=vmap` cannot train `{model}` for many clients at once ({first_line(str(error))}); "
            "use `grid=inprocess`."
        ) from error


def _chunk(net: nn.Module, jobs: Sequence[Job]) -> int:
    """Clients in one chunk, by the rule that `VmapGrid` states."""
    device = next(net.parameters()).device
    widest = max((len(batch) for job in jobs for batch in job.batches), default=1)
    config = jobs[0].config
    kept: dict[int, int] = {}

    def keep(value: Tensor) -> Tensor:
        kept[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    shape = (widest, *(int(config[name]) for name in ("channels", "height", "width")))  # pyright: ignore[reportArgumentType]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        net(torch.zeros(shape, device=device)).sum()
    weights = sum(p.numel() * p.element_size() for p in net.state_dict().values())
    images = max(job.shard.images.nbytes for job in jobs)
    budget = CPU_BYTES
    if device.type == "cuda":
        budget = torch.cuda.get_device_properties(device).total_memory // CUDA_SHARE
    return max(1, budget // (4 * weights + images + 2 * sum(kept.values())))
