"""HAM10000 (Tschandl et al. 2018): 10,015 dermatoscopic images of 7,470 lesions in seven classes.

Reads the official folder; every rule is one of section 1 of the federated specification.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.card import Card
from bench.core import Dataset
from bench.errors import UserError
from bench.pictures import Files, Pictures, content_hash, survey
from bench.skin_lesions import METADATA, facts, in_order, phantom_rows, read_metadata, write_rows
from bench.splits import some

if TYPE_CHECKING:
    pass

CARD = Card(
    title="HAM10000",
    family="federated_classification",
    summary="10,015 dermatoscopic images (600x450 RGB) of 7,470 skin lesions in seven classes, four sources.",
    citation="P. Tschandl, C. Rosendahl, H. Kittler: The HAM10000 dataset, a large collection of "
    "multi-source dermatoscopic images of common pigmented skin lesions. Scientific Data 5, 180161, 2018.",
    url="https://doi.org/10.7910/DVN/DBW86T",
    licence="CC BY-NC 4.0",
    unit="lesion",
    files="HAM10000_metadata (CSV, also as HAM10000_metadata.csv) with lesion_id, image_id, dx and, in newer "
    "releases, dataset; HAM10000_images_part_1/ and HAM10000_images_part_2/ with one <image_id>.jpg a row.",
    classes=("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"),
    notes="Classes are numbered in alphabetical order of dx: akiec actinic keratosis and Bowen's disease, "
    "bcc basal cell carcinoma, bkl benign keratosis-like lesion, df dermatofibroma, mel melanoma, nv "
    "melanocytic nevus, vasc vascular lesion. 1,956 lesions have several images: a split by image puts "
    "images of one lesion on both sides. Images are sorted by image_id. A part of the dataset is read where "
    "HAM10000_metadata lists only the images of that part; images it does not list are not read. A folder "
    "that lacks an image which the metadata lists is refused.",
)

PARTS = ("HAM10000_images_part_1", "HAM10000_images_part_2")
COMMENT = "bench phantom, not real data"


class HAM10000(Dataset):
    """The official folder: metadata and two folders of JPEGs."""

    card: ClassVar[Card] = CARD

    def index(self, root: Path) -> Pictures:
        """Ids, labels, lesions and sources from the metadata alone; no image is opened.

        Returns:
            Pictures sorted by image id, whose `read` raises and whose `content` is empty.

        Raises:
            UserError: The metadata is missing or wrong.
        """
        pictures = read_metadata(root)
        return in_order(pictures, np.argsort(pictures.ids, kind="stable"))

    def load(self, root: Path, progress: Callable[..., Any] | None = None) -> Pictures:
        """Decode every image once to check and hash it; pixels are decoded again where they are used.

        Args:
            root: Folder that holds `HAM10000_metadata` and the two folders of images.
            progress: Wraps the iteration over images: `progress(images, total=..., description=...)`.

        Returns:
            Pictures (H, W, 3) sorted by image id; groups are lesions, sources those of the metadata.

        Raises:
            UserError: The metadata is wrong, an image is missing or damaged, or images differ in size.
        """
        index = self.index(root)
        read = Files(_paths(root, index.ids))
        first: list[tuple[int, ...]] = []

        def check(name: str, shape: tuple[int, ...]) -> None:
            first.append(shape)
            if len(shape) != 3:
                raise UserError(f"Image `{name}` in `{root}` must be RGB, got grey; take the official file.")
            if shape != first[0]:
                raise UserError(
                    f"Image `{name}` in `{root}` is {shape[1]}x{shape[0]} while `{index.ids[0]}` is "
                    f"{first[0][1]}x{first[0][0]}; all images must have one size, take the official files."
                )

        pixels = survey(read, index.ids, check, progress)
        content = content_hash(index.ids, index.labels, index.groups, index.classes, pixels)
        return replace(index, read=read, content=content)

    def verify(self, root: Path, progress: Callable[..., Any] | None = None) -> dict[str, str]:
        """Check everything as `load` does and say what was found."""
        pictures = self.load(root, progress)
        height, width, _ = pictures.read(0).shape
        unread = len(_found(root)) - len(pictures)
        return {
            **facts(pictures),
            "image size": f"{width}x{height} RGB",
            "images not listed in the metadata and not read": str(unread),
            "fingerprint": pictures.fingerprint(),
        }

    def write_phantom(
        self,
        root: Path,
        seed: int = 0,
        size: str = "small",
        progress: Callable[..., Any] | None = None,
    ) -> None:
        """Write lesion-like JPEGs of 96x72 pixels and their metadata, as the official files are laid out.

        Args:
            root: A folder that does not exist yet or is empty; it appears whole or not at all.
            seed: The same seed writes the same bytes.
            size: `tiny` (430 images) or `small` (2,948 images, enough for FedAP's 34 clients).
            progress: Wraps the iteration over images.

        Raises:
            UserError: The size is none, or the folder holds something.
        """
        from PIL import Image

        from bench.phantoms.lesions import SIZES, draw, plan
        from bench.phantoms.marker import write_marker
        from bench.phantoms.retina_files import whole_folder
        from bench.phantoms.sizes import named_size

        views = plan(seed, named_size(size, SIZES))
        rows = phantom_rows(views, seed)
        walk = progress(views, total=len(views), description="write the phantom") if progress else views
        with whole_folder(root) as part:
            for name in PARTS:
                (part / name).mkdir()
            for i, view in enumerate(walk):
                path = part / PARTS[2 * i // len(views)] / f"{rows[i]['image_id']}.jpg"
                Image.fromarray(draw(view)).save(path, quality=92, comment=COMMENT)
            write_rows(part / METADATA[0], rows)
            write_marker(part, "ham10000", seed, size, sorted({row["lesion_id"] for row in rows}))


def _found(root: Path) -> dict[str, Path]:
    """Image id -> file, of both folders."""
    found: dict[str, Path] = {}
    for part in PARTS:
        for path in sorted((root / part).glob("*.jpg")):
            if path.stem in found:
                raise UserError(f"`{root}` holds `{path.name}` in both of {some(PARTS)}; keep one.")
            found[path.stem] = path
    return found


def _paths(root: Path, ids: tuple[str, ...]) -> tuple[Path, ...]:
    found = _found(root)
    missing = [f"{name}.jpg" for name in ids if name not in found]
    if missing:
        raise UserError(
            f"`{root}` holds {len(ids) - len(missing)} of the {len(ids)} images that its metadata lists and "
            f"lacks {some(missing)}; unpack {PARTS[0]}.zip and {PARTS[1]}.zip there, or, to use a part of "
            "the dataset, give a folder whose HAM10000_metadata lists only the images it holds."
        )
    return tuple(found[name] for name in ids)
