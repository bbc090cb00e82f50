"""Features: the right rows in the right order, computed once, whatever is killed, damaged or runs beside."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image
from torch import Tensor, nn

from bench.errors import UserError
from bench.images.decode import decode
from bench.images.extractors import Extractor, open_extractor
from bench.images.features import Features, features
from bench.images.files import open_set
from bench.images.protocol import FILTERS, ImageProtocol, apply
from bench.images.shelf import Row, Shelf
from bench.progress import Progress

RANDOM = ImageProtocol("random")


class Means(nn.Module):
    """Channel means and the sizes seen: features known by heart, and a count of images computed."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.seen.append(tuple(x.shape))
        x = x.double()
        size = torch.tensor([x.shape[2], x.shape[3]]).expand(len(x), 2)
        return torch.cat([x.mean((2, 3)), size], 1).float(), x.amax((2, 3)).float()

    @property
    def images(self) -> int:
        return sum(shape[0] for shape in self.seen)


def means(version: int = 0) -> tuple[Extractor, Means]:
    net = Means()
    return Extractor("means", net, 5, 3, None, {"version": version}), net


PLAIN = ImageProtocol("means")


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_set(root: Path, count: int = 11, seed: int = 0, sizes: int = 3) -> Path:
    rng = np.random.default_rng(seed)
    for i in range(count):
        write(root / f"{i:04d}.png", rng.integers(0, 256, (8 + i % sizes, 9, 3), np.uint8))
    return root


def expected(root: Path) -> np.ndarray:
    rows = []
    for image in open_set(root).images:
        pixels, _ = decode(image.read(), image.name)
        rows.append([*pixels.astype(np.float64).mean((0, 1)), *pixels.shape[:2]])
    return np.array(rows, np.float32)


def check(found: Features, root: Path) -> None:
    np.testing.assert_allclose(found.pooled, expected(root), rtol=1e-6)
    assert found.logits is not None
    assert found.logits.shape == (len(found.names), 3)
    assert found.names == tuple(image.name for image in open_set(root).images)


@pytest.mark.parametrize("batch", [1, 2, 4, 64])
def test_rows_are_in_the_order_of_the_names(batch: int, tmp_path: Path) -> None:
    root = write_set(tmp_path / "set")
    extractor, net = means()
    found = features(open_set(root), extractor, PLAIN, tmp_path / "cache", batch=batch)
    check(found, root)
    assert isinstance(found.pooled, np.memmap)
    assert not found.pooled.flags.writeable
    assert found.pooled.dtype == np.float32
    assert found.computed == net.images == 11
    assert max(shape[0] for shape in net.seen) <= batch
    assert found.sizes == {(8, 9): 4, (9, 9): 4, (10, 9): 3}
    assert found.converted == {}
    assert found.rate > 0


def test_the_real_network_gives_what_it_gives_by_hand(tmp_path: Path, shared_data: Path) -> None:
    root = shared_data / "coco" / "images"
    protocol = ImageProtocol("random", "bilinear", 64)
    net = open_extractor("random")
    found = features(open_set(root), net, protocol, tmp_path, batch=16)
    images = open_set(root).images
    stack = np.stack([apply(decode(i.read(), i.name)[0], protocol) for i in images])
    pooled, logits = net(torch.from_numpy(stack).permute(0, 3, 1, 2))
    assert logits is not None
    np.testing.assert_allclose(found.pooled, pooled.numpy(), rtol=1e-4, atol=1e-5)
    assert found.logits is not None
    np.testing.assert_allclose(found.logits, logits.numpy(), rtol=1e-4, atol=1e-5)


