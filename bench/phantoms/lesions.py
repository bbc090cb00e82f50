"""Procedural skin lesions of seven classes under four dermatoscopes; a few views of every lesion.

Built so that a network which looks at shape and texture learns it and the mean colour says little: pigment
has one range of colours for all classes, while skin tone, white balance, gain and the light's direction
change from source to source and from view to view. All views of a lesion share its outline and structures,
so a lesion that stands in train and test is a leak that pays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

SHAPE = (72, 96)  # (H, W) of a view; the aspect is that of the real images
CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
SOURCES = ("rosendahl", "vidir_modern", "vidir_molemax", "vienna_dias")
# The order of the classes by size is that of the real data; the common ones are fewer than there.
SIZES: Mapping[str, Mapping[str, int]] = {
    "tiny": {"nv": 130, "mel": 76, "bkl": 74, "bcc": 42, "akiec": 40, "vasc": 34, "df": 34},
    "small": {"nv": 780, "mel": 540, "bkl": 530, "bcc": 514, "akiec": 327, "vasc": 142, "df": 115},
}


@dataclass(frozen=True)
class Look:
    """What a class looks like; lengths in half image heights.

    Args:
        radius: Range of the mean radius.
        stretch: Range of length over width.
        ragged: How far the outline leaves an ellipse.
        soft: Width of the border.
        body: Range of the opacity of the pigment.
        patchy: Strength of large blotches in the pigment.
        spots: Range of the number of spots, and of their radius.
        spot_opacity: How much a spot covers.
    """

    radius: tuple[float, float]
    stretch: tuple[float, float]
    ragged: float
    soft: float
    body: tuple[float, float]
    patchy: float
    spots: tuple[int, int] = (0, 1)
    spot_radius: tuple[float, float] = (0.05, 0.1)
    spot_opacity: float = 0.8


LOOKS = {
    "nv": Look((0.38, 0.6), (1.0, 1.25), 0.03, 0.05, (0.45, 0.85), 0.1, (20, 35), (0.025, 0.04), 0.3),
    "mel": Look((0.5, 0.8), (1.0, 1.5), 0.17, 0.035, (0.6, 0.95), 0.6, (3, 6), (0.1, 0.2), 0.7),
    "bkl": Look((0.42, 0.65), (1.3, 1.9), 0.05, 0.012, (0.45, 0.8), 0.2, (10, 18), (0.045, 0.07), 0.8),
    "bcc": Look((0.45, 0.65), (1.0, 1.4), 0.08, 0.16, (0.12, 0.3), 0.2, (3, 6), (0.09, 0.16), 0.75),
    "akiec": Look((0.45, 0.7), (1.0, 1.5), 0.12, 0.12, (0.25, 0.5), 0.3, (14, 24), (0.02, 0.035), 0.6),
    "df": Look((0.42, 0.58), (1.0, 1.2), 0.03, 0.1, (0.4, 0.7), 0.1),
    "vasc": Look((0.3, 0.42), (1.0, 1.4), 0.04, 0.1, (0.05, 0.2), 0.1, (4, 9), (0.11, 0.2), 0.9),
}
# RGB of what spots are made of: darker pigment, blotches, pale cysts, blue-grey nests, red dots, blood.
SPOT_COLOUR = {
    "nv": (70, 42, 30),
    "mel": (48, 36, 44),
    "bkl": (236, 222, 190),
    "bcc": (88, 86, 108),
    "akiec": (170, 50, 50),
    "df": (0, 0, 0),
    "vasc": (120, 26, 50),
}
PALE, VESSEL = (240, 226, 216), (176, 56, 60)
# Skin RGB, white balance, strength of the light's gradient, of the dark corners, and blur in pixels.
SCOPES = {
    "rosendahl": ((214, 158, 142), (1.06, 0.97, 0.95), 0.12, 0.1, 0.4),
    "vidir_modern": ((222, 178, 160), (1.0, 1.0, 1.0), 0.08, 0.25, 0.3),
    "vidir_molemax": ((196, 160, 164), (0.93, 1.0, 1.1), 0.16, 0.45, 0.9),
    "vienna_dias": ((208, 164, 120), (1.1, 1.0, 0.82), 0.28, 0.05, 0.7),
}


@dataclass(frozen=True)
class View:
    """One image to draw: the lesion by its number, and which of its views.

    Args:
        seed: Seed of the whole phantom.
        lesion: Number of the lesion, from 0.
        view: Number of the view of this lesion, from 0.
        dx: Class of the lesion.
        source: Where it was photographed.
    """

    seed: int
    lesion: int
    view: int
    dx: str
    source: str


def plan(seed: int, counts: Mapping[str, int]) -> list[View]:
    """Which views there are: lesions of mixed classes and sources, 70 % with one view, others with more.

    Args:
        seed: Whole number from 0.
        counts: Images of each class.

    Returns:
        All views, those of a lesion side by side; lesions are numbered from 0.
    """
    rng = np.random.default_rng([seed, 0])
    lesions: list[tuple[str, int]] = []
    for dx, count in counts.items():
        left = count
        while left:
            images = min(left, int(rng.choice((1, 2, 3), p=(0.7, 0.21, 0.09))))
            lesions.append((dx, images))
            left -= images
    views = []
    for number, place in enumerate(rng.permutation(len(lesions))):
        dx, images = lesions[place]
        source = str(rng.choice(SOURCES, p=(0.23, 0.33, 0.34, 0.1)))
        views += [View(seed, number, k, dx, source) for k in range(images)]
    return views


def draw(view: View, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Draw one view, (H, W, 3) uint8."""
    own = np.random.default_rng([view.seed, 1, view.lesion])  # the lesion
    rng = np.random.default_rng([view.seed, 2, view.lesion, view.view])  # how it was photographed
    skin, balance, slope, corners, blur = SCOPES[view.source]
    height, width = shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    y, x = (2 * y - height + 1) / height, (2 * x - width + 1) / height
    image = np.array(skin) * own.normal(1, 0.05, 3) + gaussian_filter(rng.normal(0, 60, shape), 3)[..., None]
    image = _lesion(image, _placed(x, y, rng), view.dx, own, rng)
    image = _hair(image, x, y, rng)
    angle = rng.uniform(0, 2 * np.pi)
    light = 1 + slope * (np.cos(angle) * x + np.sin(angle) * y) - corners * (x**2 + y**2) / 2.8
    image = image * light[..., None] * (np.array(balance) * rng.normal(1, 0.04, 3) * rng.uniform(0.82, 1.12))
    image = gaussian_filter(image, (blur, blur, 0)) + rng.normal(0, 3, (*shape, 3))
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _placed(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of the lesion itself: shifted, turned, zoomed and perhaps mirrored from view to view."""
    x, y = x - rng.uniform(-0.2, 0.2), y - rng.uniform(-0.12, 0.12)
    angle, zoom = rng.uniform(0, 2 * np.pi), rng.uniform(0.85, 1.2)
    u = (np.cos(angle) * x + np.sin(angle) * y) / zoom
    v = (np.cos(angle) * y - np.sin(angle) * x) / zoom
    return u, v * rng.choice((-1, 1))


def _lesion(
    image: np.ndarray,
    place: tuple[np.ndarray, np.ndarray],
    dx: str,
    own: np.random.Generator,
    rng: np.random.Generator,
) -> np.ndarray:
    """Lay the body, then the structures of the class, over the skin."""
    u, v = place
    look = LOOKS[dx]
    stretch = np.sqrt(own.uniform(*look.stretch))
    radius = own.uniform(*look.radius)
    r, angle = np.hypot(u / stretch, v * stretch), np.arctan2(v * stretch, u / stretch)
    edge = np.ones_like(r)
    for k in range(2, 7):
        edge += look.ragged * own.normal() / np.sqrt(k) * np.cos(k * angle + own.uniform(0, 2 * np.pi))
    if dx == "mel":  # streaks that leave the border
        edge += 0.22 * np.maximum(0, np.cos(own.integers(7, 12) * angle + own.uniform(0, 6))) ** 4
    share = r / (radius * np.maximum(edge, 0.3))  # 0 in the middle, 1 on the border
    inside = _step((1 - share) * radius / look.soft)
    brown = own.uniform(0, 1)  # one range of pigments for all classes: from reddish to nearly black
    pigment = np.array([168, 98, 78]) * (1 - brown) + np.array([84, 58, 50]) * brown
    blotches = gaussian_filter(rng.normal(0, 1, r.shape), 5) * 12
    cover = inside * own.uniform(*look.body) * np.clip(1 + look.patchy * blotches, 0.15, 1.25)
    if dx == "df":  # a faint ring around a pale scar
        cover = cover * np.exp(-(((share - 0.85) / 0.22) ** 2))
        image = _over(image, PALE, own.uniform(0.3, 0.8) * _step((0.5 - share) * 9))
    image = _over(image, pigment, np.clip(cover, 0, 1))
    if dx == "akiec":  # scales
        scales = _step(gaussian_filter(rng.normal(0, 1, r.shape), 1.6) * 14 - 2)
        image = _over(image, PALE, own.uniform(0.2, 0.7) * inside * scales)
    if dx == "bcc":
        image = _over(image, VESSEL, own.uniform(0.3, 0.8) * _vessels(u, v, radius, own))
    count = int(own.integers(*look.spots))
    if count:
        spots = _spots(u, v, radius, count, look.spot_radius, own)
        image = _over(image, SPOT_COLOUR[dx], look.spot_opacity * own.uniform(0.25, 1) * spots)
    return image


def _spots(
    u: np.ndarray,
    v: np.ndarray,
    radius: float,
    count: int,
    sizes: tuple[float, float],
    own: np.random.Generator,
) -> np.ndarray:
    """Discs spread over the lesion, (H, W) from 0 to 1."""
    far, angle = radius * np.sqrt(own.uniform(0, 0.8, count)), own.uniform(0, 2 * np.pi, count)
    return _discs(u, v, far * np.cos(angle), far * np.sin(angle), own.uniform(*sizes, count))


def _vessels(u: np.ndarray, v: np.ndarray, radius: float, own: np.random.Generator) -> np.ndarray:
    """Branches that wind from the border inwards, (H, W) from 0 to 1."""
    across, down = [], []
    for _ in range(int(own.integers(3, 6))):
        angle = own.uniform(0, 2 * np.pi)
        start = radius * 1.05 * np.array([np.cos(angle), np.sin(angle)])
        turn = np.cumsum(own.normal(0, 0.35, 22)) + angle + np.pi
        across.append(start[0] + np.cumsum(0.035 * np.cos(turn)))
        down.append(start[1] + np.cumsum(0.035 * np.sin(turn)))
    cx, cy = np.concatenate(across), np.concatenate(down)
    return _discs(u, v, cx, cy, np.full(len(cx), 0.024))


def _discs(u: np.ndarray, v: np.ndarray, cx: np.ndarray, cy: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The union of discs with centres (cx, cy), (H, W) from 0 to 1."""
    u, v = u.astype(np.float32), v.astype(np.float32)
    nearest = np.full(u.shape, np.inf, np.float32)
    for x, y, size in zip(cx.tolist(), cy.tolist(), sizes.tolist(), strict=True):
        np.minimum(nearest, ((u - x) ** 2 + (v - y) ** 2) / size**2, out=nearest)
    return _step((1 - nearest) * 3)


def _hair(image: np.ndarray, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A few dark bent hairs on a third of the views."""
    for _ in range(int(rng.integers(1, 5)) if rng.uniform() < 0.33 else 0):
        angle, shift, bend = rng.uniform(0, np.pi), rng.uniform(-0.9, 0.9), rng.normal(0, 0.15)
        along, off = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
        image = _over(image, (52, 38, 34), 0.8 * np.exp(-(((off - shift - bend * along**2) / 0.018) ** 2)))
    return image


def _step(z: np.ndarray) -> np.ndarray:
    """A smooth step from 0 to 1."""
    return 1 / (1 + np.exp(-4 * np.clip(z, -10, 10)))


def _over(image: np.ndarray, colour: object, cover: np.ndarray) -> np.ndarray:
    """Paint a colour over an image, (H, W, 3), where `cover` (H, W) is above 0."""
    return image + (np.asarray(colour, float) - image) * cover[..., None]
