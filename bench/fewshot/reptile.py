"""Meta-training: many short trainings from the meta-model, each moving it a little (thesis Algorithm 1).

Nichol, Achiam, Schulman: On First-Order Meta-Learning Algorithms (arXiv 1803.02999), Reptile, with any rule
for the direction of a step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bench import seeding
from bench.core import Context
from bench.fewshot.episodes import DRAW, Episode, sampled
from bench.fewshot.finetune import check_finite, decayed
from bench.fewshot.updates import State, average, stepped
from bench.nn.binary_losses import BinaryLoss, build_binary_loss
from bench.volumes.slices import Source

Batch = tuple[Tensor, Tensor]
Objective = Callable[[Any, Sequence[Batch]], Tensor]
Rule = Callable[[State, Sequence[State]], State]
Draw = Callable[[Sequence[Source], Context, int], list[Episode]]


@dataclass(frozen=True)
class Inner:
    """How a task is trained: Adam anew for every task.

    Args:
        lr: First learning rate.
        weight_decay: Of Adam (not decoupled).
        lr_step: After every so many passes over the task's slices the learning rate is multiplied by
        lr_gamma: this number; it starts anew with every task.
    """

    lr: float
    weight_decay: float
    lr_step: int = 2
    lr_gamma: float = 1.0


def segment(loss: BinaryLoss) -> Objective:
    """The plain objective: a loss on the task's own slices."""
    criterion = build_binary_loss(loss)

    def objective(model: Any, batches: Sequence[Batch]) -> Tensor:
        x, target = batches[0]
        return criterion(model(x).float(), target)

    return objective


def meta_train(
    net: nn.Module,
    sources: Sequence[Source],
    ctx: Context,
    *,
    inner: Inner,
    meta_lr: float,
    objective: Objective,
    rule: Rule = average,
    serial: bool = False,
    draw: Draw = sampled,
    forward_methods: Sequence[str] = (),
) -> None:
    """Meta-train `net` in place.

    A checkpoint is written between tasks when due; `curves.csv` gets a row a meta-epoch: the loss in the last
    pass over the slices, mean over tasks.

    Args:
        net: (B, 1, H, W) -> logits (B, 1, H, W); moved to the run's device.
        sources: What tasks are drawn from.
        ctx: The run; its protocol gives meta_epochs, inner_epochs, batch_size and the task definition.
        inner: How a task is trained.
        meta_lr: Length of a step of the meta-model along the direction that `rule` gives.
        objective: (model, a batch of every part of the task) -> scalar.
        rule: (meta-model, models of the tasks) -> direction.
        serial: Step after every task (plain Reptile); otherwise once a meta-epoch, from all of its tasks.
        draw: (sources, ctx, meta-epoch) -> tasks.
        forward_methods: Methods of `net` beside `forward` that the objective calls.

    Raises:
        RunFailed: A loss is not finite.
    """
    p = ctx.protocol
    model = ctx.fabric.setup_module(net)
    for name in forward_methods:
        model.mark_forward_method(name)
    meta, done = _copy(net), 0
    models: list[State] = []
    losses: list[float] = []
    epoch = 1
    if (saved := ctx.checkpoint.load()) is not None:
        epoch, done, losses = saved["epoch"], saved["done"], saved["losses"]
        meta, models = _on(saved["meta"], ctx), [_on(state, ctx) for state in saved["models"]]
        ctx.log(f"resumed in meta-epoch {epoch} after {len(losses)} tasks")
    episodes = draw(sources, ctx, epoch) if epoch <= p.meta_epochs else []
    model.train()
    with ctx.progress.bar("meta-train", p.meta_epochs * len(episodes), done) as advance:
        while epoch <= p.meta_epochs:
            for number in range(len(losses), len(episodes)):
                net.load_state_dict(meta)
                losses.append(_train(model, episodes[number], ctx, inner, objective, (epoch, number)))
                models.append(_copy(net))
                if serial:
                    meta, models = stepped(meta, rule(meta, models), meta_lr), []
                done += 1
                advance(loss=losses[-1])
                if ctx.checkpoint.due():
                    at = {"epoch": epoch, "done": done, "losses": losses}
                    ctx.checkpoint.save({**at, "meta": meta, "models": models})
            if models:
                meta, models = stepped(meta, rule(meta, models), meta_lr), []
            ctx.curve({"meta_epoch": epoch, "train_loss": sum(losses) / len(losses)})
            epoch, losses = epoch + 1, []
            if epoch <= p.meta_epochs:
                episodes = draw(sources, ctx, epoch)
    net.load_state_dict(meta)


def _train(
    model: Any, episode: Episode, ctx: Context, inner: Inner, objective: Objective, at: tuple[int, int]
) -> float:
    """Train on one task; the mean loss of the last pass."""
    p, fabric = ctx.protocol, ctx.fabric
    adam = torch.optim.Adam(model.parameters(), lr=inner.lr, weight_decay=inner.weight_decay)
    optimizer: Any = fabric.setup_optimizers(adam)
    held = [fabric.to_device(part[:]) for part in episode]  # a task is small: read once
    count = len(episode[0])
    totals = torch.zeros(p.inner_epochs, device=fabric.device)
    starts = range(0, count, p.batch_size)
    for epoch in range(1, p.inner_epochs + 1):
        for group in optimizer.param_groups:
            group["lr"] = decayed(inner.lr, inner.lr_gamma, inner.lr_step, epoch)
        generator = seeding.generator(ctx.seed, at[0], DRAW + 1 + at[1], epoch)
        orders = [torch.randperm(len(part), generator=generator).to(fabric.device) for part in episode]
        for start in starts:
            place = torch.arange(start, min(start + p.batch_size, count), device=fabric.device)
            # Further tasks may hold fewer slices than the first: they start again from their beginning.
            picks = [order[place % len(order)] for order in orders]
            batches = [(x[pick], y[pick]) for (x, y), pick in zip(held, picks, strict=True)]
            value = objective(model, batches)
            optimizer.zero_grad(set_to_none=True)
            fabric.backward(value)
            optimizer.step()
            totals[epoch - 1] += value.detach()
    means = (totals / len(starts)).tolist()  # read once a task: a GPU is not waited for at every step
    remedy = "a lower learning rate of the tasks may help."
    check_finite(sum(means), f"task {at[1] + 1} of meta-epoch {at[0]} (`{episode[0].name}`)", remedy)
    return means[-1]


def _copy(net: nn.Module) -> State:
    return {name: value.detach().clone() for name, value in net.state_dict().items()}


def _on(state: State, ctx: Context) -> State:
    return {name: value.to(ctx.fabric.device) for name, value in state.items()}
