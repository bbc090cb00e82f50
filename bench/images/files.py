"""A set of images: a folder with sub-folders, or an archive, listed by name and read on demand.

Names are POSIX paths relative to the folder or to the root of the archive, and the order is that of the names.
What is no image by its extension, what is hidden and what a Mac adds to archives is left out and counted.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from bench.errors import UserError
from bench.files import without_folders

EXTENSIONS = frozenset(
    "apng avif bmp dib gif jfif jp2 jpe jpeg jpg mpo npy pbm pgm png pnm ppm qoi tga tif tiff webp".split()
)
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
_DAMAGE = (OSError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError, RuntimeError)
_DAMAGE += (NotImplementedError, ValueError)  # a compression or a header that nobody here knows


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
            UserError: They cannot be read.
        """
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

    def __len__(self) -> int:
        return len(self.images)


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
        source: _Folder | _Zip | _Tar = _Folder(path)
    elif not path.exists():
        raise UserError(f"There is no `{path}`; give a folder of images or an archive ({', '.join(ARCHIVES)}).")
    elif path.name.lower().endswith(".zip"):
        source = _Zip(path)
    elif path.name.lower().endswith(ARCHIVES[1:]):
        source = _Tar(path)
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
    for one, other in zip(names, names[1:], strict=False):
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


def _inside(path: Path, name: str) -> str:
    """The member's name with `./` taken off; names that lead out of the archive are refused."""
    plain = name.replace("\\", "/")
    parts = PurePosixPath(plain).parts
    if plain.startswith("/") or plain[1:2] == ":" or ".." in parts:
        raise UserError(f"`{path}` holds `{name}`, a name that leads out of the archive; pack it again without.")
    return "/".join(parts)


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


class _Zip:
    def __init__(self, path: Path):
        self.path = path
        try:
            self._archive = zipfile.ZipFile(path)
        except _DAMAGE as error:
            raise _damaged(path, error) from error
        self._infos: dict[str, zipfile.ZipInfo] = {}

    def members(self) -> Iterator[tuple[str, bool]]:
        for info in self._archive.infolist():
            name = _inside(self.path, info.filename)
            if info.is_dir():
                continue
            if info.flag_bits & 1 and not _passed_over(name):
                raise UserError(f"`{self.path}` is encrypted (`{name}`); unpack it and give the folder.")
            self._infos[name] = info
            # The upper half holds the Unix mode where the archive was made on Unix; 0o12 is a link.
            yield name, info.external_attr >> 28 != 0o12

    def read(self, name: str) -> bytes:
        try:
            return self._archive.read(self._infos[name])  # threads take turns at the file, zipfile sees to it
        except _DAMAGE as error:
            raise _damaged(self.path, error, name) from error

    def stamp(self, name: str) -> tuple[int, int]:
        return self._infos[name].file_size, self._infos[name].CRC


class _Tar:
    def __init__(self, path: Path):
        self.path = path
        self._turn = threading.Lock()
        self._places: dict[str, tuple[int, int]] = {}
        self._file: IO[bytes]
        try:
            if path.name.lower().endswith(".tar"):
                self._file = path.open("rb")
            else:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the set)
                with gzip.open(path) as packed:
                    shutil.copyfileobj(packed, self._file, 1 << 20)
            self._file.seek(0)
        except _DAMAGE as error:
            raise _damaged(path, error) from error

    def members(self) -> Iterator[tuple[str, bool]]:
        try:
            with tarfile.open(fileobj=self._file, mode="r:") as archive:
                for member in archive:
                    name = _inside(self.path, member.name)
                    archive.members = []  # it would keep every member of millions
                    if member.isdir():
                        continue
                    if member.isfile():
                        self._places[name] = (member.offset_data, member.size)
                    yield name, member.isfile()
        except _DAMAGE as error:
            raise _damaged(self.path, error) from error

    def read(self, name: str) -> bytes:
        start, size = self._places[name]
        with self._turn:
            self._file.seek(start)
            data = self._file.read(size)
        if len(data) != size:
            raise _damaged(self.path, EOFError("it ends too early"), name)
        return data

    def stamp(self, name: str) -> tuple[int, int]:
        return self._places[name][1], self._places[name][0]


def _damaged(path: Path, error: BaseException, name: str = "") -> UserError:
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    what = f"`{name}` in `{path}`" if name else f"The archive `{path}`"
    return UserError(f"{what} cannot be read ({without_folders(said)}); fetch or pack the archive again.")
