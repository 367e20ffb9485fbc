"""Server and worker side by side, a process for the page, and all stopped cleanly.

Takes settings, runs child processes; never does their work itself. They end when this process
does, even if it is killed. A worker that lost its database is started again; whatever else ends by
itself ends the pair.
"""

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from time import monotonic
from types import FrameType, TracebackType
from typing import Self

from api.errors import PortTaken
from api.settings import Settings

_GRACE_SECONDS = 10.0
_POLL_SECONDS = 0.2
#: The exit code of a worker that lost its database; whoever started it may start it again.
LOST = 75
_SECONDS_BEFORE_RESTART = 1.0
#: How long a server leaves an idle connection open, in seconds: longer than a client that pauses
#: between two requests does, who else may ask in the very moment in which it is closed.
KEEP_ALIVE = 75
_PAGE_ENDED = "the page's process has ended (exit code {code}), and is started again\n"


class Pair:
    """A server and a worker, each a process of its own."""

    def __init__(self, settings: Settings, environment: Mapping[str, str] | None = None) -> None:
        given = {**os.environ, **(environment or {})}
        # Read when the numeric libraries are loaded, so it has to be set from outside.
        self.server = _start("serve", {**given, "OMP_NUM_THREADS": "1"})
        self._worker_environment = {**given, "OMP_NUM_THREADS": str(settings.threads)}
        self.worker = _start("worker", self._worker_environment)
        self._restart_at: float | None = None

    def ended(self) -> str | None:
        """The name of a process that has ended by itself, if one has; starts a lost worker."""
        if self.worker.poll() == LOST:
            if self._restart_at is None:
                self._restart_at = monotonic() + _SECONDS_BEFORE_RESTART
            elif monotonic() >= self._restart_at:
                self.worker, self._restart_at = _start("worker", self._worker_environment), None
            return self._ended(self.server, "server")
        return self._ended(self.server, "server") or self._ended(self.worker, "worker")

    @staticmethod
    def _ended(process: "subprocess.Popen[bytes]", name: str) -> str | None:
        return None if process.poll() is None else f"{name} (exit code {process.returncode})"

    def stop(self) -> None:
        """Ask both to end, and end them if they do not. Jobs are durable, so nothing is lost."""
        for process in (self.server, self.worker):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in (self.server, self.worker):
            _end(process)


class PageProcess:
    """A server process of its own that has the page, beside several that have none.

    One that ends by itself is started again; it ends with the block, and with this process.
    """

    def __init__(self, settings: Settings) -> None:
        self._environment = {
            **os.environ,
            "GRAPHSVC_PORT": str(settings.page_port),
            "GRAPHSVC_PROCESSES": "1",
        }
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="page-process", daemon=True)

    def __enter__(self) -> Self:
        self._process = _start("serve", self._environment)
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        _end(self._process)

    def _keep(self) -> None:
        while not self._stop.wait(_SECONDS_BEFORE_RESTART):
            if self._process.poll() is not None:
                sys.stderr.write(_PAGE_ENDED.format(code=self._process.returncode))
                self._process = _start("serve", self._environment)


def check_ports(settings: Settings) -> None:
    """Raise `PortTaken` unless the ports are free, before anything is made or shown."""
    check_port(settings)
    if settings.page_apart:
        if settings.page_port == settings.port:
            raise PortTaken(
                f"GRAPHSVC_PAGE_PORT should be another port than GRAPHSVC_PORT, {settings.port}"
            )
        check_port(settings.model_copy(update={"port": settings.page_port}), "GRAPHSVC_PAGE_PORT")


def check_port(settings: Settings, name: str = "GRAPHSVC_PORT") -> None:
    """Raise `PortTaken` unless the server's port, of the setting `name`, is free."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            says = f"set {name} to another port"
            if error.errno != errno.EADDRINUSE:
                says += ", or GRAPHSVC_HOST to an address of this machine"
            raise PortTaken(
                f"{settings.host}:{settings.port} cannot be listened on ({error.strerror}); {says}"
            ) from error


def run_pair(settings: Settings) -> int:
    """Run both until SIGTERM, SIGINT or SIGHUP, or until one ends; gives the exit code."""
    asked_to_stop = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        asked_to_stop.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGHUP, stop)  # the terminal was closed
    pair = Pair(settings)
    ended = None
    while ended is None and not asked_to_stop.wait(_POLL_SECONDS):
        ended = pair.ended()
    pair.stop()
    if ended and not asked_to_stop.is_set():
        sys.stderr.write(f"error: the {ended} ended by itself; its log is above\n")
        return 1
    return 0


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ask a process to end, and end it if it does not."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _start(verb: str, environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    # A session of its own: Ctrl-C in the terminal reaches the parent alone, which stops both.
    return subprocess.Popen(  # noqa: S603  our own program
        [sys.executable, "-m", "api.leash", verb],
        stdin=subprocess.PIPE,  # the leash: nothing is written, and it ends with this process
        env=dict(environment),
        start_new_session=True,
    )
