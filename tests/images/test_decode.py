"""Decoding: formats and modes against values known beforehand; conversions are named, faults refused."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from bench.errors import UserError
from bench.images import decode as module
from bench.images.decode import CONVERSIONS, decode

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (12, 17, 3), np.uint8)
GREY = RNG.integers(0, 256, (12, 17), np.uint8)


def saved(picture: Image.Image, kind: str, **words: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **words)  # pyright: ignore[reportArgumentType]
    return out.getvalue()


def npy(values: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, values, allow_pickle=True)
    return out.getvalue()


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + body


def repeated(grey: np.ndarray) -> np.ndarray:
    return np.stack([grey] * 3, -1)


def check(data: bytes, pixels: np.ndarray, *done: str) -> None:
    found, said = decode(data, "x")
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, pixels)
    assert said == set(done)
    assert said <= set(CONVERSIONS)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "TGA"])
def test_lossless_rgb_comes_as_it_is(kind: str) -> None:
    check(saved(Image.fromarray(RGB), kind), RGB)


def test_lossless_webp_comes_as_it_is() -> None:
    check(saved(Image.fromarray(RGB), "WEBP", lossless=True), RGB)


@pytest.mark.parametrize(("kind", "words"), [("JPEG", {"quality": 95}), ("WEBP", {"quality": 95})])
def test_lossy_formats_are_near(kind: str, words: dict[str, int]) -> None:
    smooth = np.add.outer(np.arange(32), np.arange(48)).astype(np.uint8)
    pixels, done = decode(saved(Image.fromarray(repeated(smooth)), kind, **words), "x")
    assert not done
    assert np.abs(pixels.astype(int) - repeated(smooth)).max() <= 4


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "TGA"])
def test_grey_is_repeated(kind: str) -> None:
    check(saved(Image.fromarray(GREY), kind), repeated(GREY), "grey")


def test_bits_are_grey() -> None:
    bits = GREY > 127
    check(saved(Image.fromarray(bits), "PNG"), repeated(bits.astype(np.uint8) * 255), "grey")


def test_alpha_is_dropped_and_not_composited() -> None:
    alpha = RNG.integers(0, 256, (12, 17), np.uint8)
    rgba = np.dstack([RGB, alpha])
    for kind in ("PNG", "TIFF", "TGA"):
        check(saved(Image.fromarray(rgba), kind), RGB, "alpha")
    both = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(alpha)])
    check(saved(both, "PNG"), repeated(GREY), "grey", "alpha")
    check(saved(Image.fromarray(RGB), "PNG", transparency=(1, 2, 3)), RGB, "alpha")


def test_a_palette_is_looked_up() -> None:
    few = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    colours = np.array([[10, 20, 30], [200, 0, 7], [3, 255, 90]], np.uint8)
    picture = Image.fromarray(few).copy()
    picture.putpalette(colours.tobytes())
    for kind in ("PNG", "BMP", "GIF", "TIFF"):
        check(saved(picture, kind), colours[few], "palette")
    check(saved(picture, "PNG", transparency=1), colours[few], "palette", "alpha")
    check(saved(picture, "PNG", transparency=bytes([0, 128, 255])), colours[few], "palette", "alpha")


def test_sixteen_bits_keep_the_high_byte() -> None:
    deep = RNG.integers(0, 65536, (5, 7), np.uint16)
    high = repeated((deep >> 8).astype(np.uint8))
    rows = b"".join(b"\0" + line.astype(">u2").tobytes() for line in deep)
    check(png(7, 5, 16, 0, rows), high, "grey", "16-bit")
    check(saved(Image.fromarray(deep), "TIFF"), high, "grey", "16-bit")
    check(b"P5 # maximum: 3\n7 5\n65535\n" + deep.astype(">u2").tobytes(), high, "grey", "16-bit")
    colour = RNG.integers(0, 65536, (5, 7, 3), np.uint16)
    rows = b"".join(b"\0" + line.astype(">u2").tobytes() for line in colour)
    check(png(7, 5, 16, 2, rows), (colour >> 8).astype(np.uint8), "16-bit")


def test_integers_beyond_sixteen_bits_are_refused() -> None:
    for wide in (np.full((3, 3), 70_000, np.int32), np.full((3, 3), -1, np.int32)):
        with pytest.raises(UserError, match="`wide` holds integers beyond 16 bits"):
            decode(saved(Image.fromarray(wide), "TIFF"), "wide")


def test_only_the_first_frame_counts() -> None:
    frames = [Image.fromarray(np.full((4, 5, 3), v, np.uint8)) for v in (10, 200)]
    for kind, words in (("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})):
        data = saved(frames[0], kind, save_all=True, append_images=frames[1:], **words)
        check(data, np.full((4, 5, 3), 10, np.uint8), "animated (first frame)")
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    pixels, done = decode(data, "x")
    assert (pixels == 10).all()
    assert "animated (first frame)" in done


def test_other_colour_spaces_are_named() -> None:
    cmyk = Image.fromarray(RGB).convert("CMYK")
    check(saved(cmyk, "TIFF"), np.array(cmyk.convert("RGB")), "colour space")


def test_an_orientation_in_exif_is_not_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    check(saved(Image.fromarray(RGB), "PNG", exif=exif), RGB)


def test_float_tiff_in_unit_range() -> None:
    values = RNG.random((4, 6)).astype(np.float32)
    expected = repeated(np.floor(values * 255.0 + 0.5).astype(np.uint8))
    check(saved(Image.fromarray(values), "TIFF"), expected, "grey", "float")
    values[1, 2] = np.nan
    with pytest.raises(UserError, match=r"`f\.tif` holds NaN"):
        decode(saved(Image.fromarray(values), "TIFF"), "f.tif")


def test_arrays() -> None:
    check(npy(RGB), RGB)
    check(npy(np.asfortranarray(RGB)), RGB)
    check(npy(RGB.transpose(2, 0, 1)), RGB)
    check(npy(GREY), repeated(GREY), "grey")
    for kind in (np.float16, np.float32, np.float64):
        check(npy((RGB / 255).astype(kind)), RGB, "float")
    check(npy(np.array([[[0.5, 0.0, 1.0]]])), np.array([[[128, 0, 255]]]), "float")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (np.full((2, 2, 3), np.nan), "NaN or infinity"),
        (np.full((2, 2, 3), np.inf), "NaN or infinity"),
        (np.full((2, 2, 3), 1.01), "floats from 1.01 to 1.01"),
        (np.full((2, 2, 3), -0.5), "floats from -0.5"),
        (np.zeros((2, 2, 4)), "save .H, W, 3."),
        (np.zeros((2, 2, 3), np.int64), "of int64"),
        (np.zeros((2, 0, 3), np.uint8), "has no pixel"),
        (np.zeros((1, 2, 2, 3), np.uint8), "save .H, W, 3."),
        (np.array([[[{}, {}, {}]]], object), "of object"),
    ],
)
def test_arrays_that_are_refused(values: np.ndarray, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as error:
        decode(npy(values), "set/a.npy")
    assert "`set/a.npy`" in str(error.value)


def test_empty_text_and_postscript_under_an_image_name() -> None:
    with pytest.raises(UserError, match=r"`a\.png` is empty .0 bytes."):
        decode(b"", "a.png")
    for text in (
        b"hello, this is text\n" * 40,
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"\x93NUMPY",
    ):
        with pytest.raises(UserError, match=r"`a\.png`"):
            decode(text, "a.png")


TRUNCATED = {
    "PNG": {},
    "JPEG": {},
    "BMP": {},
    "TIFF": {},
    "PPM": {},
    "WEBP": {},
    "GIF": {},
    "TGA": {},
}


@pytest.mark.parametrize("kind", TRUNCATED)
@pytest.mark.parametrize("part", [0.5, 0.9])
def test_truncated_files_are_refused(kind: str, part: float) -> None:
    noise = Image.fromarray(RNG.integers(0, 256, (64, 64, 3), np.uint8))
    data = saved(noise, kind)
    assert decode(data, "x")[0].shape == (64, 64, 3)
    with pytest.raises(UserError, match=r"`cut\.img`"):
        decode(data[: int(len(data) * part)], "cut.img")


def test_a_truncated_array_is_refused() -> None:
    with pytest.raises(UserError, match=r"`a\.npy` is truncated"):
        decode(npy(RGB)[:-5], "a.npy")


def test_a_flipped_byte_is_refused_where_the_format_can_tell() -> None:
    data = bytearray(saved(Image.fromarray(RGB), "PNG"))
    data[data.index(b"IDAT") + 30] ^= 255
    with pytest.raises(UserError, match="cannot be decoded"):
        decode(bytes(data), "x")


def test_a_bomb_is_refused_by_its_header() -> None:
    bombs = [
        png(30_000, 30_000, 8, 2, b""),
        b"P6 30000 30000 255\n",
        b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': '|u1', 'fortran_order': False, 'shape': (30000, 30000, 3), }".ljust(117)
        + b"\n",
    ]
    for bomb in bombs:
        with pytest.raises(UserError, match=r"`bomb` is larger than 89,478,485 pixels"):
            decode(bomb, "bomb")


def test_the_bound_is_the_same_where_pillow_only_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIMIT", 203)  # 12 x 17 is one more
    with pytest.raises(UserError, match="larger than 203 pixels"):
        decode(saved(Image.fromarray(RGB), "PNG"), "x")


@pytest.mark.parametrize("seed", range(40))
def test_damage_of_any_kind_is_an_image_or_one_sentence(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kinds = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA")
    data = bytearray(saved(Image.fromarray(RGB), kinds[seed % len(kinds)]))
    for place in rng.integers(0, len(data), 6):
        data[place] = rng.integers(0, 256)
    try:
        pixels, _ = decode(bytes(data), "hurt.img")
    except UserError as error:
        assert "`hurt.img`" in str(error)
    else:
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3
