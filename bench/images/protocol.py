"""What is done to images before a network sees them: part of the name of every metric on sets of images.

Frechet distances of one pair of sets move by several points with the filter that resizes, with the file
format and with the stretching of contrast (Parmar et al., "On Aliased Resizing and Surprising Subtleties in
GAN Evaluation", CVPR 2022), so two values are comparable only under one protocol.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.errors import UserError, suggest
from bench.files import digest, without_folders

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
}
RESIZES = ("none", *FILTERS)
FORMATS = ("png", "jpeg")
STRETCHES = ("clamp", "stretch")
JPEG_QUALITY = 75
_VERSION = 1  # raise when `apply` answers other pixels
_LARGEST = 8192

Pixels = NDArray[np.uint8]
Size = int | tuple[int, int]


@dataclass(frozen=True)
class ImageProtocol:
    """How images reach an extractor, in this order: contrast, file format, size.

    Args:
        extractor: Name of the network, see `bench.images.extractors`, or `path/to/file.py:Class`.
        resize: Pillow's filter, on uint8 and averaging where it shrinks, that brings images to `size`;
            without a size there is nothing to filter and it becomes `none`.
        size: Side of a square, or (H, W), in pixels; None leaves images as they are, mixed sizes
            too, and what the network needs is done by its own resize (inside `inception-tf` that is
            TensorFlow's bilinear one, which does not average).
        format: `png` takes pixels as they are; `jpeg` compresses every image at quality 75 first, so
            that the effect is seen.
        stretch: `clamp` takes pixels as they are; `stretch` spreads every image by itself to 0..255,
            a published habit.

    Raises:
        UserError: Another word, or no such size, or a size with `resize=none`.
    """

    extractor: str = "inception-tf"
    resize: str = "bicubic"
    size: Size | None = None
    format: str = "png"
    stretch: str = "clamp"

    def __post_init__(self) -> None:
        for name, options in (("resize", RESIZES), ("format", FORMATS), ("stretch", STRETCHES)):
            given = getattr(self, name)
            if given not in options:
                raise UserError(
                    f"`{name}={given}` is not known.{suggest(str(given), options)} "
                    f"Take one of {', '.join(options)}."
                )
        if self.size is None:
            object.__setattr__(self, "resize", "none")  # one protocol, one digest
            return
        sides = self.size if isinstance(self.size, tuple | list) else (self.size, self.size)
        if len(sides) != 2 or any(type(side) is not int or not 1 <= side <= _LARGEST for side in sides):
            raise UserError(
                f"`size={self.size}` is no size; give one side, or height and width, "
                f"from 1 to {_LARGEST} pixels."
            )
        if self.resize == "none":
            raise UserError("`resize=none` leaves images as they are; leave `size` out or name a filter.")
        object.__setattr__(self, "size", sides[0] if sides[0] == sides[1] else tuple(sides))

    @property
    def shape(self) -> tuple[int, int] | None:
        """(H, W) after `apply`, or None where images keep theirs."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    def digest(self) -> str:
        """SHA-256 over every part; folders of a user's file do not enter, its content is the extractor's."""
        parts = asdict(self) | {"extractor": without_folders(self.extractor), "size": self.shape}
        return digest({"version": _VERSION, **parts})

    def badge(self, metric: str, n_real: int, n_generated: int, reference: str) -> str:
        """The protocol in a value's name.

        Args:
            metric: Such as `fid`.
            n_real: Images of the reference.
            n_generated: Images judged.
            reference: Split or name of the reference, such as `test`.

        Returns:
            `fid[inception-tf | bicubic | 128 | test 5088 | png]`; with unequal numbers
            `test 5088 : 2048 generated`, with stretched contrast `| stretch` at the end.
        """
        size = "native" if self.shape is None else "x".join(map(str, dict.fromkeys(self.shape)))
        count = f"{n_real}" if n_real == n_generated else f"{n_real} : {n_generated} generated"
        words = [without_folders(self.extractor), self.resize, size, f"{reference} {count}", self.format]
        if self.stretch != "clamp":
            words.append(self.stretch)
        return f"{metric}[{' | '.join(words)}]"


# Every way to treat images that `--under all-protocols` tries; "input" is the side the network works at.
ALL: tuple[Mapping[str, str | int], ...] = (
    {"resize": "none"},
    *({"resize": name, "size": "input"} for name in FILTERS),
    {"resize": "bicubic", "size": 64},
    {"resize": "bicubic", "size": 128},
    {"resize": "none", "format": "jpeg"},
    {"resize": "none", "stretch": "stretch"},
)


def all_protocols(extractors: Mapping[str, int | None] | Sequence[str]) -> tuple[ImageProtocol, ...]:
    """Every treatment of `ALL` under each extractor, none twice.

    Args:
        extractors: Names, or names -> side in pixels the network works at (None: any, as they come). Sides
            of names alone are those of `bench.images.extractors.INPUTS`.
    """
    if not isinstance(extractors, Mapping):
        from bench.images.extractors import INPUTS

        extractors = {name: INPUTS.get(name) for name in extractors}
    found: dict[ImageProtocol, None] = {}
    for name, side in extractors.items():
        for way in ALL:
            words = {key: str(value) for key, value in way.items() if key != "size"}
            size = side if way.get("size") == "input" else way.get("size")
            if size is None and "size" in way:
                continue
            found[ImageProtocol(name, size=None if size is None else int(size), **words)] = None
    return tuple(found)


def without_extractor(protocol: ImageProtocol, of: str) -> ImageProtocol:
    """The same for what needs no features, and is `of` something else; pairs have stretching as a variant."""
    return replace(protocol, extractor=of, stretch="clamp")


def apply(image: Pixels, protocol: ImageProtocol) -> Pixels:
    """One image as the extractor gets it.

    Args:
        image: (H, W, 3) uint8.
        protocol: What to do.

    Returns:
        (H', W', 3) uint8; the same array where there is nothing to do.
    """
    if protocol.stretch == "stretch":
        image = stretched(image)
    if protocol.format == "jpeg":
        packed = io.BytesIO()
        Image.fromarray(image).save(packed, "JPEG", quality=JPEG_QUALITY)
        with Image.open(packed) as picture:
            image = np.array(picture)
    if protocol.shape is not None and image.shape[:2] != protocol.shape:
        height, width = protocol.shape
        picture = Image.fromarray(image).resize((width, height), FILTERS[protocol.resize])
        image = np.array(picture)
    return image


def stretched(image: Pixels) -> Pixels:
    """Spread one image to 0..255 by its least and greatest value over all channels.

    The published code does so to floats before it truncates them to bytes; here the bytes are spread and
    truncated, exactly. A constant image stays as it is (there it is 0 / 0).

    Args:
        image: (H, W, 3) uint8.
    """
    low, high = int(image.min()), int(image.max())
    if high == low or (low, high) == (0, 255):
        return image
    table = (np.arange(256) - low).clip(0, high - low) * 255 // (high - low)
    return table.astype(np.uint8)[image]
