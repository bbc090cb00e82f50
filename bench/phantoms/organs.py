"""Procedural organs for the Decathlon phantom: ellipsoids, tubes, crescents and paired zones, MRI and CT.

Built so that organs are related and none is a matter of grey levels alone: every labelled structure is a
little brighter than what is around it, has a fine grain and a dark rim, while neighbours of the same grey
level have neither. Position, size, bend, contrast, gain and bias field change from patient to patient.

Shapes: H rows, W columns, D slices; a unit of length is half of the shorter side of a slice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]
# Grey levels before they become Hounsfield units or the arbitrary units of a scanner.
AIR, LUNG, FAT, MUSCLE, BONE = 0.0, 0.15, 0.3, 0.42, 1.0
_LEVELS = (AIR, LUNG, FAT, MUSCLE, 0.7, BONE)
_HOUNSFIELD = (-1000, -830, -100, 40, 160, 480)
_GRAIN, _BLOTCHES, _NOISE = 0.075, 0.03, 0.03


class Canvas:
    """Coordinates of one patient's slices, warped, and what has been painted on them.

    Args:
        rng: Draws all that differs from patient to patient.
        shape: (H, W, D).
    """

    def __init__(self, rng: np.random.Generator, shape: tuple[int, int, int]) -> None:
        self.rng, self.shape = rng, shape
        half = min(shape[:2]) / 2
        x, y = ((np.arange(n) - (n - 1) / 2) / half for n in shape[:2])
        x, y = np.meshgrid(x, y, indexing="ij")
        shift, angle, scale = rng.uniform(-0.06, 0.06, 2), rng.normal(0, 0.09), rng.uniform(0.97, 1.1)
        u = (np.cos(angle) * x + np.sin(angle) * y) * scale + shift[0]
        v = (np.cos(angle) * y - np.sin(angle) * x) * scale + shift[1]
        self.x: Array = (u[..., None] + self.smooth(0.055)).astype(np.float32)
        self.y: Array = (v[..., None] + self.smooth(0.055)).astype(np.float32)
        self.z: Array = np.linspace(-1, 1, shape[2], dtype=np.float32)
        self.level: Array = np.full(shape, AIR, np.float32)
        self.label = np.zeros(shape, np.uint8)
        self.organ = float(rng.uniform(0.6, 0.72))  # grey level of what is labelled
        self.muscle = MUSCLE + float(rng.normal(0, 0.015))

    def smooth(self, strength: float, bends: int = 4) -> Array:
        """A smooth random field of about this standard deviation, (H, W, D)."""
        knots = self.rng.normal(0, strength, (bends, bends, 3))
        rows, columns, slices = (_weights(n, k) for n, k in zip(self.shape, knots.shape, strict=True))
        return np.einsum("hi,wj,dk,ijk->hwd", rows, columns, slices, knots, optimize=True).astype(np.float32)

    @cached_property
    def cap(self) -> NDArray:
        """Share of its cross-section that a structure keeps in each slice, (D,): most, but at the ends."""
        return np.sqrt(1 - np.abs(self.z / self.rng.uniform(1.01, 1.1)) ** 4)

    def ball(
        self, at: tuple[float, float], radii: tuple[float, float], turn: float = 0.0, tall: bool = False
    ) -> Mask:
        """An ellipsoid around `at`, or a column through all slices when `tall`."""
        dx, dy = self.x - np.float32(at[0]), self.y - np.float32(at[1])
        cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        far = ((cos * dx + sin * dy) / radii[0]) ** 2 + ((cos * dy - sin * dx) / radii[1]) ** 2
        return far < (1 if tall else self.cap**2)

    def tube(self, line: NDArray, radii: NDArray, drift: tuple[float, float] = (0, 0)) -> Mask:
        """A bent tube along `line` (K, 2) of `radii` (K,) whose place drifts from slice to slice."""
        x, y = self.x - np.float32(drift[0]) * self.z, self.y - np.float32(drift[1]) * self.z
        near = np.full(self.shape, np.inf, np.float32)
        for (a, b), radius in zip(line.astype(np.float32), radii.astype(np.float32), strict=True):
            np.minimum(near, ((x - a) ** 2 + (y - b) ** 2) / radius**2, out=near)
        return near < self.cap**2

    def paint(self, where: Mask, level: float) -> None:
        """Give a structure its grey level."""
        self.level[where] = level

    def mark(self, where: Mask, label: int, level: float) -> None:
        """Paint a structure and label it."""
        self.paint(where, level)
        self.label[where] = label

    def alike(self) -> float:
        """Grey level of a neighbour that is easily taken for the organ."""
        return self.organ + float(self.rng.normal(0, 0.05))

    def near(self, at: tuple[float, float], spread: float = 0.06) -> tuple[float, float]:
        """A place close to `at`."""
        return at[0] + float(self.rng.normal(0, spread)), at[1] + float(self.rng.normal(0, spread))

    def trunk(self, width: float, height: float) -> Mask:
        """Fat, muscle, a spine and ribs; returns the inside of the ribs."""
        self.paint(self.ball((0, 0), (width, height), tall=True), FAT)
        inside = self.ball((0, 0), (width - 0.09, height - 0.09), tall=True)
        self.paint(inside, self.muscle)
        for angle in np.arange(9) * 0.7 + self.rng.uniform(0, 0.7):
            at = (float((width - 0.13) * np.cos(angle)), float((height - 0.13) * np.sin(angle)))
            self.paint(self.ball(at, (0.06, 0.04), float(angle) + np.pi / 2, tall=True), BONE)
        self.paint(self.ball((0, 0.13 - height + 0.14), (0.15, 0.12), tall=True), BONE)
        return inside


def _weights(count: int, knots: int) -> NDArray:
    """(count, knots): how much each knot weighs at each point; the squares of a point's weights sum to 1."""
    apart = np.linspace(0, knots - 1, count)[:, None] - np.arange(knots)
    weights = np.exp(-(apart**2))
    return weights / np.linalg.norm(weights, axis=1, keepdims=True)


