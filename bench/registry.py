"""Names to cards and classes. Only the file that is named is imported; cards are read without importing.

A name is looked up among the files of `bench/tasks`, `bench/methods` and `bench/datasets`, then among the
entry points `bench.tasks`, `bench.methods`, `bench.datasets` of installed packages. A method may also be
`path/to/file.py:Class`.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.card import Card, Difference, Reported
from bench.errors import UserError, suggest
from bench.files import digest, sha256_file
from bench.plugins import EntryPoint, published

NOUNS = {"task": "tasks", "method": "methods", "dataset": "datasets"}
_ROOT = Path(__file__).parent
_CARD_TYPES = {"Card": Card, "Difference": Difference, "Reported": Reported}


@dataclass(frozen=True)
class Resolved:
    """What a name stands for.

    Args:
        name: Registry name, entry point or class name; what records and tables show.
        source: `builtin`, `file` or `entry_point`.
        target: The class.
        file: The Python file it comes from.
        parts: The parts of an expression `a+b`; what they make together is the task's to say.
    """

    name: str
    source: str
    target: type
    file: Path
    parts: tuple[Resolved, ...] = ()

    def sha256(self, order: Sequence[str] = ()) -> str | None:
        """SHA-256 of the file, or over those of the parts in the order of their names given."""
        if self.parts:
            parts = sorted(self.parts, key=lambda p: order.index(p.name) if p.name in order else len(order))
            return digest([part.sha256() for part in parts])
        return sha256_file(self.file) if self.file.is_file() else None


def names(noun: str) -> list[str]:
    """Registry names of `task`, `method` or `dataset`, built in ones only."""
    folder = _ROOT / NOUNS[noun]
    return sorted(path.stem for path in folder.glob("*.py") if not path.name.startswith("_"))


def known(noun: str) -> list[str]:
    """Built-in names, then those published by installed packages."""
    return names(noun) + [point.name for point in published(NOUNS[noun])]


def card(noun: str, name: str) -> Card:
    """The card of a built-in, read from its source text without importing it."""
    path = _ROOT / NOUNS[noun] / f"{name}.py"
    if not path.is_file():
        raise missing(noun, name)
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(t, ast.Name) and t.id == "CARD" for t in targets):
            return _literal(node.value)  # pyright: ignore[reportAttributeAccessIssue]
    raise RuntimeError(f"{path} states no CARD")


def _literal(node: ast.expr) -> Any:
    """Evaluate literals and calls of the card types; nothing else."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _CARD_TYPES:
        keywords = {word.arg: _literal(word.value) for word in node.keywords if word.arg}
        return _CARD_TYPES[node.func.id](*map(_literal, node.args), **keywords)
    if isinstance(node, ast.Tuple):
        return tuple(map(_literal, node.elts))
    return ast.literal_eval(node)


def missing(noun: str, name: str) -> UserError:
    """The sentence for a name that nobody has."""
    options = known(noun)
    return UserError(
        f"No {noun} `{name}`.{suggest(name, options)} "
        f"`bench list {NOUNS[noun]}` shows all {len(options)}: {', '.join(options)}."
    )


def task_of(family: str) -> str:
    """The first task of a family, by name; what a method is shown and checked with when none is named."""
    for name in names("task"):
        if card("task", name).family == family:
            return name
    raise UserError(f"No task of the family `{family}` is here; `bench list tasks` shows what is.")


def load(noun: str, name: str) -> Resolved:
    """Import the class behind a built-in name or an entry point.

    Raises:
        UserError: Nobody has the name, or the package that publishes it does not import.
    """
    if name in names(noun):
        module = importlib.import_module(f"bench.{NOUNS[noun]}.{name}")
        return Resolved(name, "builtin", _only_class(module, noun), Path(module.__file__ or "").resolve())
    for point in published(NOUNS[noun]):
        if name in (point.name, f"{point.package}/{point.name}"):
            return _from_entry_point(point, noun)
    raise missing(noun, name)


def load_method(spec: str) -> Resolved:
    """`ynet`, `path/to/file.py:Class`, `path/to/file.py`, a published name, or several joined by `+`."""
    words = split_parts(spec)
    if len(words) > 1:
        parts = tuple(load_method(word) for word in words)
        source = next((part.source for part in parts if part.source != "builtin"), "builtin")
        return Resolved("+".join(part.name for part in parts), source, parts[0].target, parts[0].file, parts)
    path, class_name = split_path(spec)
    return load("method", spec) if path is None else _from_file(path, class_name)


