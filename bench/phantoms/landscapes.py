"""Procedural photographs of landscapes with a class number and a thing number a pixel.

A sky above a horizon, mountains, houses and trees on it, one of four kinds of ground below, and things where
they belong: boats on the sea, cars on the road, birds and kites in the sky, the larger the nearer. Every
class has a range of colours and a texture of its own; the light of the whole scene is drawn for each image,
so that no colour tells a class alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import binary_dilation, gaussian_filter, gaussian_filter1d

# Numbers of the label maps of COCO-Stuff.
PERSON, CAR, BOAT, BIRD, SHEEP, KITE = 0, 2, 8, 15, 19, 37
BUILDING, CLOUDS, GRASS, MOUNTAIN, ROAD, SAND, SEA, SKY, TREE = 95, 105, 123, 134, 148, 153, 154, 156, 168
NOBODY = 255  # the seam around a thing, which nobody labelled
KINDS = ("meadow", "coast", "dunes", "street")

_Part = tuple[
    str, tuple[tuple[float, float], ...], float
]  # kind, points in a unit square, share of the colour
_Mask = NDArray[np.bool_]


class Landscape(NamedTuple):
    """One scene.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8, numbers of the label maps; 255 where nobody labelled.
        instances: (H, W) uint8: `labels` with each thing painted over by its number 0, 1, 2, ...
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    instances: NDArray[np.uint8]


class _Look(NamedTuple):
    dark: tuple[int, int, int]  # the class's colour lies between these two
    light: tuple[int, int, int]
    grain: float  # blur of its noise, as a share of the shorter side
    rough: float  # strength of its noise, in grey levels
    waves: tuple[float, float] = (0, 0)  # bright and dark bands down and across the shorter side
    depth: float = 0  # of the bands, in grey levels


LOOKS = {
    SKY: _Look((70, 130, 205), (150, 195, 245), 0.2, 3),
    CLOUDS: _Look((195, 195, 205), (250, 250, 250), 0.05, 9),
    MOUNTAIN: _Look((90, 80, 105), (150, 135, 140), 0.02, 16),
    BUILDING: _Look((150, 90, 75), (215, 175, 145), 0.1, 4, (22, 22), 22),
    TREE: _Look((20, 70, 25), (60, 105, 45), 0.012, 24),
    GRASS: _Look((70, 135, 35), (140, 185, 75), 0.006, 15),
    SAND: _Look((205, 175, 115), (240, 220, 170), 0.003, 9),
    ROAD: _Look((75, 75, 80), (125, 125, 130), 0.003, 5),
    SEA: _Look((10, 75, 110), (45, 130, 150), 0.03, 5, (24, 1.5), 13),
    PERSON: _Look((150, 20, 90), (225, 80, 150), 0.02, 6),
    CAR: _Look((180, 20, 20), (240, 130, 40), 0.1, 3),
    BOAT: _Look((120, 70, 30), (235, 225, 200), 0.05, 4, (30, 0), 14),
    BIRD: _Look((25, 20, 25), (70, 60, 60), 0.01, 6),
    SHEEP: _Look((215, 205, 190), (250, 245, 235), 0.012, 14),
    KITE: _Look((230, 200, 20), (250, 120, 220), 0.1, 3, (0, 40), 30),
}


def landscape(seed: int, split: int, number: int, short: tuple[int, int], long: tuple[int, int]) -> Landscape:
    """Draw one scene; the same numbers draw the same scene.

    Args:
        seed: Seed of the whole phantom.
        split: Number of the split.
        number: Number of the image within its split; the kinds of ground take turns.
        short: Least and greatest length of one side, in pixels.
        long: The same of the other side; which of them is the height is drawn.

    Returns:
        Photograph, label map and instance map.
    """
    rng = np.random.default_rng([seed, split, number])
    sides = [int(rng.integers(low, high + 1)) for low, high in (short, long)]
    height, width = sides[::-1] if rng.uniform() < 0.35 else sides  # more of them lie than stand
    scene = _Scene(height, width, rng)
    kind = KINDS[number % len(KINDS)]
    scene.sky(rng.uniform() < 0.75)
    if rng.uniform() < {"meadow": 0.7, "coast": 0.4, "dunes": 0.6, "street": 0.3}[kind]:
        scene.mountains()
    scene.ground(kind)
    scene.fliers(kind)
    scene.standing(kind)
    return scene.finished()


