"""Medical Segmentation Decathlon (Antonelli et al. 2022): the nine organs that few-shot segmentation uses.

Reads the official folders; which binary datasets are cut from them says section 1 of the few-shot
specification.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

from bench.card import Card
from bench.core import Dataset
from bench.errors import UserError
from bench.phantoms.marker import MARKER
from bench.volumes.msd import Folders, Pair, declared, find, pairs, read, survey
from bench.volumes.organs import of_folder

CARD = Card(
    title="Medical Segmentation Decathlon",
    family="fewshot_segmentation",
    summary="Labelled MRI and CT volumes of nine organs, cut into 24 binary datasets of axial slices.",
    citation="M. Antonelli et al.: The Medical Segmentation Decathlon. Nature Communications 13, 4128, 2022.",
    url="http://medicaldecathlon.com",
    licence="CC BY-SA 4.0",
    unit="patient",
    files="Task01_BrainTumour, Task02_Heart, Task04_Hippocampus, Task05_Prostate, Task06_Lung, "
    "Task07_Pancreas, Task08_HepaticVessel, Task09_Spleen, Task10_Colon, as many of them as there are, each "
    "with imagesTr/*.nii.gz, labelsTr/*.nii.gz of the same names and, where kept, dataset.json. The folder "
    "of these folders is given, or one of them.",
    notes="A volume is a patient. Volumes are read in the order of the file, without reorientation; a slice "
    "is taken along the third axis. A slice belongs to a binary dataset if the label has enough pixels in it "
    "(100 to 1000, by organ) at original resolution. Of the prostate only T2 is used. Task03_Liver and "
    "unlabelled images (imagesTs) are not read. Where dataset.json is present, its list `training` says "
    "which volumes there are. Volume splits of heart, spleen and both prostate zones are the released ones; "
    "all others are drawn by a hash of the volume's name.",
)

# Labelled volumes of a complete folder, and slices and volumes of each binary dataset in it, as counted from
# the released splits (section 1).
COMPLETE = {"Task02_Heart": 20, "Task05_Prostate": 32, "Task09_Spleen": 41, "Task10_Colon": 126}
EXPECTED = {
    "heart": (680, 20),
    "spleen": (982, 41),
    "prostate_peripheral": (260, 32),
    "prostate_transitional": (372, 30),
    "colon": (1051, 121),
}


class Decathlon(Dataset):
    """The official folders, or any of them."""

    card: ClassVar[Card] = CARD

    def load(self, root: Path, progress: Callable[..., Any] | None = None) -> Folders:
        """Find the folders and list their volumes; no voxel is decoded, which the slice cache does.

        Args:
            root: The folder of TaskNN folders, or one of them under its official name.
            progress: Handed on to the slice cache; listing is quick.

        Raises:
            UserError: No known folder, a damaged dataset.json, or a folder without volumes. A volume that
                lacks a file is left for the cache, which can be asked to go on without it.
        """
        found = Folders(root, find(root), progress)
        for path in found.paths.values():
            survey(path)
            declared(path)
        return found

    def verify(self, root: Path, progress: Callable[..., Any] | None = None) -> dict[str, str]:
        """Decode and check every volume and count the slices of every binary dataset.

        Raises:
            UserError: A faulty volume, or a complete folder whose slices are not as many as were released.
        """
        facts: dict[str, str] = {}
        digest = hashlib.sha256()
        for folder, path in find(root).items():
            found = pairs(path)
            ids = declared(path)
            counts = {organ.name: [0, 0] for organ in of_folder(folder)}
            title = f"check {folder}"
            walk: Iterable[Pair] = progress(found, total=len(found), description=title) if progress else found
            for pair in walk:
                volume = read(pair, folder, ids)
                digest.update(f"{folder}|{pair.name}|{volume.content()}\n".encode())
                for organ in of_folder(folder):
                    kept = int((volume.histogram[:, organ.label] >= organ.least).sum())
                    counts[organ.name][0] += kept
                    counts[organ.name][1] += kept > 0
            facts[f"volumes of {folder}"] = str(len(found))
            real = not any((place / MARKER).is_file() for place in (path, path.parent))
            complete = real and len(found) == COMPLETE.get(folder)
            facts |= {name: _judged(path, name, (a, b), complete) for name, (a, b) in counts.items()}
        return {**facts, "fingerprint": digest.hexdigest()}

    def write_phantom(
        self,
        root: Path,
        seed: int = 0,
        size: str = "small",
        progress: Callable[..., Any] | None = None,
    ) -> None:
        """Write volumes of made-up organs in the official layout.

        Args:
            root: A folder that does not exist yet or is empty.
            seed: The same seed writes the same voxels.
            size: A named size, see `bench.phantoms.organ_files`.
            progress: Wraps the iteration over volumes.

        Raises:
            UserError: The size is none, or the folder holds something.
        """
        from bench.phantoms.organ_files import write_organs

        write_organs(root, seed, size, progress)


def _judged(path: Path, name: str, count: tuple[int, int], complete: bool) -> str:
    """Slices and volumes of one binary dataset, held against the released ones in a complete folder."""
    text = f"{count[0]} slices of {count[1]} volumes"
    if name not in EXPECTED:
        return text
    right = EXPECTED[name]
    if not complete:
        return f"{text} (the complete folder has {right[0]} of {right[1]})"
    if count != right:
        raise UserError(
            f"`{path}` has all its volumes but gives {text} of `{name}` where {right[0]} slices of "
            f"{right[1]} volumes are right; fetch the official files again."
        )
    return f"{text}, as released"
