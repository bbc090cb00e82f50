"""Which grid runs the clients: worker processes, one batch of many, Flower's simulation, or a deployment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.config import Grid as GridName
from bench.core import Context
from bench.environment import cores
from bench.federated.data import TrainSet
from bench.federated.flower import Grid, identify
from bench.federated.proxy import CanonicalGrid
from bench.federated.shards import write_shards


@contextmanager
def open_grid(ctx: Context, train: TrainSet) -> Iterator[Grid]:
    """The chosen grid behind the canonical proxy, with every client's shard in place."""
    root = ctx.checkpoint.folder / "shards"
    pairs = ((client.images, client.labels) for client in train.clients)
    hashes = write_shards(root, pairs, train.noisy)
    with _raw(ctx, root, len(train)) as inner:
        identify()
        yield CanonicalGrid(inner, hashes, ctx.protocol.timeout_s)


@contextmanager
def _raw(ctx: Context, root: Path, clients: int) -> Iterator[Grid]:
    name = GridName(ctx.grid or "inprocess")
    if name is GridName.flower:
        from bench.federated.simulation import simulation_grid

        with simulation_grid(root, clients, cores()) as grid:
            yield grid
    elif name is GridName.deployment:
        from bench.federated.deployment import deployment_grid

        with deployment_grid(root, clients, ctx.checkpoint.folder / "deployment", ctx.superlink) as grid:
            yield grid
    elif name is GridName.vmap:
        from bench.federated.vmapped import VmapGrid

        yield VmapGrid(root, clients)
    else:
        from functools import partial

        from bench.federated.client import client_app
        from bench.federated.inprocess import WorkerGrid

        # A GPU is not shared among processes: its clients are computed one after another in this one.
        workers = 0 if ctx.fabric.device.type != "cpu" else min(cores(), clients)
        with WorkerGrid(partial(client_app, root), clients, workers) as grid:
            yield grid
