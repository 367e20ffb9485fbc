"""The service as tests meet it: real processes, real HTTP, a folder that is thrown away."""

import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
from nursery import Child, nursery
from quiet_logs import refuse

#: Dials that make a retrain take seconds.
SMALL = {
    "GRAPHSVC_SCHEMA": "film",
    "GRAPHSVC_THREADS": "1",
    # Every line that a server could write is looked at for keys and people.
    "GRAPHSVC_LOG_REQUESTS": "all",
    # Tests ask as fast as they can.
    "GRAPHSVC_RATES__TRAIN": "0",
    "GRAPHSVC_RATES__ADMIN": "0",
    "GRAPHSVC_TRANSRA__DIM": "8",
    "GRAPHSVC_TRANSRA__RELATION_DIM": "8",
    "GRAPHSVC_TRANSRA__ANCHORS_PER_TYPE": "4",
    "GRAPHSVC_TRANSRA__GATE_EDGES": "1",
    "GRAPHSVC_RANKER__TRAINING__BATCH": "32",
    # So few people decide nothing: where a test is not about the gate, it lets everything pass.
    "GRAPHSVC_GATE__AUC_MARGIN": "2",
    "GRAPHSVC_GATE__LOGLOSS_MARGIN": "1000",
    "GRAPHSVC_GATE__LEAST_USERS": "2",
    "GRAPHSVC_GATE__LEAST_OUTCOMES": "1",
    "GRAPHSVC_GATE__SLICE_LEVEL": "0",
    "GRAPHSVC_GATE__RESAMPLES": "100",
    "OMP_NUM_THREADS": "1",
}
READY_SECONDS = 60.0
JOB_SECONDS = 120.0


def eventually(what: str, ask: Callable[[], Any], *, seconds: float) -> Any:
    """Ask until the answer is true, and give it."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if answer := ask():
            return answer
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


@dataclass
class Service:
    """A service in a folder: start and kill its processes, and talk to it."""

    folder: Path
    environment: dict[str, str]
    key: str
    port: int
    processes: dict[str, Child] = field(default_factory=dict)

    def start(self, *verb: str, name: str | None = None, **extra: str) -> None:
        """Start `serve` or `worker` as a process of its own."""
        name = name or verb[0]
        self.processes[name] = nursery().start(
            *verb,
            environment={**self.environment, **extra},
            folder=self.folder,
            log=self.folder / f"{name}.log",
        )

    def kill(self, name: str) -> None:
        """As if the power went: SIGKILL, no goodbye."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.processes.clear()
        refuse(self.folder)

    def client(self, port: int | None = None) -> httpx.Client:
        return httpx.Client(
            base_url=f"http://127.0.0.1:{port or self.port}",
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=60,
        )

    def wait_ready(self, port: int | None = None) -> None:
        with self.client(port) as http:
            eventually("server ready", lambda: _ready(http), seconds=READY_SECONDS)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()


def post_all(http: httpx.Client, events: list[dict[str, Any]]) -> None:
    """Post events in batches; every one has to be accepted."""
    for first in range(0, len(events), 1000):
        batch = events[first : first + 1000]
        answer = http.post("/v1/events", params={"backfill": True}, json={"events": batch}).json()
        assert answer["accepted"] == len(batch), answer


def wait_job(http: httpx.Client, job: str, *, seconds: float = JOB_SECONDS) -> Mapping[str, Any]:
    """Wait until a job has ended well, and give it."""

    def ended() -> Mapping[str, Any] | None:
        found = http.get(f"/v1/jobs/{job}").json()
        assert found["state"] not in ("failed", "cancelled"), found["error"]
        return found if found["state"] == "done" else None

    return eventually(f"job {job} done", ended, seconds=seconds)


@contextmanager
def service(folder: Path, database_url: str = "", **extra: str) -> Iterator[Service]:
    """A prepared service with nothing started yet."""
    port = free_port()
    own = {
        **SMALL,
        "GRAPHSVC_DATA_DIR": str(folder / "data"),
        "GRAPHSVC_DATABASE_URL": database_url,
        "GRAPHSVC_PORT": str(port),
        **extra,
    }
    environment = {**os.environ, **own}
    made = nursery().call("init", "--json", environment=environment, folder=folder)
    assert made.returncode == 0, made.stderr
    running = Service(folder, environment, orjson.loads(made.stdout)["key"], port)
    try:
        yield running
    finally:
        running.stop()


def free_port() -> int:
    """Below the range from which connections take theirs, so that none takes it meanwhile."""
    while True:
        port = 15_000 + secrets.randbelow(15_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _ready(http: httpx.Client) -> bool:
    try:
        return http.get("/health/ready").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
