"""Start-up of the command line beside `python -c pass`, as whole processes in turn.

Goals: `bench --help` under 0.15 s more, `bench list` under 0.3 s more. Run: `python benchmarks/startup.py`.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

REPEATS = 15
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "bench --help": ["-m", "bench", "--help"],
    "bench list": ["-m", "bench", "list"],
}


def main() -> None:
    """Time every command in turn and print medians and what each adds."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(REPEATS + 1):
        for name, words in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
            if turn:  # the first turn warms up
                times[name].append(time.perf_counter() - start)
    bare = statistics.median(times["python -c pass"])
    for name, values in times.items():
        median = statistics.median(values)
        spread = f"({min(values):.3f} to {max(values):.3f})"
        print(f"{name:<16} median {median:.3f} s {spread}, {median - bare:+.3f} s")


if __name__ == "__main__":
    main()
