"""The plain training loop: epochs, validation, best weights, and a checkpoint that survives a kill."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from bench import seeding
from bench.core import Context
from bench.errors import RunFailed


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients, then back to the mode before."""
    before = net.training
    net.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        net.train(before)


def fit_supervised(
    net: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    train: Any,
    validate: Callable[[nn.Module], float],
    ctx: Context,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Train `net` and leave it with the weights of the best validation score.

    The order of samples is a function of (seed, epoch), so a resumed run sees what an uninterrupted one
    sees. A checkpoint is written after every validated epoch and, in long epochs, between steps.

    Args:
        net: Network; moved to the run's device.
        loss: (scores, target) -> scalar; scores reach it as float32.
        train: Sized, indexed by a tensor of positions, giving (input, target) batches.
        validate: Higher is better; called on the network in the protocol's epochs.
        ctx: The protocol gives epochs, batch_size, max_steps and the validation schedule.
        optimizer: Over the parameters of `net`.

    Raises:
        RunFailed: The loss is not finite.
    """
    protocol, fabric = ctx.protocol, ctx.fabric
    model, optimizer = fabric.setup(net, optimizer)
    at = {"epoch": 1, "step": 0, "steps": 0, "loss_sum": 0.0}
    best: dict[str, Any] = {"score": -math.inf, "epoch": 0, "weights": {}}
    if (saved := ctx.checkpoint.load()) is not None:
        at, best = saved["at"], saved["best"]
        if saved["optimizer"]:  # nothing but the best weights is kept once training has ended
            net.load_state_dict(saved["net"])
            optimizer.load_state_dict(saved["optimizer"])
        ctx.log(f"resumed at epoch {at['epoch']}, step {at['step']}")

    def save(ended: bool = False) -> None:
        going_on = ({}, {}) if ended else (net.state_dict(), optimizer.state_dict())
        ctx.checkpoint.save({"net": going_on[0], "optimizer": going_on[1], "at": at, "best": best})

    starts = range(0, len(train), protocol.batch_size)
    limit = min(len(starts) * protocol.epochs, protocol.max_steps or math.inf)
    epochs = math.ceil(limit / len(starts))
    model.train()
    with ctx.progress.bar("train", int(limit), at["steps"]) as advance:
        while at["epoch"] <= epochs:
            epoch = at["epoch"]
            order = torch.randperm(len(train), generator=seeding.generator(ctx.seed, epoch))
            while at["step"] < len(starts) and at["steps"] < limit:
                start = starts[at["step"]]
                x, target = fabric.to_device(train[order[start : start + protocol.batch_size]])
                value = loss(model(x).float(), target)
                optimizer.zero_grad(set_to_none=True)
                fabric.backward(value)
                optimizer.step()
                number = value.item()
                if not math.isfinite(number):
                    raise RunFailed(
                        f"The training loss became {number} in epoch {epoch}; "
                        "a lower `method.lr` or `protocol.precision=32-true` may help."
                    )
                at["step"] += 1
                at["steps"] += 1
                at["loss_sum"] += number
                advance(loss=number, **({"val": best["score"]} if best["epoch"] else {}))
                if ctx.checkpoint.due():
                    save()
            row: dict[str, float | int] = {"epoch": epoch, "train_loss": at["loss_sum"] / at["step"]}
            at.update(epoch=epoch + 1, step=0, loss_sum=0.0)
            if validates(epoch, epochs, protocol):
                row["val_score"] = validate(model)
                if row["val_score"] > best["score"]:
                    best = {
                        "score": row["val_score"],
                        "epoch": epoch,
                        "weights": copy.deepcopy(net.state_dict()),
                    }
            ctx.curve(row)
            if epoch == epochs or ctx.checkpoint.due():
                save(ended=epoch == epochs)
    net.load_state_dict(best["weights"])
    ctx.log(f"best validation score {best['score']:.4f} in epoch {best['epoch']}")


def validates(epoch: int, epochs: int, protocol: Any) -> bool:
    """Whether an epoch, counted from 1, is validated; the last one always is."""
    return epoch == epochs or epoch % protocol.validate_every == 0 or epoch > protocol.validate_each_after
