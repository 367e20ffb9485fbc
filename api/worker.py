"""The worker: launches the workflow executor and waits.

Takes settings, runs the jobs of the queue one at a time; knows nothing about models. Only one
worker may run on a data folder: a second one would take over the first one's running job.
"""

import fcntl
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TextIO

from dbos import DBOS, DBOSConfig

from api.jobs.queue import APPLICATION, APPLICATION_VERSION, QUEUE, job_database
from api.jobs.retrain import register
from api.jobs.serializer import JsonSerializer, forbid_pickle
from api.jobs.steps import open_workshop
from api.settings import Settings
from graphsvc.errors import GraphError

_GRACE_SECONDS = 3.0
#: Older drafts were left behind by a step that was killed; no step takes a day.
_DRAFT_SECONDS = 86_400.0


class WorkerRunning(GraphError):
    """Another worker already runs on this data folder; stop it first."""


def run(settings: Settings) -> None:
    """Run jobs until SIGTERM or SIGINT.

    A job that is under way then goes on at the next start, behind its last finished step.
    """
    asked_to_stop = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        asked_to_stop.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    with _alone(settings) as lock:
        _launch(settings)
        lock.truncate(0)
        lock.write("ready\n")  # for people who look, and for tests
        lock.flush()
        asked_to_stop.wait()
        # A step in the middle of training may need minutes; the job is durable, so do not wait.
        closing = threading.Thread(target=DBOS.destroy, daemon=True)
        closing.start()
        closing.join(_GRACE_SECONDS)
        os._exit(0)


def _launch(settings: Settings) -> None:
    forbid_pickle()
    config: DBOSConfig = {
        "name": APPLICATION,
        "system_database_url": job_database(settings.jobs_url),
        # Constant: a job belongs to an executor and a version, and is lost to any other.
        "executor_id": "worker-0",
        "application_version": APPLICATION_VERSION,
        "serializer": JsonSerializer(),
        # A failed step says why in one line of ours, see api/jobs/retrain.py.
        "log_level": "CRITICAL",
    }
    DBOS(config=config)
    shop = open_workshop(settings)
    shop.store.sweep(_DRAFT_SECONDS)
    register(shop)
    DBOS.launch()
    DBOS.register_queue(
        QUEUE,
        global_concurrency=1,
        worker_concurrency=1,
        polling_interval_sec=0.5,
        on_conflict="always_update",
    )


@contextmanager
def _alone(settings: Settings) -> Iterator[TextIO]:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with (settings.data_dir / "worker.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WorkerRunning from error
        yield lock
