"""Where things live on this machine: `$BENCH_HOME`, or the user data directory of the platform."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """Root of runs, prepared data, phantoms and caches; nothing is created here."""
    named = os.environ.get("BENCH_HOME")
    if named:
        return Path(named).expanduser().absolute()
    from platformdirs import user_data_path

    return user_data_path("bench", appauthor=False)


def runs() -> Path:
    """Default root of run folders."""
    return home() / "runs"