def _curve(start: tuple[float, float], end: tuple[float, float], bend: float, count: int = 22) -> NDArray:
    """(count, 2) points from start to end, bent sideways by `bend`."""
    t = np.linspace(0, 1, count)[:, None]
    a, b = np.array(start), np.array(end)
    across = np.array([a[1] - b[1], b[0] - a[0]])
    return a + (b - a) * t + across * bend * np.sin(np.pi * t)


def _heart(c: Canvas) -> None:
    """Left atrium: two joined ellipsoids of bright blood; ventricle and aorta are as bright."""
    c.paint(c.ball((0, 0), (1.3, 1.05), tall=True), c.muscle)
    for side in (-1, 1):
        c.paint(c.ball(c.near((side * 0.85, 0.05)), (0.32, 0.62), tall=True), LUNG)
    c.paint(c.ball(c.near((0.25, 0.45)), (0.4, 0.27), 0.5, tall=True), c.alike())
    for place, radii in (((0.35, -0.62), (0.17, 0.16)), ((-0.42, 0.55), (0.2, 0.14))):
        c.paint(c.ball(c.near(place), radii, tall=True), c.alike())
    at = c.near((-0.02, -0.1), 0.1)
    left = c.ball(at, (0.42, 0.28), float(c.rng.normal(0.2, 0.12)))
    right = c.ball((at[0] + 0.24, at[1] + 0.1), (0.3, 0.24), float(c.rng.normal(-0.4, 0.12)))
    c.mark(left | right, 1, c.organ)


def _hippocampus(c: Canvas) -> None:
    """A bent tube whose anterior and posterior parts share most slices; the border moves through them."""
    c.paint(np.ones(c.shape, bool), c.muscle)
    c.paint(c.smooth(1.0) > 0.75, FAT)  # fluid
    for at in ((0.72, 0.7), (-0.72, -0.75), (0.75, -0.6), (-0.75, 0.6)):
        c.paint(c.ball(c.near(at, 0.1), (0.24, 0.34), float(c.rng.uniform(0, 3)), tall=True), c.alike())
    head, tail = c.near((-0.12, 0.78), 0.06), c.near((0.08, -0.82), 0.06)
    line = _curve(head, tail, float(c.rng.normal(0.12, 0.05)))
    tube = c.tube(line, np.linspace(0.44, 0.32, len(line)), (float(c.rng.normal(0, 0.06)), 0))
    border = float(c.rng.normal(0, 0.12)) + 0.85 * c.z + 0.25 * c.x
    c.mark(tube & (c.y >= border), 1, c.organ + 0.05)
    c.mark(tube & (c.y < border), 2, c.organ - 0.03)


