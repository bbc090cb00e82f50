"""Names and files in the folders of COCO-Stuff."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

ENDING = {"img": ".jpg", "label": ".png", "inst": ".png"}


def ids(root: Path, part: str = "train") -> list[str]:
    """Photographs of a part, sorted."""
    return sorted(path.stem for path in (root / f"{part}_img").iterdir())


def file(root: Path, part: str, kind: str, name: str) -> Path:
    """One file of a photograph, as the phantom writes it."""
    return root / f"{part}_{kind}" / f"{name}{ENDING[kind]}"


def pixels(path: Path) -> np.ndarray:
    """What an image file holds."""
    with Image.open(path) as picture:
        return np.array(picture)
