"""Flower's simulation beside `bench` in `federated.py`, written as Flower's own PyTorch tutorial has it.

A plain `ClientApp`, Flower's own `FedAvg` and its loop, `run_simulation` on Ray with one core a client and
two cores in all; evaluation switched off, since nobody else evaluates. Data are loaded from local files.
"""

from __future__ import annotations

import os

os.environ |= {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"}

import time
from typing import Any

import ray  # noqa: F401
import torch
from federated_work import Work, contend, prepared
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from torch.utils.data import DataLoader, TensorDataset


def client_app(work: Work) -> ClientApp:
    """Local training of one epoch."""
    app = ClientApp()

    @app.train()
    def train(msg: Message, context: Context) -> Message:
        arrays: Any = msg.content["arrays"]
        config: Any = msg.content["config"]
        model = work.network()
        model.load_state_dict(arrays.to_torch_state_dict())
        images, labels = work.load(int(context.node_config["partition-id"]))
        data = TensorDataset(prepared(images), torch.from_numpy(labels))
        loader = DataLoader(data, batch_size=work.batch, shuffle=True)
        criterion = torch.nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=config["lr"])
        model.train()
        running = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            running += loss.item()
        metrics = {"train_loss": running / len(loader), "num-examples": len(data), "steps": len(loader)}
        content = {"arrays": ArrayRecord(model.state_dict()), "metrics": MetricRecord(metrics)}
        return Message(content=RecordDict(content), reply_to=msg)

    return app


def run(work: Work):
    """The simulation from its start to its end."""
    steps, ends, last = 0, [], {}

    class Timed(FedAvg):
        """FedAvg that notes when each round ended."""

        def aggregate_train(self, server_round, replies):
            nonlocal steps
            answers: Any = list(replies)
            steps += sum(r.content["metrics"]["steps"] for r in answers if r.has_content())
            found = super().aggregate_train(server_round, answers)
            ends.append(time.perf_counter())
            return found

    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        from flwr.app import ConfigRecord

        strategy = Timed(
            fraction_train=work.drawn / work.clients,
            fraction_evaluate=0.0,
            min_train_nodes=work.drawn,  # the share alone is of the nodes registered so far
            min_available_nodes=work.clients,
        )
        result = strategy.start(
            grid=grid,
            initial_arrays=ArrayRecord(work.network().state_dict()),
            train_config=ConfigRecord({"lr": work.lr}),
            num_rounds=work.rounds,
        )
        last.update(result.arrays.to_torch_state_dict())

    cores = {"num_cpus": work.workers, "num_gpus": 0, "include_dashboard": False}
    backend = {"init_args": cores, "client_resources": {"num_cpus": 1, "num_gpus": 0.0}}
    run_simulation(server, client_app(work), work.clients, backend_config=backend)
    return last, steps, ends


if __name__ == "__main__":
    contend(run)
