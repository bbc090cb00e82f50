"""Training of sequence models of graphs, and how likely graphs are (thesis 10.3.5 and 10.4.1)."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bench.core import Context
from bench.errors import RunFailed
from bench.nn.fit import evaluating
from bench.nn.graph_orders import Ordering
from bench.nn.graph_rnn import GraphRNN
from bench.nn.graph_sequences import NOTHING, Batch, Encoded, batch

DATA, ORDERS = 1, 2  # streams of a seed
AT_ONCE = 256  # graphs whose likelihood is computed together


class EdgeSchedule(StrEnum):
    """Learning rate of the edge part: it `decays` with that of the nodes, or stays `constant`.

    The official code steps the schedule of the nodes twice and that of the edges never.
    """

    decays = "decays"
    constant = "constant"


def rates(protocol: Any, step: int, schedule: EdgeSchedule) -> tuple[float, float]:
    """Learning rates of the node and the edge part in optimiser step `step`, counted from 0."""
    after = max(0, step - protocol.constant_epochs * protocol.batches_per_epoch)
    if schedule is EdgeSchedule.constant:
        return protocol.lr * protocol.lr_gamma ** (2 * after // protocol.lr_step), protocol.lr
    rate = protocol.lr * protocol.lr_gamma ** (after // protocol.lr_step)
    return rate, rate


def losses(scores: tuple[Tensor, Tensor, Tensor], b: Batch) -> tuple[Tensor, Tensor]:
    """Cross entropy a node (its end included) and a pair of nodes (both directions), scalars in nats.

    A batch without a pair of nodes has an edge loss of 0.
    """
    answers = (b.node_answer, b.to_answer, b.from_answer)
    node, to, back = (
        F.cross_entropy(score, answer, ignore_index=NOTHING, reduction="sum")
        for score, answer in zip(scores, answers, strict=True)
    )
    counts = [(answer != NOTHING).sum().clamp(min=1) for answer in answers]
    return node / counts[0], (to + back) / counts[1]


def sample_batch(encoded: Encoded, ordering: Ordering, size: int, seed: int, step: int) -> Batch:
    """The batch of a training step, a function of (seed, step): graphs with replacement, a new order each."""
    rng = np.random.default_rng([seed, DATA, step])
    rows = rng.integers(len(encoded), size=size)
    return batch(encoded, rows, rng.random((size, encoded.max_nodes)), ordering)


def fit(
    net: GraphRNN,
    encoded: Encoded,
    ordering: Ordering,
    schedule: EdgeSchedule,
    validate: Callable[[], float],
    ctx: Context,
) -> None:
    """Train with two optimisers, one for the node part and one for the edge part; the last weights stay.

    A checkpoint holds weights, optimisers and the step, and a batch is a function of (seed, step), so a
    resumed training ends in the weights of an uninterrupted one, bit for bit.

    Args:
        net: Moved to the run's device.
        encoded: Training graphs.
        ordering: Of their nodes.
        schedule: Of the edge part's learning rate.
        validate: Negative log-likelihood of validation graphs in nats, for the curve; it chooses nothing.
        ctx: The protocol gives epochs, batches_per_epoch, batch_size, max_steps and the learning rates.

    Raises:
        RunFailed: The loss is not finite.
    """
    p, fabric = ctx.protocol, ctx.fabric
    parts = [torch.optim.Adam(part, p.lr) for part in (net.node_part(), net.edge_part())]
    model, *optimizers = fabric.setup(net, *parts)
    at = {"step": 0, "node": 0.0, "edge": 0.0}
    if (saved := ctx.checkpoint.load()) is not None:
        at = saved["at"]
        net.load_state_dict(saved["net"])
        for optimizer, state in zip(optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        ctx.log(f"resumed at step {at['step']}")
    per_epoch = p.batches_per_epoch
    limit = min(p.epochs * per_epoch, p.max_steps or math.inf)
    epochs = math.ceil(limit / per_epoch)

    def save() -> None:
        states = [optimizer.state_dict() for optimizer in optimizers]
        ctx.checkpoint.save({"net": net.state_dict(), "optimizers": states, "at": at})

    net.train()
    with ctx.progress.bar("train", int(limit), at["step"]) as advance:
        while at["step"] < limit:
            step = int(at["step"])
            for optimizer, rate in zip(optimizers, rates(p, step, schedule), strict=True):
                for group in optimizer.param_groups:
                    group["lr"] = rate
            b = fabric.to_device(sample_batch(encoded, ordering, p.batch_size, ctx.seed, step))
            node, edge = losses(model(b), b)
            for optimizer in optimizers:
                optimizer.zero_grad(set_to_none=True)
            fabric.backward(node + edge)
            for optimizer in optimizers:
                optimizer.step()
            found = node.item(), edge.item()
            if not all(map(math.isfinite, found)):
                raise RunFailed(
                    f"The training loss became {sum(found)} in step {step + 1}; a lower `protocol.lr` or "
                    "`protocol.precision=32-true` may help."
                )
            at = {"step": step + 1, "node": at["node"] + found[0], "edge": at["edge"] + found[1]}
            advance(node=found[0], edge=found[1])
            if at["step"] % per_epoch == 0 or at["step"] == limit:
                epoch = math.ceil(at["step"] / per_epoch)
                steps = at["step"] - (epoch - 1) * per_epoch
                row: dict[str, float | int] = {
                    "epoch": epoch,
                    "node_loss": at["node"] / steps,
                    "edge_loss": at["edge"] / steps,
                    "lr": rates(p, step, schedule)[0],
                }
                if epoch == epochs or epoch % p.validate_every == 0:
                    row["val_nll"] = validate()
                ctx.curve(row)
                at.update(node=0.0, edge=0.0)
                if epoch == epochs:
                    save()
            if ctx.checkpoint.due():
                save()
    net.eval()


def nll(
    net: GraphRNN,
    prior: NDArray[np.float64],
    encoded: Encoded,
    ordering: Ordering,
    orderings: int,
    seed: int,
) -> NDArray[np.float64]:
    """Negative log-likelihood of graphs as sequences, each in several random orders (thesis 10.3.6).

    The first node by its prior, every further one and the end by the node head, every slot of an edge by the
    edge heads: together a distribution over all sequences of 1 to M nodes. After M nodes the end is certain
    and costs nothing. Orders are drawn as in training; graph i has the same ones whatever the other graphs.

    Args:
        net: Fitted.
        prior: (K,) of the first node.
        encoded: N graphs.
        ordering: Of their nodes.
        orderings: R orders of each graph.
        seed: Of the orders.

    Returns:
        (N, R) float64, nats.
    """
    count = len(encoded)
    found = np.zeros((count, orderings))
    device = net.embed_node.weight.device
    by_size = np.argsort(encoded.sizes, kind="stable")
    with evaluating(net):
        for number in range(orderings):
            keys = np.random.default_rng([seed, ORDERS, number]).random((count, encoded.max_nodes))
            for start in range(0, count, AT_ONCE):
                rows = by_size[start : start + AT_ONCE]
                b = batch(encoded, rows, keys[rows], ordering)
                found[rows, number] = batch_nll(net, prior, on_device(b, device), len(rows))
    return found


def batch_nll(net: GraphRNN, prior: NDArray[np.float64], b: Batch, count: int) -> NDArray[np.float64]:
    """(B,) nats of `count` graphs in the order that the batch has them in, by position in its `rows`."""
    nodes, to, back = (score.double() for score in net(b))
    node = F.cross_entropy(nodes, b.node_answer, reduction="none").masked_fill(b.final, 0.0)
    edge = F.cross_entropy(to, b.to_answer, reduction="none")
    edge = edge + F.cross_entropy(back, b.from_answer, reduction="none")
    graph_of_node = b.graph_of_node.cpu().numpy()
    total = np.bincount(graph_of_node, node.cpu().numpy(), count).astype(np.float64)
    total += np.bincount(b.graph_of_edge.cpu().numpy(), edge.cpu().numpy(), count)
    first = b.node[: b.node_sizes[0]].cpu().numpy() - 1  # the first step of the packing
    total[graph_of_node[: b.node_sizes[0]]] -= np.log(prior[first])
    return total


def on_device(b: Batch, device: torch.device | str) -> Batch:
    """A batch with its tensors moved; sizes of steps stay as they are."""
    parts: list[Any] = [part.to(device) if isinstance(part, Tensor) else part for part in b]
    return Batch(*parts)
