"""Procedural grey silhouettes of ten kinds of clothes, 28x28 pixels.

Shirts, pullovers, coats and dresses differ in sleeves, length, opening and waist, shoes in shaft and sole, as
in the photographs they stand for; grey level, pattern, position and proportions say nothing of the class.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

SIDE = 28
_SCALE = 4  # drawn larger, then averaged
_Points = list[tuple[float, float]]


def draw(label: int, seed: int, number: int) -> np.ndarray:
    """Draw one garment.

    Args:
        label: Class number in the order of Fashion-MNIST, 0 to 9.
        seed: Seed of the whole phantom.
        number: Number of the image.

    Returns:
        (28, 28) uint8, black background.
    """
    rng = np.random.default_rng([seed, 1, number])
    canvas = Image.new("L", (SIDE * _SCALE, SIDE * _SCALE))
    pen = ImageDraw.Draw(canvas)
    stretch = rng.uniform(0.85, 1.1, 2)
    shift = rng.uniform(-0.05, 0.05, 2)
    mirror = rng.choice((-1, 1))
    grey = int(rng.integers(110, 240))
    for points, share in SHAPES[label](rng):
        placed = [
            (
                (0.5 + mirror * (x - 0.5) * stretch[0] + shift[0]) * canvas.width,
                (0.5 + (y - 0.5) * stretch[1] + shift[1]) * canvas.height,
            )
            for x, y in points
        ]
        pen.polygon(placed, fill=round(grey * share))
    image = np.asarray(canvas, np.float32).reshape(SIDE, _SCALE, SIDE, _SCALE).mean((1, 3))
    cloth = 1 + gaussian_filter(rng.normal(0, 1, image.shape), rng.uniform(0.4, 2)) * rng.uniform(0.05, 0.3)
    if rng.uniform() < 0.3:  # stripes along or across, on any garment
        rows = np.arange(SIDE)[:, None] if rng.uniform() < 0.5 else np.arange(SIDE)[None]
        cloth = cloth * (1 - 0.35 * (np.sin(rows * rng.uniform(1, 2.2)) > 0))
    return np.clip(np.rint(image * cloth), 0, 255).astype(np.uint8)


def _trunk(rng: np.random.Generator, top: float, bottom: float, waist: float, hem: float) -> _Points:
    half = rng.uniform(0.17, 0.22)
    middle = (top + bottom) / 2
    right = [(0.5 + half, top), (0.5 + half * waist, middle), (0.5 + half * hem, bottom)]
    return right + [(1 - x, y) for x, y in right[::-1]]


def _sleeves(rng: np.random.Generator, top: float, length: float) -> list[tuple[_Points, float]]:
    out, width = rng.uniform(0.05, 0.16) + 0.1 * (length < 0.3), rng.uniform(0.08, 0.11)
    right = [
        (0.62, top),
        (0.7, top),
        (0.7 + out, top + length),
        (0.7 + out - width, top + length),
        (0.62, 0.4),
    ]
    return [(right, 0.92), ([(1 - x, y) for x, y in right], 0.92)]


def _top(rng: np.random.Generator, sleeve: float, bottom: float) -> list[tuple[_Points, float]]:
    top = rng.uniform(0.12, 0.18)
    return [*_sleeves(rng, top, sleeve), (_trunk(rng, top, bottom, 0.97, 1.0), 1.0)]


def _neck(depth: float) -> tuple[_Points, float]:
    return [(0.42, 0.1), (0.58, 0.1), (0.5, depth)], 0.0


def _t_shirt(rng: np.random.Generator) -> list[tuple[_Points, float]]:
    return [*_top(rng, rng.uniform(0.16, 0.24), rng.uniform(0.78, 0.88)), _neck(0.2)]


def _trouser(rng: np.random.Generator) -> list[tuple[_Points, float]]:
    half, gap, fork = rng.uniform(0.14, 0.19), rng.uniform(0.02, 0.05), rng.uniform(0.28, 0.4)
    leg = [(0.5, 0.08), (0.5 + half, 0.08), (0.5 + half, 0.92), (0.5 + gap, 0.92), (0.5, fork)]
    return [(leg, 1.0), ([(1 - x, y) for x, y in leg], 1.0)]


def _pullover(rng: np.random.Generator) -> list[tuple[_Points, float]]:
    low = rng.uniform(0.78, 0.86)
    cuff = [(0.3, low - 0.05), (0.7, low - 0.05), (0.7, low), (0.3, low)]
    return [*_top(rng, rng.uniform(0.55, 0.65), low), (cuff, 0.7), (_neck(0.15))]


def _dress(rng: np.random.Generator) -> list[tuple[_Points, float]]:
    body = _trunk(rng, rng.uniform(0.06, 0.12), 0.95, rng.uniform(0.5, 0.65), rng.uniform(0.95, 1.4))
    return [(body, 1.0), _neck(0.16)]


def _coat(rng: np.random.Generator) -> list[tuple[_Points, float]]:
    x, low = rng.uniform(0.49, 0.51), rng.uniform(0.9, 0.95)
    front = [(x - 0.014, 0.1), (x + 0.014, 0.1), (x + 0.014, low), (x - 0.014, low)]
    return [*_top(rng, rng.uniform(0.58, 0.7), low), (front, 0.2), _neck(0.3)]


def _sandal(rng: np.random.Generator) -> list[tuple[_Points, float]]:
    heel = rng.uniform(0.5, 0.62)
    sole = [
        (0.08, heel),
        (0.2, heel),
        (0.6, 0.72),
        (0.93, 0.74),
        (0.93, 0.79),
        (0.55, 0.79),
        (0.08, heel + 0.07),
    ]
    straps = []
    for x in (rng.uniform(0.2, 0.3), rng.uniform(0.5, 0.6), rng.uniform(0.72, 0.8)):
        up = rng.uniform(0.14, 0.24)
        straps.append(([(x, 0.74), (x + 0.05, 0.74), (x + 0.11, 0.74 - up), (x + 0.06, 0.74 - up)], 0.8))
    return [(sole, 1.0), *straps]


def _shirt(rng: np.random.Generator) -> list[tuple[_Points, float]]:
    collar = [[(0.4, 0.08), (0.5, 0.2), (0.44, 0.24)], [(0.6, 0.08), (0.5, 0.2), (0.56, 0.24)]]
    buttons = []
    for y in np.arange(0.28, 0.78, 0.12):
        buttons.append(([(0.485, y), (0.515, y), (0.515, y + 0.04), (0.485, y + 0.04)], 0.25))
    body = _top(rng, rng.uniform(0.5, 0.62), rng.uniform(0.8, 0.9))
    return [*body, *((points, 0.6) for points in collar), *buttons]


def _sneaker(rng: np.random.Generator) -> list[tuple[_Points, float]]:
    top = rng.uniform(0.42, 0.5)
    body = [(0.08, top), (0.32, top), (0.6, top + 0.12), (0.9, 0.62), (0.95, 0.72), (0.08, 0.72)]
    sole = [(0.07, 0.7), (0.95, 0.7), (0.93, 0.78), (0.07, 0.78)]
    return [(body, 1.0), (sole, 0.55)]


def _bag(rng: np.random.Generator) -> list[tuple[_Points, float]]:
    top, half = rng.uniform(0.38, 0.48), rng.uniform(0.28, 0.4)
    up = rng.uniform(0.1, 0.24)
    handle = [(0.5 - half * 0.6, top), (0.5 - half * 0.4, top - up), (0.5 + half * 0.4, top - up)]
    inner = [(x + (0.5 - x) * 0.25, y + 0.05) for x, y in [*handle, (0.5 + half * 0.6, top)]]
    body = [(0.5 - half, top), (0.5 + half, top), (0.5 + half, 0.85), (0.5 - half, 0.85)]
    flap = [(0.5 - half, top), (0.5 + half, top), (0.5, top + 0.2)]
    return [([*handle, (0.5 + half * 0.6, top)], 0.85), (inner, 0.0), (body, 1.0), (flap, 0.75)]


def _boot(rng: np.random.Generator) -> list[tuple[_Points, float]]:
    top, shaft = rng.uniform(0.12, 0.24), rng.uniform(0.38, 0.46)
    body = [(0.12, top), (shaft, top), (shaft + 0.05, 0.55), (0.85, 0.66), (0.92, 0.8), (0.1, 0.8)]
    heel = [(0.1, 0.78), (0.3, 0.78), (0.28, rng.uniform(0.84, 0.92)), (0.12, 0.88)]
    return [(body, 1.0), (heel, 0.8)]


SHAPES = (_t_shirt, _trouser, _pullover, _dress, _coat, _sandal, _shirt, _sneaker, _bag, _boot)
