"""Processes of the service that start in a tenth of a second, so that killing them is cheap.

A process that has done the slow imports (torch, FAISS) and nothing else forks a child per verb;
what the child runs is the command line from its first line on, with its own environment. Kills,
files, sockets and databases are as real as ever.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DEAD_SECONDS = 10.0


class Nursery:
    """Starts verbs of the command line. Close it with `close`; its children go on."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            env={**environment, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def start(self, verb: str, *, environment: Mapping[str, str], folder: Path, log: Path) -> int:
        """The id of a new process, which leads a group of its own."""
        order = {
            "verb": verb,
            "environment": dict(environment),
            "folder": str(folder),
            "log": str(log),
        }
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def is_alive(pid: int) -> bool:
    """Whether a process runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def kill(pid: int, how: signal.Signals = signal.SIGKILL) -> None:
    """End a process and its group, and wait until it is gone."""
    try:
        os.killpg(pid, how)
    except ProcessLookupError:
        return
    until = time.monotonic() + DEAD_SECONDS
    while is_alive(pid):
        if time.monotonic() > until:
            os.killpg(pid, signal.SIGKILL)
        time.sleep(0.002)


def main() -> None:
    """Import, then fork a child for every line of orders."""
    import api.app
    import api.cli
    import api.worker  # noqa: F401  what takes long is done once, here

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # whoever dies is gone at once
    while line := sys.stdin.readline():
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(order)
        os.write(1, f"{pid}\n".encode())


def _become(order: dict[str, Any]) -> None:
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.argv = ["graphsvc", order["verb"]]
    from api.cli import main as run_verb

    code = 1
    try:
        run_verb()
        code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 1
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
