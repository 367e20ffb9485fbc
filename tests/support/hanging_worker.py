"""Workers that stop in the middle of a step, so that a test can kill them right there.

A worker is told a step, a point and a version. At the step it writes `<data>/hanging` and sleeps,
the point being `begun` (nothing was done yet) or `sealed` (the work is done and in the ledger, and
the job does not know); or, the point being `broken`, it fails as no code of ours should. The point
`sealing` is of a kind of artifact: what is to be sealed waits for `<data>/go-on`. The version takes
the place of the code's own, as if the steps had changed since.
"""

import sys
from pathlib import Path
from time import sleep
from typing import Self

from nursery import Child, kill, nursery
from running import Service, eventually

MARK, GO_ON = "hanging", "go-on"


class HangingWorkers:
    """Starts and kills workers of one service, one at a time."""

    def __init__(self, running: Service) -> None:
        self._running = running
        self._mark = running.folder / "data" / MARK
        self._worker: Child | None = None

    def start(self, step: str = "none", point: str = "begun", version: str = "4") -> None:
        """Start a worker; with a step, come back when it hangs there."""
        self._mark.unlink(missing_ok=True)
        self._worker = nursery().start(
            *(step, point, version),
            environment=self._running.environment,
            folder=self._running.folder,
            log=self._running.folder / "worker.log",
            run="hanging_worker:work",
        )
        if step != "none" and point != "broken":
            eventually(f"the worker hangs at {step}", self._mark.exists, seconds=90)

    def kill(self) -> None:
        """As if the power went: SIGKILL, no goodbye."""
        if self._worker is not None:
            kill(self._worker.pid)
            self._worker = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.kill()


def work() -> None:
    """Be a worker that hangs where the arguments say."""
    from api.jobs import queue
    from api.jobs.walk import Walk
    from api.settings import read_settings
    from api.worker import run
    from graphsvc.artifact import ArtifactStore

    step, point, queue.APPLICATION_VERSION = sys.argv[1:]
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

    def seal_or_wait(self, draft, recipe, known=None):
        if point == "sealing" and recipe.kind == step:
            mark.write_text(step)
            while not mark.with_name(GO_ON).exists():
                sleep(0.05)
        return seal(self, draft, recipe, known)

    Walk.step = step_or_hang
    seal, ArtifactStore.seal = ArtifactStore.seal, seal_or_wait
    run(read_settings())
