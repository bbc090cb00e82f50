"""How long a whole federation would take on this machine, from two steps of one client."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np

from bench.core import Context
from bench.environment import cores
from bench.federated.client import train_locally
from bench.federated.data import TrainSet
from bench.federated.flower import ConfigRecord
from bench.federated.recipe import drawn_of, initial_model, recipe_of, steps_of
from bench.federated.shards import Shard

STEPS = 2


def pace(train: TrainSet, ctx: Context, sizes: Sequence[int]) -> str:
    """Seconds a step, and hours the protocol would take with clients of these sizes.

    Args:
        train: Any training data of the right shape; repeated until batches are full.
        ctx: Context of the full protocol.
        sizes: Training samples of each client.
    """
    p = ctx.protocol
    recipe = recipe_of(ctx)
    merged = train.merged().clients[0]
    positions = np.arange(STEPS * p.batch_size) % len(merged)
    shard = Shard(merged.images[positions], merged.labels[positions], "")
    arrays = initial_model(recipe, ctx)
    config = ConfigRecord({**recipe, "server-round": 1, "local-epochs": 1, "max-local-steps": 0})
    train_locally(arrays, config, shard, 0)  # the first time also builds the network
    start = time.monotonic()
    train_locally(arrays, config, shard, 0)
    seconds = (time.monotonic() - start) / STEPS
    drawn = drawn_of(p, len(sizes))
    each = sum(steps_of(size, p) for size in sizes) / len(sizes)
    total = min(p.max_steps or math.inf, p.rounds * drawn * each) / min(drawn, cores())
    return (
        f"{seconds:.2f} s a step of {p.batch_size} images; "
        f"the full protocol takes about {seconds * total / 3600:.1f} h here, with clients as on the phantom"
    )
