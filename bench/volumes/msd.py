"""Reading the Decathlon's folders: which volumes there are, and one volume checked from header to last voxel.

Shapes: C channels, H rows, W columns, D slices of a volume in the file's own order (no reorientation, as the
official code reads them); L labels without the background.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import UserError
from bench.splits import some
from bench.volumes.listing import Pair as Pair
from bench.volumes.listing import declared as declared
from bench.volumes.listing import pairs as pairs
from bench.volumes.listing import survey as survey
from bench.volumes.organs import CHANNELS, FOLDERS

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Image

_NIFTI2 = 540  # length of its header, which opens the file
TOLERANCE = 1e-3  # of affines, in millimetres; headers hold them in single precision
_FAULTS = (OSError, EOFError, ValueError, TypeError, zlib.error, MemoryError, OverflowError)


@dataclass(frozen=True)
class Folders:
    """What a folder of the Decathlon holds, before any voxel is decoded.

    Args:
        root: The folder given.
        paths: Official folder name (`Task04_Hippocampus`) -> where it lies.
        progress: For the slice cache, which decodes: `progress(volumes, total=..., description=...)`.
    """

    root: Path
    paths: dict[str, Path]
    progress: Callable[..., Any] | None = field(default=None, compare=False, repr=False)

    def counts(self) -> dict[str, int]:
        """Volumes of each folder.

        Raises:
            UserError: An image without a label, or any other fault of the listing.
        """
        return {name: len(pairs(path)) for name, path in self.paths.items()}


@dataclass(frozen=True)
class Volume:
    """One scan and its label map.

    Args:
        name: As in `Pair`.
        image: (C, H, W, D) float32, in the units of the file.
        label: (H, W, D) uint8.
        zooms: Voxel size along H, W and D in millimetres, from the affine.
        affine: (4, 4) float64, of the image.
    """

    name: str
    image: NDArray[np.float32]
    label: NDArray[np.uint8]
    zooms: tuple[float, float, float]
    affine: NDArray[np.float64]

    @cached_property
    def histogram(self) -> NDArray[np.int64]:
        """(D, 256): voxels of each label id in each slice."""
        return _histogram(self.label)

    def content(self) -> str:
        """SHA-256 over shapes, voxel size and decoded voxels; compression and file names do not enter."""
        zooms = [f"{zoom:.5f}" for zoom in self.zooms]
        head = f"{self.image.shape}|{self.label.shape}|{zooms}"
        digest = hashlib.sha256(head.encode())
        for j in range(self.label.shape[2]):  # slice by slice, so that no second copy is held
            digest.update(np.ascontiguousarray(self.image[..., j]).data)
            digest.update(np.ascontiguousarray(self.label[..., j]).data)
        return digest.hexdigest()


def find(root: Path) -> dict[str, Path]:
    """Folders of the nine organs below `root`, or `root` itself if it is one.

    Returns:
        Official folder name -> path, in the Decathlon's order; folders of other tasks are passed over.

    Raises:
        UserError: None of them is there.
    """
    for path in (root, root.resolve()):
        if path.name in FOLDERS and path.is_dir():
            return {path.name: path}
    found = {name: root / name for name in FOLDERS if (root / name).is_dir()}
    if not found:
        raise UserError(
            f"`{root}` holds none of the Decathlon's folders {some(FOLDERS)}; give the folder that holds "
            "them, or one of them, under its official name."
        )
    return found


def read(pair: Pair, folder_name: str, label_ids: Sequence[int]) -> Volume:
    """Decode one volume and check it.

    Args:
        pair: Its files.
        folder_name: Official folder name; says whether images have a fourth axis.
        label_ids: Ids that the label map may hold.

    Returns:
        The volume, with all channels of the file.

    Raises:
        UserError: A file is truncated, damaged or no NIfTI; the image has an axis too many or too few; image
            and label differ in shape or affine; a voxel is NaN or infinite; the label map holds an id that
            is not declared or no foreground.
    """
    image, label = _open(pair.image), _open(pair.label)
    _check_axes(pair.image, image.shape, CHANNELS.get(folder_name))
    _check_axes(pair.label, label.shape, None)
    if image.shape[:3] != label.shape:
        raise UserError(
            f"`{pair.label}` is {_by(label.shape)} voxels while its image `{pair.image.name}` is "
            f"{_by(image.shape[:3])}; a label map must have the shape of its image, take the official files."
        )
    affine = _affine(pair.image, image)
    apart = float(np.abs(affine - _affine(pair.label, label)).max())
    if not apart <= TOLERANCE:
        raise UserError(
            f"`{pair.label}` and its image `{pair.image.name}` differ in the affine by up to {apart:.4g}; "
            "they must lie in one space, take the official files."
        )
    voxels = _voxels(pair.image, image)
    zooms = np.sqrt((affine[:3, :3] ** 2).sum(axis=0)).tolist()
    channels = np.moveaxis(voxels, 3, 0) if voxels.ndim == 4 else voxels[None]
    ids = _ids(pair.label, label, label_ids)
    return Volume(pair.name, channels, ids, (zooms[0], zooms[1], zooms[2]), affine)


def _open(path: Path) -> Nifti1Image:
    """The header, with all bytes in memory: decompressing to the end checks the length and the checksum."""
    from nibabel.filebasedimages import ImageFileError
    from nibabel.nifti1 import Nifti1Image
    from nibabel.nifti2 import Nifti2Image
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
        second = raw[:4] in {_NIFTI2.to_bytes(4, "little"), _NIFTI2.to_bytes(4, "big")}
        image = (Nifti2Image if second else Nifti1Image).from_bytes(raw)
    except (*_FAULTS, ImageFileError, HeaderDataError, WrapStructError) as error:
        raise _damaged(path, error) from error
    if np.dtype(image.get_data_dtype()).kind not in "biuf":
        raise UserError(
            f"`{path}` holds voxels of type {image.get_data_dtype()}; they must be plain numbers, take the "
            "official file."
        )
    return image


def _damaged(path: Path, error: BaseException) -> UserError:
    reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return UserError(f"`{path}` cannot be decoded ({reason[:120]}); fetch the file again.")


def _check_axes(path: Path, shape: Sequence[int], channels: int | None) -> None:
    if channels is None and len(shape) != 3:
        raise UserError(
            f"`{path}` is a {len(shape)}D image ({_by(shape)}) where 3D is expected; take the official file."
        )
    if channels is not None and (len(shape) != 4 or shape[3] != channels):
        raise UserError(
            f"`{path}` is a {len(shape)}D image ({_by(shape)}) where 4D with {channels} channels in the "
            "fourth axis is expected; take the official file."
        )


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _affine(path: Path, image: Nifti1Image) -> NDArray[np.float64]:
    affine = np.asarray(image.affine, np.float64)
    if not np.isfinite(affine).all() or not (np.abs(affine[:3, :3]).max(axis=0) > 0).all():
        raise UserError(f"`{path}` has an affine that gives no voxel size; take the official file.")
    return affine


def _voxels(path: Path, image: Nifti1Image) -> NDArray[np.float32]:
    try:
        with np.errstate(all="ignore"):  # what does not fit comes out infinite and is refused below
            voxels = image.get_fdata(dtype=np.float32, caching="unchanged")
    except _FAULTS as error:
        raise _damaged(path, error) from error
    for j in range(voxels.shape[2]):
        if not np.isfinite(voxels[:, :, j]).all():
            kind = "NaN" if np.isnan(voxels[:, :, j]).any() else "infinite"
            raise UserError(f"`{path}` has {kind} voxels in slice {j}; take the official file.")
    return voxels


def _ids(path: Path, label: Nifti1Image, label_ids: Sequence[int]) -> NDArray[np.uint8]:
    """The label map as (H, W, D) uint8."""
    try:
        raw = np.asanyarray(label.dataobj)
    except _FAULTS as error:
        raise _damaged(path, error) from error
    with np.errstate(all="ignore"):
        ids = raw.astype(np.uint8)
    wrong = raw[ids != raw]
    if not wrong.size:
        present = np.flatnonzero(_histogram(ids).sum(axis=0))
        wrong = present[~np.isin(present, label_ids)]
    if wrong.size:
        raise UserError(
            f"`{path}` holds the label {wrong[0]:g}, but only {', '.join(map(str, label_ids))} are declared; "
            "take the official file or declare the label in dataset.json."
        )
    if not ids.any():
        raise UserError(f"`{path}` has no foreground, every voxel is 0; take the official file.")
    return ids


def _histogram(ids: NDArray[np.uint8]) -> NDArray[np.int64]:
    if not ids.size:
        return np.zeros((ids.shape[2], 256), np.int64)
    return np.stack([np.bincount(ids[..., j].ravel(), minlength=256) for j in range(ids.shape[2])])
