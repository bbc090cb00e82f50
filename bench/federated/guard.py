"""Run one command that must not outlive the process that asked for it; used as a script.

The command and all its descendants share this script's process group. When the command ends, when standard
input closes or when the parent is gone (a `kill -9` does both), the group is asked to end and then made to.
Standard library only: it starts in milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time

GRACE = 4.0  # seconds for a clean end


def main(command: list[str]) -> None:
    """Run `command` until it ends or nobody wants it any more, then end this process group."""
    parent = os.getppid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the parent's to act on
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # our own, below
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603
    while child.poll() is None and os.getppid() == parent:
        if select.select([0], [], [], 0.2)[0] and not os.read(0, 1):
            break
    os.killpg(0, signal.SIGTERM)
    end = time.monotonic() + GRACE
    while child.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    with contextlib.suppress(OSError):
        sys.stdout.write(f"[guard] ended with {child.poll()}\n")
        sys.stdout.flush()
    os.killpg(0, signal.SIGKILL)  # this process too


if __name__ == "__main__":
    main(sys.argv[1:])
