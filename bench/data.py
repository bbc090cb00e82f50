"""Which data a run reads: a folder given, data prepared earlier, or the phantom; never one for another."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core import Dataset
from bench.errors import UserError
from bench.files import write_json
from bench.home import home
from bench.phantoms.marker import is_phantom
from bench.progress import Progress

PHANTOM_SEED = 0
PHANTOM_VERSION = 1  # raise when a generator changes, so that old phantoms are not read as new ones


@dataclass(frozen=True)
class Located:
    """Where the data is, what it is, and the line a person must read about it."""

    root: Path
    variant: str
    notice: str = ""


def prepared_root(name: str) -> Path | None:
    """Where `bench data prepare` left or found the real data; None if it never ran."""
    pointer = home() / "data" / f"{name}.json"
    if pointer.is_file():
        return Path(json.loads(pointer.read_text())["root"])
    folder = home() / "data" / name
    return folder if folder.is_dir() else None


def register(name: str, root: Path) -> None:
    """Remember where the real data of a dataset lies."""
    write_json(home() / "data" / f"{name}.json", {"root": str(root.resolve())})


def locate(name: str, dataset: Dataset, choice: str, data_root: Path | None) -> Located:
    """Decide between a folder given, prepared data and the phantom.

    Raises:
        UserError: The folder does not exist or contradicts `data=`, or there is no data at all.
    """
    if data_root is not None:
        return _given(name, dataset, choice, data_root)
    real = prepared_root(name)
    if choice != "phantom" and real is not None:
        if not real.is_dir():
            raise UserError(
                f"The prepared data of `{name}` is gone from `{real}`; "
                f"run `bench data prepare {name} --root DIR` again or give `data_root=DIR`."
            )
        return Located(real, "real" if dataset.has_phantom else "custom")
    if choice == "real":
        raise UserError(f"No real data of `{name}` is prepared; {how_to_prepare(name, dataset)}")
    if not dataset.has_phantom:
        raise UserError(f"`dataset={name}` reads your own data and has no phantom; give `data_root=DIR`.")
    reason = "" if choice == "phantom" else f" No real `{name}` found: {how_to_prepare(name, dataset)}"
    return Located(
        phantom_root(name, dataset), "phantom", f"Running on the built-in PHANTOM of `{name}`.{reason}"
    )


def _given(name: str, dataset: Dataset, choice: str, root: Path) -> Located:
    if not root.is_dir():
        raise UserError(f"`data_root={root}` is no folder; give the folder that holds `{name}`.")
    if is_phantom(root):
        if choice == "real":
            raise UserError(f"`data_root={root}` holds a phantom, but `data=real` was asked for.")
        return Located(root, "phantom", f"`{root}` holds a PHANTOM of `{name}`, not real data.")
    if choice == "phantom":
        raise UserError(
            f"`data_root={root}` holds no phantom, but `data=phantom` was asked for; leave one of them out."
        )
    return Located(root, "real" if dataset.has_phantom else "custom")


def how_to_prepare(name: str, dataset: Dataset) -> str:
    """One sentence: where the real data comes from and which command takes it."""
    source = f" from {dataset.card.url}" if dataset.card.url else ""
    return f"get it{source} and run `bench data prepare {name} --root DIR`."


def _phantom_folder(name: str, size: str) -> Path:
    return home() / "phantoms" / name / f"{size}-seed{PHANTOM_SEED}-v{PHANTOM_VERSION}"


def written_phantom(name: str, size: str = "small") -> Path | None:
    """Folder of the phantom if an earlier call wrote it."""
    root = _phantom_folder(name, size)
    return root if root.is_dir() else None


def phantom_root(name: str, dataset: Dataset, size: str = "small") -> Path:
    """Folder of the cached phantom, written at the first call."""
    root = _phantom_folder(name, size)
    if root.is_dir():
        return root
    from filelock import FileLock

    root.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(root.parent / ".lock"):
        if not root.is_dir():
            dataset.write_phantom(root, PHANTOM_SEED, size, Progress())
    return root


def dataset_named(name: str) -> Dataset:
    """The dataset behind a name, ready to load."""
    from bench.registry import load

    target: Any = load("dataset", name).target
    return target()