def split_parts(spec: str) -> list[str]:
    """The parts of an expression `a+b`; a `+` inside the path of a file that exists belongs to the path.

    Raises:
        UserError: A part is empty.
    """
    words, rest = [], spec.split("+")
    while rest:
        count = next((n for n in range(len(rest), 1, -1) if _is_file("+".join(rest[:n]))), 1)
        words.append("+".join(rest[:count]).strip())
        rest = rest[count:]
    if len(words) == 1:
        return [spec]
    if not all(words):
        raise UserError(f"`{spec}` has an empty part; join methods by single `+`, such as `fedavg+hc`.")
    return words


def _is_file(spec: str) -> bool:
    path, class_name = split_path(spec)
    return path is not None and "+" not in class_name and path.is_file()


def split_path(spec: str) -> tuple[Path | None, str]:
    """Split `file.py:Class`; the path is None for a registry name."""
    if spec.endswith(".py"):
        return Path(spec).expanduser(), ""
    head, colon, tail = spec.rpartition(":")
    if colon and head.endswith(".py"):
        return Path(head).expanduser(), tail
    return None, ""


def _from_entry_point(point: EntryPoint, noun: str) -> Resolved:
    try:
        module = importlib.import_module(point.module)
        target = getattr(module, point.attribute) if point.attribute else _only_class(module, noun)
    except Exception as error:  # another package's import may raise anything
        raise UserError(
            f"{noun.capitalize()} `{point.name}` of the package `{point.package}` does not import: "
            f"{type(error).__name__}: {error}; repair or uninstall `{point.package}`."
        ) from error
    return Resolved(point.name, "entry_point", target, Path(module.__file__ or "").resolve())


def _from_file(path: Path, class_name: str) -> Resolved:
    if not path.is_file():
        raise UserError(f"There is no file `{path}` for `method=`; write `method=path/to/file.py:Class`.")
    module = _import_file(path.resolve())
    if class_name:
        target = getattr(module, class_name, None)
        if not isinstance(target, type):
            options = [name for name, value in vars(module).items() if isinstance(value, type)]
            raise UserError(
                f"`{path}` has no class `{class_name}`.{suggest(class_name, options)} "
                f"Its classes are: {', '.join(_own(module)) or 'none'}."
            )
    else:
        target = _only_class(module, "method", str(path))
    return Resolved(target.__name__, "file", target, path.resolve())


def _import_file(path: Path) -> Any:
    """Import by stem with the folder appended to `sys.path`, so that objects pickle into worker processes."""
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    if "." in path.stem:
        raise UserError(f"`{path.name}` cannot be imported: rename it so that its only dot is that of `.py`.")
    try:
        module = importlib.import_module(path.stem)
    except Exception as error:  # a user's file may raise anything
        line = getattr(error, "lineno", None)
        where = f" (line {line})" if line else ""
        raise UserError(
            f"`{path.name}` could not be imported: {type(error).__name__}: {error}{where}; "
            f"try `python {path.name}` to see where."
        ) from error
    found = Path(getattr(module, "__file__", None) or "built-in")
    if found.resolve() != path:
        raise UserError(
            f"`{path.name}` is hidden by the module `{found}` of the same name; rename your file."
        )
    return module


def _own(module: Any) -> list[str]:
    return [n for n, v in vars(module).items() if isinstance(v, type) and v.__module__ == module.__name__]


def _only_class(module: Any, noun: str, shown: str = "") -> type:
    """The one class of a module that is a Task, Method or Dataset; in a user's file, its one class."""
    from bench import core

    base = getattr(core, noun.capitalize())
    own = [vars(module)[name] for name in _own(module)]
    fitting = [cls for cls in own if issubclass(cls, base)] or (own if shown else [])
    if len(fitting) != 1:
        options = ", ".join(cls.__name__ for cls in fitting) or "none"
        raise UserError(
            f"`{shown or module.__name__}` must name one {noun} class, found {options}; "
            f"write `{noun}={shown or 'file.py'}:Class`."
        )
    return fitting[0]