def test_a_second_pass_computes_nothing_and_a_changed_image_one(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set")
    extractor, net = means()
    first = features(open_set(root), extractor, PLAIN, tmp_path / "cache")
    again = features(open_set(root), extractor, PLAIN, tmp_path / "cache")
    assert (again.computed, net.images) == (0, 11)
    np.testing.assert_array_equal(again.pooled, first.pooled)
    np.testing.assert_array_equal(again.logits, first.logits)  # pyright: ignore[reportArgumentType]
    assert (again.sizes, again.converted, again.content) == (first.sizes, first.converted, first.content)
    write(root / "0004.png", np.full((8, 8, 3), 7, np.uint8))
    changed = features(open_set(root), extractor, PLAIN, tmp_path / "cache")
    assert changed.computed == 1
    assert changed.content != first.content
    check(changed, root)


def test_the_same_set_object_sees_a_changed_file(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set")
    images = open_set(root)
    extractor, _ = means()
    features(images, extractor, PLAIN, tmp_path / "cache")
    write(root / "0004.png", np.full((20, 8, 3), 7, np.uint8))
    found = features(images, extractor, PLAIN, tmp_path / "cache")
    assert found.computed == 1
    check(found, root)


def test_names_do_not_matter_to_the_cache_nor_to_the_content(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set")
    extractor, _ = means()
    first = features(open_set(root), extractor, PLAIN, tmp_path / "cache")
    for path in sorted(root.iterdir()):
        path.rename(root / f"{999 - int(path.stem):04d}.png")
    found = features(open_set(root), extractor, PLAIN, tmp_path / "cache")
    assert found.computed == 0
    assert found.content == first.content
    np.testing.assert_array_equal(found.pooled, first.pooled[::-1])


def test_an_image_that_stands_twice_is_computed_once(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", 3)
    for i in range(20):
        (root / f"copy{i}.png").write_bytes((root / "0001.png").read_bytes())
    for batch in (2, 64):
        extractor, net = means(batch)
        found = features(open_set(root), extractor, PLAIN, tmp_path / "cache", batch=batch)
        check(found, root)
        assert found.computed == net.images == 3
        assert sum(found.sizes.values()) == 23


def test_protocols_and_extractors_have_rows_of_their_own(tmp_path: Path) -> None:
    images = open_set(write_set(tmp_path / "set"))
    for version in (0, 1):
        for protocol in (PLAIN, ImageProtocol("means", "box", 4), ImageProtocol("means", stretch="stretch")):
            extractor, _ = means(version)
            assert features(images, extractor, protocol, tmp_path / "cache").computed == 11
            assert features(images, extractor, protocol, tmp_path / "cache").computed == 0


@pytest.mark.parametrize("name", FILTERS)
def test_the_protocol_is_applied(name: str, tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", 4)
    protocol = ImageProtocol("means", name, (5, 6), "jpeg", "stretch")
    extractor, net = means()
    found = features(open_set(root), extractor, protocol, tmp_path / "cache")
    assert net.seen == [(4, 3, 5, 6)]
    for row, image in zip(found.pooled, open_set(root).images, strict=True):
        pixels = apply(decode(image.read(), image.name)[0], protocol)
        np.testing.assert_allclose(row[:3], pixels.mean((0, 1)), rtol=1e-6)
    assert found.sizes == {(8, 9): 2, (9, 9): 1, (10, 9): 1}  # of the files


def test_conversions_are_counted_from_the_cache_too(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", 2)
    write(root / "grey.png", np.zeros((4, 4), np.uint8))
    write(root / "both.png", np.zeros((4, 4, 2), np.uint8))
    write(root / "alpha.png", np.zeros((4, 4, 4), np.uint8))
    for _ in range(2):
        found = features(open_set(root), means()[0], PLAIN, tmp_path / "cache")
        assert found.converted == {"grey": 2, "alpha": 2}


# Kills, damage, neighbours


class Stop(Exception):
    pass


def test_a_stop_loses_the_current_batch_only(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", 20, sizes=1)
    extractor, net = means()
    plain = net.forward

    def stopping(x: Tensor) -> Any:
        if net.images >= 12:
            raise Stop
        return plain(x)

    net.forward = stopping
    with pytest.raises(Stop):
        features(open_set(root), extractor, PLAIN, tmp_path / "cache", batch=4)
    extractor, net = means()
    found = features(open_set(root), extractor, PLAIN, tmp_path / "cache", batch=4)
    assert found.computed == net.images == 8
    check(found, root)


KILLED = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_features import PLAIN, means
from bench.images.features import features
from bench.images.files import open_set
extractor, net = means()
plain, calls = net.forward, []
def forward(x):
    calls.append(1)
    if len(calls) > {after}:
        os.kill(os.getpid(), 9)
    time.sleep({pause})
    return plain(x)
net.forward = forward
print("ready", flush=True)
sys.stdin.readline()
found = features(open_set(Path({root!r})), extractor, PLAIN, Path({cache!r}), batch={batch})
print(found.computed)
"""


def processes(root: Path, cache: Path, after: int, pause: float, *batches: int) -> list[tuple[int, str]]:
    """Exit code and last line of as many processes, which begin when all of them are ready."""
    words = {"tests": str(Path(__file__).parent), "root": str(root), "cache": str(cache)}
    text = textwrap.dedent(KILLED)
    with contextlib.ExitStack() as stack:
        children = []
        for batch in batches:
            code = text.format(**words, after=after, pause=pause, batch=batch)
            child = subprocess.Popen(
                [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            children.append(stack.enter_context(child))
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        answers = [child.communicate()[0] for child in children]
        return [(child.returncode, out.strip()) for child, out in zip(children, answers, strict=True)]


def test_a_killed_process_loses_the_current_batch_only(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", 20, sizes=1)
    assert processes(root, tmp_path / "cache", 2, 0, 4) == [(-9, "")]
    found = features(open_set(root), means()[0], PLAIN, tmp_path / "cache", batch=4)
    assert found.computed == 12
    check(found, root)
    (place,) = (tmp_path / "cache").iterdir()
    assert {path.name for path in place.iterdir()} <= {"index.bin", "rows.f32", ".lock"}


def test_processes_side_by_side_agree(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", 40)
    answers = processes(root, tmp_path / "cache", 10**6, 0.02, 3, 5)
    assert [code for code, _ in answers] == [0, 0]
    assert 40 < sum(int(out) for _, out in answers) <= 80  # they did overlap
    extractor, net = means()
    check(features(open_set(root), extractor, PLAIN, tmp_path / "cache"), root)
    assert net.images == 0


def test_threads_side_by_side_agree(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", 40)
    answers: list[Features] = []

    def work(batch: int) -> None:
        answers.append(features(open_set(root), means()[0], PLAIN, tmp_path / "cache", batch=batch))

    threads = [threading.Thread(target=work, args=(batch,)) for batch in (2, 3, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 3
    for found in answers:
        check(found, root)


def test_a_writer_waits_for_another(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, 3)
    row = Row(bytes(range(32)), 1, (4, 5), np.arange(3, dtype=np.float32))
    writer = threading.Thread(target=shelf.append, args=([row],))
    with FileLock(tmp_path / ".lock"):
        writer.start()
        writer.join(0.3)
        assert writer.is_alive()
        assert (tmp_path / "rows.f32").stat().st_size == 0
    writer.join()
    number = shelf.find(row.content)
    assert number == 0
    found = shelf.read(number)
    assert found is not None
    assert (found.content, found.flags, found.size) == (row.content, 1, (4, 5))
    np.testing.assert_array_equal(found.values, row.values)
    shelf.close()


@pytest.mark.parametrize("file", ["rows.f32", "index.bin"])
def test_every_flipped_byte_is_noticed(file: str, tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", 6)
    cache = tmp_path / "cache"
    features(open_set(root), means()[0], PLAIN, cache)
    (path,) = cache.glob(f"*/{file}")
    whole = path.read_bytes()
    assert len(whole) % 6 == 0
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        rest = {other: other.read_bytes() for other in path.parent.iterdir() if other != path}
        found = features(open_set(root), means()[0], PLAIN, cache)
        assert found.computed == 1
        check(found, root)
        assert features(open_set(root), means()[0], PLAIN, cache).computed == 0
        for other, data in rest.items():
            other.write_bytes(data)
    path.write_bytes(whole)
    assert features(open_set(root), means()[0], PLAIN, cache).computed == 0


@pytest.mark.parametrize("file", ["rows.f32", "index.bin"])
@pytest.mark.parametrize("left", [0, 1, 50, 119])
def test_files_cut_anywhere_cost_only_what_was_cut(file: str, left: int, tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", 6)
    cache = tmp_path / "cache"
    features(open_set(root), means()[0], PLAIN, cache)
    (path,) = cache.glob(f"*/{file}")
    entry = path.stat().st_size // 6
    path.write_bytes(path.read_bytes()[:left])
    found = features(open_set(root), means()[0], PLAIN, cache)
    assert found.computed == 6 - left // entry
    check(found, root)
    assert features(open_set(root), means()[0], PLAIN, cache).computed == 0


# What is refused


def test_a_faulty_image_is_named_and_what_was_done_is_kept(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", 8, sizes=1)
    (root / "0006.png").write_text("no image at all")
    with pytest.raises(UserError, match=r"set/0006\.png` is no image"):
        features(open_set(root), means()[0], PLAIN, tmp_path / "cache", batch=2)
    (root / "0006.png").unlink()
    assert features(open_set(root), means()[0], PLAIN, tmp_path / "cache", batch=2).computed == 1


def test_features_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", 5, sizes=1)
    extractor, net = means()
    plain = net.forward

    def broken(x: Tensor) -> Any:
        pooled, logits = plain(x)
        pooled[3, 1] = torch.nan
        return pooled, logits

    net.forward = broken
    with pytest.raises(UserError, match=r"NaN or infinity for `.*0003\.png`"):
        features(open_set(root), extractor, PLAIN, tmp_path / "cache")


def test_mistakes_of_the_caller(tmp_path: Path) -> None:
    images = open_set(write_set(tmp_path / "set", 2))
    with pytest.raises(ValueError, match="a protocol of random"):
        features(images, means()[0], RANDOM, tmp_path)
    with pytest.raises(ValueError, match="batch"):
        features(images, means()[0], PLAIN, tmp_path, batch=0)


# Memory, progress


def test_large_images_go_through_in_small_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.images.features._BUDGET", 3 * 8 * 9 * 3)
    root = write_set(tmp_path / "set", 12, sizes=1)
    extractor, net = means()
    check(features(open_set(root), extractor, PLAIN, tmp_path / "cache"), root)
    assert [shape[0] for shape in net.seen] == [3] * 4


MEMORY = """
import json, resource, sys
from pathlib import Path
import numpy as np
from bench.images import files
from bench.images.extractors import open_extractor
from bench.images.features import features
from bench.images.protocol import ImageProtocol
HEAD = b"P6 128 128 255\\n"
class Made:
    def read(self, name):
        return HEAD + np.random.default_rng(int(name)).bytes(128 * 128 * 3)
    def stamp(self, name):
        return 1, 1
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
extractor, peaks = open_extractor("random"), []
for count in (200, 1400):
    images = files.ImageSet(Path("made"), tuple(files.ImageFile(str(i), Made()) for i in range(count)))
    features(images, extractor, ImageProtocol("random"), Path(sys.argv[1]), batch=32)
    peaks.append(peak())
print(json.dumps(peaks))
"""


def test_memory_is_flat_in_the_number_of_images(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, tmp_path], capture_output=True, text=True, check=True
    )
    first, second = json.loads(done.stdout)
    assert second - first < 12  # MiB; 1,200 rows of features are 14, the decoded images 56


def test_progress_counts_images_and_shows_the_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_set(tmp_path / "set", 5)
    progress = Progress(shown=False)
    seen: list[dict[str, float]] = []
    bars: list[int | None] = []

    class Bar:
        def __enter__(self) -> Any:
            return lambda **notes: seen.append(notes)

        def __exit__(self, *_: object) -> None:
            pass

    def bar(description: str, total: int | None, start: int = 0) -> Bar:
        bars.append(total)
        return Bar()

    monkeypatch.setattr(progress, "bar", bar)
    features(open_set(root), means()[0], PLAIN, tmp_path / "cache", progress=progress)
    assert bars == [5]
    assert len(seen) == 5
    assert all(notes["images/s"] > 0 for notes in seen)


def test_archives_give_the_same_features(tmp_path: Path) -> None:
    import zipfile

    root = write_set(tmp_path / "set", 6)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in root.iterdir():
            archive.write(path, path.name)
    one = features(open_set(root), means()[0], PLAIN, tmp_path / "cache")
    other = features(open_set(tmp_path / "set.zip"), means()[0], PLAIN, tmp_path / "cache")
    assert other.computed == 0
    assert one.content == other.content
    np.testing.assert_array_equal(one.pooled, other.pooled)
    assert decode(io.BytesIO((root / "0000.png").read_bytes()).getvalue(), "x")[0].shape == (8, 9, 3)
