"""Flower's programs as child processes: quiet, at home in one folder, and gone when we are."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
from contextlib import ExitStack
from pathlib import Path

from bench.errors import RunFailed
from bench.federated import guard


def environment(home: Path) -> dict[str, str]:
    """The environment of Flower's programs.

    Args:
        home: Flower's own folder, in place of `~/.flwr`.
    """
    scripts = (sysconfig.get_path("scripts"), str(Path(sys.executable).parent))
    return {
        **os.environ,
        # Flower starts its programs by their bare names: ours come first.
        "PATH": os.pathsep.join([*scripts, os.environ.get("PATH", os.defpath)]),
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.3",  # seconds; each poll costs milliseconds on each node
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore",
        "NO_COLOR": "1",
    }


def program(name: str, env: dict[str, str]) -> str:
    """Path of one of Flower's programs.

    Raises:
        RunFailed: It is not installed.
    """
    found = shutil.which(name, path=env["PATH"])
    if found is None:
        raise RunFailed(f"Flower's program `{name}` is not found beside {sys.executable}; reinstall flwr.")
    return found


class Guarded:
    """A running program whose output goes to a log file and that ends with us.

    Args:
        name: How a message calls it.
        command: Program and arguments; the program is looked up among the environment's.
        log: Gets its output.
        env: Its environment.
    """

    def __init__(self, name: str, command: list[str], log: Path, env: dict[str, str]):
        self.name, self.log = name, log
        words = [sys.executable, "-I", guard.__file__, program(command[0], env), *command[1:]]
        with log.open("wb") as file:
            self.process = subprocess.Popen(  # noqa: S603
                words, stdin=subprocess.PIPE, stdout=file, stderr=file, env=env, start_new_session=True
            )

    def check(self) -> None:
        """Raise `RunFailed` when the program has ended."""
        if self.process.poll() is not None:
            raise RunFailed(f"{self.name} ended: {last_line(self.log)} (its log is {self.log}).")

    def ask_to_end(self) -> None:
        """Let the guard end the program; does not wait."""
        if self.process.stdin is not None and not self.process.stdin.closed:
            self.process.stdin.close()

    def end(self) -> None:
        """End the program and wait until it is gone."""
        self.ask_to_end()
        try:
            self.process.wait(guard.GRACE + 5)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)  # the guard leads a group of its own
            self.process.wait()


def last_line(log: Path) -> str:
    """The last thing a program said, on one line."""
    text = log.read_text(errors="replace") if log.is_file() else ""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("[guard]")]
    return lines[-1][:200].rstrip(".") if lines else "it said nothing"


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody uses now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
