"""A graphsvc server as a benchmark meets it: a process of its own, default settings, real HTTP.

Takes a place, gives a server and clients; never reaches into it.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

#: A server has begun when as many are folded in as so many polls before, so many seconds apart.
_POLLS, _STILL, _PAUSE = 1_200, 8, 0.25


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running server; memory is its largest resident set so far."""

    port: int
    key: str
    process: "subprocess.Popen[bytes]"

    def connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        connection.connect()
        assert connection.sock is not None
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}

    @property
    def peak_mib(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024


@contextmanager
def server(
    folder: Path, url: str, program: tuple[str, ...] = ("-m", "api", "serve"), **settings: str
) -> Iterator[Server]:
    """Prepare a service in a folder and serve it until the block ends, by default as it is."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "GRAPHSVC_DATA_DIR": str(folder / "data"),
        "GRAPHSVC_DATABASE_URL": url,
        "GRAPHSVC_PORT": str(port),
        "OMP_NUM_THREADS": "1",
        **settings,
    }
    command = [sys.executable, "-m", "api"]
    made = subprocess.run(
        [*command, "init", "--json"], env=environment, capture_output=True, check=True
    )
    key = json.loads(made.stdout)["key"] or _another_key(environment)
    process = subprocess.Popen([sys.executable, *program], env=environment)
    try:
        running = Server(port=port, key=key, process=process)
        _wait(running)
        while _listeners(port) < int(environment.get("GRAPHSVC_PROCESSES", "1")):
            time.sleep(0.05)  # the others are still beginning
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def settle(running: Server) -> None:
    """Wait until a server that has just begun has folded in whoever has changed since training.

    Raises `SystemExit` where that has no end. Of several processes the one that answers is asked.
    """
    folded, still = "", 0
    with closing(running.connect()) as connection:
        for _ in range(_POLLS):
            connection.request("GET", "/metrics", headers=running.headers)
            told = connection.getresponse().read().decode().splitlines()
            [now] = [line for line in told if line.startswith("graphsvc_overlay_entities ")]
            still = still + 1 if now == folded else 0
            if still == _STILL:
                return
            folded = now
            time.sleep(_PAUSE)
    raise SystemExit("the server goes on folding in, so nothing was measured")


def _listeners(port: int) -> int:
    """Sockets that listen on a port: one for each server process."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows)


def _another_key(environment: Mapping[str, str]) -> str:
    """Of a service that has one already, which was shown once."""
    words = ["key", "create", "--name", f"measured {time.time_ns()}", "--json"]
    made = subprocess.run(
        [sys.executable, "-m", "api", *words], env=environment, capture_output=True, check=True
    )
    return str(json.loads(made.stdout)["key"])


def _wait(running: Server) -> None:
    for _ in range(1200):
        try:
            with closing(running.connect()) as connection:
                connection.request("GET", "/health/ready")
                if connection.getresponse().status == 200:
                    return
        except OSError:
            pass
        if running.process.poll() is not None:
            raise SystemExit("the server ended by itself")
        time.sleep(0.05)
    raise SystemExit("the server did not start")
