"""Workers that stop in the middle of a step, so that a test can kill them right there.

`Nursery` starts workers quickly: a process that has imported everything, and forks. A worker is
told a step, a point and a version. At the step it writes `<data>/hanging` and sleeps, the point
being `begun` (nothing was done yet) or `sealed` (the work is done and in the ledger, and the job
does not know); or, the point being `broken`, it fails as no code of ours should. The version takes
the place of the code's own, as if the steps had changed since.
"""

import os
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from time import sleep
from typing import Self

from running import Service, eventually

MARK = "hanging"


class Nursery:
    """Starts and kills workers of one service, one at a time."""

    def __init__(self, running: Service) -> None:
        self._mark = running.folder / "data" / MARK
        with (running.folder / "worker.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, __file__],
                env=running.environment,
                cwd=running.folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self._worker: int | None = None

    def start(self, step: str = "none", point: str = "begun", version: str = "2") -> None:
        """Start a worker; with a step, come back when it hangs there."""
        self._mark.unlink(missing_ok=True)
        self._process.stdin.write(f"{step} {point} {version}\n")
        self._process.stdin.flush()
        self._worker = int(self._process.stdout.readline())
        if step != "none" and point != "broken":
            eventually(f"the worker hangs at {step}", self._mark.exists, seconds=90)

    def kill(self) -> None:
        """As if the power went: SIGKILL, no goodbye."""
        if self._worker is not None:
            os.kill(self._worker, signal.SIGKILL)
            self._worker = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.kill()
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


def main() -> None:
    """Fork a worker for each line on stdin, and say its process id."""
    for room in ("api.worker", "kge.train", "ranking.train"):  # what the steps would import
        import_module(room)

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _work(*line.split())
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


def _work(step: str, point: str, version: str) -> None:
    from api.jobs import queue
    from api.jobs.walk import Walk
    from api.settings import read_settings
    from api.worker import run

    queue.APPLICATION_VERSION = version
    walk, mark = Walk.step, read_settings().data_dir / MARK

    def hang(path: Path) -> None:
        path.write_text(step)
        sleep(3600)

    def step_or_hang(self, name, work):
        def slow(tick):
            if point == "broken":
                raise ZeroDivisionError("nobody thought of it\nand here are the details")
            if point == "begun":
                hang(mark)
            work(tick)
            hang(mark)

        return walk(self, name, slow if name == step else work)

    Walk.step = step_or_hang
    run(read_settings())
    os._exit(0)


if __name__ == "__main__":
    main()
