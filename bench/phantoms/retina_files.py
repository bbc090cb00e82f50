"""What the writers of phantom retinas share: sizes, the scans of an eye, a folder that appears whole."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from bench.errors import UserError, suggest
from bench.phantoms.retina import BScan, bscan

SMALLEST, LARGEST = 32, 2048


def parse_size(size: str, named: dict[str, tuple[int, int]]) -> tuple[int, int]:
    """(H, W) of a named size or of `HxW`.

    Raises:
        UserError: Neither, or a side outside 32 to 2048.
    """
    if size in named:
        return named[size]
    match = re.fullmatch(r"(\d{1,6})x(\d{1,6})", size, re.ASCII)
    if not match:
        raise UserError(
            f"`{size}` is no size of a phantom; use {', '.join(named)} or HxW such as 64x96."
            f"{suggest(size, named)}"
        )
    height, width = int(match[1]), int(match[2])
    if not (SMALLEST <= height <= LARGEST and SMALLEST <= width <= LARGEST):
        raise UserError(f"A phantom of {size} is out of range; take sides from {SMALLEST} to {LARGEST}.")
    return height, width


def eye_scans(shape: tuple[int, int], seed: int, subject: int, numbers: Sequence[int]) -> list[BScan]:
    """The scans of a subject; fluid in 70 % of them, and at least one scan without."""
    rng = np.random.default_rng([seed, subject, 0])
    wet = set(rng.permutation(len(numbers))[: round(0.7 * len(numbers))].tolist())
    middle, reach = (numbers[0] + numbers[-1]) / 2, max(1, numbers[-1] - numbers[0]) / 2
    return [
        bscan(shape, seed, subject, number, float(np.exp(-((3 * (number - middle) / reach) ** 2))), i in wet)
        for i, number in enumerate(numbers)
    ]


@contextmanager
def whole_folder(root: Path) -> Iterator[Path]:
    """A folder to fill that takes the place of `root` once all is written."""
    if root.exists() and not root.is_dir():
        raise UserError(f"`{root}` is a file; give a new or empty folder for the phantom.")
    if root.is_dir() and any(root.iterdir()):
        raise UserError(f"`{root}` already holds files; give a new or empty folder for the phantom.")
    part = root.with_name(f".{root.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        part.rename(root)  # onto nothing or an empty folder
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
