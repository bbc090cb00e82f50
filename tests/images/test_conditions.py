"""Label maps at the protocol's size, their edges, and the randomness of an image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bench.images.conditions import Conditions, cropped, edges, mirrored, planes, resized, squashed
from bench.labelled import Triple


def triple(height: int, width: int, things: bool = True) -> Triple:
    """Every pixel of the image tells its place, labels and instances are functions of it."""
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows, columns, rows * 0], -1).astype(np.uint8)
    labels = (rows // 8 + columns // 8).astype(np.int16)
    return Triple(image, labels, labels.astype(np.int32) * 1000 if things else None)


@settings(max_examples=40, deadline=None)
@given(arrays(np.int32, st.tuples(st.integers(1, 7), st.integers(1, 7)), elements=st.integers(0, 2)))
def test_an_edge_is_a_pixel_that_differs_from_one_of_its_four_neighbours(instances):
    found = edges(instances)
    for (y, x), value in np.ndenumerate(instances):
        near = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        inside = [p for p in near if 0 <= p[0] < instances.shape[0] and 0 <= p[1] < instances.shape[1]]
        assert found[y, x] == any(instances[p] != value for p in inside)


@pytest.mark.parametrize("size", [(16, 24), (40, 20), (100, 130)])
def test_squashing_reaches_the_size_and_invents_no_label(size):
    made = squashed(triple(50, 60), size)
    assert made.image.shape == (*size, 3)
    assert made.labels.shape == size
    assert made.instances is not None
    assert (made.instances == made.labels.astype(int) * 1000).all()
    assert set(np.unique(made.labels)) <= set(np.unique(triple(50, 60).labels))
    assert squashed(triple(50, 60, things=False), size).instances is None


def test_a_large_image_is_halved_by_averaging_first():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    halved = image.reshape(16, 4, 16, 4, 3).mean((1, 3))
    assert np.abs(resized(image, (16, 16)) - halved).max() < 2  # two halvings, each rounded to bytes
    assert resized(image, (64, 64)) is image


@pytest.mark.parametrize("shape", [(50, 60), (60, 50), (20, 90)])
def test_a_crop_is_a_window_with_its_aspect_kept(shape):
    whole = triple(*shape)
    for seed in range(20):
        made = cropped(whole, (32, 32), np.random.default_rng(seed))
        assert made.image.shape == (32, 32, 3)
        # Rows and columns of the source grow at the same pace: nothing is stretched by more than rounding.
        paces = [np.ptp(made.image[..., c].astype(float)) for c in (0, 1)]
        assert paces[0] == pytest.approx(paces[1], rel=0.15)
        shorter = min(shape)
        assert shorter / 1.25 * 0.85 <= paces[0] <= shorter  # 1 to 1.25 times the window
    twice = [cropped(whole, (32, 32), np.random.default_rng(3)) for _ in range(2)]
    assert (twice[0].image == twice[1].image).all()


def test_a_mirror_turns_all_three():
    whole = triple(8, 20)
    turned = mirrored(whole)
    for part, back in zip(whole, turned, strict=True):
        assert part is not None
        assert back is not None
        assert (part == back[:, ::-1]).all()


@pytest.mark.parametrize("bordered", [True, False])
def test_planes_hold_each_label_once_and_edges_last(bordered):
    labels = torch.randint(5, (2, 6, 7))
    borders = torch.rand(2, 6, 7) > 0.5 if bordered else None
    found = planes(labels, borders, 5)
    assert found.shape == (2, 5 + bordered, 6, 7)
    assert found.dtype == torch.float32
    assert (found[:, :5].sum(1) == 1).all()
    assert (found[:, :5].argmax(1) == labels).all()
    if borders is not None:
        assert (found[:, 5] == borders).all()


def test_noise_depends_on_seed_draw_and_place_and_not_on_the_batch():
    def made(indices: tuple[int, ...], seed: int = 0, draw: int = 0) -> torch.Tensor:
        labels = torch.zeros(len(indices), 4, 4, dtype=torch.int64)
        return Conditions(labels, None, 3, seed, draw, indices).noise(3, 8)

    both = made((4, 9))
    assert torch.equal(both[1], made((9,))[0])
    labels = torch.zeros(1, 4, 4, dtype=torch.int64)
    one = Conditions(labels, None, 3, 0, 0, (9,))
    assert torch.equal(one.noise(3, 8), one.noise(3, 8))
    assert not torch.isclose(one.noise(3, 8, step=1), one.noise(3, 8, step=2)).any()
    for other in (made((4, 9), seed=1), made((4, 9), draw=1), made((5, 8))):
        assert not torch.isclose(both, other).any()
