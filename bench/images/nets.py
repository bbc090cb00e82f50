"""The networks of the extractors: a resize and a normalisation, then a body that gives features."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import UserError

IMAGENET_MEAN, IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of 0..255
CLIP_MEAN = (0.48145466 * 255, 0.4578275 * 255, 0.40821073 * 255)
CLIP_STD = (0.26862954 * 255, 0.26130258 * 255, 0.27577711 * 255)
RANDOM_SIDE, RANDOM_DIM, RANDOM_CLASSES, RANDOM_SEED = 64, 2048, 1000, 2048
Answer = tuple[Tensor, Tensor | None]


class Prepared(nn.Module):
    """Squash to a square (averaging where it shrinks), normalise, and hand over to `body`.

    Args:
        body: (B, 3, side, side) float32 -> features.
        side: In pixels; None leaves sizes alone.
        mode: `bilinear` or `bicubic`, torch's with `antialias`.
        mean: Of the three channels on 0..255, in the order the body wants.
        std: Likewise.
        bgr: The body wants blue first.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        body: nn.Module,
        side: int | None,
        mode: str,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        bgr: bool = False,
    ):
        super().__init__()
        self.body, self.side, self.mode, self.bgr = body, side, mode, bgr
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Any:
        """(B, 3, H, W) uint8 -> what the body answers."""
        x = x.float()
        if self.side is not None and x.shape[-2:] != (self.side, self.side):
            size = (self.side, self.side)
            x = F.interpolate(x, size, mode=self.mode, align_corners=False, antialias=True).clamp(0, 255)
        if self.bgr:
            x = x.flip(1)
        return self.body((x - self.mean) / self.std)


class Headed(nn.Module):
    """torchvision's Inception with its last layer set aside, so that one pass gives features and logits."""

    def __init__(self, net: Any):
        super().__init__()
        self.head, net.fc = net.fc, nn.Identity()
        self.net = net

    def forward(self, x: Tensor) -> Answer:
        """(B, 3, 299, 299) in [-1, 1] -> (B, 2048), (B, 1000)."""
        pooled = self.net(x)
        return pooled, self.head(pooled)


class SqueezePooled(nn.Module):
    """SqueezeNet 1.0: the mean over the last fire module's maps, and the logits."""

    def __init__(self, net: Any):
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Answer:
        """(B, 3, H, W) -> (B, 512), (B, 1000)."""
        maps = self.net.features(x)
        return maps.mean((2, 3)), self.net.classifier(maps).flatten(1)


# Inception's parts in the order images pass them, by the names torch-fidelity gives them.
_PARTS = (
    *("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "MaxPool_1"),
    *("Conv2d_3b_1x1", "Conv2d_4a_3x3", "MaxPool_2"),
    *("Mixed_5b", "Mixed_5c", "Mixed_5d"),
    *("Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
    *("Mixed_7a", "Mixed_7b", "Mixed_7c", "AvgPool"),
)


class InceptionTF(nn.Module):
    """torch-fidelity's Inception of 2015, driven part by part with a faster resize and memory layout.

    Args:
        state: Its weights.
        path: Where they came from, for the sentence.
        published: Images reach it as in pytorch-fid, which many papers used: torch's bilinear resize, whose
            samples sit half a pixel further, and [-1, 1] instead of [-1, 127/128].

    Raises:
        UserError: They do not fit.
    """

    def __init__(self, state: dict[str, Tensor], path: Path, published: bool = False):
        super().__init__()
        self.published = published
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        # The package would unpickle the file freely; it is given what has been read as plain tensors instead.
        checked: Any = io.BytesIO()
        torch.save(state, checked)
        checked.seek(0)
        try:
            self.net: Any = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], checked)
        except RuntimeError as error:
            wrong = (str(error).splitlines()[1:2] or [str(error)])[0].strip()[:200]
            raise UserError(
                f"`{path}` does not fit the extractor `inception-tf` ({wrong}); "
                "give the file of that network."
            ) from error
        self.net.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Answer:
        """(B, 3, H, W) uint8 -> (B, 2048), (B, 1008); logits without the bias, as for the Inception Score."""
        if self.published:
            x = F.interpolate(x.float() / 255, (299, 299), mode="bilinear", align_corners=False) * 2 - 1
        else:
            x = tf_bilinear(x.float(), 299).sub_(128).div_(128)
        x = x.contiguous(memory_format=torch.channels_last)
        for part in _PARTS:
            x = getattr(self.net, part)(x)
        pooled = x.flatten(1)
        return pooled, pooled @ self.net.fc.weight.T


def tf_bilinear(x: Tensor, side: int) -> Tensor:
    """TensorFlow 1's bilinear resize, whose samples sit at `i * n / side` and which never averages.

    One axis after the other, which gives the same bits as four corners at once and moves less memory.

    Args:
        x: (B, C, H, W) float32.
        side: Of the square made.

    Returns:
        (B, C, side, side) float32.
    """
    for axis in (3, 2):
        n = x.shape[axis]
        place = torch.arange(side, dtype=x.dtype, device=x.device) * (n / side)
        low = place.long()
        weight = place - low
        first = x.index_select(axis, low)
        second = x.index_select(axis, (low + 1).clamp_max(n - 1))
        x = second.sub_(first).mul_(weight if axis == 3 else weight[:, None]).add_(first)
    return x


