"""What the two test files of the `folder` dataset share."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.datasets.folder import Folder
from bench.errors import UserError

ROWS = ["a.png,p1,train", "b.png,p1,train", "c.png,p2,val", "d.png,p3,test"]


def table(pairs: Path, rows: list[str], header: str = "file,unit,split") -> None:
    (pairs / "splits.csv").write_text("\n".join([header, *rows]) + "\n")


def refusal(pairs: Path) -> str:
    with pytest.raises(UserError) as caught:
        Folder().load(pairs)
    message = str(caught.value)
    assert str(pairs) in message and "\n" not in message
    return message
