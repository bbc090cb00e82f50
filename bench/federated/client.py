"""The task's one Flower `ClientApp`: local training by the protocol's recipe, the same on every grid.

What a client computes is a function of the message, its shard and (seed, round, partition id, purpose): not
of the process, the machine, or what was computed before. Every client computes on one torch thread, because
sums split among threads round differently.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench import seeding
from bench.federated.flower import (
    ArrayRecord,
    ClientApp,
    ConfigRecord,
    Context,
    Message,
    MetricRecord,
    RecordDict,
)
from bench.federated.shards import Shard, folder_of, read_shard
from bench.nn.classifiers import build_classifier, has_batch_norm
from bench.nn.fit import evaluating

PURPOSES = ("train", "personalise", "trained")  # each draws its own batches
ARRAYS, CONFIG, METRICS = "arrays", "config", "metrics"
EXAMPLES = "num-examples"


def client_app(shards: Path | None = None) -> ClientApp:
    """The ClientApp of every federated task.

    Args:
        shards: Folder of all shards; None where each node has a folder of its own, its `data-root`.
    """
    app = ClientApp()

    def shard_of(context: Context) -> Shard:
        if shards is None:
            return read_shard(Path(str(context.node_config["data-root"])))
        return read_shard(folder_of(shards, partition_of(context)))

    @app.query()
    def query(message: Message, context: Context) -> Message:
        """Who is this node, and what does it hold?"""
        facts = ConfigRecord({"shard-sha256": shard_of(context).sha256})
        metrics = MetricRecord({"partition-id": partition_of(context)})
        return Message(RecordDict({CONFIG: facts, METRICS: metrics}), reply_to=message)

    @app.train()
    def train(message: Message, context: Context) -> Message:
        """Train locally and send back arrays and metrics."""
        content = message.content
        arrays = next(iter(content.array_records.values()))
        config = next(iter(content.config_records.values()))
        arrays, metrics = train_locally(arrays, config, shard_of(context), partition_of(context))
        return Message(RecordDict({ARRAYS: arrays, METRICS: metrics}), reply_to=message)

    return app


def partition_of(context: Context) -> int:
    """The client a node stands for."""
    return int(context.node_config["partition-id"])


@functools.lru_cache(maxsize=4)
def network(model: str, channels: int, classes: int, height: int, width: int) -> nn.Module:
    """A network of the protocol; its weights are overwritten by every message."""
    return build_classifier(model, channels, classes, (height, width))


def network_of(config: ConfigRecord | dict[str, Any]) -> nn.Module:
    """The network that a message speaks of."""
    return network(*(config[name] for name in ("model", "channels", "classes", "height", "width")))  # pyright: ignore[reportArgumentType]


def train_locally(
    arrays: ArrayRecord, config: ConfigRecord, shard: Shard, client: int
) -> tuple[ArrayRecord, MetricRecord]:
    """Plain SGD from `arrays` on one shard (thesis 6.3.1).

    Args:
        arrays: The state dict sent by the server.
        config: The recipe: lr, batch-size, local-epochs, proximal-mu, ...; and server-round, seed, purpose.
        shard: The client's data.
        client: Its partition id.

    Returns:
        The new state dict; `num-examples`, `train-loss`, `steps` and, where asked, `train-accuracy`.
    """
    with one_thread():
        net = network_of(config)
        net.load_state_dict(arrays.to_torch_state_dict(), strict=True)
        device = torch.device(str(config.get("device", "cpu")))
        net.to(device)
        purpose = PURPOSES.index(str(config.get("purpose", "train")))
        seed = (int(config["seed"]), int(config["server-round"]), client, purpose)  # pyright: ignore[reportArgumentType]
        torch.manual_seed(seeding.generator(*seed, 2).initial_seed())  # dropout
        steps, loss = sgd(net, shard, config, seed, device)
        metrics = {EXAMPLES: len(shard), "train-loss": loss, "steps": steps}
        if config.get("train-accuracy"):
            metrics["train-accuracy"] = accuracy(net, shard, config, device)
        state = {name: value.detach().cpu() for name, value in net.state_dict().items()}
        if shard.noise:
            generator = seeding.generator(*seed, 1)
            for value in state.values():
                if value.is_floating_point():
                    value += shard.noise * torch.randn(value.shape, generator=generator)
        return ArrayRecord(state), MetricRecord(metrics)


def sgd(
    net: nn.Module, shard: Shard, config: ConfigRecord, seed: tuple[int, ...], device: torch.device
) -> tuple[int, float]:
    """Local epochs of SGD; returns steps taken and the mean loss of the last epoch."""
    size, epochs = int(config["batch-size"]), int(config["local-epochs"])  # pyright: ignore[reportArgumentType]
    mu = float(config.get("proximal-mu", 0.0))  # pyright: ignore[reportArgumentType]
    lr = float(config["lr"])  # pyright: ignore[reportArgumentType]
    anchor = [p.detach().clone() for p in net.parameters()] if mu else []
    limit = int(config.get("max-local-steps", 0)) or None  # pyright: ignore[reportArgumentType]
    normed = has_batch_norm(net)
    steps, total = 0, 0.0
    net.train()
    for epoch in range(epochs):
        order = torch.randperm(len(shard), generator=seeding.generator(*seed, 0, epoch)).numpy()
        total, seen = 0.0, 0
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            x = prepared(shard.images[chosen], config).to(device)
            y = torch.from_numpy(shard.labels[chosen]).to(device)
            # One sample has no batch statistics: batch norm then uses its running ones.
            net.train(not (normed and len(chosen) == 1))
            with torch.autocast(device.type, torch.bfloat16, enabled=config.get("precision") == "bf16-mixed"):
                scores = net(x)
            loss = nn.functional.cross_entropy(scores.float(), y)
            net.zero_grad(set_to_none=True)
            loss.backward()
            with torch.no_grad():
                for p, before in zip(net.parameters(), anchor, strict=False):
                    if p.grad is not None:
                        p.grad.add_(p - before, alpha=mu)  # FedProx: mu/2 |w - w0|^2
                # By hand: the first optimiser of torch imports its compiler, 1.3 s in every worker.
                for p in net.parameters():
                    if p.grad is not None:
                        p.add_(p.grad, alpha=-lr)
            total += float(loss.detach()) * len(chosen)
            seen += len(chosen)
            steps += 1
            if steps == limit:
                return steps, total / seen
    return steps, total / max(1, len(shard))


def prepared(images: np.ndarray, config: ConfigRecord | dict[str, Any]) -> Tensor:
    """Grey levels (n, C, H, W) uint8 to normalised float32."""
    mean, std = (torch.tensor(config[name])[:, None, None] for name in ("mean", "std"))
    return torch.from_numpy(np.array(images)).float().div_(255).sub_(mean).div_(std)


def accuracy(
    net: nn.Module, shard: Shard, config: ConfigRecord | dict[str, Any], device: torch.device
) -> float:
    """Share of the client's own training images that the network labels right, in evaluation mode."""
    right = 0
    with evaluating(net):
        for start in range(0, len(shard), 256):
            x = prepared(shard.images[start : start + 256], config).to(device)
            right += int((net(x).argmax(1).cpu().numpy() == shard.labels[start : start + 256]).sum())
    return right / max(1, len(shard))


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread and a generator of its own, whoever's process this is."""
    before = torch.get_num_threads()
    if before != 1:
        torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        if before != 1:
            torch.set_num_threads(before)
