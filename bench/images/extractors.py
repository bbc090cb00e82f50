"""Networks that turn images into features, behind one small interface.

A value computed from features is comparable only with values from the same network, the same weights and the
same resize; all three enter an extractor's digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench import registry
from bench.errors import MissingExtra, UserError, suggest
from bench.files import digest, sha256_file
from bench.images import nets
from bench.images.weights import find, load_state
from bench.nn.own import own_class

# Side in pixels of the square each network works at; its own resize brings images there.
INPUTS = {
    "inception-tf": 299,
    "inception-pt": 299,
    "inception-tv": 299,
    "squeezenet": 224,
    "squeezenet-caffe": 227,
    "clip": 224,
    "dinov2": 224,
    "random": nets.RANDOM_SIDE,
}
NAMES = tuple(INPUTS)


def weights_of(name: str) -> str:
    """The key of `bench.images.weights.WEIGHTS`: two ways lead into the Inception of 2015."""
    return "inception-tf" if name == "inception-pt" else name


class Extractor:
    """A network in evaluation mode with its own resize and normalisation.

    Args:
        name: As in a badge; a user's file without its folders.
        net: (B, 3, H, W) uint8 -> (B, D) or ((B, D), (B, K) or None).
        dim: D.
        classes: K of the logits, or None where there are none.
        input_size: Side in pixels of the square the network works at, or None where it takes any size.
        definition: What besides the weights decides the features, as plain values.
        comparable: Whether values may be set beside anybody's; not for `random`.
        device: Such as `cpu` or `cuda`.

    Attributes:
        digest: SHA-256 over definition and weights, whatever file the weights came from.
    """

    def __init__(
        self,
        name: str,
        net: nn.Module,
        dim: int,
        classes: int | None,
        input_size: int | None,
        definition: dict[str, Any],
        comparable: bool = True,
        device: str = "cpu",
    ):
        self.name, self.dim, self.classes, self.input_size = name, dim, classes, input_size
        self.comparable, self.device = comparable, torch.device(device)
        self.digest = digest({"definition": definition, "dim": dim, "weights": state_digest(net)})
        self._net = nets.fused(net.eval().requires_grad_(False)).to(self.device)

    def to(self, device: str) -> Extractor:
        """Move the network; the same object."""
        self.device = torch.device(device)
        self._net.to(self.device)
        return self

    def __call__(self, batch: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features of images of one size.

        Args:
            batch: (B, 3, H, W) uint8 RGB on any device.

        Returns:
            (B, D) float32 and (B, K) float32 or None, on the extractor's device.

        Raises:
            ValueError: Another shape or dtype.
        """
        if batch.dtype != torch.uint8 or batch.ndim != 4 or batch.shape[1] != 3:
            raise ValueError(f"an extractor takes (B, 3, H, W) uint8, got {tuple(batch.shape)} {batch.dtype}")
        # TensorFloat-32 would round convolutions to ten bits on recent cards, which moves the features.
        exact = torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=False, allow_tf32=False
        )
        with torch.inference_mode(), exact:
            answer = self._net(batch.to(self.device))
        pooled, logits = answer if isinstance(answer, tuple) else (answer, None)
        return pooled.float(), None if logits is None else logits.float()


def open_extractor(
    name: str, weights: Path | None = None, download: bool = False, device: str = "cpu"
) -> Extractor:
    """Make a network ready.

    Args:
        name: One of `NAMES`, or `path/to/file.py:Class` of an `nn.Module` made without arguments (under
            seed 0) that maps (B, 3, H, W) float32 in [0, 1] to (B, D), or to (B, D) and logits (B, K).
            An attribute `input_size` of it (side in pixels) has images resized to that square first.
        weights: A file (a folder for `clip` and `dinov2`) in place of the one in the usual caches.
        download: Fetch weights that are absent.
        device: Such as `cpu` or `cuda`.

    Raises:
        UserError: Unknown name, weights that are absent or do not fit, or a user's class that fails.
        MissingExtra: The network needs packages that are not installed.
    """
    path, class_name = registry.split_path(name)
    if path is None and name not in INPUTS:
        raise UserError(
            f"No extractor `{name}`.{suggest(name, NAMES)} The extractors are {', '.join(NAMES)}, or your "
            "own as `path/to/file.py:Class`."
        )
    if weights is not None and (path is not None or name == "random"):
        raise UserError(f"The extractor `{name}` takes no file of weights; leave it out.")
    with torch.random.fork_rng(
        devices=[]
    ):  # layers draw their first weights; a run's draws stay what they were
        if path is not None:
            return _own(path, class_name, device)
        return _builtin(name, weights, download, device)


