"""Archives of images, read member by member and never unpacked by name."""

from __future__ import annotations

import errno
import gzip
import shutil
import tarfile
import tempfile
import threading
import weakref
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from bench.errors import UserError
from bench.files import without_folders

_DAMAGE = (OSError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError, RuntimeError)
_DAMAGE += (NotImplementedError, ValueError)  # a compression or a header that nobody here knows


class Zip:
    """A `Source` over a zip; bad files, encryption and outward names are refused with `UserError`."""

    def __init__(self, path: Path):
        self.path = path
        try:
            self._archive = zipfile.ZipFile(path)
        except _DAMAGE as error:
            raise _damaged(path, error) from error
        self._infos: dict[str, zipfile.ZipInfo] = {}

    def members(self) -> Iterator[tuple[str, bool]]:
        """Every name, and whether it is a regular file."""
        for info in self._archive.infolist():
            name = _inside(self.path, info.filename)
            if info.is_dir():
                continue
            if info.flag_bits & 1:
                raise UserError(f"`{self.path}` is encrypted (`{name}`); unpack it and give the folder.")
            self._infos[name] = info
            # The upper half holds the Unix mode where the archive was made on Unix; 0o12 is a link.
            yield name, info.external_attr >> 28 != 0o12

    def read(self, name: str) -> bytes:
        """All bytes of a member."""
        try:
            return self._archive.read(self._infos[name])  # threads take turns at the file, zipfile sees to it
        except _DAMAGE as error:
            raise _damaged(self.path, error, name) from error

    def stamp(self, name: str) -> tuple[int, int]:
        """Size, and what else tells content apart."""
        return self._infos[name].file_size, self._infos[name].CRC


class Tar:
    """A `Source` over a tar; a compressed one is unpacked once into a nameless temporary file."""

    def __init__(self, path: Path):
        self.path = path
        self._turn = threading.Lock()
        self._places: dict[str, tuple[int, int]] = {}
        try:
            plain = path.name.lower().endswith(".tar")
            # It lives as long as the set.
            self._file: IO[bytes] = path.open("rb") if plain else tempfile.TemporaryFile()  # noqa: SIM115
            weakref.finalize(self, self._file.close)
            if not plain:
                with gzip.open(path) as packed:
                    shutil.copyfileobj(packed, self._file, 1 << 20)
        except _DAMAGE as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise UserError(
                    f"There is no room to unpack `{path}` in `{tempfile.gettempdir()}`; "
                    "set TMPDIR to a larger disk or give a folder or a zip."
                ) from error
            raise _damaged(path, error) from error

    def members(self) -> Iterator[tuple[str, bool]]:
        """Every name, and whether it is a regular file."""
        try:
            self._file.seek(0)
            with tarfile.open(fileobj=self._file, mode="r:") as opened:
                archive: Any = opened
                while (member := archive.next()) is not None:
                    archive.members = []  # it would keep every one of millions
                    name = _inside(self.path, member.name)
                    if member.isdir():
                        continue
                    if member.isfile():
                        self._places[name] = (member.offset_data, member.size)
                    yield name, member.isfile()
        except _DAMAGE as error:
            raise _damaged(self.path, error) from error

    def read(self, name: str) -> bytes:
        """All bytes of a member."""
        start, size = self._places[name]
        with self._turn:
            self._file.seek(start)
            data = self._file.read(size)
        if len(data) != size:
            raise _damaged(self.path, EOFError("it ends too early"), name)
        return data

    def stamp(self, name: str) -> tuple[int, int]:
        """Size, and what else tells content apart."""
        return self._places[name][1], self._places[name][0]


def _damaged(path: Path, error: BaseException, name: str = "") -> UserError:
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    what = f"`{name}` in `{path}`" if name else f"The archive `{path}`"
    return UserError(f"{what} cannot be read ({without_folders(said)}); fetch or pack the archive again.")


def _inside(path: Path, name: str) -> str:
    """The member's name with `./` taken off; names that lead out of the archive are refused."""
    plain = name.replace("\\", "/")
    parts = PurePosixPath(plain).parts
    if plain.startswith("/") or plain[1:2] == ":" or ".." in parts:
        raise UserError(
            f"`{path}` holds `{name}`, a name that leads out of the archive; pack it again without."
        )
    return "/".join(parts)
