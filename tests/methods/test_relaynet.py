import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf

from bench.errors import UserError
from bench.methods.relaynet import CARD, ReLayNet, ReLayNetModule, unpool


def test_parameter_count():
    # A block of w output channels on c input channels: 7 * 3 * c * w weights, 2 w of batch norm.
    # in -> 64: 1472; encoder 2, 3 and bottleneck 64 -> 64: 3 * 86,144; decoder 128 -> 64: 3 * 172,160;
    # classifier 64 K + K: 585 at K = 9.
    def block(c, w=64):
        return 7 * 3 * c * w + 2 * w

    expected = block(1) + 3 * block(64) + 3 * block(128) + 64 * 9 + 9
    assert expected == 776_969
    assert sum(p.numel() for p in ReLayNet().build(1, 9).parameters()) == expected


@pytest.mark.parametrize("size", [(224, 224), (64, 96), (33, 47), (8, 8), (17, 100)])
def test_output_has_the_inputs_size(size):
    x = torch.randn(2, 3, *size)
    assert ReLayNetModule(3, 5, width=4)(x).shape == (2, 5, *size)


@pytest.mark.filterwarnings("ignore:.*does not have a deterministic implementation:UserWarning")
def test_unpool_is_torchs_max_unpool():
    torch.manual_seed(0)
    x, indices = F.max_pool2d(torch.randn(2, 3, 8, 12), 2, return_indices=True)
    assert torch.equal(unpool(x, indices, torch.Size((8, 12))), F.max_unpool2d(x, indices, (2, 2)))


def test_unpool_is_deterministic_to_torch():
    x, indices = F.max_pool2d(torch.randn(1, 1, 4, 4), 2, return_indices=True)
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        assert unpool(x, indices, torch.Size((4, 4))).count_nonzero() == 4
    finally:
        torch.use_deterministic_algorithms(before)


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    net = ReLayNetModule(1, 3, width=4)
    net(torch.randn(2, 1, 32, 48)).square().mean().backward()
    for name, p in net.named_parameters():
        assert p.grad is not None and p.grad.isfinite().all() and p.grad.any(), name


def test_same_seed_gives_same_output():
    x, outputs = torch.randn(2, 1, 24, 24), []
    for _ in range(2):
        torch.manual_seed(3)
        outputs.append(ReLayNetModule(1, 2, width=4)(x))
    assert torch.equal(*outputs)


def test_bfloat16_autocast_trains():
    net = ReLayNetModule(1, 2, width=4)
    with torch.autocast("cpu", torch.bfloat16):
        y = net(torch.randn(2, 1, 33, 47))
    y.float().square().mean().backward()
    assert y.dtype == torch.bfloat16
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_fields_and_card():
    assert dict(OmegaConf.structured(ReLayNet)) == {"lr": 5e-4, "weight_decay": 1e-4, "width": 64}
    assert CARD.family == "segmentation"
    assert all((CARD.title, CARD.summary, CARD.citation, CARD.url, CARD.licence, CARD.differences))
    with pytest.raises(UserError, match=r"`method.width`"):
        ReLayNet(width=0).build(1, 2)