class _Scene:
    """A canvas with the maps that go with it, painted from the back to the front."""

    def __init__(self, height: int, width: int, rng: np.random.Generator):
        self.rng, self.height, self.width = rng, height, width
        self.unit = min(height, width)
        self.y, self.x = np.mgrid[:height, :width].astype(float)
        self.horizon = rng.uniform(0.36, 0.56) * height
        self.image = np.zeros((height, width, 3))
        self.labels = np.full((height, width), NOBODY, np.uint8)
        self.owner = np.full((height, width), -1)  # number of the thing, -1 for none
        self.things = 0

    def sky(self, cloudy: bool) -> None:
        above = self.y < self.horizon + 1
        self._fill(above, SKY)
        self.image[above] += (22 * self.y / self.horizon)[above][:, None]  # paler towards the horizon
        if cloudy:
            noise = self.rng.normal(size=above.shape)
            flat = gaussian_filter(noise, (0.04 * self.unit, 0.13 * self.unit), truncate=2)
            self._fill(above & (flat > np.quantile(flat, self.rng.uniform(0.6, 0.85))), CLOUDS)

    def mountains(self) -> None:
        peaks = self.rng.uniform((-0.1, 0.12), (1.1, 0.3), (self.rng.integers(2, 5), 2))
        slope, across = self.rng.uniform(0.5, 0.9), np.arange(self.width) / self.width
        ridge = (peaks[:, 1:] - slope * np.abs(across - peaks[:, :1])).max(0)
        ridge += gaussian_filter1d(self.rng.normal(0, 0.02, self.width), 1.2)
        self._fill((self.y < self.horizon) & (self.y > self.horizon - ridge * self.height), MOUNTAIN)

    def ground(self, kind: str) -> None:
        below = self.y >= self.horizon
        near = (self.y - self.horizon) / (self.height - self.horizon)
        if kind == "coast":
            self._fill(below, SEA)
            wavy = gaussian_filter1d(self.rng.normal(size=self.width), 0.08 * self.width)
            shore = (
                self.rng.uniform(0.5, 0.85)
                + 0.05 * wavy / wavy.std()
                + self.rng.uniform(-0.25, 0.25) * (self.x / self.width - 0.5)
            )
            self._fill(near > shore, SAND)
        elif kind == "street":
            self._houses()
            self._fill(below, GRASS)
            far, close = self.rng.uniform(0.3, 0.7), self.rng.uniform(0.3, 0.7)
            middle = far + (close - far) * near
            half = 0.05 + self.rng.uniform(0.25, 0.4) * near
            self._fill(below & (np.abs(self.x / self.width - middle) < half), ROAD)
        else:
            self._fill(below, GRASS if kind == "meadow" else SAND)
            if kind == "dunes":  # tufts of grass in the distance
                tufts = gaussian_filter(
                    self.rng.normal(size=below.shape), (0.02 * self.unit, 0.08 * self.unit)
                )
                self._fill(below & (near < 0.4) & (tufts > np.quantile(tufts, 0.85)), GRASS)

    def fliers(self, kind: str) -> None:
        counts = {BIRD: self.rng.integers(0, 4), KITE: self.rng.integers(0, 3) if kind != "street" else 0}
        for label, count in counts.items():
            for _ in range(count):
                size = self.unit * self.rng.uniform(0.09, 0.17)
                x, y = self.rng.uniform((0.1, 0.1), (0.9, 0.75))
                self._stand(label, x * self.width, y * self.horizon + size / 2, size)

    def standing(self, kind: str) -> None:
        """Trees and things on the ground, the far ones first."""
        most = {
            "meadow": {TREE: 7, SHEEP: 5, PERSON: 2},
            "coast": {BOAT: 4, PERSON: 3},
            "dunes": {TREE: 2, PERSON: 3},
            "street": {TREE: 4, CAR: 5, PERSON: 3},
        }[kind]
        soil = {CAR: (ROAD,), BOAT: (SEA,), SHEEP: (GRASS,), TREE: (GRASS, SAND), PERSON: (GRASS, SAND, ROAD)}
        high = {CAR: 0.26, BOAT: 0.42, SHEEP: 0.2, TREE: 0.7, PERSON: 0.42}
        found = []
        for label, limit in most.items():
            free = np.argwhere(np.isin(self.labels, soil[label]) & (self.y > self.horizon + 1))
            count = self.rng.integers(1, limit + 1)
            places = self.rng.permutation(free)[:count]
            found += [(int(y), int(x), label) for y, x in places]
        for y, x, label in sorted(found):
            near = (y - self.horizon) / (self.height - self.horizon)
            if label == TREE:
                near *= 0.7  # none that hides the scene
            size = self.unit * high[label] * (0.28 + 0.72 * near) * self.rng.uniform(0.85, 1.15)
            self._stand(label, x, y, size)

    def finished(self) -> Landscape:
        tint = self.rng.uniform(-0.16, 0.16)
        light = self.rng.uniform(0.6, 1.1) * np.array([1 + tint, 1 + self.rng.uniform(-0.04, 0.04), 1 - tint])
        pixels = self.image * light + self.rng.normal(0, 2, self.image.shape)
        image = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
        return Landscape(
            image, self.labels, np.where(self.owner < 0, self.labels, self.owner).astype(np.uint8)
        )

    def _houses(self) -> None:
        left, base = -0.05 * self.width, self.horizon + 2
        while left < self.width:
            wide = self.unit * self.rng.uniform(0.12, 0.3)
            if self.rng.uniform() < 0.75:
                high = self.unit * self.rng.uniform(0.1, 0.32)
                box = (self.x >= left) & (self.x < left + wide) & (self.y > base - high) & (self.y < base)
                self._fill(box, BUILDING)
            left += wide + 1

    def _stand(self, label: int, x: float, y: float, size: float) -> None:
        """Put one thing or tree with the middle of its foot at (x, y), `size` high."""
        mirror = self.rng.choice((-1, 1))
        cover, shade = (Image.new("L", (self.width, self.height)) for _ in range(2))
        for kind, points, share in _SHAPES[label]:
            placed = [(x + mirror * (px - 0.5) * size, y + (py - 1) * size) for px, py in points]
            if kind == "oval":
                placed = [tuple(map(min, *placed)), tuple(map(max, *placed))]
            for sheet, value in ((cover, 255), (shade, round(100 * share))):
                pen = ImageDraw.Draw(sheet)
                pen.ellipse(placed, fill=value) if kind == "oval" else pen.polygon(placed, fill=value)
        mask = np.asarray(cover) > 0
        if label != TREE:
            seam = np.logical_and(binary_dilation(mask), ~mask)
            self.labels[seam], self.owner[seam] = NOBODY, -1
        self._fill(mask, label, np.asarray(shade)[..., None] / 100)
        self.owner[mask] = -1 if label == TREE else self.things
        self.things += label != TREE

    def _fill(self, mask: _Mask, label: int, share: NDArray[np.float64] | None = None) -> None:
        """Paint colour and texture of a class where `mask` says, and its number into the label map."""
        if not mask.any():
            return
        rows, cols = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        box = np.s_[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]  # texture elsewhere would not be seen
        look, inside = LOOKS[label], mask[box]
        dark, light = np.array(look.dark, float), np.array(look.light, float)
        colour = dark + (light - dark) * np.clip(self.rng.uniform() + self.rng.normal(0, 0.1, 3), 0, 1)
        noise = gaussian_filter(self.rng.normal(size=inside.shape), look.grain * self.unit, truncate=2)
        pattern = look.rough * noise / (noise.std() + 1e-9)
        if look.depth:
            angles = [
                2 * np.pi * (count * place[box] / self.unit + self.rng.uniform())
                for count, place in zip(look.waves, (self.y, self.x), strict=True)
                if count
            ]
            bands = np.prod(np.sin(angles), 0) if label == BUILDING else np.sin(np.sum(angles, 0))
            pattern = pattern + look.depth * bands
        whole = (colour + pattern[..., None]) * (1 if share is None else share[box])
        self.image[box][inside] = whole[inside]
        self.labels[mask] = label


