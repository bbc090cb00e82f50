"""The contenders of `federated.py` that need no other framework: a bare loop, and `bench` on two grids."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from federated_work import MEAN, STD, Work, contend, prepared
from torch import nn


def bare(work: Work):
    """FedAvg in the shortest loop there is, on one thread."""
    torch.set_num_threads(1)
    net, rng, steps, ends = work.network(), np.random.default_rng(1), 0, []
    state = {name: value.clone() for name, value in net.state_dict().items()}
    for _ in range(work.rounds):
        total = {name: torch.zeros_like(value) for name, value in state.items()}
        for client in rng.choice(work.clients, work.drawn, replace=False):
            net.load_state_dict(state)
            net.train()
            optimizer = torch.optim.SGD(net.parameters(), lr=work.lr)
            images, labels = work.load(client)
            for batch in torch.randperm(len(labels)).split(work.batch):
                loss = nn.functional.cross_entropy(
                    net(prepared(images[batch])), torch.from_numpy(labels[batch])
                )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                steps += 1
            for name, value in net.state_dict().items():
                total[name] += value / work.drawn if value.is_floating_point() else value // work.drawn
        state = total
        ends.append(time.perf_counter())
    return state, steps, ends


def ours(work: Work, grid: str):
    """The engine of `bench run method=fedavg`: shards written, grid opened, rounds driven and screened.

    The clock of the whole stops at the end of the last round's aggregation: what the engine does afterwards,
    a further round of local training for the metrics of locally trained models, is no part of the work.
    """
    from bench.checkpoint import Checkpoint
    from bench.core import Context
    from bench.curves import Curves
    from bench.device import make_fabric
    from bench.families.federated_protocol import FederatedProtocol
    from bench.federated.data import ClientImages, TrainSet
    from bench.federated.drive import federate
    from bench.progress import Progress
    from bench.registry import load

    steps, ends, last = 0, [], {}

    def make(federation):
        strategy = load("method", "fedavg").target().strategy(federation)
        aggregate = strategy.aggregate_train

        def timed(server_round, replies):
            nonlocal steps
            found = aggregate(server_round, replies)
            steps += sum(reply.content["metrics"]["steps"] for reply in replies)
            last.update(found[0].to_torch_state_dict())
            ends.append(time.perf_counter())
            return found

        strategy.aggregate_train = timed
        return strategy

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        curves = Curves(folder / "curves.csv")
        ctx = Context(
            seed=0,
            protocol=FederatedProtocol(
                model=work.model,
                clients=work.clients,
                clients_per_round=work.drawn,
                rounds=work.rounds,
                batch_size=work.batch,
                lr=work.lr,
                image_size=(work.side, work.side),
                channels=work.channels,
                mean=(MEAN,) * work.channels,
                std=(STD,) * work.channels,
                evaluate_every=work.rounds,
            ),
            profile="clean",
            num_classes=work.classes,
            in_channels=work.channels,
            folder=folder,
            fabric=make_fabric("cpu", "32-true"),
            checkpoint=Checkpoint(folder / "checkpoint", curves),
            progress=Progress(),
            log=print,
            curve=curves,
            grid=grid,
        )
        data = TrainSet(tuple(ClientImages(*work.load(client)) for client in range(work.clients)))
        federate(make, data, ctx)
    return last, steps, ends


CONTENDERS = {
    "bare": bare,
    "inprocess": lambda work: ours(work, "inprocess"),
    "vmap": lambda work: ours(work, "vmap"),
}

if __name__ == "__main__":
    chosen = CONTENDERS[sys.argv.pop(1)]
    # Libraries are loaded before the clock starts.
    import bench.families.federated  # noqa: F401
    from bench.device import make_fabric
    from bench.federated import drive, grids, inprocess  # noqa: F401

    make_fabric("cpu", "32-true")  # imports Lightning

    contend(chosen)
