"""What lets a killed run go on to bitwise the same result: weights, optimiser, generators, curves, time."""

from __future__ import annotations

import io
import os
import shutil
import time
from pathlib import Path
from typing import Any

import torch

from bench import seeding
from bench.curves import Curves
from bench.errors import RunFailed
from bench.files import write_bytes

SHARE = 200  # saving may take one part in this many of the time since the last save


def spacing_s() -> float:
    """Least seconds between two checkpoints: `BENCH_CHECKPOINT_SECONDS`, 20 unless set."""
    return float(os.environ.get("BENCH_CHECKPOINT_SECONDS", "20"))


class Checkpoint:
    """One file, replaced in one step.

    Args:
        folder: The run's `checkpoint/` folder; made on the first save, removed when the run is done.
        curves: Curve rows are saved and restored with the state.
    """

    def __init__(self, folder: Path, curves: Curves):
        self.folder = folder
        self.path = folder / "state.pt"
        self.curves = curves
        self.spent_s = 0.0
        self._started = self._saved = time.monotonic()
        self._cost = 0.0
        self._spacing_s = spacing_s()
        self._share = SHARE if self._spacing_s else 0  # 0 asks for a checkpoint after every step

    def due(self, spaced: bool = True) -> bool:
        """Whether enough time has passed that saving costs next to nothing.

        Args:
            spaced: Keep the least spacing too; without it a cheap state is saved as often as asked.
        """
        least = self._spacing_s if spaced else 0.0
        return time.monotonic() - self._saved > max(least, self._share * self._cost)

    def save(self, state: dict[str, Any]) -> None:
        """Save tensors and plain values with the state of every generator."""
        start = time.monotonic()
        payload = {
            "state": state,
            "rng": seeding.state(),
            "curves": self.curves.rows,
            "spent_s": self.elapsed(),
        }
        # Into memory first: the writer of torch reports a full disk as RuntimeError, ours as OSError.
        buffer = io.BytesIO()
        torch.save(payload, buffer)
        write_bytes(self.path, buffer.getbuffer())
        self._saved = time.monotonic()
        self._cost = self._saved - start

    def load(self) -> dict[str, Any] | None:
        """The last saved state with generators and curves put back, or None at a fresh start."""
        if not self.path.exists():
            return None
        try:
            payload = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise RunFailed(
                f"The checkpoint `{self.path}` cannot be read ({type(error).__name__}); "
                "delete it or add `rerun=true` to start afresh."
            ) from error
        seeding.restore(payload["rng"])
        self.curves.restore(payload["curves"])
        self.spent_s = payload["spent_s"]
        return payload["state"]

    def elapsed(self) -> float:
        """Seconds spent so far, those before an interruption included."""
        return self.spent_s + time.monotonic() - self._started

    def remove(self) -> None:
        """Delete the folder; the run no longer needs it."""
        shutil.rmtree(self.folder, ignore_errors=True)