def _builtin(name: str, weights: Path | None, download: bool, device: str) -> Extractor:
    if name == "random":
        net = nets.RandomNet()
        definition = {"name": name, "seed": nets.RANDOM_SEED, "version": 1}
        return Extractor(
            name, net, nets.RANDOM_DIM, nets.RANDOM_CLASSES, INPUTS[name], definition, False, device
        )
    build, facts = _BUILDERS[name]
    net = build(weights, download)
    definition = {"name": name, "side": INPUTS[name], **facts}
    return Extractor(name, net, facts["dim"], facts.get("classes"), INPUTS[name], definition, True, device)


def state_digest(net: nn.Module) -> str:
    """SHA-256 over names, shapes, types and values of a network's parameters and buffers."""
    head = hashlib.sha256()
    for key, value in sorted(net.state_dict().items()):
        head.update(f"{key}|{tuple(value.shape)}|{value.dtype}\n".encode())
        head.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return head.hexdigest()


def _filled(net: nn.Module, path: Path, name: str) -> nn.Module:
    try:
        net.load_state_dict(load_state(path), strict=True)
    except RuntimeError as error:
        wrong = str(error).splitlines()[1:2] or [str(error)]
        raise UserError(
            f"`{path}` does not fit the extractor `{name}` ({wrong[0].strip()[:200]}); "
            "give the file of that network."
        ) from error
    return net


def _inception_of_2015(name: str) -> Callable[[Path | None, bool], nn.Module]:
    def build(weights: Path | None, download: bool) -> nn.Module:
        try:
            import torch_fidelity  # noqa: F401  # pyright: ignore[reportUnusedImport]
        except ImportError as error:
            raise MissingExtra(f"The extractor `{name}`", "fid") from error
        path = find(weights_of(name), weights, download)
        return nets.InceptionTF(load_state(path), path, published=name == "inception-pt")

    return build


def _inception_tv(weights: Path | None, download: bool) -> nn.Module:
    from torchvision.models import inception_v3

    path = find("inception-tv", weights, download)
    net = inception_v3(weights=None, aux_logits=True, init_weights=False, transform_input=False)
    head = nets.Headed(_filled(net, path, "inception-tv"))
    # TensorFlow's (x - 0.5) / 0.5, in which these weights were trained; torchvision gets there by a detour.
    return nets.Prepared(head, INPUTS["inception-tv"], "bilinear", (127.5,) * 3, (127.5,) * 3)


def _squeezenet(name: str) -> Callable[[Path | None, bool], nn.Module]:
    def build(weights: Path | None, download: bool) -> nn.Module:
        from torchvision.models import squeezenet1_0

        path = find(name, weights, download)
        other = "squeezenet" if name == "squeezenet-caffe" else "squeezenet-caffe"
        if weights is not None and _known(path) == other:
            raise UserError(
                f"`{path}` holds the weights of `{other}`, which needs other input; name that extractor."
            )
        net = nets.SqueezePooled(_filled(squeezenet1_0(weights=None), path, name))
        if name == "squeezenet-caffe":
            bgr_mean = (104.0, 117.0, 123.0)
            return nets.Prepared(net, INPUTS[name], "bilinear", bgr_mean, (1.0, 1.0, 1.0), bgr=True)
        return nets.Prepared(net, INPUTS[name], "bilinear", nets.IMAGENET_MEAN, nets.IMAGENET_STD)

    return build


