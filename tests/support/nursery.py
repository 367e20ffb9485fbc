"""Processes of the service that start in a tenth of a second, so that killing them is cheap.

A process that has done the slow imports (torch, FAISS) and nothing else forks a child per order;
what the child runs is the command line from its first line on, or another function that a test
names, with its own environment. Kills, files, sockets and databases are as real as ever.
"""

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

DEAD_SECONDS = 10.0
#: What children would import, done once, in their parent.
SERVICE = ("api.app", "api.cli", "api.worker")


class Nursery:
    """Starts verbs of the command line. Close it with `close`; its children go on."""

    def __init__(self, environment: Mapping[str, str], rooms: Sequence[str] = SERVICE) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, *rooms],
            env={**environment, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def start(
        self,
        *arguments: str,
        environment: Mapping[str, str],
        folder: Path,
        log: Path,
        run: str = "api.cli:main",
    ) -> int:
        """The id of a new process, which leads a group of its own.

        `run`: `module:function` that finds the arguments in `sys.argv`; by default they are a verb.
        """
        order = {
            "run": run,
            "arguments": arguments,
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
    for room in sys.argv[1:]:
        import_module(room)

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
    module, _, function = order["run"].partition(":")
    sys.argv = ["graphsvc", *order["arguments"]]
    code = 1
    try:
        getattr(import_module(module), function)()
        code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 1
    except BaseException:  # noqa: BLE001  nobody else would say so
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
