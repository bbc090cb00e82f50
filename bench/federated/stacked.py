"""The arithmetic of `grid=vmap`: what clients are to train, and the chunk that trains many of them at once.

The weights of a chunk of clients are stacked along a first axis, and `torch.func` maps forward and backward
pass over it. Batches, losses and update are those of `bench.federated.client`; sums run in another order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from bench import seeding
from bench.federated.client import ARRAYS, EXAMPLES, METRICS, PURPOSES
from bench.federated.flower import ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from bench.federated.shards import Shard
from bench.nn.fit import evaluating

EVALUATED = 256  # images of each client in one forward pass

Stack = dict[str, Tensor]  # name -> (C, ...), C clients


@dataclass
class Job:
    """One client's training: `batches` holds the positions of each step in its shard."""

    place: int
    client: int
    shard: Shard
    arrays: ArrayRecord
    config: ConfigRecord
    batches: list[np.ndarray] = field(default_factory=list)
    last_epoch: int = 0  # its first step

    @property
    def seed(self) -> tuple[int, int, int, int]:
        """Run, round, client, purpose."""
        purpose = PURPOSES.index(str(self.config.get("purpose", "train")))
        return int(self.config["seed"]), int(self.config["server-round"]), self.client, purpose  # pyright: ignore[reportArgumentType]

    def plan(self) -> None:
        """Draw the batches that `client.sgd` draws."""
        size, epochs = int(self.config["batch-size"]), int(self.config["local-epochs"])  # pyright: ignore[reportArgumentType]
        limit = int(self.config.get("max-local-steps", 0)) or None  # pyright: ignore[reportArgumentType]
        for epoch in range(epochs):
            if not len(self.shard) or len(self.batches) == limit:
                break
            order = torch.randperm(len(self.shard), generator=seeding.generator(*self.seed, 0, epoch)).numpy()
            self.last_epoch = len(self.batches)
            self.batches += [order[start : start + size] for start in range(0, len(order), size)]
            self.batches = self.batches[:limit]

    def loss(self, values: np.ndarray) -> float:
        """Mean over the samples of the last epoch, from the mean losses (S,) of all steps."""
        sizes = [len(batch) for batch in self.batches[self.last_epoch :]]
        last = values[self.last_epoch : len(self.batches)].tolist()
        return sum(v * n for v, n in zip(last, sizes, strict=True)) / max(1, sum(sizes))