class Embedding(nn.Module):
    """A vision transformer of `transformers`, reduced to one vector an image."""

    def __init__(self, net: Any, field: str):
        super().__init__()
        self.net, self.field = net, field

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 224, 224) -> (B, D)."""
        return getattr(self.net(pixel_values=x), self.field)


def from_folder(name: str, folder: Path) -> Embedding:
    """`clip` (projected image embedding) or `dinov2` (class token after the last norm) from a local folder.

    Raises:
        UserError: The folder holds another model, or not all of its weights.
    """
    import transformers  # pyright: ignore[reportMissingImports]
    from transformers.utils import logging  # pyright: ignore[reportMissingImports]

    cls: Any = transformers.CLIPVisionModelWithProjection if name == "clip" else transformers.Dinov2Model
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # it reports the text half of CLIP, which is left out on purpose
    logging.disable_progress_bar()
    try:
        net, info = cls.from_pretrained(folder, local_files_only=True, output_loading_info=True)
    except Exception as error:  # transformers raises whatever its many readers raise
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"`{folder}` holds no weights of `{name}` ({said}); fetch the folder again."
        ) from error
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()
    have, want = (net.config.projection_dim, 512) if name == "clip" else (net.config.hidden_size, 1024)
    if have != want:
        raise UserError(
            f"`{folder}` holds a model with {have} features, `{name}` has {want}; give its folder."
        )
    missing = sorted(info["missing_keys"])
    if missing:  # they would be random numbers
        raise UserError(
            f"`{folder}` lacks weights of `{name}`, first `{missing[0]}`; fetch the folder again."
        )
    return Embedding(net.float(), "image_embeds" if name == "clip" else "pooler_output")


class RandomNet(nn.Module):
    """A fixed convolutional network that was never trained, for trials.

    Four strided convolutions with ReLU at 64x64 pixels, averaged to 2x2: 2,048 features whose mean square is
    near 1 on photographs, and a linear layer to 1,000 logits. Half of the first filters sum to zero, so that
    edges count and not brightness alone. Weights are uniform numbers of NumPy's frozen legacy generator,
    scaled after He et al. (2015).
    """

    def __init__(self) -> None:
        super().__init__()
        source = np.random.RandomState(RANDOM_SEED)
        self.convolutions = nn.ModuleList(
            _drawn(nn.Conv2d(given, made, side, stride=2, padding=side // 2), source, gain)
            for given, made, side, gain in (
                (3, 32, 5, 2),
                (32, 64, 3, 2),
                (64, 128, 3, 2),
                (128, 512, 3, 1.1),
            )
        )
        first: Any = self.convolutions[0]
        with torch.no_grad():
            edges = first.weight[:16].double()
            first.weight[:16] = (edges - edges.mean((1, 2, 3), keepdim=True)).float() * 4
        self.head = _drawn(nn.Linear(RANDOM_DIM, RANDOM_CLASSES), source, 6.0)

    def forward(self, x: Tensor) -> Answer:
        """(B, 3, H, W) uint8 -> (B, 2048), (B, 1000)."""
        x = x.float()
        if x.shape[-2:] != (RANDOM_SIDE, RANDOM_SIDE):
            size = (RANDOM_SIDE, RANDOM_SIDE)
            x = F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
        x = x / 63.75 - 2  # 0..255 to -2..2, about unit variance on photographs
        for convolution in self.convolutions:
            x = F.relu(convolution(x))
        pooled = F.adaptive_avg_pool2d(x, 2).flatten(1)
        return pooled, self.head(pooled)


def _drawn(layer: Any, source: np.random.RandomState, gain: float) -> nn.Module:
    """Fill weight (variance gain / fan-in) and bias (variance 0.01) from `source`."""
    fan_in = layer.weight[0].numel()
    with torch.no_grad():
        for values, variance in ((layer.weight, gain / fan_in), (layer.bias, 0.01)):
            uniform = source.random_sample(tuple(values.shape)) * 2 - 1  # variance 1/3
            values.copy_(torch.from_numpy(uniform * np.sqrt(3 * variance)))
    return layer


def fused(net: nn.Module) -> nn.Module:
    """Fold every batch normalisation that follows its convolution in a block `conv`, `bn` into it.

    The same function up to float32 rounding, a pass over memory less.
    """
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for block in net.modules():
        conv, norm = getattr(block, "conv", None), getattr(block, "bn", None)
        named = {type(block).__name__} & {"BasicConv2d"}  # Inception's, in both packages: conv, bn, ReLU
        if named and isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            block.conv, block.bn = fuse_conv_bn_eval(conv, norm), nn.Identity()
    return net
