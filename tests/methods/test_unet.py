import pytest
import torch
from omegaconf import OmegaConf

from bench.errors import UserError
from bench.methods.unet import CARD, UNet


def test_builds_the_published_network():
    net = UNet().build(1, 9)
    assert sum(p.numel() for p in net.parameters()) == 7_762_729


def test_fields_are_the_configuration():
    config = OmegaConf.structured(UNet)
    assert dict(config) == {"lr": 5e-4, "weight_decay": 1e-4, "width": 32}


def test_width_is_used_and_checked():
    assert UNet(width=4).build(2, 3)(torch.randn(2, 2, 20, 33)).shape == (2, 3, 20, 33)
    with pytest.raises(UserError, match=r"`method.width` takes a whole number from 1, got 0"):
        UNet(width=0).build(1, 2)


def test_card_is_complete():
    assert CARD.family == UNet.family == "segmentation"
    assert all((CARD.title, CARD.summary, CARD.citation, CARD.url, CARD.licence, CARD.differences))
