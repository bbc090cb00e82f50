"""What a method may see of a run besides its data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from bench.checkpoint import Checkpoint
    from bench.progress import Progress


@dataclass
class Context:
    """What a method may see of the run besides its data.

    Args:
        seed: Seed of everything random in the method.
        protocol: The frozen protocol after profile, budget and overrides.
        profile: `clean` or `official`.
        num_classes: K.
        in_channels: C.
        folder: The run folder, for files the method wants to keep.
        fabric: Lightning Fabric: device, precision, distribution.
        checkpoint: Saves and restores a dict of tensors and plain values, atomically.
        progress: Progress bars (silent when standard error is no terminal).
        log: Writes one line to `log.txt`.
        curve: Appends one row of named numbers to `curves.csv`.
        probe: Lets the engine look at unfinished models for the curves; it returns nothing to the method.
        tell: Says one line to the person at the terminal and writes it to the log.
        grid: What computes the clients of a federation.
        superlink: Address of a running Flower SuperLink, for `grid=deployment`.
    """

    seed: int
    protocol: Any
    profile: str
    num_classes: int
    in_channels: int
    folder: Path
    fabric: Fabric
    checkpoint: Checkpoint
    progress: Progress
    log: Callable[[str], None]
    curve: Callable[[Mapping[str, float | int]], None]
    probe: Callable[..., None] = lambda *args: None
    tell: Callable[[str], None] = lambda line: None
    grid: str = ""
    superlink: str | None = None
