"""The work that all contenders of `federated.py` do, and how each reports it; not a benchmark by itself.

A contender is a process of its own. It loads the same files, trains the same network from the same weights,
and prints one line of JSON. Loading of libraries is over before its clock starts.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._dynamo  # the first optimiser would import it on the clock
from torch import nn

from bench.nn.classifiers import build_classifier

MEAN, STD = 0.5, 0.25


@dataclass(frozen=True)
class Work:
    """A federation: `drawn` of `clients` a round, one local epoch of plain SGD on `samples` images each."""

    folder: str
    model: str = "lenet"
    channels: int = 1
    side: int = 28
    clients: int = 20
    drawn: int = 10
    samples: int = 512
    batch: int = 128
    rounds: int = 10
    lr: float = 0.1
    classes: int = 10
    workers: int = 2

    @property
    def steps(self) -> int:
        """Optimiser steps in all."""
        return self.rounds * self.drawn * -(-self.samples // self.batch)

    def write(self) -> Work:
        """Made-up images of ten classes, as memory-mapped files: a dark picture of each class, and noise."""
        rng = np.random.default_rng(0)
        shape = (self.channels, self.side, self.side)
        pictures = rng.integers(0, 200, (self.classes, *shape))
        labels = rng.integers(0, self.classes, (self.clients, self.samples))
        images = np.empty((self.clients, self.samples, *shape), np.uint8)
        for client in range(self.clients):
            noise = rng.normal(0, 50, (self.samples, *shape))
            images[client] = np.clip(pictures[labels[client]] + noise, 0, 255)
        np.save(Path(self.folder) / "images.npy", images)
        np.save(Path(self.folder) / "labels.npy", labels)
        return self

    def load(self, client: int) -> tuple[np.ndarray, np.ndarray]:
        """(n, C, H, W) uint8 images and (n,) labels of a client."""
        images, labels = (
            np.load(Path(self.folder) / f"{n}.npy", mmap_mode="r") for n in ("images", "labels")
        )
        return np.array(images[client]), np.array(labels[client])

    def network(self) -> nn.Module:
        """The network, from the same weights each time."""
        torch.manual_seed(0)
        return build_classifier(self.model, self.channels, self.classes, (self.side, self.side))


def prepared(images: np.ndarray) -> torch.Tensor:
    """Normalised float32."""
    return torch.from_numpy(images).float().div_(255).sub_(MEAN).div_(STD)


def loss_of(work: Work, state: dict[str, torch.Tensor]) -> float:
    """Mean training loss of a model over (at most 20) clients."""
    net = work.network()
    net.load_state_dict(state)
    net.eval()
    with torch.inference_mode():
        pairs = (work.load(client) for client in range(min(20, work.clients)))
        losses = [float(nn.functional.cross_entropy(net(prepared(x)), torch.from_numpy(y))) for x, y in pairs]
    return float(np.mean(losses))


def contend(run: Any) -> None:
    """Call `run(work)`, which gives (state dict, steps, moments at which rounds ended), and print a report.

    `whole_s` lasts from the call to the end of the last round: data, processes, first contact, training.
    `rounds_s` is the mean of the rounds after the first times all rounds: training alone. `call_s` also ends
    whatever was started.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=json.loads)
    work = Work(**parser.parse_args().work)
    start = time.perf_counter()
    state, steps, ends = run(work)
    called = time.perf_counter() - start
    if state is None:  # a helper process of another one
        return
    later = len(ends) - 1
    report = {
        "whole_s": ends[-1] - start,
        "rounds_s": (ends[-1] - ends[0]) / later * len(ends) if later else None,
        "call_s": called,
        "steps": steps,
        "loss": loss_of(work, {name: value.detach().cpu() for name, value in state.items()}),
    }
    print("REPORT " + json.dumps(report), flush=True)


def words(work: Work) -> str:
    """The work as one argument."""
    return json.dumps(asdict(work))
