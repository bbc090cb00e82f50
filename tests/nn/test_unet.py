import pytest
import torch

from bench.nn.unet import UNet, conv_block, pad_to_multiple


def count(net):
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(("num_classes", "parameters"), [(9, 7_762_729), (2, 7_762_498)])
def test_parameter_count_is_the_papers(num_classes, parameters):
    assert count(UNet(1, num_classes)) == parameters


@pytest.mark.parametrize("size", [(224, 224), (64, 96), (33, 47), (16, 16), (17, 100)])
def test_output_has_the_inputs_size(size):
    x = torch.randn(2, 3, *size)
    assert UNet(3, 5, width=4)(x).shape == (2, 5, *size)


def test_output_is_logits():
    torch.manual_seed(0)
    y = UNet(1, 3, width=4)(torch.randn(2, 1, 32, 32))
    assert y.min() < 0 and not torch.allclose(y.sum(1), torch.ones(()))


def test_padding_repeats_the_last_row_and_column():
    x = torch.arange(6.0).view(1, 1, 2, 3)
    padded = pad_to_multiple(x, 4)
    assert padded[0, 0].tolist() == [[0, 1, 2, 2], [3, 4, 5, 5], [3, 4, 5, 5], [3, 4, 5, 5]]
    assert pad_to_multiple(padded, 4) is padded


def test_padding_is_all_that_an_odd_size_changes():
    torch.manual_seed(0)
    net, x = UNet(1, 2, width=4).eval(), torch.randn(1, 1, 30, 41)
    torch.testing.assert_close(net(x), net(pad_to_multiple(x, 16))[..., :30, :41])


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    net = UNet(1, 3, width=4)
    net(torch.randn(2, 1, 32, 48)).square().mean().backward()
    for name, p in net.named_parameters():
        assert p.grad is not None and p.grad.isfinite().all() and p.grad.any(), name


def test_convolutions_before_batch_norm_have_no_bias():
    assert count(conv_block(2, 3)) == 9 * 2 * 3 + 9 * 3 * 3 + 4 * 3


def test_same_seed_gives_same_output():
    x = torch.randn(2, 1, 32, 32)
    outputs = []
    for _ in range(2):
        torch.manual_seed(3)
        outputs.append(UNet(1, 2, width=4)(x))
    assert torch.equal(*outputs)


def test_bfloat16_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        y = UNet(1, 2, width=4)(torch.randn(2, 1, 33, 47))
    assert y.dtype == torch.bfloat16 and y.isfinite().all()
