"""Image classifiers of the federated tasks, a user's own class beside them, and ImageNet weights on disk.

LeNet (LeCun et al., Proc. IEEE 1998, with ReLU and max pooling), VGG11 without batch normalisation or dropout
(Simonyan and Zisserman, ICLR 2015), DenseNet-121 (Huang et al., CVPR 2017) and MobileNetV2 (Sandler et al.,
CVPR 2018); thesis chapter 6 uses them in this order on Fashion-MNIST, CIFAR-10 and HAM10000. Every network
maps (B, C, H, W) float32 to logits (B, K).
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench import registry
from bench.errors import UserError, suggest
from bench.files import sha256_file
from bench.home import home
from bench.nn.own import own_class


class Model(StrEnum):
    """Networks that are built in; the ones from torchvision keep its parameter names."""

    lenet = "lenet"
    vgg11 = "vgg11"
    densenet121 = "densenet121"
    mobilenet_v2 = "mobilenet_v2"


# Shortest side in pixels that leaves one pixel after all pooling.
_LEAST = {Model.lenet: 12, Model.vgg11: 32, Model.densenet121: 29, Model.mobilenet_v2: 1}
_HEAD = "classifier."
# The official DenseNet file says `denselayer3.norm.1.weight` where the network says `norm1`.
_OLD_KEY = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(?=\d)")


class LeNet(nn.Module):
    """Two 5x5 convolutions (6 and 16 maps, the first padded by 2) and three linear layers 120-84-K.

    61,706 parameters for 1x28x28 images and 10 classes; other sizes change the first linear layer.

    Args:
        channels: C.
        classes: K.
        size: (H, W) in pixels, at least 12 each.
    """

    def __init__(self, channels: int, classes: int, size: tuple[int, int]):
        super().__init__()
        height, width = ((side // 2 - 4) // 2 for side in size)
        self.conv1 = nn.Conv2d(channels, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * height * width, 120)
        self.fc2 = nn.Linear(120, 84)
        self.classifier = nn.Linear(84, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc2(F.relu(self.fc1(x.flatten(1)))))
        return self.classifier(x)


class VGG11(nn.Module):
    """The convolutions of VGG11 and one linear layer: 9,225,610 parameters for RGB and 10 classes.

    Thesis chapter 6 names no classifier. At 32x32 pixels the features are 512x1x1 and are simply flattened;
    larger images are averaged over what is left of them. Initialised as torchvision's VGG.

    Args:
        channels: C.
        classes: K.
    """

    def __init__(self, channels: int, classes: int):
        super().__init__()
        from torchvision.models.vgg import cfgs, make_layers  # a second of import that LeNet does not need

        self.features = make_layers(cfgs["A"])
        self.classifier = nn.Linear(512, classes)
        if channels != 3:
            _replace_first(self.features, channels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                # Without normalisation PyTorch's default shrinks the signal from layer to layer.
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.classifier.weight, 0, 0.01)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


def _replace_first(features: nn.Module, channels: int) -> None:
    """Swap the first convolution for one that takes `channels`, initialised as torchvision does."""
    name, old = next((n, m) for n, m in features.named_modules() if isinstance(m, nn.Conv2d))
    new = nn.Conv2d(
        channels,
        old.out_channels,
        old.kernel_size,  # pyright: ignore[reportArgumentType]
        old.stride,  # pyright: ignore[reportArgumentType]
        old.padding,  # pyright: ignore[reportArgumentType]
        bias=old.bias is not None,
    )
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    parent, _, leaf = name.rpartition(".")
    setattr(features.get_submodule(parent), leaf, new)


def build_classifier(name: str, channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
    """Make an untrained network; its weights come from the global torch generator.

    Args:
        name: A `Model`, or `path/to/file.py:Class` of a class called as `(in_channels, num_classes)`.
        channels: C of the images.
        classes: K.
        size: (H, W) of the images in pixels.

    Returns:
        A network in training mode, (B, C, H, W) float32 -> logits (B, K).

    Raises:
        UserError: Nobody has the name, the images are too small for the network, or the user's class is no
            network or does not answer (2, C, H, W) by (2, K).
    """
    path, class_name = registry.split_path(name)
    if path is not None:
        return _own(path, class_name, channels, classes, size)
    if name not in list(Model):
        raise UserError(
            f"No model `{name}`.{suggest(name, list(Model))} "
            f"The models are {', '.join(Model)}, or your own as `path/to/file.py:Class`."
        )
    model = Model(name)
    if min(size) < _LEAST[model]:
        raise UserError(
            f"`{name}` needs images of at least {_LEAST[model]}x{_LEAST[model]} pixels, got "
            f"{size[0]}x{size[1]}; set `protocol.image_size` or take another model."
        )
    if model is Model.lenet:
        return LeNet(channels, classes, size)
    if model is Model.vgg11:
        return VGG11(channels, classes)
    from torchvision import models

    build = models.densenet121 if model is Model.densenet121 else models.mobilenet_v2
    net = build(weights=None, num_classes=classes)
    if channels != 3:
        _replace_first(net.features, channels)
    return net


def _own(path: Path, class_name: str, channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
    """A network of the user's class, tried on two blank images."""
    made = "a model is a network class called as `(in_channels, num_classes)`"
    cls = own_class(path, class_name, "model", made)
    shape = (2, channels, *size)
    try:
        net = cls(channels, classes)
        # What the trial draws must not change what the run draws, nor the running statistics of the network.
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            answer = net.eval()(torch.zeros(shape))
    except UserError:
        raise
    except Exception as error:  # a user's class may raise anything
        raise UserError(
            f"`{path}:{class_name}` called as `({channels}, {classes})` fails on images {shape}: "
            f"{type(error).__name__}: {error}; repair the class, or set `protocol.image_size`."
        ) from error
    if not isinstance(answer, Tensor) or answer.shape != (2, classes):
        got = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
        raise UserError(
            f"`{path}:{class_name}` answers images {shape} by {got} and not by logits {(2, classes)}; "
            "return one row an image and one column a class."
        )
    return net.train()


