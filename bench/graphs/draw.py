"""What is asked of a generator of graphs, and the random numbers of each graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Draw:
    """Graphs to draw: graph `i` is a function of the seed and i alone, whatever else is drawn with it.

    Args:
        seed: Of the sample, from 0.
        indices: Which graphs of the sample, each from 0.

    Raises:
        ValueError: A seed or an index below 0.
    """

    seed: int
    indices: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "indices", tuple(int(i) for i in self.indices))
        if self.seed < 0 or min(self.indices, default=0) < 0:
            raise ValueError(f"a seed and indices count from 0, got {self.seed} and {min(self.indices)}")

    def __len__(self) -> int:
        return len(self.indices)

    def under(self, run: int) -> Draw:
        """The same graphs of another sample, of a run's own seed: for methods whose fit draws nothing."""
        return Draw(int(np.random.SeedSequence([self.seed, run]).generate_state(1)[0]), self.indices)


def stream(seed: int, index: int, attempt: int = 0) -> np.random.Generator:
    """The random numbers of one graph of a sample; a further attempt at it has numbers of its own."""
    return np.random.Generator(np.random.Philox(key=[seed, index], counter=[0, 0, 0, attempt]))


def uniforms(draw: Draw, size: int, attempt: int = 0) -> NDArray[np.float64]:
    """(N, size) numbers in [0, 1) for N graphs, a row from each graph's own stream."""
    rows = [stream(draw.seed, index, attempt).random(size) for index in draw.indices]
    return np.stack(rows) if rows else np.zeros((0, size))
