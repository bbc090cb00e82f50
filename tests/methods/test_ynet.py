import dataclasses
import pickle
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from bench.errors import UserError
from bench.methods.ynet import CARD, Merge, YNet, YNetModule, interleave
from bench.nn.ffc import SpectralRange


@pytest.mark.parametrize(
    ("fields", "num_classes", "parameters"),
    [
        ({}, 9, 6_925_353),
        ({"alpha": 0.0}, 9, 6_904_841),
        ({"alpha": 0.25}, 9, 6_910_169),
        ({"alpha": 0.75}, 9, 6_950_393),
        ({"alpha": 1.0}, 9, 6_985_289),
        ({"ffc": False}, 9, 7_459_785),
        ({}, 2, 6_925_122),
        ({"merge": Merge.interleaved}, 9, 6_925_353),
        ({"spectral_range": SpectralRange.keep}, 9, 6_925_353),
    ],
)
def test_parameter_count_is_the_official_codes(fields, num_classes, parameters):
    net = YNet(**fields).build(1, num_classes)
    assert sum(p.numel() for p in net.parameters()) == parameters


VARIANTS = [
    {},
    {"alpha": 0.0},
    {"alpha": 0.25, "merge": Merge.interleaved},
    {"alpha": 1.0},
    {"ffc": False},
    {"spectral_range": SpectralRange.keep},
    {"spectral_range": SpectralRange.remove},
    {"spectral_range": SpectralRange.remove_as_written},
]


@pytest.mark.parametrize("fields", VARIANTS)
@pytest.mark.parametrize("size", [(64, 96), (33, 47), (16, 16)])
def test_output_has_the_inputs_size(fields, size):
    width = 32 if fields.get("alpha") == 0.25 else 16  # a quarter of 16, 4, is too few for the transform
    assert YNetModule(2, 3, width=width, **fields)(torch.randn(2, 2, *size)).shape == (2, 3, *size)


def test_output_size_of_the_protocol():
    with torch.no_grad():
        assert YNetModule()(torch.randn(1, 1, 224, 224)).shape == (1, 9, 224, 224)


@pytest.mark.parametrize("fields", VARIANTS)
def test_finite_gradients_reach_every_parameter(fields):
    torch.manual_seed(0)
    net = YNetModule(2, 3, width=32, **fields)
    net(torch.randn(2, 2, 32, 48)).square().mean().backward()
    for name, p in net.named_parameters():
        assert p.grad is not None and p.grad.isfinite().all(), name
        # FFC blocks have no activation, so an offset set by one block's batch norm passes pool and 1x1
        # convolutions as an offset and the next block's batch norm subtracts it: exactly no effect, and a
        # gradient that is zero up to rounding. Every other parameter learns.
        if name.startswith("second.blocks") and name.endswith(("norm_local.bias", "norm_global.bias")):
            continue
        assert p.grad.abs().max() > 1e-9, name


def test_ffc_offsets_have_no_effect_in_training_but_in_the_last_block():
    torch.manual_seed(0)
    net: Any = YNetModule(1, 2, width=16).double()
    x = torch.randn(2, 1, 32, 32, dtype=torch.float64)
    before = net(x)
    with torch.no_grad():
        for block in list(net.second.blocks)[:-1]:
            block.norm_local.bias += 3
            block.norm_global.bias -= 2
    torch.testing.assert_close(net(x), before)
    with torch.no_grad():
        net.second.blocks[-1].norm_local.bias += 3
    assert not torch.allclose(net(x), before)


def test_first_ffc_block_repeats_a_one_channel_scan():
    torch.manual_seed(0)
    net, x = YNetModule(), torch.randn(3, 1, 16, 16)
    for stream in net.second.blocks[0](x, None):
        standard = (x - x.mean()) / x.std(correction=0)
        torch.testing.assert_close(stream.abs(), standard.abs().expand_as(stream), atol=2e-2, rtol=2e-2)


