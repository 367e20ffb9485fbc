"""A graphsvc worker beside a server, as a benchmark meets it: a process of its own, its commands.

Takes a folder that a server has prepared, runs jobs until the block ends; never reaches into it.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_READY_SECONDS = 120.0
_PAUSE = 0.05


@dataclass(frozen=True)
class Worker:
    """What a worker's folder is asked by commands."""

    environment: dict[str, str]

    def verified(self, erasure: int) -> float:
        """The seconds that `graphsvc erase --verify` takes. Raises `SystemExit` where it fails."""
        return self._timed("erase", "--verify", str(erasure))

    def compacted(self) -> float:
        """The same of `graphsvc compact`."""
        return self._timed("compact")

    def _timed(self, *words: str) -> float:
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "api", *words, "--json"],
            env=self.environment,
            capture_output=True,
        )
        if done.returncode:
            raise SystemExit(f"error: {done.stderr.decode()}{done.stdout.decode()}")
        return time.perf_counter() - start


@contextmanager
def worker(folder: Path) -> Iterator[Worker]:
    """Run jobs on a folder until the block ends, with default settings."""
    environment = {
        **os.environ,
        "GRAPHSVC_DATA_DIR": str(folder / "data"),
        "GRAPHSVC_DATABASE_URL": "",
        "OMP_NUM_THREADS": "1",
    }
    process = subprocess.Popen([sys.executable, "-m", "api", "worker"], env=environment)
    lock, until = folder / "data" / "worker.lock", time.monotonic() + _READY_SECONDS
    try:
        while not (lock.exists() and "ready" in lock.read_text()):
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit("error: the worker did not start")
            time.sleep(_PAUSE)
        yield Worker(environment)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
