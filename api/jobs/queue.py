"""The jobs, as a server sees them: ask for one, look at it.

Takes requests, gives job ids and states; never imports a job's body, so a server stays light.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dbos import DBOSClient, WorkflowHandle, run_dbos_database_migrations
from dbos._sys_db import WorkflowStatus
from pydantic import BaseModel

from api.errors import UnknownName
from api.jobs.requests import JobName
from api.jobs.serializer import JsonSerializer, forbid_pickle
from graphsvc import progress
from graphsvc.db import Database
from graphsvc.ids import digest_of_json

APPLICATION = "graphsvc"
QUEUE = "jobs"
#: Raise by hand when the order of a workflow's steps changes; a running job of another version
#: must be moved first.
APPLICATION_VERSION = "1"

JobState = Literal["waiting", "running", "done", "failed", "cancelled"]

_STATES: dict[str, JobState] = {
    "DELAYED": "waiting",
    "ENQUEUED": "waiting",
    "PENDING": "running",
    "SUCCESS": "done",
    "ERROR": "failed",
    "CANCELLED": "cancelled",
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": "failed",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A job's state, the step it is in, and its result or the reason why it failed."""

    id: str
    name: str
    state: JobState
    step: str | None
    progress: tuple[progress.StepProgress, ...]
    request: Any
    result: Any
    error: str | None
    created_at: int
    updated_at: int


def job_database(url: str) -> str:
    """The URL as the job library wants it."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def migrate_jobs(url: str) -> None:
    """Create or upgrade the job tables."""
    run_dbos_database_migrations(job_database(url))


class JobQueue:
    """A connection to the job database. Close it with `close`."""

    def __init__(self, url: str, database: Database) -> None:
        forbid_pickle()
        self._client = DBOSClient(
            system_database_url=job_database(url),
            serializer=JsonSerializer(),
            application_name=APPLICATION,
        )
        self._database = database

    def enqueue(self, name: JobName, request: BaseModel) -> str:
        """Ask for a job. While an identical one waits or runs, its id comes back instead."""
        body = request.model_dump(mode="json")
        handle: WorkflowHandle[Any] = self._client.enqueue(
            {
                "workflow_name": name.value,
                "queue_name": QUEUE,
                "deduplication_id": digest_of_json([name.value, body]),
                "duplication_policy": "return-existing",
            },
            body,
        )
        return str(handle.workflow_id)

    def get(self, job_id: str) -> Job:
        """One job with its progress. Raises `UnknownName`."""
        found = self._client.list_workflows(workflow_ids=[job_id], limit=1)
        if not found:
            raise UnknownName(f"no job {job_id!r}")
        return self._job(found[0])

    def page(self, *, limit: int, offset: int) -> Sequence[Job]:
        """Jobs, newest first."""
        found = self._client.list_workflows(limit=limit, offset=offset, sort_desc=True)
        return [self._job(status) for status in found]

    def close(self) -> None:
        self._client.destroy()

    def _job(self, status: WorkflowStatus) -> Job:
        with self._database.reading() as connection:
            steps = progress.read(connection, status.workflow_id)
        arguments = status.input["args"] if status.input else [None]
        state = _STATES[status.status]
        return Job(
            id=status.workflow_id,
            name=status.name,
            state=state,
            step=steps[-1].step if steps else None,
            progress=tuple(steps),
            request=arguments[0],
            result=status.output if state == "done" else None,
            error=str(status.error) if status.error else None,
            created_at=(status.created_at or 0) // 1000,
            updated_at=(status.updated_at or 0) // 1000,
        )
