"""The jobs, as a server sees them: ask for one, look at it, stop it, let it go on.

Takes requests, gives job ids and states; never imports a job's body, so a server stays light. A
database that does not answer is reported at once, as `DatabaseUnavailable`, and used again as soon
as it does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import time, time_ns
from typing import Any

from dbos import DBOSClient, WorkflowHandle, run_dbos_database_migrations
from dbos import error as dbos_error
from dbos._sys_db import WorkflowStatus
from pydantic import ValidationError

from api.errors import UnknownName, WrongState
from api.jobs.job import ACTIVE, MOVING, QUEUE_STEP, Job, job_of, request_of
from api.jobs.listing import listed
from api.jobs.moments import would_choose
from api.jobs.requests import REQUESTS, EraseRequest, JobName, RetrainRequest
from api.jobs.serializer import JsonSerializer, forbid_pickle
from graphsvc import joblog, progress, succession
from graphsvc.db import Database, reported
from graphsvc.ids import digest_of_json, id_by_time

APPLICATION = "graphsvc"
#: An erasure does not wait for a retrain to end, nor one for the other.
QUEUES = {JobName.RETRAIN: "jobs", JobName.ERASE: "erasures"}
#: The worker's name, a constant: a job belongs to a worker and a version, and is lost to any other.
EXECUTOR = "worker-0"
#: Raise by hand when the order of a workflow's steps changes; a worker moves the jobs of another
#: version to its own when it starts (api/jobs/watch.py).
APPLICATION_VERSION = "7"
_MOST_ACTIVE = 1000
JobRequest = RetrainRequest | EraseRequest
#: Where the mark of a job that was moved or stopped stands among its steps.
_BEHIND_STEPS = 1000


def job_database(url: str) -> str:
    """The URL as the job library wants it."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def migrate_jobs(url: str) -> None:
    """Create or upgrade the job tables. Raises `DatabaseUnavailable`."""
    with reported():
        run_dbos_database_migrations(job_database(url))


@dataclass(frozen=True, slots=True)
class JobPage:
    """Some jobs, newest first; `next` continues, None at the end."""

    items: Sequence[Job]
    next: str | None


@dataclass(frozen=True, slots=True)
class Asked:
    """The job that does what was asked for; `existing`: it was there before."""

    job: str
    existing: bool


