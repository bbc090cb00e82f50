"""pfl-research beside `bench` in `federated.py`: its FederatedAveraging on its SimulatedBackend.

The model returns no metrics of its own, so pfl's evaluation in round 1 costs nothing. Alone it computes
clients one after another; under `torchrun` its processes share a round's clients. One thread a process.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import numpy as np
import torch
from federated_work import Work, contend, prepared
from pfl.aggregate.simulate import SimulatedBackend  # pyright: ignore[reportMissingImports]
from pfl.aggregate.weighting import WeightByDatapoints  # pyright: ignore[reportMissingImports]
from pfl.algorithm.base import NNAlgorithmParams  # pyright: ignore[reportMissingImports]
from pfl.algorithm.federated_averaging import FederatedAveraging  # pyright: ignore[reportMissingImports]
from pfl.callback.base import TrainingProcessCallback  # pyright: ignore[reportMissingImports]
from pfl.data.federated_dataset import FederatedDataset  # pyright: ignore[reportMissingImports]
from pfl.data.pytorch import PyTorchTensorDataset  # pyright: ignore[reportMissingImports]
from pfl.data.sampling import get_user_sampler  # pyright: ignore[reportMissingImports]
from pfl.hyperparam import NNTrainHyperParams  # pyright: ignore[reportMissingImports]
from pfl.metrics import Metrics, Weighted  # pyright: ignore[reportMissingImports]
from pfl.model.pytorch import PyTorchModel  # pyright: ignore[reportMissingImports]


def run(work: Work):
    """The federation from reading data to the last round."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    torch.set_num_threads(1)  # two slow a small network down on a busy machine
    steps, ends = 0, []
    net: Any = work.network()

    def loss(x, y):
        nonlocal steps
        steps += 1
        net.train()
        return torch.nn.functional.cross_entropy(net(x), y)

    net.loss = loss
    net.metrics = lambda x, y: {"users": Weighted(0, len(y))}
    np.random.seed(0)
    model = PyTorchModel(net, torch.optim.SGD, torch.optim.SGD(net.parameters(), 1.0))
    data = {}
    for client in range(work.clients):
        images, labels = work.load(client)
        data[client] = images, torch.from_numpy(labels)

    def user(client: int) -> PyTorchTensorDataset:
        images, labels = data[client]
        order = torch.randperm(len(labels))
        return PyTorchTensorDataset((prepared(images[order.numpy()]), labels[order]), user_id=str(client))

    class Timed(TrainingProcessCallback):
        """Notes when each round ended."""

        def after_central_iteration(self, aggregate_metrics, model, *, central_iteration):
            ends.append(time.perf_counter())
            return False, Metrics()

    users = FederatedDataset(user, get_user_sampler("minimize_reuse", list(data)))
    asyncio.set_event_loop(asyncio.new_event_loop())
    FederatedAveraging().run(
        NNAlgorithmParams(
            central_num_iterations=work.rounds,
            evaluation_frequency=work.rounds,
            train_cohort_size=work.drawn,
            val_cohort_size=0,
        ),
        SimulatedBackend(users, users, postprocessors=[WeightByDatapoints()]),
        model,
        NNTrainHyperParams(local_batch_size=work.batch, local_num_epochs=1, local_learning_rate=work.lr),
        callbacks=[Timed()],
    )
    if processes > 1:
        total = torch.tensor(steps)
        torch.distributed.all_reduce(total)
        steps = int(total)
        if int(os.environ["RANK"]):
            return None, None, None
    return net.state_dict(), steps, ends


if __name__ == "__main__":
    contend(run)
