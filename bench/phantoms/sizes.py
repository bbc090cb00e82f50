"""Named sizes of phantoms that are counted in images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from bench.errors import UserError, suggest

T = TypeVar("T")


def named_size(size: str, named: Mapping[str, T]) -> T:
    """What a named size stands for.

    Raises:
        UserError: Nobody has the name.
    """
    if size not in named:
        raise UserError(
            f"`{size}` is no size of this phantom; use {' or '.join(named)}.{suggest(size, named)}"
        )
    return named[size]
