"""Fourier units and FFC blocks against slow literal NumPy, written from oct.md section 2."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bench.errors import UserError
from bench.nn.ffc import FFC, FourierUnit, SpectralRange, SpectralTransform, limit_spectrum

# Mostly positive, so that no ReLU silences a channel and hides a fault behind it.
LIMITS = {"weight": (0.5, 2), "bias": (0.3, 1), "running_mean": (-0.5, 0.5), "running_var": (0.5, 2)}


def randomise(net: nn.Module) -> Any:
    """Fill all weights and statistics from one seed, so that a wrong order of operations shows."""
    torch.manual_seed(1)
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            for name, t in (*m.named_parameters(), *m.named_buffers()):
                if name != "num_batches_tracked":
                    low, high = LIMITS[name]
                    nn.init.uniform_(t, low, high)
        if isinstance(m, nn.Conv2d):
            nn.init.normal_(m.weight)
    return net.double().eval()


def dft2(x):
    """Orthonormal two-dimensional DFT of (H, W) by its double sum."""
    h, w = x.shape
    rows = np.exp(-2j * np.pi * np.outer(np.arange(h), np.arange(h)) / h)
    columns = np.exp(-2j * np.pi * np.outer(np.arange(w), np.arange(w)) / w)
    return rows @ x @ columns / np.sqrt(h * w)


def inverse_half_dft2(half, h, w):
    """Real (h, w) signal of the non-negative-frequency half (h, w // 2 + 1) of its spectrum."""
    columns = np.fft.ifft(half, axis=0)  # to (row, frequency); the double sum below is over frequencies
    out = np.zeros((h, w))
    for f in range(w // 2 + 1):
        once = f == 0 or 2 * f == w
        wave = np.exp(2j * np.pi * f * np.arange(w) / w)
        out += (1 if once else 2) * np.real(columns[:, f : f + 1] * wave)
    return out / w * np.sqrt(h * w)


def batch_norm(x, m):
    mean, var, weight, bias = (
        t.detach().numpy()[:, None, None] for t in (m.running_mean, m.running_var, m.weight, m.bias)
    )
    return (x - mean) / np.sqrt(var + m.eps) * weight + bias


def channels(conv, x):
    return np.einsum("oc,chw->ohw", conv.weight.detach().numpy()[:, :, 0, 0], x)


def fourier_unit(unit, x):
    """(C, H, W) through transform, 1x1 convolution, batch norm, ReLU and back."""
    c, h, w = x.shape
    stacked = np.zeros((2 * c, h, w // 2 + 1))
    for i in range(c):
        half = dft2(x[i])[:, : w // 2 + 1]
        stacked[2 * i], stacked[2 * i + 1] = half.real, half.imag
    y = np.maximum(batch_norm(channels(unit.conv[0], stacked), unit.conv[1]), 0)
    return np.stack([inverse_half_dft2(y[2 * i] + 1j * y[2 * i + 1], h, w) for i in range(len(y) // 2)])


def spectral_transform(net, x):
    h, w = x.shape[1:]
    x = np.maximum(batch_norm(channels(net.reduce[0], x), net.reduce[1]), 0)
    q = x[: len(x) // 4]
    q = np.concatenate(
        [
            q[:, : h // 2, : w // 2],
            q[:, h // 2 :, : w // 2],
            q[:, : h // 2, w // 2 :],
            q[:, h // 2 :, w // 2 :],
        ]
    )
    local = np.tile(fourier_unit(net.quadrants, q), (1, 2, 2))
    return channels(net.expand, x + fourier_unit(net.whole, x) + local)


SIZES = [(8, 8), (4, 6), (7, 5), (1, 1), (2, 3), (5, 8)]


@pytest.mark.parametrize("size", SIZES)
def test_fourier_unit_is_the_literal_formula(size):
    unit, x = randomise(FourierUnit(3, 2)), torch.randn(2, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        y = unit(x).numpy()
    np.testing.assert_allclose(y, [fourier_unit(unit, s) for s in x.numpy()], atol=1e-10)


@pytest.mark.parametrize("size", [(8, 8), (4, 6), (2, 2)])
def test_spectral_transform_is_the_literal_formula(size):
    net, x = randomise(SpectralTransform(5, 16)), torch.randn(2, 5, *size, dtype=torch.float64)
    with torch.no_grad():
        y = net(x).numpy()
    np.testing.assert_allclose(y, [spectral_transform(net, s) for s in x.numpy()], atol=1e-10)


@pytest.mark.parametrize("size", [(7, 7), (4, 5), (3, 8), (1, 1)])
def test_spectral_transform_takes_odd_sides(size):
    net = SpectralTransform(4, 8)
    assert net(torch.randn(2, 4, *size)).shape == (2, 8, *size)


def test_too_few_global_channels_are_refused_by_name():
    with pytest.raises(UserError, match=r"at least 8 global channels, got 6; raise `method.alpha`"):
        SpectralTransform(4, 6)


VALUES = [-25.0, -10.0, -3.0, 0.0, 0.5, 10.0, 40.0]


@pytest.mark.parametrize(
    ("spectral_range", "expected"),
    [
        (SpectralRange.no_change, VALUES),
        (SpectralRange.keep, [-10, -10, -3, 0, 0.5, 10, 10]),
        (SpectralRange.remove, [10, 10, 10, 10, -10, -10, -10]),
        (SpectralRange.remove_as_written, [-25, -10, -10, -10, 10, 10, 40]),
    ],
)
def test_spectral_range_acts_on_values(spectral_range, expected):
    assert limit_spectrum(torch.tensor(VALUES), spectral_range).tolist() == expected


@pytest.mark.parametrize("spectral_range", ["keep", "remove"])
def test_spectral_range_acts_right_after_the_transform(spectral_range):
    torch.manual_seed(0)
    limited, plain = FourierUnit(1, 1, SpectralRange(spectral_range)).eval(), FourierUnit(1, 1).eval()
    plain.load_state_dict(limited.state_dict())
    x = 30 * torch.randn(1, 1, 6, 6)
    values = torch.view_as_real(torch.fft.rfft2(x, norm="ortho"))
    limits = {"keep": values.clamp(-10, 10), "remove": torch.where(values > 0, -10.0, 10.0)}
    # The spectrum of no real signal, so the convolution is fed directly.
    real, imag = plain.conv(limits[spectral_range][0, 0].movedim(-1, 0)[None]).unflatten(1, (1, 2)).unbind(2)
    expected = torch.fft.irfft2(torch.complex(real, imag), s=(6, 6), norm="ortho")
    torch.testing.assert_close(limited(x), expected)
    assert not torch.allclose(limited(x), plain(x))


def test_remove_keeps_nothing_but_signs():
    torch.manual_seed(0)
    unit, x = FourierUnit(2, 2, SpectralRange.remove).eval(), torch.randn(1, 2, 8, 8)
    torch.testing.assert_close(unit(x), unit(7 * x))


def test_fourier_unit_sees_the_whole_map_at_once():
    torch.manual_seed(0)
    unit, x = randomise(FourierUnit(4, 4)), torch.randn(1, 4, 8, 8, dtype=torch.float64)
    moved = x.clone()
    moved[..., 0, 0] += 1
    changed = (unit(x) - unit(moved)).abs().amax(1) > 1e-6
    assert changed.double().mean() > 0.9  # a symmetry may spare single pixels


@pytest.mark.parametrize(
    ("cin", "cout", "parameters"),
    [
        # local only: one 1x1 convolution and its batch norm
        ((1, 0), (32, 0), 32 + 64),
        # first block: local in, both out
        ((1, 0), (16, 16), 16 + 16 + 32 + 32),
        # g -> g with c = 16/2: reduce 16*8 + 16, expand 8*16, two units 16*16 + 32 each; batch norm 2*16
        ((0, 16), (0, 16), 16 * 8 + 16 + 8 * 16 + 2 * (16 * 16 + 32) + 32),
    ],
)
def test_ffc_streams_and_counts(cin, cout, parameters):
    block = FFC(cin, cout)
    streams = [torch.randn(2, c, 6, 8) if c else None for c in cin]
    shapes = [None if y is None else y.shape for y in block(*streams)]
    assert shapes == [(2, c, 6, 8) if c else None for c in cout]
    assert sum(p.numel() for p in block.parameters()) == parameters


def test_ffc_sums_the_paths_and_has_no_activation():
    torch.manual_seed(0)
    block = randomise(FFC((3, 8), (5, 8)))
    local, globe = (torch.randn(2, c, 4, 6, dtype=torch.float64) for c in (3, 8))
    y_local, y_global = block(local, globe)
    torch.testing.assert_close(y_local, block.norm_local(block.l2l(local) + block.g2l(globe)))
    torch.testing.assert_close(y_global, block.norm_global(block.l2g(local) + block.g2g(globe)))
    assert y_local.min() < 0 and y_global.min() < 0


def test_bfloat16_autocast_transforms_in_float32():
    torch.manual_seed(0)
    block = FFC((2, 8), (2, 8))
    local, globe = torch.randn(2, 2, 7, 9), torch.randn(2, 8, 7, 9)
    exact = block(local, globe)
    with torch.autocast("cpu", torch.bfloat16):
        low = block(local, globe)
    for a, b in zip(exact, low, strict=True):
        assert b.isfinite().all()
        torch.testing.assert_close(a, b.float(), atol=0.15, rtol=0.1)
    (low[0].float().mean() + low[1].float().square().mean()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in block.parameters())


def test_pure_bfloat16_module_runs():
    assert FourierUnit(2, 2).bfloat16()(torch.randn(2, 2, 6, 6).bfloat16()).dtype == torch.bfloat16
