"""Set metrics beside the reference implementations: same features in, same value out.

Where two references disagree, a test says which one each of our variants follows. Nothing here needs an
image or a network's weights.
"""

from __future__ import annotations

import warnings

import mpmath
import numpy as np
import pytest
import torch
from scipy.linalg import svdvals

from bench.metrics.frechet import frechet, frechet_of, gathered, trace_sqrt
from bench.metrics.inception_score import inception_score
from bench.metrics.kernel_distance import MODERATE, kernel_distance, unbiased
from bench.metrics.manifold import manifold
from bench.metrics.prd import Curve, curve


def features(n, d, seed=0, shift=0.0, scale=1.0, decay=0.0, kind=np.float64):
    """(n, d) correlated features; `decay` is the power by which their variances fall."""
    rng = np.random.default_rng(seed)
    mix = np.linalg.qr(np.random.default_rng(99).normal(size=(d, d)))[0]
    spread = np.arange(1, d + 1) ** (-decay / 2)
    return (shift + scale * (rng.normal(size=(n, d)) * spread) @ mix).astype(kind)


def like_inception(n, d, seed, shift=0.0):
    """Float32 rectified features with mean squares below one, as pooled features have."""
    rng, mix = np.random.default_rng(seed), np.random.default_rng(7).normal(size=(16, d)) / 6
    found = rng.normal(size=(n, 16)) @ mix + 0.3 * rng.normal(size=(n, d)) + 0.2 + shift
    return np.maximum(found, 0).astype(np.float32)


def statistics(x):
    return x.mean(0), np.cov(x, rowvar=False)


def pytorch_fid(x, y):
    from pytorch_fid.fid_score import calculate_frechet_distance

    return _with_old_sqrtm("pytorch_fid.fid_score", calculate_frechet_distance, x, y)


def clean_fid(x, y):
    from cleanfid.fid import frechet_distance

    return _with_old_sqrtm("cleanfid.fid", frechet_distance, x, y)


def _with_old_sqrtm(module, function, x, y):
    """Both ask `scipy.linalg.sqrtm` for `disp=False`, which SciPy will drop and warns of meanwhile."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The `disp` argument is deprecated", DeprecationWarning)
        return float(np.real(function(*statistics(x), *statistics(y))))


def torch_fidelity(x, y):
    from torch_fidelity.metric_fid import fid_statistics_to_metric

    both = [dict(zip(("mu", "sigma"), statistics(side), strict=True)) for side in (x, y)]
    return fid_statistics_to_metric(*both, verbose=False)["frechet_inception_distance"]


def torchmetrics(x: np.ndarray, y: np.ndarray):
    from torchmetrics.image.fid import _compute_fid

    return float(_compute_fid(*(torch.from_numpy(part) for side in (x, y) for part in statistics(side))))


FID = [pytorch_fid, clean_fid, torch_fidelity, torchmetrics]


@pytest.mark.parametrize("reference", FID)
@pytest.mark.parametrize("decay", [0.0, 1.0, 2.0])
def test_fid_at_full_rank_is_every_references(reference, decay):
    x, y = features(900, 128, decay=decay), features(700, 128, 1, shift=0.05, scale=1.3, decay=decay)
    assert frechet(gathered([x]), gathered([y])) == pytest.approx(reference(x, y), rel=1e-6)
    assert frechet_of(*statistics(x), *statistics(y)) == pytest.approx(reference(x, y), rel=1e-6)


def precise_trace(x, y, digits=60):
    """Sum of the singular values of A B' for the centred features, in many digits."""
    with mpmath.workdps(digits):
        sides = []
        for side in (x, y):
            m = mpmath.matrix(side.tolist())
            mean = [mpmath.fsum(m[:, j]) / m.rows for j in range(m.cols)]
            for i in range(m.rows):
                for j in range(m.cols):
                    m[i, j] = (m[i, j] - mean[j]) / mpmath.sqrt(m.rows - 1)
            sides.append(m)
        gap = mpmath.fsum(
            (mpmath.fsum(x[:, j]) / len(x) - mpmath.fsum(y[:, j]) / len(y)) ** 2 for j in range(x.shape[1])
        )
        spread = mpmath.fsum(v**2 for m in sides for v in m)
        root = mpmath.fsum(mpmath.svd_r(sides[0] * sides[1].T, compute_uv=False))
        return float(gap + spread - 2 * root)


@pytest.mark.parametrize(("n", "m", "decay"), [(6, 8, 0.0), (6, 40, 0.0), (40, 7, 2.0), (12, 12, 4.0)])
def test_fid_below_full_rank_is_that_of_sixty_digits(n, m, decay):
    x, y = features(n, 12, decay=decay), features(m, 12, 1, shift=0.1, decay=decay)
    found = frechet(gathered([x]), gathered([y]))
    assert found == pytest.approx(precise_trace(x, y), rel=1e-10)
    assert frechet_of(*statistics(x), *statistics(y)) == pytest.approx(found, rel=1e-8)


