"""Procedural colour drawings of ten kinds of things before backgrounds, 32x32 pixels.

Vehicles and animals of the ten classes as simple bodies with their parts. The colours of thing and
background, the size, the position and the direction say nothing of the class, only the shape does.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

SIDE = 32
_SCALE = 4  # drawn larger, then averaged
_Part = tuple[str, list[tuple[float, float]], float]  # kind, points in a unit square, share of the colour


def draw(label: int, seed: int, number: int) -> np.ndarray:
    """Draw one thing before a background.

    Args:
        label: Class number in the order of CIFAR-10, 0 to 9.
        seed: Seed of the whole phantom.
        number: Number of the image.

    Returns:
        (32, 32, 3) uint8.
    """
    rng = np.random.default_rng([seed, 1, number])
    cover = Image.new("L", (SIDE * _SCALE, SIDE * _SCALE))  # where the thing is
    shade = Image.new("L", cover.size)  # how bright its parts are
    size, mirror = rng.uniform(0.72, 0.98), rng.choice((-1, 1))
    shift = rng.uniform(-0.5, 0.5, 2) * (1 - size) + rng.normal(0, 0.02, 2)
    for kind, points, share in THINGS[label](rng):
        placed = [
            (
                (0.5 + mirror * (x - 0.5) * size + shift[0]) * cover.width,
                (0.5 + (y - 0.5) * size + shift[1]) * cover.height,
            )
            for x, y in points
        ]
        if kind == "oval":
            (x0, y0), (x1, y1) = placed
            placed = [(min(x0, x1), min(y0, y1)), (max(x0, x1), max(y0, y1))]
        for sheet, value in ((cover, 255), (shade, round(255 * share))):
            pen = ImageDraw.Draw(sheet)
            pen.ellipse(placed, fill=value) if kind == "oval" else pen.polygon(placed, fill=value)
    mask, bright = (_small(sheet)[..., None] / 255 for sheet in (cover, shade))
    ground, thing = _two_colours(rng)
    slope = np.linspace(-1, 1, SIDE)[:, None, None] * rng.normal(0, 20, 3)
    blotches = gaussian_filter(rng.normal(0, 1, (SIDE, SIDE, 3)), (2.5, 2.5, 0)) * rng.uniform(40, 160)
    image = (ground + slope + blotches) * (1 - mask) + thing * bright
    return np.clip(np.rint(image + rng.normal(0, 8, image.shape)), 0, 255).astype(np.uint8)


def _small(sheet: Image.Image) -> np.ndarray:
    return np.asarray(sheet, np.float32).reshape(SIDE, _SCALE, SIDE, _SCALE).mean((1, 3))


def _two_colours(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Background and thing: any two colours of clearly different brightness, either of them the darker."""
    dark, light = rng.uniform(20, 110, 3), rng.uniform(140, 250, 3)
    return (dark, light) if rng.uniform() < 0.5 else (light, dark)


def _oval(x: float, y: float, rx: float, ry: float, share: float = 1.0) -> _Part:
    return "oval", [(x - rx, y - ry), (x + rx, y + ry)], share


def _box(x0: float, y0: float, x1: float, y1: float, share: float = 1.0) -> _Part:
    return "polygon", [(x0, y0), (x1, y0), (x1, y1), (x0, y1)], share


def _poly(*points: tuple[float, float], share: float = 1.0) -> _Part:
    return "polygon", list(points), share


def _airplane(rng: np.random.Generator) -> list[_Part]:
    wing = rng.uniform(0.2, 0.32)
    return [
        _oval(0.5, 0.5, 0.46, 0.07),
        _poly((0.4, 0.5), (0.55, 0.5), (0.38, 0.5 + wing), (0.28, 0.5 + wing), share=0.8),
        _poly((0.4, 0.5), (0.55, 0.5), (0.42, 0.5 - wing), (0.34, 0.5 - wing), share=0.9),
        _poly((0.06, 0.5), (0.18, 0.5), (0.08, 0.5 - wing * 0.8), (0.02, 0.5 - wing * 0.8), share=0.8),
    ]


def _automobile(rng: np.random.Generator) -> list[_Part]:
    roof = rng.uniform(0.3, 0.38)
    return [
        _box(0.06, 0.5, 0.94, 0.7),
        _poly((0.24, 0.52), (0.34, roof), (0.66, roof), (0.8, 0.52)),
        _poly((0.31, 0.5), (0.37, roof + 0.05), (0.62, roof + 0.05), (0.71, 0.5), share=0.5),
        _oval(0.26, 0.71, 0.1, 0.1, 0.3),
        _oval(0.75, 0.71, 0.1, 0.1, 0.3),
    ]


def _bird(rng: np.random.Generator) -> list[_Part]:
    up = rng.uniform(0.05, 0.2)
    return [
        _oval(0.48, 0.55, 0.22, 0.15),
        _oval(0.72, 0.4, 0.1, 0.1),
        _poly((0.8, 0.36), (0.96, 0.41), (0.8, 0.45), share=0.6),
        _poly((0.38, 0.52), (0.58, 0.5), (0.3, up), share=0.8),
        _poly((0.3, 0.52), (0.04, 0.6), (0.08, 0.72), (0.34, 0.62), share=0.9),
        _box(0.46, 0.68, 0.49, 0.88, 0.6),
        _box(0.55, 0.68, 0.58, 0.88, 0.6),
    ]