def _prostate(c: Canvas) -> None:
    """A transitional ellipsoid inside a bright peripheral crescent, below a bright bladder."""
    c.paint(c.ball((0, 0), (1.35, 1.2), tall=True), c.muscle)
    for side in (-1, 1):
        c.paint(c.ball(c.near((side * 0.92, 0.3)), (0.24, 0.3), tall=True), c.alike())
    c.paint(c.ball(c.near((0, 0.78)), (0.45, 0.22), tall=True), c.alike() + 0.1)
    c.paint(c.ball(c.near((0.05, -0.85)), (0.28, 0.17), tall=True), FAT)
    at = c.near((0, -0.05), 0.06)
    whole = c.ball((at[0], at[1] - 0.12), (0.62, 0.5))
    inner = c.ball((at[0], at[1] + 0.06), (0.46, 0.37), float(c.rng.normal(0, 0.1)))
    c.mark(whole & (c.y < at[1] + 0.15), 1, c.organ + 0.1)
    c.mark(inner, 2, c.organ - 0.06)


def _lung(c: Canvas) -> None:
    """A tumour that sits on the wall of a lung and is as bright as the wall and the vessels."""
    inside = c.trunk(1.02, 0.94)
    lungs = np.zeros(c.shape, bool)
    for side in (-1, 1):
        lungs |= c.ball((side * 0.46, 0.03), (0.38, 0.66), -0.12 * side, tall=True)
    c.paint(lungs, LUNG)
    c.paint(c.ball(c.near((0.12, 0.2)), (0.3, 0.32)), c.alike())
    for _ in range(8):
        at = (float(c.rng.choice((-1, 1)) * c.rng.uniform(0.2, 0.7)), float(c.rng.uniform(-0.4, 0.5)))
        c.paint(c.ball(at, (0.05, 0.05), tall=True) & lungs, c.alike())
    side = float(c.rng.choice((-1, 1)))
    at = c.near((side * 0.56, float(c.rng.choice((-0.22, 0.25)))), 0.04)
    c.mark(c.ball(at, (0.36, 0.42), float(c.rng.uniform(-0.5, 0.5))) & inside, 1, c.organ)


def _abdomen(c: Canvas) -> Mask:
    """The trunk with a liver on the left of the image, kidneys and an aorta; returns the inside."""
    inside = c.trunk(1.02, 0.9)
    c.paint(c.ball(c.near((0, 0.05)), (0.75, 0.6), tall=True), FAT + 0.04)
    c.paint(c.ball(c.near((-0.5, 0.12)), (0.4, 0.52), 0.2, tall=True) & inside, c.organ - 0.1)
    for side in (-1, 1):
        c.paint(c.ball(c.near((side * 0.42, -0.48)), (0.15, 0.19), tall=True) & inside, c.alike())
    c.paint(c.ball(c.near((0.05, -0.36)), (0.09, 0.09), tall=True), c.alike())
    return inside


def _pancreas(c: Canvas) -> None:
    """A bent tube with a tumour at its head, between liver, stomach and bowel."""
    _abdomen(c)
    c.paint(c.ball(c.near((0.38, 0.5)), (0.3, 0.17), -0.4, tall=True), c.alike())
    head, tail = c.near((-0.32, -0.12)), c.near((0.58, 0.12))
    line = _curve(head, tail, float(c.rng.normal(0.16, 0.06)))
    c.mark(c.tube(line, np.linspace(0.26, 0.19, len(line)), (0, float(c.rng.normal(0, 0.05)))), 1, c.organ)
    at = c.near((head[0] - 0.17, head[1] - 0.04), 0.03)
    c.mark(c.ball(at, (0.37, 0.35), float(c.rng.uniform(0, 3))), 2, c.organ - 0.13)


def _vessels(c: Canvas) -> None:
    """A tree of tubes and a tumour in the liver; the aorta and the kidneys are as bright."""
    inside = _abdomen(c)
    c.paint(c.ball(c.near((-0.14, 0.1)), (0.68, 0.62), 0.2, tall=True) & inside, c.muscle + 0.05)
    root, fork = c.near((0.32, -0.2)), c.near((-0.14, 0.02))
    tips = [c.near(at, 0.06) for at in ((-0.72, 0.12), (-0.52, 0.46), (-0.02, 0.6), (0.35, 0.42))]
    tree = c.tube(_curve(root, fork, 0.1), np.full(22, 0.11))
    for tip in tips:
        drift = (float(c.rng.normal(0, 0.05)), float(c.rng.normal(0, 0.05)))
        tree |= c.tube(_curve(fork, tip, float(c.rng.normal(0, 0.15))), np.linspace(0.105, 0.075, 22), drift)
    c.mark(tree, 1, c.organ + 0.05)
    c.mark(c.ball(c.near((-0.45, -0.22), 0.05), (0.42, 0.36), float(c.rng.uniform(0, 3))), 2, c.organ - 0.1)


