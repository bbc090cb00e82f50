"""`bench doctor`: what is here, what is missing, and the line that brings it."""

from __future__ import annotations

import json
import os
import platform
import shutil
from pathlib import Path
from typing import Any

import bench
from bench.data import dataset_named, how_to_prepare, prepared_root
from bench.environment import PACKAGES, cores, installed
from bench.errors import pip_line
from bench.home import home
from bench.registry import names
from bench.words import importable

EXTRAS = {
    "ray": ("ray",),
    "slurm": ("submitit", "hydra_plugins.hydra_submitit_launcher"),
    "joblib": ("hydra_plugins.hydra_joblib_launcher",),
    "hf": ("transformers", "peft"),
    "fid": ("torch_fidelity",),
}
CORE = (
    *PACKAGES,
    "flwr",
    "torch-geometric",
    "diffusers",
    "nibabel",
    "scikit-learn",
    "torchmetrics",
    "pydantic",
)


def run(as_json: bool) -> int:
    """Print everything found; exit 0 even when optional parts are missing."""
    facts = examine()
    if as_json:
        print(json.dumps(facts, indent=2))
        return 0
    print(f"bench {facts['bench']}  python {facts['python']}  {facts['platform']}")
    print(f"home        {facts['home']}  ({facts['free_gib']} GiB free)")
    print(f"cpu         {facts['cores']} cores, {facts['memory_gib']} GiB")
    print(f"device=auto {facts['device']}")
    for gpu in facts["gpus"]:
        print(f"gpu         {gpu}")
    print("packages    " + ", ".join(f"{k} {v}" for k, v in facts["packages"].items()))
    for name in facts["missing_packages"]:
        print(f"MISSING     {name}: pip install {name}")
    for extra, found in facts["extras"].items():
        print(f"extra       {extra:<7} {'installed' if found else pip_line(extra)}")
    for name, where in facts["data"].items():
        print(f"data        {name:<13} {where}")
    for name, where in facts["weights"].items():
        print(f"weights     {name:<16} {where}")
    return 0


def examine() -> dict[str, Any]:
    """Everything `bench doctor` knows, as plain values."""
    import torch

    packages = installed(CORE)
    where = home()
    existing = next(p for p in (where, *where.parents) if p.exists())
    data = {}
    for name in names("dataset"):
        dataset = dataset_named(name)
        found = prepared_root(name)
        if found is None:
            data[name] = how_to_prepare(name, dataset) if dataset.has_phantom else "give `data_root=DIR`"
        else:
            data[name] = str(found)
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "bench": bench.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "home": str(where),
        "writable": os.access(existing, os.W_OK),
        "free_gib": round(shutil.disk_usage(existing).free / 2**30, 1),
        "cores": cores(),
        "memory_gib": _memory_gib(),
        "device": "cuda" if gpus else "mps" if torch.backends.mps.is_available() else "cpu",
        "gpus": gpus,
        "packages": packages,
        "missing_packages": [name for name in CORE if name not in packages],
        "extras": {extra: all(map(importable, modules)) for extra, modules in EXTRAS.items()},
        "data": data,
        "weights": _weights(),
    }


def _weights() -> dict[str, str]:
    """Weights of classifiers that start from ImageNet's, of extractors and of LPIPS: where, or the remedy."""
    from bench.images.weights import found as of_images
    from bench.nn.classifiers import Model, find_pretrained, is_official, pretrained_hint

    found = {}
    for name in (Model.mobilenet_v2, Model.densenet121):
        path = find_pretrained(name)
        if path is None:
            found[str(name)] = pretrained_hint(name)
        else:
            found[str(name)] = f"{path}" if is_official(path) else f"{path} is not torchvision's file"
    for name, path, sentence in of_images():
        found[name] = sentence if path is None else str(path)
    return found


def _memory_gib() -> float | None:
    meminfo = Path("/proc/meminfo")
    if not meminfo.is_file():
        return None
    return round(int(meminfo.read_text().split()[1]) / 2**20, 1)
