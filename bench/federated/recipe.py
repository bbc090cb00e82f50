"""From a protocol to what clients are told: one flat recipe that travels with every message."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from bench.core import Context
from bench.errors import UserError
from bench.federated.flower import ArrayRecord
from bench.nn.classifiers import build_classifier, find_pretrained, load_pretrained
from bench.registry import split_path


def recipe_of(ctx: Context) -> dict[str, Any]:
    """Plain values by Flower's naming; lists of floats where a value has one a channel."""
    p = ctx.protocol
    path, class_name = split_path(p.model)
    # Other processes have another working folder.
    model = p.model if path is None else f"{Path(path).resolve()}{':' if class_name else ''}{class_name}"
    height, width = p.image_size
    return {
        "model": model,
        "channels": ctx.in_channels,
        "classes": ctx.num_classes,
        "height": height,
        "width": width,
        "mean": [float(v) for v in p.mean],
        "std": [float(v) for v in p.std],
        "lr": float(p.lr),
        "batch-size": p.batch_size,
        "local-epochs": p.local_epochs,
        "max-local-steps": p.max_local_steps or 0,
        "precision": p.precision,
        "device": str(ctx.fabric.device),
        "seed": ctx.seed,
    }


def initial_model(recipe: dict[str, Any], ctx: Context) -> ArrayRecord:
    """The state every client starts from: random by the run's seed, or ImageNet weights."""
    torch.manual_seed(ctx.seed)
    size = (recipe["height"], recipe["width"])
    net = build_classifier(recipe["model"], recipe["channels"], recipe["classes"], size)
    if ctx.protocol.pretrained:
        path = find_pretrained(ctx.protocol.model)
        if path is None:
            raise UserError(f"The ImageNet weights of {ctx.protocol.model} are gone; run again without them.")
        load_pretrained(net, ctx.protocol.model, path)
    return ArrayRecord({name: value.detach().cpu().clone() for name, value in net.state_dict().items()})


def drawn_of(protocol: Any, clients: int) -> int:
    """Clients asked in a round: a fixed number, or a share rounded down as Flower does.

    Raises:
        UserError: The share of these clients is nobody.
    """
    if protocol.clients_per_round is not None:
        return min(protocol.clients_per_round, clients)
    drawn = math.floor(protocol.participation * clients + 1e-9)
    if drawn < 1:
        raise UserError(
            f"`protocol.participation={protocol.participation:g}` of {clients} clients draws nobody; "
            f"give at least {1 / clients:.3g}."
        )
    return drawn


def steps_of(examples: int, protocol: Any, epochs: int | None = None) -> int:
    """Optimiser steps of local epochs, the protocol's unless given; an epoch's last batch may be smaller."""
    steps = math.ceil(examples / protocol.batch_size) * (protocol.local_epochs if epochs is None else epochs)
    return min(steps, protocol.max_local_steps or steps)
