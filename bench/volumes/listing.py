"""Which volumes a folder of the Decathlon holds: `dataset.json` where there is one, else the files."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from bench.errors import UserError
from bench.splits import some
from bench.volumes.organs import of_folder

LISTING = "dataset.json"
_ENDINGS = (".nii.gz", ".nii")


@dataclass(frozen=True)
class Pair:
    """An image and its label map.

    Args:
        name: File name of the image without its ending, such as `hippocampus_001`.
        image, label: The two files.
    """

    name: str
    image: Path
    label: Path


def survey(folder: Path) -> tuple[tuple[Pair, ...], dict[str, str]]:
    """The volumes of a folder, and those that cannot be read because a file is missing.

    `dataset.json` decides which volumes there are; without it, every file in `imagesTr`. Files that macOS
    leaves behind (`._*`) are passed over.

    Returns:
        Pairs sorted by name, and name -> one sentence for each volume that lacks a file.

    Raises:
        UserError: `dataset.json` is damaged or points outside, or there is no volume at all.
    """
    listed = _listed(folder)
    pairs, faults = _from_folders(folder) if listed is None else _from_listing(folder, listed)
    if not pairs and not faults:
        raise UserError(
            f"`{folder}` lists no labelled volume; it must hold imagesTr/ and labelsTr/ with .nii.gz files "
            "of the same names."
        )
    return tuple(sorted(pairs, key=lambda pair: pair.name)), faults


def pairs(folder: Path) -> tuple[Pair, ...]:
    """The volumes of a folder, sorted by name.

    Raises:
        UserError: As `survey`, and for the first volume that lacks a file.
    """
    found, faults = survey(folder)
    for sentence in faults.values():
        raise UserError(sentence)
    return found


def declared(folder: Path) -> tuple[int, ...]:
    """Label ids that maps of this folder may hold, ascending: those of `dataset.json`, else of the organs.

    Raises:
        UserError: `dataset.json` is damaged or its labels are no whole numbers from 0 to 255.
    """
    content = _content(folder)
    if content is None or "labels" not in content:
        return (0, *sorted({organ.label for organ in of_folder(folder.name)}))
    try:
        ids = {0, *(int(key) for key in dict(content["labels"]))}
    except (TypeError, ValueError):
        ids = {-1}
    if not 0 <= min(ids) <= max(ids) <= 255:
        raise UserError(
            f'`{folder / LISTING}` must declare labels as {{"0": "background", "1": ...}} and ids up to '
            "255; take the official file."
        )
    return tuple(sorted(ids))


def _content(folder: Path) -> dict[str, Any] | None:
    path = folder / LISTING
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"`{path}` cannot be read ({type(error).__name__}); fetch it again, or delete it to use every "
            "volume in imagesTr and labelsTr."
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"`{path}` must hold a JSON object; take the official file.")
    return content


def _listed(folder: Path) -> list[Any] | None:
    content = _content(folder)
    if content is None:
        return None
    training = content.get("training")
    if not isinstance(training, list):
        raise UserError(
            f"`{folder / LISTING}` has no list `training`; take the official file, or delete it to use every "
            "volume in imagesTr and labelsTr."
        )
    return training


def _from_listing(folder: Path, listed: Iterable[Any]) -> tuple[list[Pair], dict[str, str]]:
    listing = folder / LISTING
    pairs: dict[str, Pair] = {}
    faults: dict[str, str] = {}
    for number, entry in enumerate(listed, 1):
        if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
            raise UserError(
                f"`{listing}` names no image in entry {number} of `training`; take the official file."
            )
        image = _inside(folder, entry["image"])
        if image.name.startswith("._"):
            continue
        name = _stem(image)
        if name in pairs or name in faults:
            raise UserError(f"`{listing}` lists the image `{name}` more than once; keep one entry.")
        if not isinstance(entry.get("label"), str):
            faults[name] = (
                f"`{listing}` names no label for the image `{entry['image']}`; add one or take the entry out."
            )
            continue
        label = _inside(folder, entry["label"])
        missing = [path.relative_to(folder).as_posix() for path in (image, label) if not path.is_file()]
        if missing:
            faults[name] = (
                f"`{listing}` names {some(missing)}, which is not there; fetch the missing file again or "
                "take the entry out."
            )
            continue
        pairs[name] = Pair(name, image, label)
    return list(pairs.values()), faults


def _inside(folder: Path, name: str) -> Path:
    """The file that `dataset.json` means, which must lie below its folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or not path.name:
        raise UserError(
            f"`{folder / LISTING}` names {name!r}, which points outside `{folder}`; files must be given as "
            "./imagesTr/NAME.nii.gz."
        )
    return folder / path


def _from_folders(folder: Path) -> tuple[list[Pair], dict[str, str]]:
    images, labels = (_scans(folder / part) for part in ("imagesTr", "labelsTr"))
    faults = {
        name: f"`{path}` has no label map; put `{path.name}` into `{folder / 'labelsTr'}` or drop it."
        for name, path in images.items()
        if name not in labels
    }
    faults |= {
        name: f"`{path}` has no image; put `{path.name}` into `{folder / 'imagesTr'}` or drop it."
        for name, path in labels.items()
        if name not in images
    }
    return [Pair(name, path, labels[name]) for name, path in images.items() if name in labels], faults


def _scans(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.endswith(_ENDINGS) and not path.name.startswith("._"):
            if _stem(path) in found:
                raise UserError(f"`{folder}` holds `{_stem(path)}` both as .nii and as .nii.gz; keep one.")
            found[_stem(path)] = path
    return found


def _stem(path: Path) -> str:
    for ending in _ENDINGS:
        if path.name.endswith(ending):
            return path.name.removesuffix(ending)
    return path.name