@pytest.mark.parametrize("reference", FID)
def test_below_full_rank_the_references_err_and_we_do_not(reference):
    x, y = features(60, 128), features(80, 128, 1, shift=0.1)
    a, b = ((side - side.mean(0)) / np.sqrt(len(side) - 1) for side in (x, y))
    root = float(np.sum(svdvals(a @ b.T)))
    exact = ((x.mean(0) - y.mean(0)) ** 2).sum() + (a**2).sum() + (b**2).sum() - 2 * root
    assert frechet(gathered([x]), gathered([y])) == pytest.approx(exact, rel=1e-10)
    assert reference(x, y) == pytest.approx(exact, rel=2e-5)


SPECTRA = {
    "falling": lambda d: np.arange(1.0, d + 1) ** -2,
    "rising": lambda d: np.arange(1.0, d + 1)[::-1] ** -2,
    "steps": lambda d: np.where(np.arange(d) < d // 2, 1.0, 1e-10),
    "singular": lambda d: np.where(np.arange(d) < d // 2, 1.0, 0.0),
}


@pytest.mark.parametrize("second", SPECTRA)
@pytest.mark.parametrize("first", SPECTRA)
@pytest.mark.parametrize("turned", [False, True])
def test_the_trace_of_any_two_spectra_in_one_basis(first, second, turned):
    d = 96
    a, b = SPECTRA[first](d), SPECTRA[second](d)
    q = np.linalg.qr(np.random.default_rng(3).normal(size=(d, d)))[0] if turned else np.eye(d)
    c1, c2 = ((q * s) @ q.T for s in (a, b))
    # A covariance's own rounding (1e-16 of its largest entry) moves roots of what is near zero.
    assert trace_sqrt((c1 + c1.T) / 2, (c2 + c2.T) / 2) == pytest.approx(np.sqrt(a * b).sum(), rel=1e-6)
    assert trace_sqrt(c1, c2) == pytest.approx(trace_sqrt(c2, c1), rel=1e-6)


def torch_fidelity_kid(x, y, subsets, size):
    from torch_fidelity.metric_kid import kid_features_to_metric

    found = kid_features_to_metric(
        torch.from_numpy(x), torch.from_numpy(y), kid_subsets=subsets, kid_subset_size=size, verbose=False
    )
    return found["kernel_inception_distance_mean"], found["kernel_inception_distance_std"]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize(("n", "subsets", "size"), [(1500, 12, 1000), (1500, 3, 100), (100, 20, 100)])
def test_kid_is_torch_fidelitys_over_the_same_subsets(n, subsets, size, kind):
    x, y = like_inception(n, 64, 0).astype(kind), like_inception(n + 200, 64, 1, 0.05).astype(kind)
    found = kernel_distance(x, y, subsets, size)
    value, spread = torch_fidelity_kid(x, y, subsets, size)
    assert found.value == pytest.approx(value, abs=1e-6)
    assert found.spread == pytest.approx(spread, abs=1e-6)
    assert found.se == pytest.approx(spread / np.sqrt(subsets), abs=1e-6)


def test_kid_is_clean_fids_when_the_sides_are_drawn_in_its_order():
    # clean-fid draws from its second argument first, from NumPy's global state, which it does not seed.
    from cleanfid.fid import kernel_distance as reference

    x, y = like_inception(1200, 64, 0).astype(float), like_inception(1100, 64, 1, 0.05).astype(float)
    state = np.random.get_state()
    try:
        np.random.seed(5)
        expected = reference(y, x, num_subsets=6, max_subset_size=1000)
    finally:
        np.random.set_state(state)
    assert kernel_distance(x, y, 6, 1000, seed=5).value == pytest.approx(expected, abs=1e-10)


def test_kid_of_one_subset_of_all_is_torchmetrics():
    from torchmetrics.image.kid import poly_mmd

    x, y = (like_inception(300, 64, seed, 0.05 * seed).astype(float) for seed in (0, 1))
    assert unbiased(x, y) == pytest.approx(
        float(poly_mmd(torch.from_numpy(x), torch.from_numpy(y))), abs=1e-10
    )


def test_kid_in_float32_stays_within_the_tolerance_at_its_limit():
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(1000, 256)) + 1 for _ in range(2))
    scale = np.sqrt(0.999 * MODERATE / max((side**2).mean(1).max() for side in (x, y)))
    x, y = ((side * scale).astype(np.float32) for side in (x, y))
    assert kernel_distance(x, y, 2).value == pytest.approx(
        kernel_distance(x.astype(float), y.astype(float), 2).value, abs=5e-7
    )
    large = kernel_distance(100 * x, 100 * y, 2).value
    assert large == pytest.approx(
        kernel_distance(100.0 * x.astype(float), 100.0 * y.astype(float), 2).value, rel=1e-6
    )


@pytest.mark.parametrize("n", [1000, 1003, 10])
@pytest.mark.parametrize("shuffle", [True, False])
def test_inception_score_is_torch_fidelitys(n, shuffle):
    from torch_fidelity.metric_isc import isc_features_to_metric

    logits = (np.random.default_rng(n).normal(size=(n, 50)) * 3).astype(np.float32)
    expected = isc_features_to_metric(torch.from_numpy(logits), splits=10, shuffle=shuffle, rng_seed=2020)
    found = inception_score(logits, shuffle=2020 if shuffle else None)
    assert found.value == pytest.approx(expected["inception_score_mean"], rel=1e-10)
    assert found.spread == pytest.approx(expected["inception_score_std"], abs=1e-10 * found.value)