def find_pretrained(name: str) -> Path | None:
    """ImageNet weights of a built-in model, if they lie on this machine; nothing is downloaded.

    Looks for torchvision's official file names, the oldest weights first (those of the papers), in the
    checkpoints of `torch.hub.get_dir()` and in `weights` under the home of `bench`.
    """
    folders = [Path(torch.hub.get_dir()) / "checkpoints", home() / "weights"]
    candidates = (folder / _file(url) for url in _urls(name) for folder in folders)
    return next((path for path in candidates if path.is_file()), None)


def pretrained_hint(name: str) -> str:
    """One sentence: which file of ImageNet weights, from which URL, and where to put it."""
    url = next(_urls(name), None)
    if url is None:
        return f"There are no ImageNet weights for the model `{name}`; train it from scratch."
    return f"Put `{_file(url)}` from {url} into `{home() / 'weights'}` to start from ImageNet weights."


def is_official(path: Path) -> bool:
    """Whether a file's SHA-256 begins with the digits in its name, as torchvision names its files."""
    stated = re.search(r"-([0-9a-f]{8,})\.pth$", path.name)
    return stated is not None and sha256_file(path).startswith(stated[1])


def _urls(name: str) -> Iterator[str]:
    if name in list(Model) and name != Model.lenet:
        from torchvision import models

        for weights in models.get_model_weights(name):
            if weights.name.startswith("IMAGENET1K"):
                yield weights.url


def _file(url: str) -> str:
    return url.rpartition("/")[2]


def load_pretrained(net: nn.Module, name: str, path: Path) -> None:
    """Fill everything but the classifier head from a file of weights; the head keeps its values.

    Args:
        net: Network of `build_classifier(name, ...)`; unchanged if the file is refused.
        name: The `Model`, for the sentence.
        path: A state dict saved by `torch.save`. Key names of old DenseNet files are understood, and
            `num_batches_tracked`, which such files lack, may be missing.

    Raises:
        UserError: The file cannot be read, or does not hold exactly this network's weights.
    """
    try:
        stored: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        first = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise UserError(
            f"`{path}` holds no weights that torch can read ({first[0]}); {_again(name)}"
        ) from error
    if not isinstance(stored, dict) or not all(isinstance(v, Tensor) for v in stored.values()):
        raise UserError(f"`{path}` is no state dict, that is names with tensors; {_again(name)}")
    found = {_OLD_KEY.sub(r"\1", k): v for k, v in stored.items() if not k.startswith(_HEAD)}
    own = net.state_dict()
    body = {key: value for key, value in own.items() if not key.startswith(_HEAD)}
    wrong = (
        [f"{key} is missing" for key in body if key not in found and not key.endswith("num_batches_tracked")]
        + [f"{key} is not part of the network" for key in found if key not in body]
        + [
            f"{key} is {tuple(found[key].shape)} and not {tuple(value.shape)}"
            for key, value in body.items()
            if key in found and found[key].shape != value.shape
        ]
    )
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise UserError(f"`{path}` does not fit `{name}`: {wrong[0]}{more}; {_again(name)}")
    net.load_state_dict({**own, **found}, strict=True)


def _again(name: str) -> str:
    """What to do about a file that does not fit."""
    url = next(_urls(name), None)
    return f"{url} fits, for images of 3 channels." if url else "no ImageNet weights exist for this model."


def trainable_names(net: nn.Module) -> tuple[str, ...]:
    """Names of the parameters that training changes, in the order of `named_parameters`."""
    return tuple(name for name, value in net.named_parameters() if value.requires_grad)


def buffer_names(net: nn.Module) -> tuple[str, ...]:
    """Names of the buffers that belong to the state dict: running statistics and their counters."""
    stored = net.state_dict()
    return tuple(name for name, _ in net.named_buffers() if name in stored)


def has_batch_norm(net: nn.Module) -> bool:
    """Whether any module is a batch normalisation."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in net.modules())


def has_dropout(net: nn.Module) -> bool:
    """Whether any module drops units at random in training; calls of `F.dropout` cannot be seen."""
    return any(isinstance(m, nn.modules.dropout._DropoutNd) and m.p > 0 for m in net.modules())
