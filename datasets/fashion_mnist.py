"""Fashion-MNIST (Xiao et al. 2017): 70,000 grey images of 28x28 pixels in ten classes, as idx files."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench.card import Card
from bench.core import Dataset
from bench.errors import UserError
from bench.pictures import Arrays, Pictures, content_hash, no_pixels, survey

CARD = Card(
    title="Fashion-MNIST",
    family="federated_classification",
    summary="70,000 grey images of clothes, 28x28 pixels, ten classes of 7,000.",
    citation="H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST: a novel image dataset for benchmarking machine "
    "learning algorithms. arXiv:1708.07747, 2017.",
    url="https://github.com/zalandoresearch/fashion-mnist",
    licence="MIT",
    unit="image",
    files="train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and "
    "t10k-labels-idx1-ubyte, each plain or with .gz (where both stand, the plain file is read).",
    classes=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    notes="The two official parts are pooled, train first; ids are train-00000 and test-00000 onwards in the "
    "order of the files, and the sources say which part an image is from. Every image stands alone.",
)

PARTS = {"train": "train", "test": "t10k"}  # part -> how its files begin
IMAGES, LABELS = 0x803, 0x801  # magic numbers: unsigned bytes in three dimensions and in one
SIDE = 28
SIZES = {"tiny": 600, "small": 6000}  # of the phantom


class FashionMNIST(Dataset):
    """The four official idx files."""

    card: ClassVar[Card] = CARD

    def index(self, root: Path) -> Pictures:
        """Ids and labels from the label files alone; no image is read.

        Returns:
            Pictures whose `read` raises and whose `content` is empty.

        Raises:
            UserError: A label file is missing or wrong.
        """
        labels = {part: read_labels(root, start) for part, start in PARTS.items()}
        ids = tuple(f"{part}-{i:05d}" for part, own in labels.items() for i in range(len(own)))
        return Pictures(
            read=no_pixels,
            labels=np.concatenate(list(labels.values())),
            ids=ids,
            groups=ids,
            classes=CARD.classes,
            content="",
            sources=tuple(part for part, own in labels.items() for _ in own),
        )

    def load(self, root: Path, progress: Callable[..., Any] | None = None) -> Pictures:
        """Read all images into memory.

        Args:
            root: Folder that holds the four files.
            progress: Wraps the iteration over images: `progress(images, total=..., description=...)`.

        Returns:
            Pictures (28, 28), train before test, in the order of the files.

        Raises:
            UserError: A file is missing, truncated or too long, is no idx file of 28x28 images, or images and
                labels differ in number.
        """
        index = self.index(root)
        parts = []
        for part, start in PARTS.items():
            images = read_images(root, start)
            labels = index.sources.count(part)
            if len(images) != labels:
                raise UserError(
                    f"`{root}` has {len(images)} {part} images but {labels} {part} labels; take both files "
                    "of the same release."
                )
            parts.append(images)
        read = Arrays(np.concatenate(parts))
        pixels = survey(read, index.ids, None, progress)
        content = content_hash(index.ids, index.labels, index.groups, index.classes, pixels)
        return replace(index, read=read, content=content)

    def verify(self, root: Path, progress: Callable[..., Any] | None = None) -> dict[str, str]:
        """Check everything as `load` does and say what was found."""
        pictures = self.load(root, progress)
        return {
            **{f"images {name}": str(count) for name, count in pictures.counts().items()},
            **{f"images from {part}": str(pictures.sources.count(part)) for part in PARTS},
            "image size": f"{SIDE}x{SIDE} grey",
            "fingerprint": pictures.fingerprint(),
        }

    def write_phantom(
        self,
        root: Path,
        seed: int = 0,
        size: str = "small",
        progress: Callable[..., Any] | None = None,
    ) -> None:
        """Write silhouettes of clothes as idx files.

        Args:
            root: A folder that does not exist yet or is empty; it appears whole or not at all.
            seed: The same seed writes the same bytes.
            size: `tiny` (600 images) or `small` (6,000 images).
            progress: Wraps the iteration over images.

        Raises:
            UserError: The size is none, or the folder holds something.
        """
        from bench.phantoms.garments import draw
        from bench.phantoms.marker import write_marker
        from bench.phantoms.retina_files import whole_folder
        from bench.phantoms.sizes import named_size

        count = named_size(size, SIZES)
        labels = np.random.default_rng([seed, 0]).permutation(np.arange(count) % len(CARD.classes))
        walk = (
            progress(range(count), total=count, description="write the phantom") if progress else range(count)
        )
        cut = count * 6 // 7  # as in the official files
        with whole_folder(root) as part:
            images = np.stack([draw(int(labels[i]), seed, i) for i in walk])
            for start, own in (("train", slice(cut)), ("t10k", slice(cut, None))):
                write_idx(part / f"{start}-images-idx3-ubyte.gz", images[own])
                write_idx(part / f"{start}-labels-idx1-ubyte.gz", labels[own])
            write_marker(part, "fashion_mnist", seed, size, ())


def read_images(root: Path, start: str) -> np.ndarray:
    """The images of one part, (N, 28, 28) uint8."""
    path, data = _bytes(root, f"{start}-images-idx3-ubyte")
    (count, height, width), values = _idx(path, data, IMAGES)
    if (height, width) != (SIDE, SIDE):
        raise UserError(
            f"`{path}` holds images of {width}x{height}, not {SIDE}x{SIDE}; take the official file."
        )
    return values.reshape(count, SIDE, SIDE)


def read_labels(root: Path, start: str) -> np.ndarray:
    """The labels of one part, (N,) int64 from 0 to 9."""
    path, data = _bytes(root, f"{start}-labels-idx1-ubyte")
    _, values = _idx(path, data, LABELS)
    if values.max() >= len(CARD.classes):
        raise UserError(
            f"`{path}` must hold labels from 0 to {len(CARD.classes) - 1}, got {values.max()}; take the "
            "official file."
        )
    return values.astype(np.int64)


def _bytes(root: Path, name: str) -> tuple[Path, bytes]:
    if not root.is_dir():
        raise UserError(f"`{root}` is no folder; give the folder that holds the four idx files.")
    plain, packed = root / name, root / f"{name}.gz"
    path = plain if plain.is_file() or not packed.is_file() else packed
    try:
        return path, gzip.decompress(path.read_bytes()) if path == packed else path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(
            f"`{root}` lacks `{name}` (or `{name}.gz`); copy the four idx files there."
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"`{path}` cannot be read ({error}); fetch the file again.") from error


def _idx(path: Path, data: bytes, magic: int) -> tuple[tuple[int, ...], np.ndarray]:
    """Dimensions and flat values of an idx file of bytes: magic number, big-endian sizes, then the values."""
    dimensions = magic & 0xFF
    head = 4 * (1 + dimensions)
    if len(data) < head:
        raise UserError(f"`{path}` ends after {len(data)} bytes, within its header; fetch the file again.")
    found, *shape = struct.unpack(f">{1 + dimensions}I", data[:head])
    if found != magic:
        raise UserError(
            f"`{path}` begins with the number {found}, not {magic}, and is no such idx file; take the "
            "official file."
        )
    wanted = int(np.prod([int(n) for n in shape], dtype=object))
    if len(data) - head != wanted:
        raise UserError(
            f"`{path}` announces {wanted} bytes of data and holds {len(data) - head}; fetch the file again."
        )
    if not wanted:
        raise UserError(f"`{path}` holds nothing; take the official file.")
    return tuple(shape), np.frombuffer(data, np.uint8, offset=head)


def write_idx(path: Path, values: np.ndarray) -> None:
    """Write unsigned bytes as a packed idx file; the same values give the same bytes."""
    head = struct.pack(f">{1 + values.ndim}I", 0x800 + values.ndim, *values.shape)
    path.write_bytes(gzip.compress(head + values.astype(np.uint8).tobytes(), mtime=0))
