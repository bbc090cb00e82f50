"""LPIPS with the weights of this machine."""

from __future__ import annotations

from bench.errors import UserError, suggest
from bench.images.extractors import state_digest
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
        UserError: Another network, or weights that are absent: which file, from where, where to put it.
    """
    if net not in BACKBONES:
        raise UserError(
            f"LPIPS has the networks {', '.join(BACKBONES)}, got `{net}`.{suggest(net, BACKBONES)}"
        )
    files = (find(name, download=download) for name in (BACKBONES[net], f"lpips-{net}"))
    return LPIPS(net, *files).to(device)


def definition(lpips: LPIPS) -> str:
    """Network and weights, such as `LPIPS v0.1 alex, weights 1a2b3c4d5e6f7a8b`."""
    return f"LPIPS v0.1 {lpips.net}, weights {state_digest(lpips)[:16]}"
