"""The small U-Net of few-shot segmentation, and a user's own network in its place.

Three levels, two convolutions each, instance normalisation without weights of its own: the U-Net of Dawoud et
al. (arXiv 2007.01671), which MetaMedSeg took over (fewshot_decathlon.md section 2).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench import registry
from bench.errors import UserError
from bench.nn.own import own_class
from bench.nn.unet import pad_to_multiple

BUILT_IN = "unet_cells"


def _block(cin: int, cout: int) -> nn.Sequential:
    """Twice 3x3 convolution, instance norm, ReLU: (B, cin, H, W) -> (B, cout, H, W)."""
    return nn.Sequential(
        nn.Conv2d(cin, cout, 3, padding=1),
        nn.InstanceNorm2d(cout),
        nn.ReLU(inplace=True),
        nn.Conv2d(cout, cout, 3, padding=1),
        nn.InstanceNorm2d(cout),
        nn.ReLU(inplace=True),
    )


def _double(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, 2H, 2W), corners staying corners."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


class UNetCells(nn.Module):
    """U-Net of widths 32, 64, 128, (B, C, H, W) -> logits (B, K, H, W); 470,977 parameters at C = K = 1.

    Convolution weights are drawn from N(0, 1), deviation 1, as the official code does: instance norm takes
    their scale out of every layer but the last. Training and evaluation mode do the same. Sides that do not
    divide by 4 are padded by repeating the last row and column, and the logits cropped back.

    Args:
        in_channels: C.
        num_classes: K.
    """

    def __init__(self, in_channels: int = 1, num_classes: int = 1):
        super().__init__()
        self.down1, self.down2, self.down3 = _block(in_channels, 32), _block(32, 64), _block(64, 128)
        self.up2, self.up1 = _block(128 + 64, 64), _block(64 + 32, 32)
        self.head = nn.Conv2d(32, num_classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, K, H, W) and the bottleneck (B, 128, H/4, W/4), sides rounded up."""
        height, width = x.shape[-2:]
        fine = self.down1(pad_to_multiple(x, 4))
        coarse = self.down2(F.max_pool2d(fine, 2))
        bottleneck = self.down3(F.max_pool2d(coarse, 2))
        y = self.up2(torch.cat((_double(bottleneck), coarse), 1))
        y = self.up1(torch.cat((_double(y), fine), 1))
        return self.head(y)[..., :height, :width], bottleneck

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x)[0]


def build_network(spec: str, size: tuple[int, int]) -> nn.Module:
    """Make an untrained network; its weights come from the global torch generator.

    Args:
        spec: `unet_cells`, or `path/to/file.py:Class` of a class called as `(1, 1)`.
        size: (H, W) of the slices in pixels; a user's network is tried on them.

    Returns:
        A network in training mode, (B, 1, H, W) float32 -> logits (B, 1, H, W).

    Raises:
        UserError: Nobody has the name, or the user's class is no network or answers in another shape.
    """
    path, class_name = registry.split_path(spec)
    if path is None:
        if spec != BUILT_IN:
            raise UserError(
                f"No network `{spec}`; `protocol.network` takes `{BUILT_IN}`, or a network class of yours "
                "as `path/to/file.py:Class`."
            )
        return UNetCells()
    made = "a network is a class called as `(in_channels, num_classes)`"
    return tried(own_class(path, class_name, "network", made), spec, size)


def tried(make: Callable[[int, int], nn.Module], name: str, size: tuple[int, int]) -> nn.Module:
    """Call `make(1, 1)` and refuse what does not answer two blank slices of `size` by logits (2, 1, H, W)."""
    shape = (2, 1, *size)
    try:
        net = make(1, 1)
        # What the trial draws must not change what the run draws, nor the running statistics of the network.
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            answer = net.eval()(torch.zeros(shape))
    except UserError:
        raise
    except Exception as error:  # a user's class may raise anything
        raise UserError(
            f"`{name}` called as `(1, 1)` fails on slices {shape}: {type(error).__name__}: {error}; "
            "repair the class, or set `protocol.image_size`."
        ) from error
    if not isinstance(answer, Tensor) or tuple(answer.shape) != shape:
        got = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
        raise UserError(
            f"`{name}` answers slices {shape} by {got} and not by logits {shape}; return one logit a pixel."
        )
    return net.train()
