"""LPIPS with the weights of this machine."""

from __future__ import annotations

from bench.images.weights import find
from bench.nn.lpips import LPIPS

BACKBONES = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet1_1"}


def open_lpips(net: str = "alex", download: bool = False, device: str = "cpu") -> LPIPS:
    """LPIPS v0.1 ready to measure.

    Args:
        net: `alex` (what papers print unless they say otherwise), `vgg` or `squeeze`.
        download: Fetch weights that are absent.
        device: Such as `cpu` or `cuda`.

    Raises:
        UserError: Weights that are absent: which file, from where, where to put it.
    """
    files = (find(name, download=download) for name in (BACKBONES[net], f"lpips-{net}"))
    return LPIPS(net, *files).to(device)
