"""What a federation ends with: a model for every client, and answers from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from bench.federated.client import network_of, prepared
from bench.federated.flower import ArrayRecord
from bench.nn.fit import evaluating

BATCH = 256


@dataclass
class Outcome:
    """Models and facts of a finished federation.

    Args:
        served: Client -> the model it is served; the same object where clients share one.
        trained: Client -> the model it would send next, one round of local epochs later; empty where the
            notion is.
        recipe: What builds the network and prepares images.
        facts: What the run cost and found, by metric name.
        resumable: Whether the strategy's state fits a checkpoint.
    """

    served: dict[int, ArrayRecord]
    trained: dict[int, ArrayRecord]
    recipe: dict[str, Any]
    facts: Mapping[str, float | int | None] = field(default_factory=dict)
    resumable: bool = True

    @property
    def parameters(self) -> int:
        """Trainable parameters of one model."""
        return sum(p.numel() for p in network_of(self.recipe).parameters() if p.requires_grad)

    def predict(self, client: int, images: np.ndarray, trained: bool = False) -> np.ndarray:
        """Labels of a client's model, (n, C, H, W) uint8 -> (n,) int64."""
        models = self.trained if trained else self.served
        return labels_of(models[client], self.recipe, images)


def labels_of(arrays: ArrayRecord, recipe: dict[str, Any], images: np.ndarray) -> np.ndarray:
    """Labels of one model in evaluation mode, (n, C, H, W) uint8 -> (n,) int64."""
    net = loaded(arrays, recipe)
    device = torch.device(recipe["device"])
    found = [np.zeros(0, np.int64)]
    with evaluating(net):
        for start in range(0, len(images), BATCH):
            x = prepared(images[start : start + BATCH], recipe).to(device)
            found.append(net(x).argmax(1).cpu().numpy())
    return np.concatenate(found)


def loaded(arrays: ArrayRecord, recipe: dict[str, Any]) -> nn.Module:
    """The recipe's network with these arrays, on the recipe's device."""
    net = network_of(recipe)
    net.load_state_dict(arrays.to_torch_state_dict(), strict=True)
    return net.to(recipe["device"])


def labels_by_client(
    model_of: Callable[[int], ArrayRecord], recipe: dict[str, Any], images: np.ndarray, clients: np.ndarray
) -> np.ndarray:
    """Each image labelled by its client's model; clients that share a model are answered together.

    Args:
        model_of: Client -> model; the same object where clients share one.
        recipe: What builds the network.
        images: (N, C, H, W) uint8.
        clients: (N,) whose image it is.

    Returns:
        (N,) int64.
    """
    out = np.zeros(len(images), np.int64)
    shared: dict[int, tuple[ArrayRecord, list[int]]] = {}
    for client in np.unique(clients).tolist():
        model = model_of(client)
        shared.setdefault(id(model), (model, []))[1].append(client)
    for model, members in shared.values():
        chosen = np.isin(clients, members)
        out[chosen] = labels_of(model, recipe, images[chosen])
    return out