def _face(rng: np.random.Generator) -> list[_Part]:
    return [_oval(0.38, 0.48, 0.05, 0.06, 0.2), _oval(0.62, 0.48, 0.05, 0.06, 0.2)]


def _cat(rng: np.random.Generator) -> list[_Part]:
    ear = rng.uniform(0.06, 0.14)
    return [
        _poly((0.2, 0.5), (0.22, ear), (0.48, 0.3)),
        _poly((0.8, 0.5), (0.78, ear), (0.52, 0.3)),
        _oval(0.5, 0.52, 0.32, 0.3),
        *_face(rng),
        _oval(0.5, 0.64, 0.05, 0.04, 0.4),
    ]


def _dog(rng: np.random.Generator) -> list[_Part]:
    low = rng.uniform(0.68, 0.8)
    return [
        _oval(0.5, 0.48, 0.27, 0.32),
        _poly((0.3, 0.22), (0.14, 0.3), (0.1, low), (0.26, low - 0.1), share=0.6),
        _poly((0.7, 0.22), (0.86, 0.3), (0.9, low), (0.74, low - 0.1), share=0.6),
        *_face(rng),
        _oval(0.5, 0.72, 0.16, 0.13, 0.85),
        _oval(0.5, 0.66, 0.07, 0.05, 0.2),
    ]


def _legs(tops: tuple[float, ...], top: float, width: float) -> list[_Part]:
    return [_box(x, top, x + width, 0.94, 0.85) for x in tops]


def _deer(rng: np.random.Generator) -> list[_Part]:
    tip = rng.uniform(0.0, 0.06)
    antlers = [
        _poly((0.76, 0.3), (0.64, tip), (0.68, tip), (0.8, 0.28), share=0.8),
        _poly((0.78, 0.3), (0.94, tip), (0.98, tip + 0.02), (0.82, 0.3), share=0.8),
        _poly((0.7, 0.14), (0.54, 0.1), (0.54, 0.14), (0.71, 0.19), share=0.8),
    ]
    neck = _poly((0.58, 0.56), (0.74, 0.3), (0.84, 0.36), (0.72, 0.62))
    legs = _legs((0.18, 0.28, 0.54, 0.63), 0.6, 0.04)
    return [_oval(0.42, 0.57, 0.29, 0.12), neck, _oval(0.8, 0.34, 0.1, 0.06), *antlers, *legs]


def _frog(rng: np.random.Generator) -> list[_Part]:
    wide = rng.uniform(0.36, 0.44)
    return [
        _oval(0.5, 0.66, wide, 0.2),
        _oval(0.32, 0.44, 0.1, 0.11),
        _oval(0.68, 0.44, 0.1, 0.11),
        _oval(0.32, 0.43, 0.05, 0.06, 0.2),
        _oval(0.68, 0.43, 0.05, 0.06, 0.2),
        _oval(0.16, 0.82, 0.15, 0.07, 0.8),
        _oval(0.84, 0.82, 0.15, 0.07, 0.8),
    ]


def _horse(rng: np.random.Generator) -> list[_Part]:
    return [
        _oval(0.44, 0.52, 0.3, 0.15),
        _poly((0.56, 0.56), (0.7, 0.16), (0.84, 0.2), (0.74, 0.6)),
        _poly((0.68, 0.14), (0.78, 0.1), (0.99, 0.3), (0.92, 0.38), (0.72, 0.26)),
        _poly((0.52, 0.46), (0.66, 0.12), (0.71, 0.14), (0.6, 0.5), share=0.5),
        _poly((0.18, 0.44), (0.04, 0.5), (0.02, rng.uniform(0.7, 0.85)), (0.1, 0.7), (0.2, 0.54), share=0.5),
        *_legs((0.17, 0.28, 0.56, 0.66), 0.56, 0.07),
    ]


def _ship(rng: np.random.Generator) -> list[_Part]:
    deck, chimney = rng.uniform(0.4, 0.48), rng.uniform(0.4, 0.6)
    return [
        _poly((0.02, 0.6), (0.98, 0.6), (0.84, 0.82), (0.14, 0.82), share=0.8),
        _box(0.22, deck, 0.76, 0.61),
        _box(0.32, deck - 0.12, 0.66, deck, 0.9),
        _box(chimney, deck - 0.3, chimney + 0.1, deck - 0.12, 0.5),
        *(_oval(x, 0.53, 0.03, 0.03, 0.3) for x in (0.32, 0.44, 0.56, 0.68)),
    ]


def _truck(rng: np.random.Generator) -> list[_Part]:
    top = rng.uniform(0.16, 0.26)
    return [
        _box(0.03, top, 0.64, 0.72),
        _box(0.66, 0.38, 0.95, 0.72, 0.8),
        _box(0.76, 0.43, 0.93, 0.55, 0.4),
        *(_oval(x, 0.75, 0.09, 0.09, 0.25) for x in (0.16, 0.38, 0.8)),
    ]


THINGS = (_airplane, _automobile, _bird, _cat, _deer, _dog, _frog, _horse, _ship, _truck)
