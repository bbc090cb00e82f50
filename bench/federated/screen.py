"""Which replies may reach an aggregation: whole, finite, of the model's shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from bench.federated.flower import ArrayRecord, Message
from bench.federated.proxy import first_line, refusal

Shapes = Mapping[str, tuple[tuple[int, ...], str]]


def usable(asked: Message, reply: Message, like: Shapes) -> tuple[Message, str]:
    """The reply, or an error in its place and why.

    One NaN in one client would make the global model NaN for all; Flower's strategies do not look.

    Args:
        asked: The message that was sent.
        reply: What came back.
        like: Name -> shape and dtype of the model's arrays.
    """
    why = first_line(reply.error.reason) if reply.has_error() else _fault(reply, like)
    return (refusal(asked, why) if why and not reply.has_error() else reply), why


def _fault(reply: Message, like: Shapes) -> str:
    records = list(reply.content.array_records.values())
    if len(records) != 1:
        return f"sent {len(records)} models instead of one"
    arrays = records[0]
    if set(arrays) != set(like):
        odd = sorted(set(arrays) ^ set(like))
        return f"sent another model: array `{odd[0]}` is missing or unknown"
    metrics = {k: v for record in reply.content.metric_records.values() for k, v in record.items()}
    examples = metrics.get("num-examples")
    if not isinstance(examples, int | float) or not math.isfinite(examples) or examples < 0:
        return f"sent `num-examples` {examples}"
    bad = [k for k, v in metrics.items() if isinstance(v, float) and not math.isfinite(v)]
    if bad:
        return f"sent `{bad[0]}` that is not finite"
    for name, (shape, dtype) in like.items():
        value = arrays[name].numpy()
        if value.shape != shape:
            return f"sent array `{name}` of shape {value.shape} instead of {shape}"
        if str(value.dtype) != dtype:
            return f"sent array `{name}` of dtype {value.dtype} instead of {dtype}"
        if not np.isfinite(value).all():
            return f"sent array `{name}` that is not finite"
    return ""


def arrays_of(message: Message) -> ArrayRecord:
    """The one model of a message."""
    return next(iter(message.content.array_records.values()))


def steps_in(reply: Message) -> int:
    """Optimiser steps a client says it took; 0 where it says nothing."""
    found = (record.get("steps", 0) for record in reply.content.metric_records.values())
    return int(next(found, 0))  # pyright: ignore[reportArgumentType]


def size_of(message: Message) -> int:
    """Bytes of the arrays of a message, without Flower's framing."""
    if message.has_error():
        return 0
    return sum(
        math.prod(array.shape) * np.dtype(array.dtype).itemsize
        for record in message.content.array_records.values()
        for array in record.values()
    )
