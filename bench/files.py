"""Writing so that a kill, a full disk or a second process never leaves half a file behind."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

_STORAGE = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EIO,
    errno.ENAMETOOLONG,
    errno.EMFILE,
}


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Replace `path` by `data` in one step that a power cut cannot split."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a failing write() does not say what it was writing
        raise


def append_bytes(path: Path, data: bytes, start: int | None = None) -> None:
    """Add to the end of a file, made if missing, and to the disk; first cut it at `start`, if given."""
    try:
        with path.open("ab") as file:
            if start is not None:
                file.truncate(start)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        error.filename = error.filename or str(path)  # a failing write() does not say what it was writing
        raise


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` (UTF-8) in one step."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by JSON in one step; NaN and infinity are refused with `ValueError`."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical(value: Any) -> str:
    """JSON with one spelling for one value, for hashing."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """SHA-256 over the canonical JSON of a value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def safe_name(name: str) -> str:
    """A name any file system takes: letters, digits, `.`, `_`, `-` and `+`, at most 80 characters."""
    cleaned = re.sub(r"[^A-Za-z0-9._+-]+", "-", name).strip("-.") or "unnamed"
    if cleaned == name and len(name) <= 80:
        return name
    return f"{cleaned[:70]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def without_folders(text: str, is_path: bool = False) -> str:
    """A path without its folders, which may name a person or a machine; other text as it is."""
    looks_like_path = text.startswith(("/", "~", "./", "../")) or ".py" in text
    return (Path(text).name or text) if is_path or looks_like_path else text


def storage_problem(error: OSError) -> str | None:
    """One sentence for a disk that is full, read-only or closed to us; None for any other error."""
    if error.errno not in _STORAGE:
        return None
    where = f" `{error.filename}`" if error.filename else ""
    return (
        f"Could not write{where}: {error.strerror}; free space or choose another folder with `out=DIR` "
        "(or BENCH_HOME), then start the same command again, which continues where this one stopped."
    )
