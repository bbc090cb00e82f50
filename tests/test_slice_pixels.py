"""Slices as bytes: exactly what matplotlib writes and Pillow reads back, without either."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.image import imsave
from msd_files import resized
from PIL import Image

from bench.volumes import pixels

RNG = np.random.default_rng(0)
WIDE = RNG.normal(-300, 400, (64, 80)).astype(np.float32)
GREYS = {
    "smaller": WIDE,
    "larger": RNG.normal(0, 1e-3, (20, 17)).astype(np.float32),
    "integers": RNG.integers(0, 5, (40, 40)).astype(np.float32),
    "ramp": np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64),
    "constant": np.full((30, 30), 7, np.float32),
    "huge": WIDE * 1e30,
}


def official(x: np.ndarray) -> np.ndarray:
    """Through a PNG file and Pillow's grey conversion, as the official code goes."""
    file = io.BytesIO()
    imsave(file, x, cmap="gray", format="png")
    return np.asarray(Image.open(file).convert("L"))


def test_every_grey_of_the_map():
    ramp = np.linspace(-3, 5, 4 * 256).reshape(4, 256)
    made = pixels.stretch(ramp)
    assert np.array_equal(made, official(ramp))
    assert (made.min(), made.max()) == (0, 255)
    edges = np.arange(257)[None] / 256
    assert np.array_equal(pixels.stretch(edges), official(edges))


@pytest.mark.parametrize("name", GREYS)
def test_an_image_is_the_png_of_the_official_code(name):
    x = GREYS[name]
    y = resized(x, (32, 24))
    made, low, high = pixels.image(x, (32, 24))
    assert np.array_equal(made, official(y))
    assert (low, high) == (y.min(), y.max())
    assert made.dtype == np.uint8


def drawings():
    rng = np.random.default_rng(1)
    yield "blob", np.hypot(*np.ogrid[-30:30, -20:44]) < 13
    yield "specks", rng.random((70, 50)) < 0.04  # blurred to well below one half
    yield "one", np.eye(1, 3600, 1700, dtype=np.bool_).reshape(60, 60)
    yield "all", np.ones((40, 40), np.bool_)
    yield "none", np.zeros((40, 40), np.bool_)
    yield "enlarged", rng.random((9, 11)) < 0.5


@pytest.mark.parametrize(("name", "x"), list(drawings()))
@pytest.mark.parametrize("size", [(32, 24), (16, 64)])
def test_a_stretched_mask_is_the_png_of_the_official_code(name, x, size):
    byte = official(resized(x, size))
    assert np.array_equal(pixels.mask(x, size, "stretched"), byte.astype(np.float32) / 255 > 0.5)


@pytest.mark.parametrize(("name", "x"), list(drawings()))
def test_half_keeps_what_is_covered_by_more_than_half(name, x):
    made = pixels.mask(x, (32, 24), "half")
    assert np.array_equal(made, resized(x, (32, 24)) > 0.5)
    assert made.dtype == np.bool_
    if name == "specks":
        assert not made.any()
        assert pixels.mask(x, (32, 24), "stretched").any()
    if name == "all":
        assert made.all()


def test_another_way_to_resize_is_refused():
    with pytest.raises(ValueError, match="nearest"):
        pixels.mask(np.ones((4, 4), np.bool_), (2, 2), "nearest")
