"""Where the weights of extractors and of LPIPS lie on this machine, and what to do where they do not.

Nothing is downloaded unless asked for, and what is downloaded is checked. A file found in a cache must be the
official one; a file given by path is taken as it is, the digest of the extractor tells it apart.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import MissingExtra, UserError
from bench.files import sha256_file
from bench.home import home

_TORCH = "https://download.pytorch.org/models/"
_LPIPS = "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1/"
_FIDELITY = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"


@dataclass(frozen=True)
class Weights:
    """One file of weights, or a folder as the Hugging Face hub keeps it.

    Args:
        what: What they belong to, for a sentence.
        files: Names it goes by; the first is how it is saved.
        sha256: SHA-256 or, where only the digits in the official name are known, what it begins with.
        url: Where it comes from; a page where there is no direct download.
        direct: Whether `url` is the file itself.
        repo: Repository on the Hugging Face hub instead of a file.
        carried_by: Folders of installed packages that bring the file along.
    """

    what: str
    files: tuple[str, ...] = ()
    sha256: str = ""
    url: str = ""
    direct: bool = True
    repo: str = ""
    carried_by: tuple[str, ...] = ()


def _hub(what: str, file: str) -> Weights:
    return Weights(what, (file,), file.removesuffix(".pth").rpartition("-")[2], _TORCH + file)


def _head(name: str, sha256: str) -> Weights:
    carried = ("torchmetrics/functional/image/lpips_models", "lpips/weights/v0.1")
    return Weights(
        f"LPIPS 0.1, linear head of {name}",
        (f"{name}.pth",),
        sha256,
        f"{_LPIPS}{name}.pth",
        True,
        "",
        carried,
    )


WEIGHTS = {
    "inception-tf": Weights(
        "Inception of the original FID, TensorFlow 2015",
        # pytorch-fid publishes the same file under another name
        ("weights-inception-2015-12-05-6726825d.pth", "pt_inception-2015-12-05-6726825d.pth"),
        "6726825d",
        _FIDELITY + "weights-inception-2015-12-05-6726825d.pth",
    ),
    "inception-tv": _hub("torchvision's Inception v3", "inception_v3_google-0cc3c7bd.pth"),
    "squeezenet": _hub("torchvision's SqueezeNet 1.0", "squeezenet1_0-b66bff10.pth"),
    "squeezenet-caffe": Weights(
        "SqueezeNet 1.0 of its authors, BGR, in torchvision's layout",
        ("squeezenet1_0_bgr_caffe_torchlayout.pth",),
        "5aa771eb685f374a2c6e7d978b08fb53c5b21f93691dd0fa88ff949a3be438bd",
        "https://github.com/forresti/SqueezeNet",
        direct=False,
    ),
    "clip": Weights("CLIP ViT-B/32", repo="openai/clip-vit-base-patch32"),
    "dinov2": Weights("DINOv2 ViT-L/14", repo="facebook/dinov2-large"),
    "lpips-alex": _head("alex", "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"),
    "lpips-vgg": _head("vgg", "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868"),
    "lpips-squeeze": _head("squeeze", "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76"),
    "alexnet": _hub("torchvision's AlexNet, backbone of LPIPS", "alexnet-owt-7be5be79.pth"),
    "vgg16": _hub("torchvision's VGG16, backbone of LPIPS", "vgg16-397923af.pth"),
    "squeezenet1_1": _hub("torchvision's SqueezeNet 1.1, backbone of LPIPS", "squeezenet1_1-b8a52dc0.pth"),
}


def hint(name: str) -> str:
    """One sentence: which file, from where, where to put it."""
    weights = WEIGHTS[name]
    if weights.repo:
        return (
            f"Put `config.json` and `model.safetensors` from https://huggingface.co/{weights.repo} into "
            f"`{home() / 'weights' / name}` ({weights.what})."
        )
    made = "" if weights.direct else ", converted to torchvision's layout,"
    return f"Put `{weights.files[0]}`{made} from {weights.url} into `{home() / 'weights'}` ({weights.what})."


def find(name: str, given: Path | None = None, download: bool = False) -> Path:
    """The file, or the folder of `clip` and `dinov2`.

    Looked for in this order: `given`, `weights` under the home of `bench`, the checkpoints of
    `torch.hub.get_dir()`, installed packages that carry it; the cache of the Hugging Face hub for a folder.

    Args:
        name: One of `WEIGHTS`.
        given: A path of the user's; taken as it is.
        download: Fetch it into the home of `bench` where it is absent, checked before it gets its name.

    Raises:
        UserError: Absent, not the official file, or the download failed.
        MissingExtra: A download from the hub without `huggingface_hub`.
    """
    weights = WEIGHTS[name]
    if given is not None:
        given = Path(given).expanduser()
        if not (given.is_dir() if weights.repo else given.is_file()):
            kind = "folder" if weights.repo else "file"
            raise UserError(f"There is no {kind} `{given}` with weights of `{name}`. {hint(name)}")
        return given
    path = locate(name)
    if path is not None:
        if problem := _problem(weights, path):
            raise UserError(problem)
        return path
    if download:
        return _from_hub(name, weights) if weights.repo else _download(name, weights)
    raise UserError(f"The weights of `{name}` are not on this machine. {hint(name)}")


def locate(name: str) -> Path | None:
    """The first place that has it, unchecked."""
    weights = WEIGHTS[name]
    if weights.repo:
        return next((p for p in _snapshots(name, weights.repo) if (p / "config.json").is_file()), None)
    import torch

    folders = [home() / "weights", Path(torch.hub.get_dir()) / "checkpoints", *_carriers(weights)]
    candidates = (folder / file for folder in folders for file in weights.files)
    return next((path for path in candidates if path.is_file()), None)


def found() -> list[tuple[str, Path | None, str]]:
    """For `bench doctor`: every name with its path and an empty sentence, or with what to do."""
    rows = []
    for name, weights in WEIGHTS.items():
        path = locate(name)
        sentence = hint(name) if path is None else _problem(weights, path)
        rows.append((name, None if sentence else path, sentence))
    return rows


def load_state(path: Path) -> dict[str, Any]:
    """A state dict, on the CPU; nothing but tensors is ever unpickled.

    Raises:
        UserError: The file holds something else, or is damaged.
    """
    import torch

    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"`{path}` holds no weights that torch can read ({said}); fetch it again.") from error
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise UserError(f"`{path}` is no state dict, that is names with tensors; give the official file.")
    return state


def _problem(weights: Weights, path: Path) -> str:
    """What is wrong with a file that was found; empty where it is the official one."""
    if not weights.sha256 or sha256_file(path).startswith(weights.sha256):
        return ""
    return (
        f"`{path}` is not the official file (its SHA-256 does not begin with {weights.sha256[:8]}); "
        f"fetch it again from {weights.url}."
    )


def _carriers(weights: Weights) -> Iterator[Path]:
    from importlib.util import find_spec

    for carrier in weights.carried_by:
        package, _, rest = carrier.partition("/")
        spec = find_spec(package)
        for root in (spec.submodule_search_locations or []) if spec else []:
            yield Path(root) / rest


def _snapshots(name: str, repo: str) -> Iterator[Path]:
    yield home() / "weights" / name
    cache = os.environ.get("HF_HUB_CACHE")
    if cache is None:
        own = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface"
        cache = Path(os.environ.get("HF_HOME", own)) / "hub"
    folder = Path(cache).expanduser() / f"models--{repo.replace('/', '--')}"
    head = folder / "refs" / "main"
    if head.is_file():
        yield folder / "snapshots" / head.read_text().strip()


def _download(name: str, weights: Weights) -> Path:
    if not weights.direct:
        raise UserError(f"The weights of `{name}` cannot be downloaded as they are. {hint(name)}")
    import pooch

    known = f"sha256:{weights.sha256}" if len(weights.sha256) == 64 else None
    folder, file = home() / "weights", weights.files[0]
    part = f".{file}.{os.getpid()}.part"
    folder.mkdir(parents=True, exist_ok=True)
    pooch.get_logger().setLevel("WARNING")  # it would advise to write the checksum into the program
    try:
        pooch.retrieve(weights.url, known, part, folder, progressbar=False)
        if problem := _problem(weights, folder / part):
            raise ValueError(problem)
        (folder / part).replace(folder / file)
    except (OSError, ValueError) as error:  # no network, an error of the server, another checksum
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"The weights of `{name}` could not be downloaded ({said}). {hint(name)}") from error
    finally:
        (folder / part).unlink(missing_ok=True)
    return folder / file


def _from_hub(name: str, weights: Weights) -> Path:
    try:
        from huggingface_hub import snapshot_download  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingExtra(f"Downloading `{name}`", "hf") from error
    wanted = ["config.json", "preprocessor_config.json", "*.safetensors"]
    try:
        return Path(snapshot_download(weights.repo, allow_patterns=wanted))
    except Exception as error:  # the hub raises its own kinds, and those of two HTTP libraries
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"The weights of `{name}` could not be downloaded ({said}). {hint(name)}") from error
