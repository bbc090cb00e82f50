"""Where a run happens, without anything that names a person or a machine."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import bench
from bench.record import EnvironmentPart

PACKAGES = ("torch", "torchvision", "monai", "lightning-fabric", "numpy", "scipy", "pandas", "hydra-core")


def installed(names: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Versions of those of `names` that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git_state() -> tuple[str | None, bool | None]:
    """Commit of the checkout that `bench` runs from and whether it has changes; (None, None) elsewhere."""
    root = Path(bench.__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None, None
    try:
        sha = _git(root, "rev-parse", "HEAD")
        return sha, bool(_git(root, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None, None


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True)  # noqa: S603, S607
    return done.stdout.strip()


def device_name(device: str) -> str:
    """Model of the accelerator or processor, without host name."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name()
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return f"cpu ({model}, {cores()} cores)"


def cores() -> int:
    """Processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment(device: str, grid: str | None = None, device_count: int = 1) -> EnvironmentPart:
    """The environment part of a record."""
    sha, dirty = git_state()
    return EnvironmentPart(
        bench=bench.__version__,
        git_sha=sha,
        dirty=dirty,
        python=platform.python_version(),
        packages=installed(),
        platform=f"{platform.system()} {platform.release()} {platform.machine()}",
        device=device_name(device),
        device_count=device_count,
        grid=grid,
    )
