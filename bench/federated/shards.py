"""Training shards: what one client owns, in a folder of its own that no other client needs to see.

A shard folder holds `images.npy` (n, C, H, W) uint8, `labels.npy` (n,) int64 and `shard.json`. In process and
under Ray all clients find theirs below one folder; in a deployment each hospital has its own folder, and the
hash in the run's partition tells whether it holds what the protocol says.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.errors import UserError

FILES = ("images.npy", "labels.npy", "shard.json")


@dataclass(frozen=True)
class Shard:
    """One client's training data.

    Args:
        images: (n, C, H, W) uint8, memory-mapped.
        labels: (n,) int64.
        sha256: Over shape, pixels, labels and noise.
        noise: Standard deviation of the noise a poisoned client adds to what it sends; 0 for an honest one.
    """

    images: np.ndarray
    labels: np.ndarray
    sha256: str
    noise: float = 0.0

    def __len__(self) -> int:
        return len(self.labels)


def folder_of(root: Path, client: int) -> Path:
    """Where the shard of a client lies below `root`."""
    return root / f"client_{client:03d}"


def content_hash(images: np.ndarray, labels: np.ndarray, noise: float) -> str:
    """SHA-256 over shape, pixels, labels and noise of one shard."""
    digest = hashlib.sha256(repr((images.shape, float(noise))).encode())
    digest.update(np.ascontiguousarray(images, np.uint8).data)
    digest.update(np.ascontiguousarray(labels, "<i8").data)
    return digest.hexdigest()


def write_shards(
    root: Path, shards: Iterable[tuple[np.ndarray, np.ndarray]], noisy: dict[int, float]
) -> list[str]:
    """Write one folder a client and return their hashes in client order.

    Args:
        root: Gets `client_000/`, `client_001/`, ...
        shards: (n, C, H, W) uint8 images and (n,) labels of each client.
        noisy: Client -> standard deviation of the noise that it adds, for poisoned clients.
    """
    hashes = []
    for client, (images, labels) in enumerate(shards):
        folder = folder_of(root, client)
        folder.mkdir(parents=True, exist_ok=True)
        noise = noisy.get(client, 0.0)
        np.save(folder / "images.npy", np.ascontiguousarray(images, np.uint8))
        np.save(folder / "labels.npy", np.asarray(labels, np.int64))
        hashes.append(content_hash(images, labels, noise))
        # Written last: a folder with this file is whole.
        facts = {"sha256": hashes[-1], "noise": noise, "client": client}
        (folder / "shard.json").write_text(json.dumps(facts) + "\n", encoding="utf-8")
    return hashes


@functools.lru_cache(maxsize=4096)
def read_shard(folder: Path) -> Shard:
    """Map a shard into memory.

    Raises:
        UserError: The folder is no shard.
    """
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"`{folder}` is no client folder: {', '.join(missing)} missing; write it with `bench`."
        )
    facts = json.loads((folder / "shard.json").read_text(encoding="utf-8"))
    images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
    labels = np.load(folder / "labels.npy", allow_pickle=False)
    if images.ndim != 4 or images.dtype != np.uint8 or labels.shape != images.shape[:1]:
        raise UserError(
            f"`{folder}` holds images {images.shape} {images.dtype} and labels {labels.shape}; "
            "a client folder holds (n, C, H, W) uint8 images and (n,) labels."
        )
    # Hashed anew: what a hospital's folder holds is what counts, not what it says of itself.
    return Shard(images, labels, content_hash(images, labels, float(facts["noise"])), float(facts["noise"]))
