"""DS and multimodal LPIPS: closed forms, the published mean, one look at an image, edges."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import models

from bench.metrics.diversity import Diversity, pair_distances, published_inputs
from bench.nn.lpips import LPIPS, NETS


def gap(a, b):
    """Mean absolute difference, a distance whose values are known."""
    return (a - b).abs().mean((1, 2, 3))


def shades(*values):
    return torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1, 1).expand(-1, 3, 4, 4)


def small_lpips():
    torch.manual_seed(0)
    trunk = models.squeezenet1_1(weights=None).state_dict()
    heads = {f"lin{i}.model.1.weight": torch.rand(1, c, 1, 1) for i, c in enumerate(NETS["squeeze"][1])}
    return LPIPS("squeeze", trunk, heads)


def test_pairs_come_row_by_row():
    assert pair_distances(shades(0, 1, 4, 9), gap).tolist() == [1, 4, 9, 3, 8, 5]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 9), st.integers(1, 7))
def test_the_mean_is_over_all_pairs_whatever_the_batch(seed, n, batch):
    images = torch.rand(n, 3, 4, 5, generator=torch.Generator().manual_seed(seed))
    expected = [float(gap(a[None], b[None])) for a, b in combinations(images, 2)]
    found = Diversity(gap, batch)
    assert found.add("one", images) == pytest.approx(np.mean(expected), rel=1e-6)
    shuffled = images[torch.randperm(n, generator=torch.Generator().manual_seed(seed))]
    assert found.add("two", shuffled) == pytest.approx(found.values["one"], rel=1e-6)


def test_ten_runs_are_forty_five_pairs():
    assert len(pair_distances(torch.rand(10, 3, 4, 4), gap)) == 45


def test_the_score_is_the_mean_over_conditions_and_the_published_one_over_minibatches():
    found = Diversity(gap)
    for i in range(5):
        found.add(f"map {i}", shades(0, i))  # values 0, 1, 2, 3, 4
    assert found.clean() == pytest.approx(2.0)
    assert found.official(2) == pytest.approx(np.mean([0.5, 2.5, 4.0]))  # the last counts whole
    assert found.official(5) == found.official() == pytest.approx(2.0)
    metrics = found.metrics(minibatch=2)
    assert metrics["ds"].value == pytest.approx(2.0) and metrics["ds"].n == 5
    assert metrics["ds@official"].value == pytest.approx(7 / 3)
    assert metrics["ds@official"].variant == "official"
    with pytest.raises(ValueError, match="minibatch"):
        found.official(0)


def test_fifty_one_conditions_weigh_the_last_one_as_much_as_the_others_together():
    found = Diversity(gap)
    for i in range(51):
        found.add(str(i), shades(0, 1 if i == 50 else 0))
    assert found.official() == pytest.approx(0.5)
    assert found.clean() == pytest.approx(1 / 51)


def test_equal_images_have_no_diversity_and_more_spread_has_more():
    found, own = Diversity(small_lpips()), torch.rand(1, 3, 32, 32) * 2 - 1
    assert found.add("equal", own.expand(4, -1, -1, -1)) == 0
    noise = torch.rand(4, 3, 32, 32) * 2 - 1
    for share in (0.1, 0.3, 0.9):
        found.add(str(share), own + share * (noise - own))
    values = [found.values[str(share)] for share in (0.1, 0.3, 0.9)]
    assert values == sorted(values) and values[0] > 0


def test_an_embedding_sees_every_image_once_and_gives_the_same(monkeypatch):
    distance, images = small_lpips(), torch.rand(5, 3, 32, 32) * 2 - 1
    plain = pair_distances(images, lambda a, b: distance(a, b), batch=3)
    seen, embed = [], distance.embed
    monkeypatch.setattr(distance, "embed", lambda x: seen.append(len(x)) or embed(x))
    assert pair_distances(images, distance, batch=3) == pytest.approx(plain, rel=1e-5)
    assert sum(seen) == 5


def test_conditions_without_a_pair_are_counted_and_left_out():
    found = Diversity(gap)
    assert found.reason == "there is no condition" and found.clean() is None and found.official() is None
    assert found.add("alone", shades(3)) is None
    assert found.reason == "no condition has two images"
    assert found.metrics()["ds"].value is None and found.metrics()["ds"].n == 0
    found.add("two", shades(0, 2))
    assert found.single == ["alone"] and found.reason is None
    assert found.clean() == pytest.approx(2.0) and found.counts == {"alone": 1, "two": 2}


def test_what_makes_no_sense_is_refused():
    found = Diversity(gap)
    found.add("a", shades(0, 1))
    with pytest.raises(ValueError, match="came twice"):
        found.add("a", shades(0, 1))
    with pytest.raises(ValueError, match="must be"):
        found.add("b", torch.zeros(3, 4, 4))
    with pytest.raises(ValueError, match="finite"):
        found.add("b", shades(0, float("nan")))
    with pytest.raises(ValueError, match="one finite number a pair"):
        Diversity(lambda a, b: (a - b).abs()).add("b", shades(0, 1))
    assert list(found.counts) == ["a"]


def test_published_inputs_are_resized_bytes_normalised_once_too_often():
    images = np.random.default_rng(0).integers(0, 256, (2, 20, 30, 3), np.uint8)
    found = published_inputs(images, 25)
    assert found.shape == (2, 3, 25, 25)
    resized = np.asarray(Image.fromarray(images[1]).resize((25, 25), Image.Resampling.BILINEAR))
    expected = (resized[3, 7] / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert found[1, :, 3, 7].numpy() == pytest.approx(expected, abs=1e-5)
    white = published_inputs(np.full((1, 8, 8, 3), 255, np.uint8))
    assert white.shape == (1, 3, 299, 299) and white.max() > 2
    with pytest.raises(ValueError, match="uint8"):
        published_inputs(images.astype(np.int64))  # pyright: ignore[reportArgumentType]
