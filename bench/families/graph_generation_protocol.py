"""The protocol of a scene-graph generation task: which graphs, the recipe of training, and what is drawn."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from bench.core import Protocol
from bench.errors import UserError


@dataclass(frozen=True)
class GraphProtocol(Protocol):
    """Graphs, training (thesis 10.4.1), samples and what they are compared with.

    Args:
        min_nodes, max_nodes: Graphs outside are neither trained on nor in the filtered test set.
        epochs: Of training.
        batches_per_epoch: Optimiser steps in an epoch,
        batch_size: and graphs in a step, drawn with replacement.
        lr: Of Adam.
        lr_gamma, lr_step: The learning rate is multiplied by gamma after every so many steps,
        constant_epochs: but is constant in this many epochs before.
        validate_every: Epochs between two looks at the likelihood of validation graphs; nothing is chosen.
        samples: Graphs drawn from a fitted method and scored.
        draw_seed: Seed of these graphs, of corruption and of permutations.
        orderings: Random orderings that a likelihood is averaged over.
        max_likelihoods: Test graphs whose likelihood is measured, evenly spread; None for all.
        permutations: Of the test whether generated and test graphs have one distribution.

    `max_test` limits the test graphs that samples are compared with.
    """

    min_nodes: int = 3
    max_nodes: int = 25
    epochs: int = 300
    batches_per_epoch: int = 256
    batch_size: int = 256
    lr: float = 0.001
    lr_gamma: float = 0.95
    lr_step: int = 1710
    constant_epochs: int = 49
    validate_every: int = 10
    samples: int = 1000
    draw_seed: int = 121
    orderings: int = 10
    max_likelihoods: int | None = 1000
    permutations: int = 1000

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            value, least = getattr(self, f.name), _LEAST.get(f.name)
            if least is not None and value is not None and value < least:
                raise UserError(f"`protocol.{f.name}` takes a whole number from {least}, got {value}.")
        if self.min_nodes > self.max_nodes:
            raise UserError(
                f"`protocol.min_nodes={self.min_nodes}` is above `protocol.max_nodes={self.max_nodes}`."
            )
        if not self.lr > 0 or not 0 < self.lr_gamma <= 1:
            raise UserError(
                "`protocol.lr` takes a number above 0 and `protocol.lr_gamma` one above 0 up to 1, got "
                f"{self.lr} and {self.lr_gamma}."
            )


_LEAST = {
    "min_nodes": 1,
    "max_nodes": 2,
    "epochs": 1,
    "batches_per_epoch": 1,
    "batch_size": 1,
    "lr_step": 1,
    "constant_epochs": 0,
    "validate_every": 1,
    "samples": 2,
    "draw_seed": 0,
    "orderings": 1,
    "max_likelihoods": 2,
    "permutations": 1,
    "max_steps": 1,
    "max_test": 2,
    "max_val": 1,
}
