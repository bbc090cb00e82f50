"""A strategy's state between two rounds, as tensors and plain values that a checkpoint can hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from bench.federated.flower import Array, ArrayRecord

PLAIN = (bool, int, float, str, type(None))


def arrays_out(record: ArrayRecord) -> dict[str, torch.Tensor]:
    """An array record as tensors; Flower's arrays are read-only, hence the copy."""
    return {name: torch.from_numpy(np.array(value.numpy())) for name, value in record.items()}


def arrays_in(state: dict[str, torch.Tensor]) -> ArrayRecord:
    """The array record of `arrays_out`."""
    return ArrayRecord({name: Array(value.numpy()) for name, value in state.items()})


def state_of(strategy: Any) -> dict[str, Any] | None:
    """What a strategy remembers: its own `state_dict`, else its attributes.

    Returns:
        None where its `state_dict` gives None or an attribute cannot be held: such a run cannot be resumed.
    """
    if hasattr(strategy, "state_dict"):
        own = strategy.state_dict()
        return None if own is None else {"own": own}
    found = {}
    for name, value in vars(strategy).items():
        try:
            found[name] = _out(value)
        except TypeError:
            if not callable(value):  # functions are configuration, made again by the constructor
                return None
    return {"attributes": found}


def restore(strategy: Any, state: dict[str, Any]) -> None:
    """Put back what `state_of` gave."""
    if "own" in state:
        strategy.load_state_dict(state["own"])
        return
    for name, value in state["attributes"].items():
        setattr(strategy, name, _in(value))


def _out(value: Any) -> Any:
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return {"kind": "array", "value": torch.from_numpy(np.array(value))}
    if isinstance(value, torch.Tensor):
        return {"kind": "tensor", "value": value.detach().cpu()}
    if isinstance(value, ArrayRecord):
        return {"kind": "record", "value": arrays_out(value)}
    if type(value) in (list, tuple):
        return {"kind": type(value).__name__, "value": [_out(item) for item in value]}
    if type(value) is dict and all(isinstance(key, PLAIN) for key in value):
        return {"kind": "dict", "value": [[key, _out(item)] for key, item in value.items()]}
    raise TypeError(f"{type(value).__name__} cannot be held in a checkpoint")


def _in(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    kind, held = value["kind"], value["value"]
    if kind == "array":
        return held.numpy()
    if kind == "tensor":
        return held
    if kind == "record":
        return arrays_in(held)
    if kind == "dict":
        return {key: _in(item) for key, item in held}
    return {"list": list, "tuple": tuple}[kind](_in(item) for item in held)