def _spleen(c: Canvas) -> None:
    """A crescent along the wall on the right of the image; liver and stomach are as bright."""
    inside = _abdomen(c)
    stomach = c.near((0.34, 0.36))
    c.paint(c.ball(stomach, (0.24, 0.27), tall=True), c.alike())
    at = c.near((0.58, -0.02), 0.05)
    outer = c.ball(at, (0.34, 0.58), float(c.rng.normal(0.1, 0.1)))
    hollow = c.ball((at[0] - 0.24, at[1] + 0.02), (0.24, 0.42), tall=True)
    c.mark(outer & ~hollow & inside, 1, c.organ)


@dataclass(frozen=True)
class Anatomy:
    """What the volumes of one folder have in common.

    Args:
        paint: Draws and labels the structures.
        shape: (H, W).
        kind: `MRI` or `CT`.
        channels: 1, or 2 for T2 and ADC.
    """

    paint: Callable[[Canvas], None]
    shape: tuple[int, int]
    kind: str
    channels: int = 1


ANATOMIES: Mapping[str, Anatomy] = {
    "Task02_Heart": Anatomy(_heart, (112, 112), "MRI"),
    "Task04_Hippocampus": Anatomy(_hippocampus, (40, 56), "MRI"),
    "Task05_Prostate": Anatomy(_prostate, (96, 96), "MRI", 2),
    "Task06_Lung": Anatomy(_lung, (128, 128), "CT"),
    "Task07_Pancreas": Anatomy(_pancreas, (128, 128), "CT"),
    "Task08_HepaticVessel": Anatomy(_vessels, (128, 128), "CT"),
    "Task09_Spleen": Anatomy(_spleen, (112, 112), "CT"),
}


def draw(
    folder: str, seed: int, number: int, depth: int
) -> tuple[NDArray[np.int16] | Array, NDArray[np.uint8]]:
    """Draw one patient; the same arguments give the same voxels.

    Args:
        folder: A key of `ANATOMIES`.
        seed: Seed of the phantom.
        number: Number of the patient in its folder.
        depth: Slices.

    Returns:
        Image (H, W, D), or (H, W, D, 2) for the prostate, int16 Hounsfield units or float32 whole numbers
        from 1; label (H, W, D) uint8.
    """
    anatomy = ANATOMIES[folder]
    rng = np.random.default_rng([seed, int(folder[4:6]), number])
    canvas = Canvas(rng, (*anatomy.shape, depth))
    anatomy.paint(canvas)
    level = _texture(canvas)
    if anatomy.kind == "CT":
        noisy = level + 0.5 * _NOISE * rng.normal(size=level.shape) * (level > LUNG / 2)
        units = np.interp(noisy, _LEVELS, _HOUNSFIELD) + rng.normal(0, 8, level.shape)
        return np.rint(units).clip(-1024, 3071).astype(np.int16), canvas.label
    images = [level, 1.1 - 0.4 * level + 0.8 * np.abs(level - 0.6)][: anatomy.channels]
    gain = rng.uniform(300, 1500) * np.exp(canvas.smooth(0.13, 3))
    clean = np.stack(images, -1)
    noisy = np.hypot(clean + _NOISE * rng.normal(size=clean.shape), _NOISE * rng.normal(size=clean.shape))
    image = np.maximum(np.rint(gain[..., None] * noisy), 1).astype(np.float32)  # Rician, as magnitudes are
    return image if anatomy.channels > 1 else image[..., 0], canvas.label


def _texture(c: Canvas) -> Array:
    """Levels with a dark rim and a fine grain where something is labelled, blotches elsewhere, blurred."""
    labelled = c.label > 0
    wide = 1 if min(c.shape[:2]) < 64 else 2
    rim = np.asarray(binary_dilation(labelled, np.ones((3, 3, 1)), wide), bool) & ~labelled
    level = np.where(rim, np.clip(c.level, None, np.maximum(c.level - 0.14, FAT)), c.level)
    fine = gaussian_filter(c.rng.normal(size=c.shape), (0.4 * wide, 0.4 * wide, 0))
    coarse = gaussian_filter(c.rng.normal(size=c.shape), (2.5 * wide, 2.5 * wide, 0.5))
    grain = np.where(labelled, _GRAIN * fine / fine.std(), _BLOTCHES * coarse / coarse.std())
    blurred = gaussian_filter(level + grain * (c.level > AIR), (0.3 * wide, 0.3 * wide, 0))
    return np.maximum(blurred, 0).astype(np.float32)
