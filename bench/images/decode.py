"""From the bytes of one image file to (H, W, 3) uint8, saying what had to be converted.

What is done follows the reference implementations of FID, which all call Pillow's `convert("RGB")`: grey is
repeated, alpha is dropped (what lies beneath a transparent pixel shows, nothing is composited), a palette is
looked up, only the first frame of an animation counts, and an orientation written in EXIF is not applied.
Samples of 16 bits keep their high byte, as Pillow does for colour.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.errors import UserError

CONVERSIONS = (  # the order is that of the bits in which features remember them: only ever append
    "grey",
    "alpha",
    "palette",
    "16-bit",
    "animated (first frame)",
    "float",
    "colour space",
)
LIMIT = 89_478_485  # pixels; Pillow's own bound against decompression bombs, a gibibyte at 12 bytes a pixel
# Only these are ever tried, whatever the name says: Pillow's EPS reader, for one, starts Ghostscript.
Image.init()
_FORMATS = [
    name
    for name in ("PNG", "JPEG", "BMP", "DIB", "TIFF", "WEBP", "GIF", "PPM", "TGA", "JPEG2000", "AVIF", "QOI")
    if name in Image.OPEN  # AVIF and others depend on how Pillow was built
]
_NPY = b"\x93NUMPY"

Pixels = NDArray[np.uint8]


def decode(data: bytes, name: str) -> tuple[Pixels, set[str]]:
    """Decode one image completely.

    Besides image files, `.npy` arrays are read: (H, W, 3), (3, H, W) or (H, W), uint8 or floats in [0, 1]
    (then times 255, rounded).

    Args:
        data: The whole file.
        name: For the sentence; the format is found by content.

    Returns:
        (H, W, 3) uint8 RGB, and those of `CONVERSIONS` that were needed.

    Raises:
        UserError: Zero bytes, no image, damaged or truncated, too many pixels (checked in the header,
            before anything is decoded), or an array of another kind or with NaN.
    """
    if not data:
        raise UserError(f"`{name}` is empty (0 bytes); write the image again.")
    done: set[str] = set()
    if data.startswith(_NPY):
        return _array(data, name, done), done
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            _bounded(*picture.size, name)
            if getattr(picture, "n_frames", 1) > 1:
                done.add("animated (first frame)")
                picture.seek(0)
            deep = _deep(picture, data)
            picture.load()
            pixels = _pixels(picture, name, done)
    except (UserError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UserError(_too_large(name)) from error
    except Image.UnidentifiedImageError as error:
        raise UserError(
            f"`{name}` is no image that can be read, whatever its name says; replace it or take it out."
        ) from error
    except Exception as error:  # Pillow's readers meet arbitrary bytes here and may raise anything
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"`{name}` cannot be decoded ({said}); write or fetch the image again.") from error
    if deep:
        done.add("16-bit")
    return pixels, done


def _bounded(width: int, height: int, name: str) -> None:
    if width < 1 or height < 1:
        raise UserError(f"`{name}` has no pixel ({width}x{height}); write the image again.")
    if width * height > LIMIT:
        raise UserError(_too_large(name, f" ({width}x{height})"))


def _too_large(name: str, size: str = "") -> str:
    return f"`{name}` is larger than {LIMIT:,} pixels{size}; shrink it or take it out."


def _deep(picture: Image.Image, data: bytes) -> bool:
    """Whether the file holds 16 bits a sample; Pillow hands colour over with 8 and says nothing."""
    if picture.format == "PNG":
        return data[24:25] == b"\x10"  # bit depth in IHDR, the first chunk
    tags: Any = getattr(picture, "tag_v2", None)
    if picture.format == "TIFF" and tags is not None:
        return 16 in (tags.get(258) or ())  # BitsPerSample
    if picture.format == "PPM":
        return any(256 <= int(word) <= 65535 for word in _ppm_maximum(data))
    return False


def _ppm_maximum(data: bytes) -> list[bytes]:
    """The largest sample as the header of a PGM or PPM states it; nothing for a bitmap or a float map."""
    lines = (line.partition(b"#")[0] for line in data[:4096].splitlines())
    words = [word for line in lines for word in line.split()][:4]
    return [w for w in words[3:] if w.isdigit() and words[0] in (b"P2", b"P3", b"P5", b"P6")]


def _pixels(picture: Image.Image, name: str, done: set[str]) -> Pixels:
    """(H, W, 3) uint8 of a loaded picture."""
    mode = picture.mode
    if "transparency" in picture.info or mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        done.add("alpha")
    if mode in ("P", "PA"):
        done.add("palette")
    if mode in ("1", "L", "LA", "La") or mode[0] in "IF":
        done.add("grey")
    if mode[0] in "IF":
        values = np.asarray(picture)
        return _colour(_floats(values, name, done) if mode[0] == "F" else _high_byte(values, name, done))
    if mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        done.add("colour space")
    if mode in ("P", "PA", "La", "RGBa"):
        # With alpha first: Pillow warns where transparency is dropped from a palette, and it would
        # leave colours multiplied by alpha as they are.
        picture = picture.convert("LA" if mode == "La" else "RGBA")
    return np.array(picture if picture.mode == "RGB" else picture.convert("RGB"))


def _high_byte(values: NDArray[Any], name: str, done: set[str]) -> Pixels:
    if values.min() < 0 or values.max() > 65535:
        raise UserError(f"`{name}` holds integers beyond 16 bits; save it as 8-bit RGB.")
    done.add("16-bit")
    return (values.astype(np.int64) >> 8).astype(np.uint8)


def _floats(values: NDArray[Any], name: str, done: set[str]) -> Pixels:
    if not np.isfinite(values).all():
        raise UserError(f"`{name}` holds NaN or infinity; write the image again without.")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise UserError(f"`{name}` holds floats from {low:g} to {high:g}; scale them to 0..1 or save uint8.")
    done.add("float")
    return np.floor(values.astype(np.float64) * 255 + 0.5).astype(np.uint8)


def _colour(grey: Pixels) -> Pixels:
    return np.repeat(grey[:, :, None], 3, axis=2)


def _array(data: bytes, name: str, done: set[str]) -> Pixels:
    """An array in NumPy's format; nothing is unpickled."""
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
    except (ValueError, OSError, EOFError) as error:
        raise UserError(f"`{name}` has a damaged npy header; write the array again.") from error
    channels_last = len(shape) == 3 and shape[2] == 3
    fits = len(shape) == 2 or channels_last or (len(shape) == 3 and shape[0] == 3)
    if not fits or not (dtype == np.uint8 or dtype.kind == "f"):
        raise UserError(
            f"`{name}` is an array {shape} of {dtype}; save (H, W, 3) or (3, H, W) of uint8 or of floats "
            "in 0..1."
        )
    height, width = shape[1:] if len(shape) == 3 and not channels_last else shape[:2]
    _bounded(width, height, name)
    file.seek(0)
    try:
        values = np.load(file, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise UserError(f"`{name}` is truncated; write the array again.") from error
    if dtype.kind == "f":
        values = _floats(values, name, done)
    if values.ndim == 2:
        done.add("grey")
        return _colour(values)
    return np.ascontiguousarray(values if channels_last else values.transpose(1, 2, 0))
