"""Kill -9 at random moments: the same command then ends bitwise where an uninterrupted run ends."""

from __future__ import annotations

import json
import random
import signal
from pathlib import Path

import pytest
from conftest import Answer, only_record, python

# Kills its own process at the n-th call of a function, which is a real kill -9 at an exact moment.
DRIVER = """
import importlib, os, signal, sys
where, attribute, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
module_name, _, owner = where.partition(":")
target = importlib.import_module(module_name)
target = getattr(target, owner) if owner else target
original, calls = getattr(target, attribute), [0]
def dying(*args, **keywords):
    calls[0] += 1
    if calls[0] == count:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args, **keywords)
setattr(target, attribute, dying)
from bench.cli import main
sys.exit(main(sys.argv[4:]))
"""


@pytest.fixture(scope="module")
def moments() -> list[tuple[str, str, int]]:
    """Two random optimiser steps, one checkpoint half written, one prediction, scoring, the last write."""
    steps = random.Random().choices(range(1, 5), k=2)
    print(f"killed in the optimiser steps {steps} after each start")
    # Every start goes on after the last whole step: at most 2 x 3 + 1 of the twelve are done by then.
    return [
        *[("torch.optim:Adam", "step", step) for step in steps],
        ("torch", "save", 2),
        ("bench.families.segmentation:SegmentationNet", "predict", 1),
        ("bench.families.segmentation:SegmentationTask", "score", 1),
        ("bench.report.gallery", "segmentation_gallery", 1),
        ("bench.run", "compared", 1),
    ]


def words(small: list[str], out: Path) -> list[str]:
    """A run of twelve steps, at its own folder, with the dropout that makes generator states matter."""
    kept = [w for w in small if w.partition("=")[0] not in ("out", "protocol.epochs")]
    return ["run", *kept, "protocol.epochs=6", "protocol.batch_size=2", f"out={out}", "--json"]


def killed(driver: Path, moment: tuple[str, str, int], command: list[str]) -> Answer:
    return python(driver, *moment, *command, env={"BENCH_CHECKPOINT_SECONDS": "0"})


@pytest.mark.slow
def test_kills_at_any_moment_change_nothing(small, tmp_path, moments):
    driver = tmp_path / "driver.py"
    driver.write_text(DRIVER)
    whole = python("-m", "bench", *words(small, tmp_path / "whole"))
    assert whole.code == 0, whole.err
    expected = only_record(tmp_path / "whole").parent
    out = tmp_path / "broken"
    for moment in moments:
        answer = killed(driver, moment, words(small, out))
        assert answer.code == -signal.SIGKILL, (moment, answer.err)
        record = only_record(out)
        assert json.loads(record.read_text())["status"] == "running"
    last = python("-m", "bench", *words(small, out))
    assert last.code == 0, last.err
    assert last.out == whole.out
    folder = only_record(out).parent
    for name in ("units.parquet", "curves.csv", "gallery/best.png", "config.yaml"):
        assert (folder / name).read_bytes() == (expected / name).read_bytes(), name
    assert "resumed at epoch" in (folder / "log.txt").read_text()
    assert not list(folder.rglob("*.part"))


def test_a_damaged_checkpoint_is_told_with_a_remedy(bench, small, tmp_path, monkeypatch):
    from bench.families import segmentation

    def interrupted(self, method, data, ctx):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(segmentation.SegmentationTask, "predict", interrupted)
        answer = bench("run", *small)
    assert answer.code == 1
    assert "same command continues" in answer.err
    (checkpoint,) = (tmp_path / "runs").rglob("state.pt")
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    answer = bench("run", *small)
    assert answer.code == 1
    assert "state.pt" in answer.err
    assert "rerun=true" in answer.err


def test_an_interrupted_repetition_goes_on_instead_of_starting_another(bench, small, tmp_path, monkeypatch):
    from bench.families import segmentation

    assert bench("run", *small).code == 0

    def interrupted(self, method, data, ctx):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(segmentation.SegmentationTask, "predict", interrupted)
        assert bench("run", *small, "rerun=true").code == 1
    assert bench("run", *small, "rerun=true").code == 0
    assert len(list((tmp_path / "runs").rglob("record.json"))) == 2


@pytest.mark.parametrize("failing", ["record", "checkpoint", "gallery"])
def test_a_full_disk_is_one_sentence_and_nothing_is_lost(bench, small, tmp_path, monkeypatch, failing):
    import errno
    import os

    from bench import files

    real = files.write_bytes

    def full(path, data):
        if failing in str(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real(path, data)

    with monkeypatch.context() as patch:
        for module in ("files", "checkpoint", "report.gallery", "run"):
            patch.setattr(f"bench.{module}.write_bytes", full)
        answer = bench("run", *small)
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert "No space left on device" in answer.err
    assert "same command again" in answer.err
    if failing != "record":
        assert json.loads(only_record(tmp_path / "runs").read_text())["status"] == "running"
    assert bench("run", *small).code == 0


def test_a_failing_write_names_its_file(tmp_path, monkeypatch):
    import errno
    import os

    from bench.files import storage_problem, write_bytes

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space") as caught:
        write_bytes(tmp_path / "record.json", b"x")
    assert "record.json" in str(storage_problem(caught.value))
    assert list(tmp_path.iterdir()) == []


def test_a_run_folder_that_cannot_be_written(bench, small, tmp_path):
    blocked = tmp_path / "a file"
    blocked.write_text("not a folder")
    kept = [word for word in small if not word.startswith("out=")]
    answer = bench("run", *kept, f"out={blocked}")
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert "a file" in answer.err
