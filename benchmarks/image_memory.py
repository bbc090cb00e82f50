"""Memory and time of a whole comparison of two large sets of images, at several numbers of images.

Operation: `bench metrics images` in a process of its own, all metrics of sets, features from nothing. Memory
is what the process holds itself (RssAnon of Linux); mapped files, which the system takes back when it needs
the room, do not count.

    python benchmarks/image_memory.py --generated A --reference B --counts 2000,8000,32000
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.images.files import open_set


def linked(source: Path, target: Path, count: int) -> Path:
    """A folder of the first images of another."""
    target.mkdir()
    found = open_set(source)
    for i, image in enumerate(found.images[:count]):
        (target / f"{i:07d}{Path(image.name).suffix}").symlink_to((source / image.name).resolve())
    return target


def held(pid: int) -> int:
    """Anonymous memory of a process, in MiB; 0 once it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) >> 10 for line in lines if line.startswith("RssAnon")), 0)


def main() -> None:
    """Print a line for each number of images."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    words.add_argument("--generated", type=Path, required=True)
    words.add_argument("--reference", type=Path, required=True)
    words.add_argument("--counts", default="2000,8000,32000")
    words.add_argument("--extractor", default="random")
    words.add_argument("--metrics", default="fid,kid,is,prd,pr")
    given = words.parse_args()
    for count in map(int, given.counts.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            sides = [
                linked(getattr(given, side), Path(folder) / side, count)
                for side in ("generated", "reference")
            ]
            line = [sys.executable, "-m", "bench", "metrics", "images"]
            line += ["--generated", str(sides[0]), "--reference", str(sides[1])]
            line += ["--extractor", given.extractor, "--metrics", given.metrics, "--json"]
            start, most = time.monotonic(), 0
            environment = {**os.environ, "BENCH_HOME": f"{folder}/home"}
            with subprocess.Popen(
                line, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ) as process:
                while process.poll() is None:
                    most = max(most, held(process.pid))
                    time.sleep(0.1)
            seconds = time.monotonic() - start
            assert process.returncode == 0, process.returncode
            print(f"{count:>7,} against {count:>7,} images: {seconds:6.0f} s, {most:,} MiB", flush=True)


if __name__ == "__main__":
    main()