def test_inception_score_is_torchmetrics_on_its_own_order():
    from torchmetrics.image.inception import InceptionScore

    logits = torch.from_numpy((np.random.default_rng(0).normal(size=(500, 30)) * 3).astype(np.float32))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Metric `InceptionScore` will save all", UserWarning)
        metric = InceptionScore(feature=torch.nn.Identity(), normalize=False)
    metric.update(logits)
    torch.manual_seed(4)
    mean, std = metric.compute()
    torch.manual_seed(4)
    order = torch.randperm(500)
    found = inception_score(logits[order].numpy())
    assert found.value == pytest.approx(float(mean), rel=1e-3)
    # Its spread divides by the splits less one, torch-fidelity's and the original's by the splits.
    assert found.spread * np.sqrt(10 / 9) == pytest.approx(float(std), rel=1e-3)


@pytest.mark.parametrize("ram", [True, False])
@pytest.mark.parametrize(("n", "m"), [(400, 500), (500, 400)])
def test_improved_precision_and_recall_are_torch_fidelitys(n, m, ram):
    from torch_fidelity.metric_prc import prc_features_to_metric

    x, y = features(n, 8, scale=0.9).astype(np.float32), features(m, 8, 1, shift=0.1).astype(np.float32)
    expected = prc_features_to_metric(
        torch.from_numpy(x), torch.from_numpy(y), save_cpu_ram=ram, prc_batch_size=128, verbose=False
    )
    found = manifold(x, y)
    assert 0 < found.precision < 1
    assert 0 < found.recall < 1
    assert (found.precision, found.recall) == pytest.approx(
        (expected["precision"], expected["recall"]), abs=1e-6
    )


@pytest.mark.parametrize(("k", "n", "m"), [(5, 400, 500), (3, 500, 400)])
def test_all_four_are_prdcs(k, n, m):
    from prdc import compute_prdc

    x, y = features(n, 8, scale=0.9), features(m, 8, 1, shift=0.1)
    expected = compute_prdc(real_features=y, fake_features=x, nearest_k=k)
    found = manifold(x, y, k=k, k_density=k)
    assert {name: getattr(found, name) for name in expected} == pytest.approx(expected, abs=1e-12)
    assert 0 < found.coverage < 1


def test_on_the_edge_of_a_ball_precision_follows_torch_fidelity_and_density_prdc():
    from prdc import compute_prdc
    from torch_fidelity.metric_prc import prc_features_to_metric

    # On a line of whole numbers the generated sample 7 is exactly as far from 5 as 5's second neighbour.
    y = np.array([[0.0], [2], [3], [5]], np.float32)
    x = np.array([[7.0], [107], [117], [130]], np.float32)
    theirs = prc_features_to_metric(
        torch.from_numpy(x), torch.from_numpy(y), prc_neighborhood=1, verbose=False
    )
    found = manifold(x, y, k=1, k_density=1)
    strict = compute_prdc(real_features=y, fake_features=x, nearest_k=1)
    assert found.precision == theirs["precision"] == 0.25
    assert strict["precision"] == 0
    assert found.density == strict["density"] == 0


def paper_curve(generated, reference, angles):
    """Sajjadi et al. 2018, equations 4 and 5: alpha and beta of every slope, in plain sums."""
    alpha, beta = [], []
    for angle in angles:
        slope = np.tan(angle)
        alpha.append(sum(min(slope * p, q) for p, q in zip(reference, generated, strict=True)))
        beta.append(sum(min(p, q / slope) for p, q in zip(reference, generated, strict=True)))
    return np.array(alpha), np.array(beta)


@pytest.mark.parametrize("seed", range(6))
def test_prd_on_given_clusters_is_the_papers(seed):
    rng = np.random.default_rng(seed)
    q, p = rng.dirichlet(np.full(20, 0.3)), rng.dirichlet(np.full(20, 0.3))
    q[rng.integers(20)] = 0
    q /= q.sum()
    angles = np.linspace(1e-10, np.pi / 2 - 1e-10, 1001)  # the authors' code; the paper leaves both ends out
    alpha, beta = paper_curve(q, p, angles)
    found = curve(q, p)
    assert found.precision == pytest.approx(alpha, rel=1e-12, abs=1e-15)
    assert found.recall == pytest.approx(beta, rel=1e-9, abs=1e-15)
    inner = Curve(*paper_curve(q, p, np.arange(1, 1002) / 1002 * np.pi / 2))  # the paper's grid
    for beta_of_f in (8, 1 / 8):
        scores = (1 + beta_of_f**2) * alpha * beta / (beta_of_f**2 * alpha + beta)
        assert found.f(beta_of_f) == pytest.approx(scores.max(), rel=1e-8)
        assert found.f(beta_of_f) == pytest.approx(inner.f(beta_of_f), abs=2e-3)