class JobQueue:
    """A connection to the job database. Close it with `close`."""

    def __init__(self, url: str, database: Database) -> None:
        forbid_pickle()
        self._client = DBOSClient(
            system_database_url=job_database(url),
            serializer=JsonSerializer(),
            application_name=APPLICATION,
            # Else every call would wait, without end, for a database that is away.
            lazy=True,
            retry_connection_errors=False,
        )
        self._database = database

    def enqueue(self, name: JobName, request: JobRequest) -> Asked:
        """Ask for a job. While an identical one waits or runs, and would end alike, it is that one.

        One that has chosen its moment ends alike as long as a new one would choose the same.
        """
        body = request.model_dump(mode="json")
        behind: list[str] = []
        with reported():
            # One that was resumed has lost the mark by which the library would find it.
            for status in self.active():
                if status.name == name.value and request_of(status) == body:
                    if self._ends_alike(status.workflow_id, request):
                        return Asked(status.workflow_id, existing=True)
                    behind.append(status.workflow_id)
            # So that lists have an order within a moment, see api/jobs/listing.py.
            own = id_by_time(time_ns())
            handle: WorkflowHandle[Any] = self._client.enqueue(
                {
                    "workflow_name": name.value,
                    "queue_name": QUEUES[name],
                    "workflow_id": own,
                    # Those that were passed over hold the marks of when they were asked for.
                    "deduplication_id": digest_of_json([name.value, body, *sorted(behind)]),
                    "duplication_policy": "return-existing",
                },
                body,
            )
        return Asked(str(handle.workflow_id), existing=str(handle.workflow_id) != own)

    def _ends_alike(self, job_id: str, request: JobRequest) -> bool:
        """Whether a job that waits or runs gives what an identical one that begins now would."""
        first = request.steps[0]
        with self._database.reading() as connection:
            begun = any(step.step == first for step in progress.read(connection, job_id))
        if not begun:
            return True  # it looks at the log, or the list, later than whoever asks now
        if isinstance(request, EraseRequest):
            return False
        for step in self._client.list_workflow_steps(job_id):
            if step["function_name"] == first and step["output"]:
                return would_choose(self._database, step["output"], request)
        return False  # it is choosing

    def get(self, job_id: str) -> Job:
        """One job with its progress. Raises `UnknownName`."""
        return self._job(self.status(job_id))

    def page(self, *, limit: int, after: str | None = None) -> JobPage:
        """Jobs, newest first. `after` is the `next` of the page before. Raises `Invalid`."""
        with reported():
            found = listed(self._client, limit=limit, after=after)
        return JobPage([self._job(status) for status in found.rows], found.next)

    def cancel(self, job_id: str) -> Job:
        """Stop a job: one that waits at once, one that runs as soon as its step looks up.

        Harmless to repeat. Raises `UnknownName`, or `WrongState` if it has ended otherwise.
        """
        job = self.get(job_id)
        if job.name == JobName.ERASE:
            raise WrongState(f"job {job_id} erases people, who have a right to it: it goes on")
        if job.state in ("waiting", "running"):
            self._unmark(job_id)
            with reported():
                self._client.cancel_workflow(job_id)
            job = self.get(job_id)
            if job.state == "cancelled":
                self._note(job_id, "warning", "cancelled, as was asked")
        if job.state != "cancelled":  # also if it has ended in this very moment
            raise WrongState(
                f"job {job_id} is {job.state}; only one that waits or runs can be cancelled"
            )
        return job

    def resume(self, job_id: str) -> Job:
        """Let a failed or cancelled job go on behind its last finished step.

        Harmless to repeat: one that waits or runs is left alone. Raises `UnknownName`, or
        `WrongState` if it is done or this version does not know its request.
        """
        status = self.status(job_id)
        job = self._job(status)
        if job.state == "done":
            raise WrongState(f"job {job_id} is done; retry it to do the same again from the start")
        if job.state in ("failed", "cancelled"):
            self.go_on(status, version=status.app_version)
        return self.get(job_id)

    def retry(self, job_id: str) -> Job:
        """Do all of it again: a new job of the same request, over the log as it is then.

        Harmless to repeat: as when it is asked for again, see `enqueue`. Raises `UnknownName`, or
        `WrongState` if the old one still waits or runs.
        """
        job = self.get(job_id)
        if job.name == JobName.ERASE:
            raise WrongState(f"job {job_id} erases people: resume it, or ask for it once more")
        if job.state in ("waiting", "running"):
            raise WrongState(f"job {job_id} is {job.state}; cancel it before it is retried")
        request = checked(job.name, job.request)
        return self.get(self.enqueue(JobName(job.name), request).job)

    def last(self, name: JobName) -> WorkflowStatus | None:
        """The library's row of the newest job of a name."""
        with reported():
            found = self._client.list_workflows(name=name.value, limit=1, sort_desc=True)
        return found[0] if found else None

    def close(self) -> None:
        self._client.destroy()

    def status(self, job_id: str) -> WorkflowStatus:
        """The library's row of a job. Raises `UnknownName`."""
        with reported():
            found = self._client.list_workflows(workflow_ids=[job_id], limit=1)
        if not found:
            raise UnknownName(f"no job {job_id!r}")
        return found[0]

    def active(self) -> Sequence[WorkflowStatus]:
        """The library's rows of the jobs that wait or run, oldest first."""
        with reported():
            return self._client.list_workflows(status=ACTIVE, limit=_MOST_ACTIVE)

    def go_on(self, status: WorkflowStatus, *, version: str | None) -> None:
        """Queue an ended job again, behind those of its finished steps that still are its first."""
        job_id = status.workflow_id
        order = checked(status.name, request_of(status)).steps
        with reported():
            steps = self._client.list_workflow_steps(job_id)
        finished = {
            step["function_id"]: step["function_name"] for step in steps if step["error"] is None
        }
        kept = 0
        while kept < len(order) and finished.get(kept + 1) == order[kept]:
            kept += 1
        with self._database.transaction() as connection:
            progress.forget(connection, job_id, from_position=kept, before=_BEHIND_STEPS)
            where = f"behind {order[kept - 1]}" if kept else "from its first step"
            line = joblog.Line(int(time()), "info", None, f"waits to go on {where}")
            joblog.add(connection, job_id, line)
        try:
            with reported():
                self._client.rewind_workflow(
                    job_id,
                    start_step=kept + 1,
                    application_version=version,
                    queue_name=QUEUES[JobName(status.name)],
                )
        except dbos_error.DBOSException:
            # Somebody else was faster: then it waits or runs, as was wanted.
            if self.get(job_id).state not in ("waiting", "running"):
                raise
        self._unmark(job_id)

    def stop(self, job_id: str, reason: str) -> None:
        """Cancel a job that cannot run, with the reason for people to read."""
        self._mark(job_id, "failed", reason)
        self._note(job_id, "error", f"cancelled: {reason}")
        with reported():
            self._client.cancel_workflow(job_id)

    def move(self, status: WorkflowStatus, *, version: str) -> None:
        """Queue a job that waits, or that nobody runs any more, for another version.

        To the eye it waits all the time; `half_moved` names it if this is not done to its end.
        """
        self._mark(status.workflow_id, MOVING, "")
        with reported():
            self._client.cancel_workflow(status.workflow_id)
        self.go_on(status, version=version)

    def half_moved(self) -> Sequence[WorkflowStatus]:
        """The jobs whose move to another version was cut short."""
        with self._database.reading() as connection:
            marked = progress.in_state(connection, QUEUE_STEP, MOVING)
        with reported():
            return self._client.list_workflows(workflow_ids=marked) if marked else []

    def _mark(self, job_id: str, state: str, note: str) -> None:
        with self._database.transaction() as connection:
            progress.write(
                connection,
                job_id,
                QUEUE_STEP,
                position=_BEHIND_STEPS,
                state=state,
                done=0,
                total=0,
                note=note,
                detail={},
                now=int(time()),
            )

    def log(self, job_id: str) -> list[joblog.Line]:
        """What is known of what became of a job, oldest first. Raises `UnknownName`."""
        self.status(job_id)
        with self._database.reading() as connection:
            return joblog.read(connection, job_id)

    def _note(self, job_id: str, level: joblog.Level, message: str) -> None:
        with self._database.transaction() as connection:
            joblog.add(connection, job_id, joblog.Line(int(time()), level, None, message))

    def _unmark(self, job_id: str) -> None:
        with self._database.transaction() as connection:
            progress.forget(connection, job_id, from_position=_BEHIND_STEPS)

    def lead(self, version: str) -> None:
        """Make a version the one that takes jobs which name none, as new ones do."""
        with reported():
            self._client.set_latest_application_version(version)

    def _job(self, status: WorkflowStatus) -> Job:
        """A job, of its row and its progress; they lie in two databases and are read in turn.

        A job that is being moved shows as cancelled, and its mark may be gone when the progress is
        read. So a row that says cancelled has to say so behind the progress as well.
        """
        while True:
            with self._database.reading() as connection:
                job = job_of(status, progress.read(connection, status.workflow_id))
                job = replace(job, result=succession.renewed(connection, job.result))
            if job.state != "cancelled":
                return job
            again = self.status(status.workflow_id)
            if (again.status, again.updated_at) == (status.status, status.updated_at):
                return job
            status = again


def checked(name: str, body: Any) -> Any:
    """A job's request, read again. Raises `WrongState` if this version does not know it."""
    try:
        return REQUESTS[JobName(name)].model_validate(body)
    except (ValidationError, ValueError) as error:
        raise WrongState(
            f"this version knows no {name[:100]!r} job with such a request; ask for a new one"
        ) from error
