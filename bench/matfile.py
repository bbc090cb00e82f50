"""MATLAB files of version 5: reading that names what is wrong, writing that is reproducible and atomic."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import UserError
from bench.files import write_bytes

_HEADER_BYTES = 116
# What scipy raises on damaged files, found by truncating and flipping bytes at random.
_DAMAGE = (
    ValueError,
    TypeError,
    OSError,
    EOFError,
    LookupError,
    ArithmeticError,
    AttributeError,
    MemoryError,
    UnboundLocalError,
    struct.error,
    zlib.error,
    Warning,
)


def read_mat(path: Path, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """Read the named variables of a .mat file and nothing else; nothing in it is executed.

    Args:
        path: A .mat file of version 5 (or 4).
        keys: Variables wanted.

    Returns:
        The variables by name, of whatever type and shape they have.

    Raises:
        UserError: The file is missing, cannot be read, or lacks a variable.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        _refuse_truncated(path)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # scipy only warns of variables it could not read
            found = loadmat(path, variable_names=list(keys))
    except NotImplementedError as error:
        raise UserError(
            f"`{path}` is a MATLAB 7.3 (HDF5) file; save it with `save -v7` or take the official file."
        ) from error
    except (*_DAMAGE, MatReadError) as error:
        detail = str(error).split("\n")[0] or type(error).__name__
        raise UserError(
            f"`{path}` cannot be read as a MATLAB file ({detail}); copy or download it again."
        ) from error
    missing = [key for key in keys if key not in found]
    if missing:
        raise UserError(f"`{path}` lacks the variable {', '.join(missing)}; take the official file.")
    return {key: np.asarray(found[key]) for key in keys}


def _refuse_truncated(path: Path) -> None:
    """Raise `EOFError` where a version 5 file ends inside an element, also one that nobody will read."""
    with path.open("rb") as file:
        head = file.read(128)
        order = {b"IM": "<", b"MI": ">"}.get(head[126:128])
        if order is None:
            return  # no version 5 file: scipy says what it is
        position, end = 128, file.seek(0, os.SEEK_END)
        while position < end:
            file.seek(position)
            tag = file.read(8)
            if len(tag) == 8:
                position += 8 + struct.unpack(f"{order}II", tag)[1]
            if len(tag) < 8 or position > end:
                raise EOFError("it ends too early")


def numbers(array: np.ndarray, where: str) -> np.ndarray:
    """Return `array` if it holds real numbers.

    Args:
        array: What a file held.
        where: How to call it in the message, such as "`images` in `Subject_01.mat`".
    """
    if array.dtype.kind not in "buif":
        raise UserError(f"{where} holds no numbers but {array.dtype}; take the official file.")
    return array


def grey(array: np.ndarray, where: str) -> np.ndarray:
    """Return grey values as uint8 of the same shape; refuse what does not fit into 0 to 255."""
    array = numbers(array, where)
    if array.dtype == np.uint8:
        return array
    if not np.isfinite(array).all():
        raise UserError(f"{where} holds NaN or infinite pixels; repair or replace the file.")
    low, high = (array.min(), array.max()) if array.size else (0, 0)
    if low < 0 or high > 255 or not (array == np.trunc(array)).all():
        raise UserError(
            f"{where} must hold whole grey values from 0 to 255, got {low:g} to {high:g}; "
            "take the official file."
        )
    return array.astype(np.uint8)


def write_mat(path: Path, variables: Mapping[str, Any], header: str) -> None:
    """Write variables compressed, in one step, the same bytes for the same content.

    Args:
        path: The file.
        variables: Arrays by name.
        header: Text that replaces scipy's, which holds the time; at most 116 ASCII characters.
    """
    from scipy.io import savemat

    buffer = io.BytesIO()
    savemat(buffer, dict(variables), do_compression=True)
    text = header.encode("ascii")
    if len(text) > _HEADER_BYTES:
        raise ValueError(f"header of {len(text)} bytes, at most {_HEADER_BYTES}")
    buffer.seek(0, os.SEEK_SET)
    buffer.write(text.ljust(_HEADER_BYTES))
    write_bytes(path, buffer.getvalue())


def shape_of(array: np.ndarray) -> str:
    """A shape as error messages show it, `(H,W,N)`."""
    return "(" + ",".join(map(str, array.shape)) + ")"