class Chunk:
    """Clients that train as one batch.

    Args:
        net: The network, on its device; its own weights are overwritten.
        jobs: Clients of one recipe, with planned batches, those with the most steps first.
    """

    def __init__(self, net: nn.Module, jobs: Sequence[Job]):
        self.net, self.jobs, self.config = net, list(jobs), jobs[0].config
        self.device = next(net.parameters()).device
        self.images = torch.from_numpy(np.concatenate([job.shard.images for job in jobs])).to(self.device)
        self.labels = torch.from_numpy(np.concatenate([job.shard.labels for job in jobs])).to(self.device)
        self.first = np.cumsum([0, *(len(job.shard) for job in jobs)])[:-1]
        self.params, self.buffers = self._start()
        trainable = {name for name, p in net.named_parameters() if p.requires_grad}
        self.fixed = {name: self.params.pop(name) for name in set(self.params) - trainable} | self.buffers
        self.mean_std = {name: self.config[name] for name in ("mean", "std")}

    def _start(self) -> tuple[Stack, Stack]:
        """Stacked parameters and buffers that the messages bring; checked by the network itself."""
        rows: list[tuple[dict[str, Tensor], dict[str, Tensor]]] = []
        known: dict[int, int] = {}
        for job in self.jobs:
            if id(job.arrays) not in known:
                self.net.load_state_dict(job.arrays.to_torch_state_dict(), strict=True)
                known[id(job.arrays)] = len(rows)
                named = self.net.named_parameters(), self.net.named_buffers()
                rows.append(tuple({k: v.detach().clone() for k, v in each} for each in named))  # pyright: ignore[reportArgumentType]
        order = torch.tensor([known[id(job.arrays)] for job in self.jobs], device=self.device)
        stacks = ({k: torch.stack([row[i][k] for row in rows])[order] for k in rows[0][i]} for i in (0, 1))
        return tuple(stacks)  # pyright: ignore[reportReturnType]

    def replies(self) -> Iterable[tuple[int, RecordDict]]:
        """Train and answer."""
        losses = self._sgd().numpy()
        right = self._right() if self.config.get("train-accuracy") else None
        state = {name: value.cpu() for name, value in {**self.params, **self.fixed}.items()}
        own = self._names()
        for i, job in enumerate(self.jobs):
            metrics = MetricRecord({EXAMPLES: len(job.shard), "train-loss": job.loss(losses[:, i])})
            metrics["steps"] = len(job.batches)
            if right is not None:
                metrics["train-accuracy"] = int(right[i]) / max(1, len(job.shard))
            arrays = {name: state[source][i] for name, source in own.items()}
            if job.shard.noise:
                generator = seeding.generator(*job.seed, 1)
                for name, value in arrays.items():
                    if value.is_floating_point():
                        noise = torch.randn(value.shape, generator=generator)
                        arrays[name] = value + job.shard.noise * noise
            yield job.place, RecordDict({ARRAYS: ArrayRecord(arrays), METRICS: metrics})

    def _names(self) -> dict[str, str]:
        """Name in the state dict -> name in the stacks; two differ where modules share a tensor."""
        tensors = {id(v): k for k, v in [*self.net.named_buffers(), *self.net.named_parameters()]}
        return {name: tensors[id(v)] for name, v in self.net.state_dict(keep_vars=True).items()}

    def _sgd(self) -> Tensor:
        """All steps of all clients; returns mean losses (S, C) on the CPU, 0 where a client has ended."""
        lr, mu = float(self.config["lr"]), float(self.config.get("proximal-mu", 0.0))  # pyright: ignore[reportArgumentType]
        anchor = {name: value.clone() for name, value in self.params.items()} if mu else {}
        step = vmap(grad_and_value(self._loss))
        steps = max((len(job.batches) for job in self.jobs), default=0)
        losses = torch.zeros(steps, len(self.jobs), device=self.device)
        self.net.train()
        for at in range(steps):
            active = sum(len(job.batches) > at for job in self.jobs)
            now = {name: value[:active] for name, value in self.params.items()}
            fixed = {name: value[:active] for name, value in self.fixed.items()}
            gradient, losses[at, :active] = step(now, fixed, *self._batch(at, active))
            for name, value in now.items():
                change = gradient[name]
                if mu:
                    change.add_(value - anchor[name][:active], alpha=mu)
                value.add_(change, alpha=-lr)
        return losses.cpu()

    def _batch(self, at: int, active: int) -> tuple[Tensor, Tensor, Tensor]:
        """Images (C, B, ...), labels (C, B) and each sample's weight in its client's mean, 0 for padding.

        A short batch is filled with its own first sample, whose weight-0 copies are finite whenever it is.
        """
        batches = [job.batches[at] for job in self.jobs[:active]]
        widest = max(map(len, batches))
        chosen = np.empty((active, widest), np.int64)
        weights = np.zeros((active, widest), np.float32)
        for i, batch in enumerate(batches):
            chosen[i] = batch[0] + self.first[i]
            chosen[i, : len(batch)] = batch + self.first[i]
            weights[i, : len(batch)] = 1 / len(batch)
        positions = torch.from_numpy(chosen).to(self.device)
        return self._look(positions), self.labels[positions], torch.from_numpy(weights).to(self.device)

    def _look(self, positions: Tensor) -> Tensor:
        """Normalised images at (C, B) positions of the chunk, as `client.prepared` makes them."""
        mean, std = (torch.tensor(v, device=self.device)[:, None, None] for v in self.mean_std.values())
        return self.images[positions].float().div_(255).sub_(mean).div_(std)

    def _scores(self, params: Stack, fixed: Stack, x: Tensor) -> Tensor:
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.config.get("precision") == "bf16-mixed"
        ):
            return functional_call(self.net, {**params, **fixed}, (x,)).float()

    def _loss(self, params: Stack, fixed: Stack, x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
        """One client's loss: the mean over its real samples."""
        losses = nn.functional.cross_entropy(self._scores(params, fixed, x), y, reduction="none")
        return (losses * weights).sum()

    def _right(self) -> np.ndarray:
        """(C,) training images each client's network labels right, in evaluation mode."""
        right = torch.zeros(len(self.jobs), dtype=torch.int64, device=self.device)
        sizes = np.array([len(job.shard) for job in self.jobs])
        scores = vmap(partial(functional_call, self.net))
        with evaluating(self.net):
            for start in range(0, int(sizes.max()), EVALUATED):
                at = np.arange(start, min(start + EVALUATED, int(sizes.max())))
                real = at[None] < sizes[:, None]
                # A padded place shows the chunk's first image; it is not counted.
                positions = torch.from_numpy(np.where(real, self.first[:, None] + at[None], 0))
                positions = positions.to(self.device)
                found = scores({**self.params, **self.fixed}, (self._look(positions),)).argmax(-1)
                right += ((found == self.labels[positions]) & torch.from_numpy(real).to(self.device)).sum(1)
        return right.cpu().numpy()
