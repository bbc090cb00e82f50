"""Training one network on slices by the protocol's recipe: adapting to a target, and pre-training."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor, nn

from bench import seeding
from bench.core import Context
from bench.errors import RunFailed
from bench.nn.binary_losses import BinaryLoss, build_binary_loss


class Slices(Protocol):
    """What can be trained on: a `SliceSet`, or several pooled."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Images and masks of a batch, both (B, 1, H, W) float32."""
        ...


def decayed(lr: float, gamma: float, every: int, epoch: int) -> float:
    """The learning rate of an epoch, counted from 1, times gamma after every so many epochs (StepLR)."""
    return lr * gamma ** ((epoch - 1) // every)


def check_finite(number: float, where: str, remedy: str) -> None:
    """Raise `RunFailed` when a loss is NaN or infinite."""
    if not math.isfinite(number):
        raise RunFailed(f"The training loss became {number} in {where}; {remedy}")


def fine_tune(
    net: nn.Module,
    support: Slices,
    ctx: Context,
    *,
    epochs: int | None = None,
    lr: float | None = None,
    weight_decay: float | None = None,
    lr_step: int | None = None,
    lr_gamma: float | None = None,
    loss: BinaryLoss | None = None,
    max_steps: float | None = None,
    stream: int = 0,
    label: str = "adapt",
    curve: str = "",
) -> None:
    """Train `net` in place with Adam and a falling learning rate; the weights of the last step stay.

    The order of slices is a function of (run seed, epoch, stream) alone, so that shot selections differ in
    nothing but their slices (thesis 7.3; fewshot_decathlon.md section 3). A checkpoint is written between
    steps when due.

    Args:
        net: (B, 1, H, W) -> logits (B, 1, H, W); moved to the run's device.
        support: What to train on.
        ctx: The run; its protocol gives the batch size and whatever is None below.
        epochs: Passes over the support.
        lr: First learning rate of Adam.
        weight_decay: Of Adam (not decoupled).
        lr_step: After every so many epochs the learning rate is multiplied by
        lr_gamma: this number.
        loss: The training loss.
        max_steps: Optimiser steps at most; `math.inf` for no limit.
        stream: Another number, another order of slices.
        label: What the progress bar says.
        curve: Name of the epoch in rows of `curves.csv`; empty for no rows.

    Raises:
        RunFailed: The loss is not finite.
    """
    p, fabric = ctx.protocol, ctx.fabric
    passes: int = p.epochs if epochs is None else epochs
    rate: float = p.lr if lr is None else lr
    every, gamma = lr_step or p.lr_step, p.lr_gamma if lr_gamma is None else lr_gamma
    criterion = build_binary_loss(loss or p.loss)
    decay = p.weight_decay if weight_decay is None else weight_decay
    model, optimizer = fabric.setup(net, torch.optim.Adam(net.parameters(), lr=rate, weight_decay=decay))
    starts = range(0, len(support), p.batch_size)
    most = max_steps or p.max_steps or math.inf
    limit = int(min(len(starts) * passes, most))
    at, total = {"epoch": 1, "step": 0, "steps": 0}, torch.zeros((), device=fabric.device)
    if (saved := ctx.checkpoint.load()) is not None:
        at, total = saved["at"], saved["total"].to(fabric.device)
        net.load_state_dict(saved["net"])
        optimizer.load_state_dict(saved["optimizer"])
    model.train()
    with ctx.progress.bar(label, limit, at["steps"]) as advance:
        while at["steps"] < limit:
            epoch = at["epoch"]
            for group in optimizer.param_groups:
                group["lr"] = decayed(rate, gamma, every, epoch)
            order = torch.randperm(len(support), generator=seeding.generator(ctx.seed, epoch, stream))
            while at["step"] < len(starts) and at["steps"] < limit:
                start = starts[at["step"]]
                x, target = fabric.to_device(support[order[start : start + p.batch_size]])
                value = criterion(model(x).float(), target)
                optimizer.zero_grad(set_to_none=True)
                fabric.backward(value)
                optimizer.step()
                total += value.detach()  # read once an epoch: a GPU is not waited for at every step
                at["step"] += 1
                at["steps"] += 1
                advance()
                if ctx.checkpoint.due() and at["steps"] < limit:
                    state = {"net": net.state_dict(), "optimizer": optimizer.state_dict()}
                    ctx.checkpoint.save({**state, "at": at, "total": total})
            mean = total.item() / at["step"]
            check_finite(mean, f"epoch {epoch} of `{label}`", "a lower learning rate may help.")
            if curve:
                ctx.curve({curve: epoch, "train_loss": mean})
            at.update(epoch=epoch + 1, step=0)
            total.zero_()
