"""The device of a run, through Lightning Fabric, and what it used."""

from __future__ import annotations

import sys
from typing import Any

from bench.errors import UserError


def make_fabric(device: str, precision: str) -> Any:
    """Lightning Fabric on one device.

    Raises:
        UserError: The device is not there, or device or precision is unknown.
    """
    import logging

    from lightning_fabric import Fabric

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    try:
        return Fabric(accelerator=device, devices=1, precision=precision)  # pyright: ignore[reportArgumentType]
    except (ValueError, RuntimeError, TypeError) as error:
        raise UserError(
            f"`device={device}` with `precision={precision}` cannot be had here: "
            f"{str(error).splitlines()[0]}; `bench doctor` shows the devices."
        ) from error
    except Exception as error:
        if type(error).__name__ == "MisconfigurationException":
            raise UserError(f"`device={device}` cannot be had here: {error}") from error
        raise


def peak_memory(device: str) -> int:
    """Peak bytes of the accelerator, or of this process on a CPU."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated()
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
