"""LPIPS v0.1 (Zhang et al. 2018): distances of deep features, weighted by channel.

d(x, y) = Σ_l mean over positions of Σ_c w_lc (x̂_lc - ŷ_lc)², where x̂_l is the l-th tapped activation with
every position's channels brought to length 1. Backbones are torchvision's with ImageNet weights; w are the
published linear heads. Weights come from files or state dicts: nothing is downloaded.

Shapes: B pairs, H rows, W columns.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import UserError

# Backbone: positions in `features` whose outputs are compared (torchvision's AlexNet, VGG16, SqueezeNet 1.1),
# their channels, and the smallest side that leaves a pixel at the last of them.
NETS: dict[str, tuple[tuple[int, ...], tuple[int, ...], int]] = {
    "alex": ((1, 4, 7, 9, 11), (64, 192, 384, 256, 256), 31),
    "vgg": ((3, 8, 15, 22, 29), (64, 128, 256, 512, 512), 16),
    "squeeze": ((1, 4, 7, 9, 10, 11, 12), (64, 128, 256, 384, 384, 512, 512), 17),
}
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # ImageNet's, for inputs in [-1, 1]
EPSILON = 1e-10

Weights = Mapping[str, Tensor] | Path | str


class LPIPS(nn.Module):
    """Distance of two batches (B, 3, H, W) float32 in [-1, 1]: (B,) float32, 0 for equal images.

    Args:
        net: `alex`, `vgg` or `squeeze`.
        backbone: torchvision's state dict of the whole network or of its `features`, or the file of one.
        heads: The v0.1 linear heads, with keys `lin0.model.1.weight` and so on, or their file.

    Raises:
        UserError: An unknown net, or a file that is missing, damaged or of another network.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, net: str, backbone: Weights, heads: Weights):
        super().__init__()
        if net not in NETS:
            raise UserError(f"LPIPS has the nets {', '.join(NETS)}, not `{net}`; choose one of them.")
        taps, channels, self.least = NETS[net]
        self.net, self.taps = net, frozenset(taps)
        self.features = _features(net)[: taps[-1] + 1]
        trunk = {name.removeprefix("features."): value for name, value in _read(backbone).items()}
        own = self.features.state_dict()
        _fits(own, trunk, backbone, f"the {net} backbone of LPIPS")
        self.features.load_state_dict({name: trunk[name] for name in own})
        lines = _read(heads)
        wanted = {f"lin{i}.model.1.weight": torch.empty(1, c, 1, 1) for i, c in enumerate(channels)}
        _fits(wanted, lines, heads, f"the {net} heads of LPIPS v0.1")
        for i, name in enumerate(wanted):
            self.register_buffer(f"head{i}", lines[name].detach().to(torch.float32).clone())
        self.register_buffer("shift", torch.tensor(SHIFT).reshape(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(SCALE).reshape(1, 3, 1, 1))
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> LPIPS:
        """Stays in evaluation mode: it is a measure."""
        return super().train(False)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.between(self.embed(first), self.embed(second))

    def embed(self, images: Tensor) -> tuple[Tensor, ...]:
        """Normalised activations of images (B, 3, H, W): of one image once, however often it is compared.

        Returns:
            A tensor (B, C, h, w) for every tap.

        Raises:
            ValueError: Another shape, or a side shorter than `least`.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"LPIPS takes (B, 3, H, W), got {tuple(images.shape)}")
        if min(images.shape[2:]) < self.least:
            raise ValueError(
                f"LPIPS ({self.net}) needs {self.least} pixels a side, got {tuple(images.shape[2:])}"
            )
        x, found = (images - self.shift) / self.scale, []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in self.taps:
                found.append(x / (x.square().sum(1, keepdim=True).sqrt() + EPSILON))
        return tuple(found)

    def between(self, first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> Tensor:
        """Distances (B,) of what `embed` gave."""
        parts = [heat.mean((1, 2, 3)) for heat in self._heats(first, second)]
        return torch.stack(parts).sum(0)

    def maps(self, first: Tensor, second: Tensor) -> Tensor:
        """Distance around every pixel, (B, H, W): each layer's map resized bilinearly, and their sum.

        Its mean is near `forward` but not it, since resizing weighs positions unevenly.
        """
        heats = self._heats(self.embed(first), self.embed(second))
        size = first.shape[2:]
        resized = [F.interpolate(heat, size=size, mode="bilinear", align_corners=False) for heat in heats]
        return torch.stack(resized).sum(0)[:, 0]

    def _heats(self, first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> list[Tensor]:
        return [
            F.conv2d((a - b).square(), self.get_buffer(f"head{i}"))
            for i, (a, b) in enumerate(zip(first, second, strict=True))
        ]


def _features(net: str) -> nn.Sequential:
    from torchvision import models

    build: Any = {"alex": models.alexnet, "vgg": models.vgg16, "squeeze": models.squeezenet1_1}[net]
    with torch.device("meta"):  # the weights come from elsewhere; drawing VGG16's would take seconds
        features = build(weights=None).features
    features.to_empty(device="cpu")
    for layer in features:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False  # the tapped output must outlive the next layer
    return features


def _read(weights: Weights) -> Mapping[str, Tensor]:
    if isinstance(weights, Mapping):
        return weights
    path = Path(weights)
    if not path.is_file():
        raise UserError(f"`{path}` is no file; give the weights of LPIPS by their path.")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise UserError(f"`{path}` is no file of weights that torch can read; download it again.") from error
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise UserError(f"`{path}` holds no state dict; give a file of named tensors.")
    return found


def _fits(wanted: Mapping[str, Tensor], got: Mapping[str, Tensor], weights: Weights, what: str) -> None:
    """Refuse weights that lack a tensor, or hold one of another shape or one that is not finite."""
    source = "the weights given" if isinstance(weights, Mapping) else f"`{weights}`"
    for name, tensor in wanted.items():
        if name not in got or got[name].shape != tensor.shape:
            raise UserError(f"{source} are not {what}: `{name}` is missing or of another shape; give those.")
        if not torch.isfinite(got[name]).all():
            raise UserError(f"{source}, {what}, hold values that are not finite; download them again.")
