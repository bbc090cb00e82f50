"""Phantoms that tests read, written once a session, and the official format in miniature."""

from __future__ import annotations

from pathlib import Path

import pytest

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
