"""A set of images: a folder with sub-folders, or an archive, listed by name and read on demand.

Names are POSIX paths relative to the folder or to the root of the archive, and the set is sorted by them.
What is no image by its extension, what is hidden and what a Mac adds to archives is left out and counted.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from bench.errors import UserError
from bench.images.archives import Tar, Zip

EXTENSIONS = frozenset(
    (
        *("apng", "avif", "bmp", "dib", "gif", "jfif", "jp2", "jpe", "jpeg", "jpg", "mpo"),
        *("npy", "pbm", "pgm", "png", "pnm", "ppm", "qoi", "tga", "tif", "tiff", "webp"),
    )
)
_MOST = 3 << 30  # bytes of one file
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")


class Source(Protocol):
    """Where the bytes of a set lie; safe to use from several threads."""

    def read(self, name: str) -> bytes:
        """All bytes of an image."""
        ...

    def stamp(self, name: str) -> tuple[int, int]:
        """Size in bytes and time of the last change in nanoseconds; another pair means other content."""
        ...


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image of a set.

    Args:
        name: POSIX path within the set.
        source: What reads it.
    """

    name: str
    source: Source = field(repr=False, compare=False)

    def read(self) -> bytes:
        """All bytes, undecoded.

        Raises:
            UserError: They cannot be read, or are more than any image within `decode.LIMIT` needs.
        """
        if self.source.stamp(self.name)[0] > _MOST:  # before an archive's bomb goes off
            raise UserError(f"`{self.name}` is larger than {_MOST >> 30} GiB; shrink it or take it out.")
        return self.source.read(self.name)

    def stamp(self) -> tuple[int, int]:
        """Size in bytes and time of the last change in nanoseconds.

        Raises:
            UserError: The file is gone.
        """
        return self.source.stamp(self.name)


@dataclass(frozen=True)
class ImageSet:
    """Images sorted by name.

    Args:
        path: The folder or archive.
        images: At least one, no name twice.
        left_out: What was passed over -> how often: `hidden`, `no image extension`, `not a file`.
    """

    path: Path
    images: tuple[ImageFile, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)
    _known: _Known = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_known", _Known(len(self.images)))

    def __len__(self) -> int:
        return len(self.images)

    def content(self, index: int) -> tuple[bytes, bytes | None]:
        """SHA-256 of the bytes of one image, and the bytes themselves where they had to be read.

        An image is read once for any number of calls, as long as size and time of change stay what they were.
        Safe to call from several threads.

        Raises:
            UserError: The image cannot be read.
        """
        image, known = self.images[index], self._known
        stamp = image.stamp()
        if known.have[index] and tuple(known.stamps[index]) == stamp:
            return known.digests[index].tobytes(), None
        data = image.read()
        found = hashlib.sha256(data).digest()
        known.digests[index] = np.frombuffer(found, np.uint8)
        known.stamps[index], known.have[index] = stamp, True
        return found, data


class _Known:
    """Digests of the images read so far; 49 bytes an image."""

    def __init__(self, count: int):
        self.have = np.zeros(count, bool)
        self.digests = np.zeros((count, 32), np.uint8)
        self.stamps = np.zeros((count, 2), np.int64)


def open_set(path: Path) -> ImageSet:
    """List the images of a folder or of a `.zip`, `.tar`, `.tar.gz` or `.tgz` archive.

    Links to files and folders are followed, each folder once. A compressed tar has no random access: it is
    unpacked once into a nameless temporary file, which needs the room of its content on the disk (`TMPDIR`).

    Raises:
        UserError: There is no such folder or archive, the archive is damaged or encrypted or holds a name
            twice or one that leads out of it, or there is no image.
    """
    path = Path(path)
    if path.is_dir():
        source: _Folder | Zip | Tar = _Folder(path)
    elif not path.exists():
        raise UserError(
            f"There is no `{path}`; give a folder of images or an archive ({', '.join(ARCHIVES)})."
        )
    elif path.name.lower().endswith(".zip"):
        source = Zip(path)
    elif path.name.lower().endswith(ARCHIVES[1:]):
        source = Tar(path)
    else:
        raise UserError(
            f"`{path}` is neither a folder nor an archive by its name; give a folder of images or one of "
            f"{', '.join(ARCHIVES)}."
        )
    left_out: Counter[str] = Counter()
    names = []
    for name, regular in source.members():
        reason = _passed_over(name) or ("" if regular else "not a file")
        if reason:
            left_out[reason] += 1
        else:
            names.append(name)
    names.sort()
    for one, other in itertools.pairwise(names):
        if one == other:
            raise UserError(f"`{path}` holds `{one}` twice; pack it again with one file a name.")
    if not names:
        passed = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))
        raise UserError(
            f"`{path}` holds no image{f' (passed over: {passed})' if passed else ''}; "
            "give a folder or archive with PNG, JPEG, BMP, TIFF, WebP, GIF, PPM or npy files."
        )
    return ImageSet(path, tuple(ImageFile(name, source) for name in names), dict(left_out))


def _passed_over(name: str) -> str:
    """Why a file is no image of the set, by its name alone; empty where it is one."""
    parts = name.split("/")
    if any(part.startswith(".") or part == "__MACOSX" for part in parts):
        return "hidden"
    _, dot, extension = parts[-1].rpartition(".")
    return "" if dot and extension.lower() in EXTENSIONS else "no image extension"


class _Folder:
    def __init__(self, path: Path):
        self.path = path

    def members(self) -> Iterator[tuple[str, bool]]:
        seen = set()
        for folder, folders, files in os.walk(self.path, followlinks=True, onerror=self._unreadable):
            facts = Path(folder).stat()
            if (facts.st_dev, facts.st_ino) in seen:
                folders.clear()  # a link back to a folder above, or a second one to the same folder
                continue
            seen.add((facts.st_dev, facts.st_ino))
            folders.sort()
            start = Path(folder).relative_to(self.path).as_posix()
            for name in files:
                whole = name if start == "." else f"{start}/{name}"
                # Only images are asked of the disk: a broken link or a pipe named .png is no file.
                yield whole, bool(_passed_over(whole)) or (self.path / whole).is_file()

    def read(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise self._gone(name, error) from error

    def stamp(self, name: str) -> tuple[int, int]:
        try:
            facts = (self.path / name).stat()
        except OSError as error:
            raise self._gone(name, error) from error
        return facts.st_size, facts.st_mtime_ns

    def _gone(self, name: str, error: OSError) -> UserError:
        return UserError(
            f"`{self.path / name}` cannot be read: {error.strerror}; put the file back or make it readable."
        )

    def _unreadable(self, error: OSError) -> None:
        raise UserError(
            f"The folder `{error.filename}` cannot be listed: {error.strerror}; make it readable or take it "
            "out of the set."
        )
