"""Asking for an erasure: the list first, then a job that does what is on it.

Takes an entity, gives the number of its erasure; never hands an id to a job.
"""

from time import time
from typing import NamedTuple

from api.jobs.queue import JobQueue
from api.jobs.requests import EraseRequest, JobName
from graphsvc import erasures
from graphsvc.db import Database
from graphsvc.ids import EntityId


class Asked(NamedTuple):
    """The number of an erasure, and the job that does it; None where it was done before."""

    erasure: int
    job: str | None


def ask(database: Database, jobs: JobQueue, entity: EntityId) -> Asked:
    """Put an entity on the list, and see to it that a job erases it. Harmless to repeat."""
    with database.transaction() as connection:
        one = erasures.ask(connection, entity, now=int(time()))
    if one.certificate is not None:
        return Asked(one.number, None)
    return Asked(one.number, go_on(jobs))


def go_on(jobs: JobQueue) -> str:
    """The job that does what is on the list, from now on or already waiting."""
    return jobs.enqueue(JobName.ERASE, EraseRequest()).job


def see_to_it(database: Database, jobs: JobQueue) -> None:
    """Enqueue a job where somebody waits for one: whoever asked was killed in between."""
    with database.reading() as connection:
        waiting = erasures.under_way(connection)
    if waiting:
        go_on(jobs)
