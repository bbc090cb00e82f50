"""Reading JSON of others: large lists entry by entry, every fault one sentence with file and place."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.errors import UserError

_BLANK = re.compile(r"[ \t\n\r]*")
Kinds = type | tuple[type, ...]


def read_text(path: Path) -> str:
    """The text of a UTF-8 file.

    Raises:
        UserError: The file is not there or is no text.
    """
    if not path.is_file():
        raise UserError(f"`{path}` is missing; give the folder that holds it.")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"`{path}` is no UTF-8 text (byte {error.start:,}); fetch the file again.") from error
    except OSError as error:
        raise UserError(f"`{path}` cannot be read ({error.strerror}); fetch the file again.") from error


def read_json(path: Path, kind: Kinds) -> Any:
    """The one value of a JSON file.

    Raises:
        UserError: Missing, cut off, or another kind of value than asked for.
    """
    text = read_text(path)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"`{path}` is damaged or cut off ({_where(error, text)}); fetch the file again."
        ) from error
    if not isinstance(value, kind):
        raise UserError(f"`{path}` holds {_called(value)} where {_asked(kind)} is needed.")
    return value


def entries(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON list one by one, so that a list of gigabytes never stands in memory as a whole.

    Raises:
        UserError: Missing, cut off, no list, or an entry that is no object.
    """
    text, decoder = read_text(path), json.JSONDecoder()
    at = _skip(text, 0)
    if text[at : at + 1] != "[":
        raise UserError(f"`{path}` begins with `{text[at : at + 1]}` where a list `[` is needed.")
    count, at = 0, _skip(text, at + 1)
    if text[at : at + 1] == "]":
        return
    while True:
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise UserError(
                f"`{path}` is damaged or cut off after {count:,} entries ({_where(error, text)}); fetch the "
                "file again."
            ) from error
        if not isinstance(value, dict):
            raise UserError(f"`{path}`: entry {count} is {_called(value)} where an object is needed.")
        yield value
        count, at = count + 1, _skip(text, at)
        after = text[at : at + 1]
        if after == "]":
            return
        if after != ",":
            raise UserError(
                f"`{path}` is damaged or cut off after {count:,} entries (character {at:,}); fetch the file "
                "again."
            )
        at = _skip(text, at + 1)


def value(entry: Any, key: str, kind: Kinds, where: str) -> Any:
    """What stands under a key.

    Args:
        entry: A JSON object.
        key: Wanted.
        kind: Type or types it may have; a truth value is no number.
        where: File and place, to open the sentence with.

    Raises:
        UserError: No object, the key is missing, or another type.
    """
    if not isinstance(entry, dict):
        raise UserError(f"{where} is {_called(entry)} where an object with `{key}` is needed.")
    if key not in entry:
        raise UserError(f"{where} lacks `{key}`; it has {', '.join(map(str, entry)) or 'nothing'}.")
    found = entry[key]
    if not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool):
        raise UserError(f"{where}: `{key}` is {_called(found)} where {_asked(kind)} is needed.")
    return found


def _skip(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at


def _where(error: Exception, text: str) -> str:
    at = error.pos if isinstance(error, json.JSONDecodeError) else None
    return "unreadable" if at is None else f"character {at:,} of {len(text):,}"


_NAMES = {
    dict: "an object",
    list: "a list",
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "a truth value",
    type(None): "nothing (null)",
}


def _called(found: Any) -> str:
    return _NAMES.get(type(found), type(found).__name__)


def _asked(kind: Kinds) -> str:
    return " or ".join(
        _NAMES.get(one, one.__name__) for one in (kind if isinstance(kind, tuple) else (kind,))
    )
