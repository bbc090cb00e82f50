"""A network class in a user's file."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from bench import registry
from bench.errors import UserError


def own_class(path: Path, class_name: str, what: str, made: str) -> type[nn.Module]:
    """The class that `path/to/file.py:Class` names.

    Args:
        path: The user's file.
        class_name: Behind the colon.
        what: What it is to be, such as `model`.
        made: What that is, such as `a network class called as ...`, for the sentence.

    Raises:
        UserError: No such file, no class named, or one that is no network.
    """
    if not class_name:
        raise UserError(f"The {what} `{path}` names no class; write `{path}:Class`.")
    if not path.is_file():
        raise UserError(f"There is no file `{path}` for the {what}; write `path/to/file.py:Class`.")
    cls = registry.load_method(f"{path}:{class_name}").target
    if not issubclass(cls, nn.Module):
        raise UserError(f"`{path}:{class_name}` is no `nn.Module` class; {made}.")
    return cls