def _known(path: Path) -> str:
    """Which of the two SqueezeNets a file is, by its SHA-256; both have the same names and shapes."""
    from bench.images.weights import WEIGHTS

    found = sha256_file(path)
    names = ("squeezenet", "squeezenet-caffe")
    return next((name for name in names if found.startswith(WEIGHTS[name].sha256)), "")


def _transformer(name: str) -> Callable[[Path | None, bool], nn.Module]:
    def build(weights: Path | None, download: bool) -> nn.Module:
        try:
            import transformers  # noqa: F401  # pyright: ignore[reportMissingImports, reportUnusedImport]
        except ImportError as error:
            raise MissingExtra(f"The extractor `{name}`", "hf") from error
        net = nets.from_folder(name, find(name, weights, download))
        mean, std = (
            (nets.CLIP_MEAN, nets.CLIP_STD) if name == "clip" else (nets.IMAGENET_MEAN, nets.IMAGENET_STD)
        )
        return nets.Prepared(net, INPUTS[name], "bicubic", mean, std)

    return build


_BUILDERS: dict[str, tuple[Callable[[Path | None, bool], nn.Module], dict[str, Any]]] = {
    "inception-tf": (
        _inception_of_2015("inception-tf"),
        {"dim": 2048, "classes": 1008, "resize": "tf-bilinear", "logits": "unbiased"},
    ),
    "inception-pt": (
        _inception_of_2015("inception-pt"),
        {"dim": 2048, "classes": 1008, "resize": "bilinear", "logits": "unbiased"},
    ),
    "inception-tv": (_inception_tv, {"dim": 2048, "classes": 1000, "resize": "bilinear"}),
    "squeezenet": (_squeezenet("squeezenet"), {"dim": 512, "classes": 1000, "resize": "bilinear"}),
    "squeezenet-caffe": (
        _squeezenet("squeezenet-caffe"),
        {"dim": 512, "classes": 1000, "resize": "bilinear", "order": "BGR"},
    ),
    "clip": (_transformer("clip"), {"dim": 512, "resize": "bicubic", "features": "image embedding"}),
    "dinov2": (_transformer("dinov2"), {"dim": 1024, "resize": "bicubic", "features": "class token"}),
}


def _own(path: Path, class_name: str, device: str) -> Extractor:
    """A network of the user's class, tried on two grey images."""
    cls = own_class(path, class_name, "extractor", "an extractor is a network made without arguments")
    name = f"{path.name}:{class_name}"
    try:
        torch.manual_seed(0)  # weights drawn at random are the same ones each time
        with torch.inference_mode():
            net = cls().eval()
            side = getattr(net, "input_size", None)
            answer = net(torch.full((2, 3, side or 64, side or 64), 0.5))
    except Exception as error:  # a user's class may raise anything
        raise UserError(
            f"`{name}` fails when made and tried on two grey images: {type(error).__name__}: {error}; "
            "it is made without arguments and called with (B, 3, H, W) float32 in [0, 1]."
        ) from error
    parts = answer if isinstance(answer, tuple | list) else (answer,)
    if len(parts) not in (1, 2) or not all(
        isinstance(p, Tensor) and p.shape[:1] == (2,) and p.ndim == 2 for p in parts
    ):
        got = [tuple(p.shape) if isinstance(p, Tensor) else type(p).__name__ for p in parts]
        raise UserError(f"`{name}` answers two images by {got}; return (B, D), or (B, D) and logits (B, K).")
    classes = parts[1].shape[1] if len(parts) == 2 else None
    definition = {"name": name, "file": sha256_file(path), "side": side}
    whole = nets.Prepared(net, side, "bilinear", (0.0,) * 3, (255.0,) * 3)
    return Extractor(name, whole, parts[0].shape[1], classes, side, definition, True, device)
