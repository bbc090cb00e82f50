"""Annotated 2D scans as a segmentation dataset hands them over: raw, checked, before any protocol."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass

import numpy as np

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Scan:
    """One scan and its label map.

    Args:
        id: Name of the scan, unique in its dataset, such as `Subject_01_11`; predictions are named so.
        unit: What the scan belongs to and intervals resample, such as `Subject_01`.
        split: `train`, `val` or `test`.
        image: Grey values, (H, W), uint8 (or uint16 or float32 where the files hold more).
        mask: Class ids, (H, W), uint8.
        full_size: (H, W) of the scan in its file, before any crop.
        window: (top, left) of `image` within the full scan.
    """

    id: str
    unit: str
    split: str
    image: np.ndarray
    mask: np.ndarray
    full_size: tuple[int, int]
    window: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Scans:
    """All scans of a dataset.

    Args:
        scans: Sorted by split order of the files, then by id; the order is part of the contract.
        classes: Class names in label order; `classes[0]` is the background.
        unit: What `Scan.unit` is, such as `patient`.
    """

    scans: tuple[Scan, ...]
    classes: tuple[str, ...]
    unit: str = "patient"

    def counts(self) -> dict[str, int]:
        """Scans in each split."""
        found = Counter(scan.split for scan in self.scans)
        return {split: found[split] for split in SPLITS}

    def leaks(self) -> int:
        """Units that stand in the test split and in another one."""
        test = {scan.unit for scan in self.scans if scan.split == "test"}
        return len(test & {scan.unit for scan in self.scans if scan.split != "test"})

    def fingerprint(self) -> str:
        """SHA-256 over ids, units and decoded content, so that PNG and npy of one scan agree."""
        digest = hashlib.sha256("\n".join(self.classes).encode())
        for scan in sorted(self.scans, key=lambda scan: scan.id):
            for array in (scan.image, scan.mask):
                head = f"{scan.id}|{scan.unit}|{array.shape}|{array.dtype}|{scan.window}\n"
                digest.update(head.encode())
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def split_sha256(self) -> str:
        """SHA-256 over which scan stands in which split."""
        lines = sorted(f"{scan.id},{scan.unit},{scan.split}" for scan in self.scans)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()
