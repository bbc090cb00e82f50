"""Meta-trained weights of earlier runs: learning curves over k need meta-training once, not once a k.

What `meta_fit` of a method with `shares` may depend on is in the key: its class and file, its fields, the
sources' slices, the seed, the device, and every protocol field but those that only adapting reads.
"""

from __future__ import annotations

import dataclasses
import inspect
import io
from pathlib import Path
from typing import Any

import torch

from bench import __version__
from bench.core import Context
from bench.files import digest, sha256_file, write_bytes
from bench.home import home
from bench.plan import plain
from bench.registry import split_path

# Read by adapting and evaluating alone.
ADAPTING = (
    "target",
    "shots",
    "shot_seeds",
    "epochs",
    "lr",
    "weight_decay",
    "lr_step",
    "lr_gamma",
    "loss",
    "max_steps",
    "max_val",
    "max_test",
)


def key(method: Any, fingerprint: str, ctx: Context) -> str:
    """Identity of what `meta_fit` of a method would learn in a run."""
    cls = type(method)
    protocol = {k: v for k, v in plain(ctx.protocol).items() if k not in ADAPTING}
    path, _ = split_path(ctx.protocol.network)
    return digest(
        {
            "bench": __version__,
            "torch": torch.__version__,
            "class": [cls.__qualname__, sha256_file(Path(inspect.getfile(cls)))],
            "fields": {f.name: plain(getattr(method, f.name)) for f in dataclasses.fields(method)},
            "protocol": protocol,
            "network": sha256_file(path) if path is not None else "",
            "sources": fingerprint,
            "seed": ctx.seed,
            "device": str(ctx.fabric.device),
            "threads": torch.get_num_threads(),
        }
    )


def read(name: str) -> dict[str, Any] | None:
    """What was learned (`state`) and how long it took (`seconds`), or None where nothing readable is kept."""
    path = _path(name)
    if not path.is_file():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # damaged: it is made again and replaced
        return None


def write(name: str, state: dict[str, Any], seconds: float) -> None:
    """Keep what was learned."""
    buffer = io.BytesIO()
    torch.save({"state": state, "seconds": seconds}, buffer)
    path = _path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, buffer.getbuffer())


def _path(name: str) -> Path:
    return home() / "cache" / "meta" / f"{name[:32]}.pt"
