"""Phantoms that tests read, written once a session, and the official format in miniature."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.datasets.duke_oct import DukeOCT
from bench.datasets.umn_oct import UMNOCT


@pytest.fixture(scope="session")
def tiny_duke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `tiny` phantom of `duke_oct`; read only."""
    root = tmp_path_factory.mktemp("phantoms") / "duke"
    DukeOCT().write_phantom(root, size="tiny")
    return root


@pytest.fixture(scope="session")
def tiny_umn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `tiny` phantom of `umn_oct`; read only."""
    root = tmp_path_factory.mktemp("phantoms") / "umn"
    UMNOCT().write_phantom(root, size="tiny")
    return root


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A `folder` dataset of four pairs of 6x8 pixels with labels 0 and 1, to damage."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    for name in "abcd":
        Image.fromarray(rng.integers(0, 256, (6, 8)).astype(np.uint8)).save(tmp_path / f"images/{name}.png")
        Image.fromarray(rng.integers(0, 2, (6, 8)).astype(np.uint8)).save(tmp_path / f"masks/{name}.png")
    (tmp_path / "classes.json").write_text('{"0": "background", "1": "fluid"}')
    rows = ["file,unit,split", "a.png,p1,train", "b.png,p1,train", "c.png,p2,val", "d.png,p3,test"]
    (tmp_path / "splits.csv").write_text("\n".join(rows) + "\n")
    return tmp_path
