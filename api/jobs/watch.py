"""The watch over the queue: no job that nobody can run may stand in the way of the others.

Takes the jobs that wait or run, moves those of another version to this one and cancels, with a
reason, those that no version here knows; never touches a job that the present worker runs.
"""

import logging

from dbos._sys_db import WorkflowStatus

from api.errors import UnknownName, WrongState
from api.jobs import queue as jobs_queue
from api.jobs.job import ACTIVE, request_of, sentence
from api.jobs.queue import EXECUTOR, QUEUES, JobQueue, checked

_log = logging.getLogger("graphsvc.jobs")


def look(jobs: JobQueue, *, starting: bool) -> int:
    """Put the queue in order; gives the number of jobs that were moved or cancelled.

    `starting`: the worker is alone and has begun nothing yet, so what seems to run does not. A job
    that was moved goes on behind its last finished step, under the same id. Raises
    `DatabaseUnavailable`.
    """
    changed = 0
    found = [*jobs.half_moved(), *jobs.active()] if starting else jobs.active()
    for status in {status.workflow_id: status for status in found}.values():
        reason = _unknown(status)
        if reason is None and (starting or status.status != "PENDING") and _elsewhere(status):
            reason = _move(jobs, status)
            changed += reason is None
        if reason is not None:
            _log.warning("job %s is cancelled: %s", status.workflow_id, reason)
            jobs.stop(status.workflow_id, reason)
            changed += 1
    return changed


def _unknown(status: WorkflowStatus) -> str | None:
    """Why nobody here can run a job; None if somebody can."""
    if (
        status.status in ACTIVE and status.queue_name not in QUEUES.values()
    ):  # an ended job has none
        return f"no worker looks at the queue {(status.queue_name or 'without a name')[:100]!r}"
    try:
        checked(status.name, request_of(status))
    except WrongState as error:
        return sentence(error)
    return None


def _elsewhere(status: WorkflowStatus) -> bool:
    """Whether a job is nobody's here; also one whose move was cut short, which shows cancelled."""
    return (
        status.status not in ACTIVE
        or status.app_version not in (None, jobs_queue.APPLICATION_VERSION)
        or (status.status == "PENDING" and status.executor_id != EXECUTOR)
    )


def _move(jobs: JobQueue, status: WorkflowStatus) -> str | None:
    """Queue a job for this version; gives the reason if that cannot be."""
    try:
        jobs.move(status, version=jobs_queue.APPLICATION_VERSION)
    except (WrongState, UnknownName) as error:
        return sentence(error)
    _log.warning(
        "job %s was of version %s and goes on under %s",
        status.workflow_id,
        status.app_version,
        jobs_queue.APPLICATION_VERSION,
    )
    return None
