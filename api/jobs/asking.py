"""Asking for an erasure: the list first, then a job that does what is on it.

Takes an entity, gives the number of its erasure; never hands an id to a job.
"""

from pathlib import Path
from time import time
from typing import NamedTuple

from api import erasure_list
from api.jobs.job import ACTIVE
from api.jobs.queue import JobQueue
from api.jobs.requests import EraseRequest, JobName
from graphsvc import erasures
from graphsvc.db import Database
from graphsvc.ids import EntityId

_AGAIN_SECONDS = 3600.0


class Asked(NamedTuple):
    """The number of an erasure, and the job that does it; None where it was done before."""

    erasure: int
    job: str | None


def ask(database: Database, jobs: JobQueue, entity: EntityId, listed: Path) -> Asked:
    """Put an entity on the list, and see to it that a job erases it. Harmless to repeat.

    `listed`: where the list lies as a file.
    """
    with database.transaction() as connection:
        one = erasures.ask(connection, entity, now=int(time()))
    erasure_list.write(database, listed)
    if one.certificate is not None:
        return Asked(one.number, None)
    return Asked(one.number, go_on(jobs))


def go_on(jobs: JobQueue) -> str:
    """The job that does what is on the list, from now on or already waiting."""
    return jobs.enqueue(JobName.ERASE, EraseRequest()).job


def see_to_it(database: Database, jobs: JobQueue) -> None:
    """Enqueue a job where somebody waits for one: whoever asked was killed, or the job failed.

    One that fails is tried again once an hour: it says what to mend.
    """
    with database.reading() as connection:
        waiting = erasures.under_way(connection)
    if not waiting:
        return
    last = jobs.last(JobName.ERASE)
    if last is not None and last.status in ACTIVE:
        return
    ended = 0 if last is None or last.status == "SUCCESS" else (last.updated_at or 0) / 1000
    if time() - ended > _AGAIN_SECONDS:
        go_on(jobs)
