"""CIFAR-10 (Krizhevsky 2009): 60,000 colour images of 32x32 pixels in ten classes, in the binary version."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench.card import Card
from bench.core import Dataset
from bench.errors import UserError
from bench.pictures import Arrays, Pictures, content_hash, no_pixels, survey
from bench.splits import some

CARD = Card(
    title="CIFAR-10",
    family="federated_classification",
    summary="60,000 colour photographs, 32x32 pixels, ten classes of 6,000.",
    citation="A. Krizhevsky: Learning multiple layers of features from tiny images. Technical report, "
    "University of Toronto, 2009.",
    url="https://www.cs.toronto.edu/~kriz/cifar.html",
    licence="none stated by the authors",
    unit="image",
    files="cifar-10-batches-bin/ of the binary version: data_batch_1.bin to data_batch_5.bin, test_batch.bin "
    "(any number of images each) and, where it stands there, batches.meta.txt.",
    classes=(
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ),
    notes="The two official parts are pooled, train first; ids are train-00000 and test-00000 onwards in the "
    "order of the files, and the sources say which part an image is from. Every image stands alone. The "
    "Python version is not read: its files are pickles, which can run any code when they are opened.",
)

FOLDER = "cifar-10-batches-bin"
FILES = {**{f"data_batch_{i}.bin": "train" for i in range(1, 6)}, "test_batch.bin": "test"}
NAMES = "batches.meta.txt"
SIDE = 32
SIZES = {"tiny": 600, "small": 3000}  # of the phantom
RECORD = 1 + 3 * SIDE * SIDE  # a label, then the red, the green and the blue plane, row by row


class CIFAR10(Dataset):
    """The six official batches of the binary version."""

    card: ClassVar[Card] = CARD

    def index(self, root: Path) -> Pictures:
        """Ids and labels without keeping pixels.

        Returns:
            Pictures whose `read` raises and whose `content` is empty.

        Raises:
            UserError: A batch is missing or wrong.
        """
        return _index(_batches(root))

    def load(self, root: Path, progress: Callable[..., Any] | None = None) -> Pictures:
        """Read all images into memory.

        Args:
            root: The folder `cifar-10-batches-bin`, or the folder that holds it.
            progress: Wraps the iteration over images: `progress(images, total=..., description=...)`.

        Returns:
            Pictures (32, 32, 3), train before test, in the order of the files.

        Raises:
            UserError: A batch is missing, truncated or holds a label above 9, the classes are others, or the
                folder holds the Python version.
        """
        batches = _batches(root)
        index = _index(batches)
        planes = np.concatenate([batch[:, 1:] for batch in batches.values()]).reshape(-1, 3, SIDE, SIDE)
        read = Arrays(np.ascontiguousarray(planes.transpose(0, 2, 3, 1)))
        pixels = survey(read, index.ids, None, progress)
        content = content_hash(index.ids, index.labels, index.groups, index.classes, pixels)
        return replace(index, read=read, content=content)

    def verify(self, root: Path, progress: Callable[..., Any] | None = None) -> dict[str, str]:
        """Check everything as `load` does and say what was found."""
        pictures = self.load(root, progress)
        return {
            **{f"images {name}": str(count) for name, count in pictures.counts().items()},
            **{f"images from {part}": str(pictures.sources.count(part)) for part in ("train", "test")},
            "image size": f"{SIDE}x{SIDE} RGB",
            "fingerprint": pictures.fingerprint(),
        }

    def write_phantom(
        self,
        root: Path,
        seed: int = 0,
        size: str = "small",
        progress: Callable[..., Any] | None = None,
    ) -> None:
        """Write drawings of ten kinds of things before backgrounds as binary batches.

        Args:
            root: A folder that does not exist yet or is empty; it appears whole or not at all.
            seed: The same seed writes the same bytes.
            size: `tiny` (600 images) or `small` (3,000 images).
            progress: Wraps the iteration over images.

        Raises:
            UserError: The size is none, or the folder holds something.
        """
        from bench.phantoms.marker import write_marker
        from bench.phantoms.retina_files import whole_folder
        from bench.phantoms.sizes import named_size
        from bench.phantoms.things import draw

        count = named_size(size, SIZES)
        labels = np.random.default_rng([seed, 0]).permutation(np.arange(count) % len(CARD.classes))
        walk = (
            progress(range(count), total=count, description="write the phantom") if progress else range(count)
        )
        with whole_folder(root) as part:
            images = np.stack([draw(int(labels[i]), seed, i) for i in walk])
            planes = images.transpose(0, 3, 1, 2).reshape(count, -1)
            records = np.concatenate([labels[:, None].astype(np.uint8), planes], 1)
            (part / FOLDER).mkdir()
            for name, own in zip(FILES, np.array_split(records, len(FILES)), strict=True):
                (part / FOLDER / name).write_bytes(own.tobytes())
            (part / FOLDER / NAMES).write_text("\n".join(CARD.classes) + "\n", encoding="utf-8")
            write_marker(part, "cifar10", seed, size, ())


def _index(batches: dict[str, np.ndarray]) -> Pictures:
    sources = tuple(FILES[name] for name, batch in batches.items() for _ in batch)
    train = sources.count("train")
    ids = tuple(f"{part}-{i if part == 'train' else i - train:05d}" for i, part in enumerate(sources))
    labels = np.concatenate([batch[:, 0] for batch in batches.values()]).astype(np.int64)
    return Pictures(no_pixels, labels, ids, ids, CARD.classes, "", sources)


def _batches(root: Path) -> dict[str, np.ndarray]:
    """File name -> records (N, 3073) uint8, train before test."""
    folder = _folder(root)
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise UserError(f"`{folder}` lacks {some(missing)}; copy the batches of the binary version there.")
    names = folder / NAMES
    if names.is_file():
        found = names.read_text(encoding="utf-8", errors="replace").split()
        if found != list(CARD.classes):
            raise UserError(
                f"`{names}` names the classes {some(found) or 'nothing'}, not those of CIFAR-10; take the "
                "official files."
            )
    return {name: read_batch(folder / name) for name in FILES}


def _folder(root: Path) -> Path:
    if not root.is_dir():
        raise UserError(f"`{root}` is no folder; give the folder that holds {FOLDER}.")
    below = root / FOLDER
    if below.is_dir():
        return below
    if not any((root / name).is_file() for name in FILES):
        pickled = (root / "cifar-10-batches-py", root / "data_batch_1")
        if any(path.exists() for path in pickled):
            raise UserError(
                f"`{root}` holds the Python version of CIFAR-10, whose pickles can run any code when opened "
                "and are not read; fetch the binary version (cifar-10-binary.tar.gz) and give its folder."
            )
        raise UserError(
            f"`{root}` holds neither {FOLDER} nor its batches; unpack the binary version "
            "(cifar-10-binary.tar.gz) there."
        )
    return root


def read_batch(path: Path) -> np.ndarray:
    """The records of one file, (N, 3073) uint8: label, then 1,024 red, green and blue values.

    Raises:
        UserError: The file is unreadable, empty, no whole number of records, or has a label above 9.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"`{path}` cannot be read ({error.strerror}); fetch the file again.") from error
    if not data or len(data) % RECORD:
        raise UserError(
            f"`{path}` has {len(data)} bytes, which is no whole number of {RECORD}-byte records; fetch the "
            "file again."
        )
    records = np.frombuffer(data, np.uint8).reshape(-1, RECORD)
    if records[:, 0].max() >= len(CARD.classes):
        raise UserError(
            f"`{path}` must hold labels from 0 to {len(CARD.classes) - 1}, got {records[:, 0].max()}; take "
            "the official binary version."
        )
    return records