def test_skips_come_from_the_spatial_encoder_only():
    torch.manual_seed(0)
    net, x = YNetModule(1, 2, width=16).eval(), torch.randn(1, 1, 32, 32)
    seen = []
    net.decoder.register_forward_hook(lambda module, args, output: seen.append(args))
    net(x)
    pooled, skips = net.spatial(x)
    (both, used) = seen[0]
    torch.testing.assert_close(both, torch.cat((pooled, net.second(x)), 1))
    assert [s.shape[1] for s in used] == [16, 32, 64, 64]
    for a, b in zip(used, skips, strict=True):
        torch.testing.assert_close(a, b)


def test_interleave_scrambles_as_the_code_does():
    # Samples, channels, rows and columns all of different sizes; each value names its place and encoder.
    shape = batch, channels, height, width = 2, 3, 4, 6
    a = torch.arange(batch * channels * height * width).view(shape)
    merged = interleave(a, -a - 1)
    assert merged.shape == (batch, 2 * channels, height, width)
    # The definition: flattened to columns, side by side (N, 2), viewed anew.
    assert torch.equal(merged, torch.stack((a.flatten(), -a.flatten() - 1), 1).view_as(merged))
    for n in range(batch):
        for c in range(2 * channels):
            for row in range(height):
                # Output channel c holds the upper (c even) or lower half of the rows of channel c // 2,
                # each source row stretched over two output rows.
                source = a[n, c // 2, (c % 2) * height // 2 + row // 2]
                half = source[(row % 2) * width // 2 :][: width // 2]
                assert torch.equal(merged[n, c, row, 0::2], half)
                assert torch.equal(merged[n, c, row, 1::2], -half - 1)


def test_interleave_does_not_mix_samples():
    a, b = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    together = interleave(a, b)
    for n in range(2):
        assert torch.equal(together[n : n + 1], interleave(a[n : n + 1], b[n : n + 1]))


def test_merge_field_changes_the_output():
    torch.manual_seed(0)
    plain, mixed = YNetModule(width=16), YNetModule(width=16, merge=Merge.interleaved)
    mixed.load_state_dict(plain.state_dict())
    x = torch.randn(1, 1, 64, 64)
    assert (plain(x) - mixed(x)).abs().mean() > 0.01


def test_bfloat16_autocast_trains():
    torch.manual_seed(0)
    net = YNetModule(1, 3, width=16)
    with torch.autocast("cpu", torch.bfloat16):
        y = net(torch.randn(2, 1, 40, 56))
    assert y.dtype == torch.bfloat16 and y.isfinite().all()
    y.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_training_steps_are_deterministic_and_picklable():
    x, states = torch.randn(2, 1, 32, 32), []
    for _ in range(2):
        torch.manual_seed(3)
        net = YNetModule(1, 2, width=16)
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
        for _ in range(2):
            optimizer.zero_grad()
            net(x).square().mean().backward()
            optimizer.step()
        states.append(pickle.loads(pickle.dumps(net)).state_dict())
    assert all(torch.equal(a, b) for a, b in zip(states[0].values(), states[1].values(), strict=True))


@pytest.mark.parametrize("alpha", [-0.1, 1.5, float("nan")])
def test_alpha_outside_its_range_is_refused(alpha):
    with pytest.raises(UserError, match=r"`method.alpha` takes a number from 0 to 1, got"):
        YNet(alpha=alpha).build(1, 9)


def test_fields_are_a_configuration_with_choices():
    config = OmegaConf.merge(OmegaConf.structured(YNet), {"merge": "interleaved", "spectral_range": "keep"})
    method = OmegaConf.to_object(config)
    assert method == YNet(merge=Merge.interleaved, spectral_range=SpectralRange.keep)
    assert YNet.official == {"merge": Merge.interleaved}


def test_card_names_real_fields():
    names = {f.name for f in dataclasses.fields(YNet)}
    switches = [d.switch for d in CARD.differences]
    assert {s.removeprefix("method.") for s in switches if s.startswith("method.")} <= names
    assert all(s.startswith(("method.", "protocol.", "none: ")) for s in switches)
    assert all((CARD.title, CARD.summary, CARD.citation, CARD.url, CARD.licence))