def _oval(x: float, y: float, rx: float, ry: float, share: float = 1.0) -> _Part:
    return "oval", ((x - rx, y - ry), (x + rx, y + ry)), share


def _poly(*points: tuple[float, float], share: float = 1.0) -> _Part:
    return "polygon", points, share


def _box(x0: float, y0: float, x1: float, y1: float, share: float = 1.0) -> _Part:
    return _poly((x0, y0), (x1, y0), (x1, y1), (x0, y1), share=share)


_SHAPES: dict[int, tuple[_Part, ...]] = {
    PERSON: (
        _box(0.36, 0.55, 0.47, 1, 0.45),
        _box(0.53, 0.55, 0.64, 1, 0.4),
        _poly((0.3, 0.22), (0.7, 0.22), (0.66, 0.6), (0.34, 0.6)),
        _oval(0.5, 0.11, 0.11, 0.11, 1.2),
    ),
    CAR: (
        _box(-0.35, 0.45, 1.35, 0.85),
        _poly((-0.05, 0.48), (0.15, 0.08), (0.85, 0.08), (1.1, 0.48)),
        _poly((0.06, 0.45), (0.2, 0.16), (0.8, 0.16), (0.98, 0.45), share=0.5),
        _oval(0, 0.84, 0.18, 0.16, 0.2),
        _oval(1, 0.84, 0.18, 0.16, 0.2),
    ),
    BOAT: (
        _poly((-0.1, 0.72), (1.1, 0.72), (0.9, 1), (0.1, 1), share=0.7),
        _box(0.46, 0, 0.5, 0.74, 0.4),
        _poly((0.53, 0.04), (0.53, 0.66), (1, 0.66), share=1.1),
        _poly((0.43, 0.12), (0.43, 0.66), (0.08, 0.66)),
    ),
    BIRD: (
        _poly((0.5, 0.75), (0.1, 0.3), (-0.3, 0.35), (0.08, 0.42), (0.42, 0.95)),
        _poly((0.5, 0.75), (0.9, 0.3), (1.3, 0.35), (0.92, 0.42), (0.58, 0.95)),
        _oval(0.5, 0.85, 0.14, 0.13, 0.7),
    ),
    SHEEP: (
        *(_box(x, 0.7, x + 0.1, 1, 0.25) for x in (0.08, 0.26, 0.62, 0.8)),
        _oval(0.5, 0.52, 0.6, 0.34),
        _oval(1.08, 0.36, 0.18, 0.17, 0.3),
    ),
    KITE: (
        _poly((0.5, 0), (0.85, 0.35), (0.5, 0.8), (0.15, 0.35)),
        _poly((0.47, 0.75), (0.54, 0.75), (0.66, 1.3), (0.6, 1.3), share=0.8),
    ),
    TREE: (
        _box(0.45, 0.6, 0.55, 1, 0.75),
        _oval(0.5, 0.3, 0.27, 0.3),
        _oval(0.3, 0.48, 0.22, 0.2, 0.85),
        _oval(0.7, 0.46, 0.22, 0.2, 1.1),
    ),
}
