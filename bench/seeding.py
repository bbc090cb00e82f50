"""Seeds and generator states, in a form that `torch.load(weights_only=True)` takes back."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch, and ask for deterministic kernels."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Filling fresh memory guards against reading garbage; nothing here does, and it costs time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]


def state() -> dict[str, Any]:
    """State of every generator a method may draw from."""
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": [str(name), torch.from_numpy(np.asarray(keys, np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore(saved: dict[str, Any]) -> None:
    """Put every generator back to a `state()`."""
    version, internal, gauss = saved["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = saved["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(saved["torch"])
    if saved["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(saved["cuda"])


def generator(*parts: int) -> torch.Generator:
    """A generator that is a function of `parts` alone, such as (seed, epoch)."""
    mixed = int(np.random.SeedSequence([p % 2**32 for p in parts]).generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(mixed % 2**63)


def seed_round(seed: int, number: int) -> None:
    """Seed every global generator for one round of a federation; Flower's own sampling uses Python's."""
    mixed = generator(seed, number).initial_seed()
    random.seed(mixed)
    np.random.seed(mixed % 2**32)
    torch.manual_seed(mixed)
