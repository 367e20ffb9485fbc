"""The worker: launches the workflow executor and waits.

Takes settings, runs the jobs of each queue one at a time; knows nothing about models. Only one
worker may run on a data folder and on a database: a second one would take over the first one's
running job. So a worker that is no longer sure of being the only one ends at once.
"""

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from math import inf
from time import monotonic
from types import FrameType
from typing import NoReturn, TextIO

from dbos import DBOS, DBOSConfig

from api import erasure_list
from api.errors import Invalid
from api.jobs import erase, watch
from api.jobs import queue as jobs_queue
from api.jobs.asking import see_to_it
from api.jobs.embedding import sweep_checkpoints
from api.jobs.queue import APPLICATION, EXECUTOR, QUEUES, JobQueue, job_database
from api.jobs.retrain import register
from api.jobs.serializer import JsonSerializer, forbid_pickle
from api.jobs.steps import Workshop, open_workshop
from api.processes import LOST
from api.settings import Settings
from api.setup import migrate
from graphsvc.alone import Claim, claim
from graphsvc.db import Database
from graphsvc.errors import DatabaseUnavailable, GraphError

_log = logging.getLogger("graphsvc.jobs")
_GRACE_SECONDS = 3.0
#: A worker that was killed is gone before its locks are; one that is started again bears with it.
_PATIENCE_SECONDS = 3.0
_SECONDS_BETWEEN_TRIES = 0.5
_SECONDS_BETWEEN_CHECKS = 1.0
_SECONDS_BETWEEN_WATCHES = 60.0


class WorkerRunning(GraphError):
    """Another worker already runs on this data folder; stop it, or wait with `worker --standby`."""


class WorkerElsewhere(WorkerRunning):
    """Another worker already runs on this database, elsewhere; stop it, or use `--standby`."""


def run(settings: Settings, *, standby: bool = False) -> None:
    """Run jobs until SIGTERM or SIGINT.

    A job that is under way then goes on at the next start, behind its last finished step. With
    `standby`, wait until no other worker runs; else raise `WorkerRunning`. Exits with `LOST` when
    the database goes away.
    """
    asked_to_stop = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        asked_to_stop.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    with ExitStack() as held:
        try:
            migrate(settings)  # the key is the server's to make and to show
            patience = inf if standby else _PATIENCE_SECONDS
            locks = held.enter_context(_alone(settings, asked_to_stop, patience))
            if locks is None:
                return  # asked to stop while it stood by
            shop, jobs = _launch(settings)
        except DatabaseUnavailable as error:
            _give_up(error)
        lock, only = locks
        lock.truncate(0)
        lock.write("ready\n")  # for people who look, and for tests
        lock.flush()
        threading.Thread(target=_watch, args=(shop.database, jobs), daemon=True).start()
        while not asked_to_stop.wait(_SECONDS_BETWEEN_CHECKS):
            try:
                only.check()
            except DatabaseUnavailable as error:
                _give_up(error)
        # A step in the middle of training may need minutes; the job is durable, so do not wait.
        closing = threading.Thread(target=DBOS.destroy, daemon=True)
        closing.start()
        closing.join(_GRACE_SECONDS)
        shop.database.dispose()
        os._exit(0)


def _launch(settings: Settings) -> tuple[Workshop, JobQueue]:
    forbid_pickle()
    version = jobs_queue.APPLICATION_VERSION
    config: DBOSConfig = {
        "name": APPLICATION,
        "system_database_url": job_database(settings.jobs_url),
        "executor_id": EXECUTOR,
        "application_version": version,
        "serializer": JsonSerializer(),
        # A failed step says why in one line of ours, see api/jobs/walk.py.
        "log_level": "CRITICAL",
    }
    DBOS(config=config)
    shop = open_workshop(settings)
    shop.store.sweep()
    sweep_checkpoints(shop)
    jobs = JobQueue(settings.jobs_url, shop.database)
    watch.look(jobs, starting=True)
    register(shop, jobs)
    erase.register(shop, jobs)
    DBOS.launch()
    jobs.lead(version)
    _see_to_erasures(settings, shop, jobs)
    for queue in QUEUES.values():
        DBOS.register_queue(
            queue,
            global_concurrency=1,
            worker_concurrency=1,
            polling_interval_sec=0.5,
            on_conflict="always_update",
        )
    return shop, jobs


def _see_to_erasures(settings: Settings, shop: Workshop, jobs: JobQueue) -> None:
    """Erase who is on the list, also where the database is an earlier state of itself: restored."""
    listed = erasure_list.path_of(settings)
    if listed.is_file():
        try:
            again = erasure_list.replay(shop.database, listed)
        except Invalid as error:
            again = 0
            _log.error("who was erased since is not erased again: %s", error)
        if again:
            _log.warning("%d were erased since this database was so; they are erased again", again)
    see_to_it(shop.database, jobs)


def _watch(database: Database, jobs: JobQueue) -> NoReturn:
    pause = threading.Event()
    while True:
        pause.wait(_SECONDS_BETWEEN_WATCHES)
        try:
            watch.look(jobs, starting=False)
            see_to_it(database, jobs)
        except DatabaseUnavailable as error:
            _log.warning("the queue was not looked at: %s", error)


def _give_up(error: DatabaseUnavailable) -> NoReturn:
    """End at once, whatever runs: another worker may have begun already."""
    sys.stderr.write(f"error: the worker ends, and goes on when it is started again: {error}\n")
    sys.stderr.flush()
    os._exit(LOST)


@contextmanager
def _alone(
    settings: Settings, asked_to_stop: threading.Event, patience: float
) -> Iterator[tuple[TextIO, Claim] | None]:
    """Both locks, held while the block lasts; None if it was asked to stop before it had them."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    database = Database(settings.graph_url)
    until, stands_by = monotonic() + patience, False
    with (settings.data_dir / "worker.lock").open("a+") as lock:
        while not asked_to_stop.is_set():
            only = _try(lock, database)
            if isinstance(only, Claim):
                if stands_by:
                    _log.warning("the other worker has ended; taking over")
                yield lock, only
                only.release()
                return
            if monotonic() > until:
                raise only
            if patience == inf and not stands_by:
                stands_by = True
                _log.warning("another worker runs; standing by")
            asked_to_stop.wait(_SECONDS_BETWEEN_TRIES)
        yield None


def _try(lock: TextIO, database: Database) -> Claim | WorkerRunning:
    try:
        flock(lock, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        return WorkerRunning()
    return claim(database) or WorkerElsewhere()
