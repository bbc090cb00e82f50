"""`bench data list|prepare|verify|phantom|path`."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

from bench.data import dataset_named, how_to_prepare, phantom_root, prepared_root, register
from bench.errors import UserError, suggest
from bench.home import home
from bench.phantoms.marker import is_phantom
from bench.progress import Progress
from bench.registry import card, missing, names

ACTIONS = ("list", "prepare", "verify", "phantom", "path")


def run(action: str, name: str | None, root: str | None, size: str, seed: int, as_json: bool) -> int:
    """Dispatch one action."""
    if action not in ACTIONS:
        raise UserError(
            f"`bench data` has no `{action}`.{suggest(action, ACTIONS)} It has: {', '.join(ACTIONS)}."
        )
    if action == "list":
        return _list(as_json)
    if name is None:
        raise UserError(f"`bench data {action}` needs a dataset; one of {', '.join(names('dataset'))}.")
    if name not in names("dataset"):
        raise missing("dataset", name)
    folder = Path(root).expanduser() if root else None
    facts = {"prepare": _prepare, "verify": _verify, "path": _path}.get(action)
    lines = _phantom(name, folder, size, seed) if facts is None else facts(name, folder)
    print(
        json.dumps(lines, indent=2)
        if as_json
        else "\n".join(f"{k}: {v}" if k else v for k, v in lines.items())
    )
    return 0


def _list(as_json: bool) -> int:
    rows = []
    for name in names("dataset"):
        found = prepared_root(name)
        rows.append(
            {
                "name": name,
                "title": card("dataset", name).title,
                "licence": card("dataset", name).licence,
                "found": str(found) if found else None,
            }
        )
    if as_json:
        print(json.dumps(rows, indent=2))
        return 0
    for row in rows:
        print(f"{row['name']:<13} {row['found'] or 'not prepared':<40} {row['title']}")
    return 0


def _path(name: str, root: Path | None) -> dict[str, str]:
    found = root or prepared_root(name)
    return {"": str(found or home() / "data" / name)}


def _phantom(name: str, root: Path | None, size: str, seed: int) -> dict[str, str]:
    dataset = dataset_named(name)
    if not dataset.has_phantom:
        raise UserError(f"`{name}` reads your own data and has no phantom.")
    if root is None:
        return {"phantom": str(phantom_root(name, dataset, size))}
    dataset.write_phantom(root, seed, size, Progress())
    return {"phantom": str(root)}


def _verify(name: str, root: Path | None) -> dict[str, str]:
    dataset = dataset_named(name)
    folder = root or prepared_root(name)
    if folder is None:
        raise UserError(f"No data of `{name}` is prepared; {how_to_prepare(name, dataset)}")
    if not folder.is_dir():
        raise UserError(f"`--root {folder}` is no folder; give the folder that holds `{name}`.")
    variant = "PHANTOM, not real data" if is_phantom(folder) else "not a phantom"
    return {"variant": variant, **dataset.verify(folder, Progress())}


def _prepare(name: str, root: Path | None) -> dict[str, str]:
    """Verify real data, unpacking or downloading first where needed, and remember where it lies."""
    dataset = dataset_named(name)
    if root is None:
        root = _download(name, home() / "data" / name)
    elif root.suffix.lower() == ".zip":
        root = unpack(root, home() / "data" / name)
    if not root.is_dir():
        raise UserError(f"`--root {root}` is no folder or .zip; {how_to_prepare(name, dataset)}")
    if is_phantom(root):
        raise UserError(f"`{root}` holds a phantom; `bench data prepare` takes the real `{name}`.")
    counts = dataset.load(root, Progress()).counts()
    register(name, root)
    return {"prepared": str(root.resolve()), "samples": ", ".join(f"{v} {k}" for k, v in counts.items())}


def _download(name: str, target: Path) -> Path:
    """Fetch the official archive where it can be had without signing anything."""
    one = card("dataset", name)
    if not one.download:
        raise UserError(
            f"`{name}` cannot be fetched for you ({one.licence or 'its owner hands it out'}); get it from "
            f"{one.url or 'its owner'} and run `bench data prepare {name} --root DIR`. It holds: {one.files}"
        )
    import pooch

    pooch.get_logger().setLevel("ERROR")
    known = dict(one.checksums).get(Path(one.download).name)
    try:
        archive = pooch.retrieve(
            one.download,
            known_hash=known,
            path=home() / "downloads",
            progressbar=sys.stderr.isatty(),
            fname=f"{name}.zip",
        )
    except (OSError, ValueError) as error:
        raise UserError(
            f"`{one.download}` could not be fetched ({type(error).__name__}); get it by hand from {one.url} "
            f"and run `bench data prepare {name} --root DIR`."
        ) from error
    return unpack(Path(archive), target)


def unpack(archive: Path, target: Path) -> Path:
    """Unpack a zip whose members all stay below `target`.

    Raises:
        UserError: No zip, a damaged one, or a member that would land elsewhere.
    """
    if not archive.is_file():
        raise UserError(f"There is no file `{archive}`; give a folder or a .zip with `--root`.")
    try:
        with zipfile.ZipFile(archive) as bundle:
            base = target.resolve()
            for member in bundle.namelist():
                if not (base / member).resolve().is_relative_to(base):
                    raise UserError(
                        f"`{archive}` holds `{member}`, which would land outside `{target}`; refused."
                    )
            target.mkdir(parents=True, exist_ok=True)
            for member in Progress()(bundle.namelist(), f"unpack {archive.name}"):
                bundle.extract(member, target)
    except (zipfile.BadZipFile, EOFError) as error:
        raise UserError(f"`{archive}` is no whole zip ({error}); fetch it again.") from error
    return target
