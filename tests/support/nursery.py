"""Processes of the service that start in a tenth of a second, so that killing them is cheap.

A process that has done the slow imports (torch, FAISS) and nothing else forks a child per order;
what the child runs is the command line from its first line on, or another function that a test
names, with its own environment. Kills, files, sockets and databases are as real as ever. There is
one such process per test process, made when a test first needs it; a program that starts from
nothing, interpreter and all, is run by tests/journeys/test_up.py.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

DEAD_SECONDS = 10.0
#: What children would import, done once, in their parent: the service, and what its steps import.
ROOMS = ("api.app", "api.cli", "api.worker", "kge.train", "ranking.train")


@cache
def nursery() -> "Nursery":
    """That of this test process. It ends with it: nobody holds the other end of its pipe then."""
    return Nursery()


class Child:
    """A process of a nursery, to be used as one of `subprocess`."""

    def __init__(self, pid: int, log: Path) -> None:
        self.pid = pid
        self._code = Path(f"{log}.{pid}")

    def send_signal(self, how: signal.Signals) -> None:
        if is_alive(self.pid):
            os.kill(self.pid, how)

    def wait(self, timeout: float = DEAD_SECONDS) -> int:
        """Its exit code, once it has ended; -9 if it was killed."""
        until = time.monotonic() + timeout
        while is_alive(self.pid):
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.005)
        return int(self._code.read_text()) if self._code.exists() else -signal.SIGKILL


class Nursery:
    """Starts verbs of the command line. Close it with `close`; its children go on."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, *ROOMS],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def start(
        self,
        *arguments: str,
        environment: Mapping[str, str],
        folder: Path,
        log: Path,
        errors: Path | None = None,
        run: str = "api.cli:main",
    ) -> Child:
        """A new process, which leads a group of its own and writes what it says into `log`.

        `errors`: where stderr goes instead. `run`: `module:function` that finds the arguments in
        `sys.argv`; by default they are a verb.
        """
        order = {
            "run": run,
            "arguments": arguments,
            "environment": dict(environment),
            "folder": str(folder),
            "log": str(log),
            "errors": str(errors or log),
        }
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        return Child(int(self._process.stdout.readline()), log)

    def call(
        self,
        *arguments: str,
        environment: Mapping[str, str],
        folder: Path,
        timeout: float = 120.0,
    ) -> "subprocess.CompletedProcess[bytes]":
        """Run a verb to its end, as `subprocess.run` would."""
        with tempfile.TemporaryDirectory(prefix="verb-") as made:
            out, errors = Path(made, "out"), Path(made, "errors")
            child = self.start(
                *arguments, environment=environment, folder=folder, log=out, errors=errors
            )
            try:
                code = child.wait(timeout)
            except subprocess.TimeoutExpired:
                kill(child.pid)
                raise
            said = out.read_bytes(), errors.read_bytes()
        return subprocess.CompletedProcess(arguments, code, *said)

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
    for name, stream in (("log", 1), ("errors", 2)):
        os.dup2(os.open(order[name], os.O_WRONLY | os.O_APPEND | os.O_CREAT), stream)
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
        sys.stdout.flush()
        sys.stderr.flush()
        Path(f"{order['log']}.{os.getpid()}").write_text(str(code))
        os._exit(code)


if __name__ == "__main__":
    main()
