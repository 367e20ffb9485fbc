"""Jobs: what waits, what runs, how far it is, how it ended; and stopping or resuming one."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response, status
from pydantic import BaseModel, Field

from api.deps import ServicesOf
from api.jobs.job import Job
from api.jobs.moments import refuse_facets
from api.routes import cursors

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


_ID = r"^[A-Za-z0-9_-]{1,200}$"


class StepOut(BaseModel):
    """A step of a job; `done` of `total` units, where the step counts."""

    step: str = Field(examples=["embed"])
    state: str = Field(examples=["running"])
    done: int = Field(examples=[12])
    total: int = Field(examples=[40])
    note: str = Field(examples=["loss 2.31"])
    updated_at: int = Field(examples=[1767225600])


class JobOut(BaseModel):
    """A job. `result` holds the digests of what it sealed; `error` names the step that failed."""

    id: str
    name: str = Field(examples=["retrain"])
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    step: str | None = Field(examples=["embed"])
    progress: list[StepOut]
    request: Any
    result: Any
    error: str | None
    created_at: int = Field(examples=[1767225600])
    updated_at: int = Field(examples=[1767225600])


class JobPage(BaseModel):
    """A page of jobs, newest first; `next` is the cursor of the next one, null at the end."""

    items: list[JobOut]
    next: str | None = Field(examples=[None])


class LineOut(BaseModel):
    """A line of a job's log; `step` is null where it is about the whole job."""

    at: int = Field(examples=[1767225600])
    level: Literal["info", "warning", "error"]
    step: str | None = Field(examples=["embed"])
    message: str = Field(examples=["done in 41.2 s"])


class JobLog(BaseModel):
    """The last 500 lines of a job; of jobs of long ago there may be none any more."""

    items: list[LineOut] = Field(
        examples=[[{"at": 1767225600, "level": "info", "step": "embed", "message": "begun"}]]
    )


@router.get("", summary="Jobs, newest first")
def get_jobs(
    services: ServicesOf,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=300)] = None,
) -> JobPage:
    page = services.jobs.page(limit=limit, after=cursors.decode(cursor))
    return JobPage(items=[out_of(job) for job in page.items], next=cursors.encode(page.next))


@router.get("/{id}", summary="One job: state, step, progress, result or error")
def get_job(services: ServicesOf, id_: Annotated[str, Path(alias="id", pattern=_ID)]) -> JobOut:
    return out_of(services.jobs.get(id_))


@router.get("/{id}/log", summary="What became of a job, a line each, oldest first")
def get_log(services: ServicesOf, id_: Annotated[str, Path(alias="id", pattern=_ID)]) -> JobLog:
    lines = services.jobs.log(id_)
    return JobLog(items=[LineOut(**asdict(line)) for line in lines])


@router.post(
    "/{id}/cancel",
    summary="Stop a job that waits or runs; a step that runs ends early and keeps nothing",
)
def post_cancel(services: ServicesOf, id_: Annotated[str, Path(alias="id", pattern=_ID)]) -> JobOut:
    return out_of(services.jobs.cancel(id_))


@router.post(
    "/{id}/resume",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Let a failed or cancelled job go on behind its last finished step",
)
def post_resume(services: ServicesOf, id_: Annotated[str, Path(alias="id", pattern=_ID)]) -> JobOut:
    return out_of(services.jobs.resume(id_))


@router.post(
    "/{id}/retry",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Do all of an ended job again, over the log as it is now; gives the new job",
)
def post_retry(
    services: ServicesOf, response: Response, id_: Annotated[str, Path(alias="id", pattern=_ID)]
) -> JobOut:
    services.jobs.get(id_)  # a job that is not there is the first thing to say
    refuse_facets(services.database, services.settings.facets)
    job = services.jobs.retry(id_)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return out_of(job)


def out_of(job: Job) -> JobOut:
    """A job as it is shown."""
    return JobOut(
        id=job.id,
        name=job.name,
        state=job.state,
        step=job.step,
        progress=[
            StepOut(
                step=s.step,
                state=s.state,
                done=s.done,
                total=s.total,
                note=s.note,
                updated_at=s.updated_at,
            )
            for s in job.progress
        ],
        request=job.request,
        result=job.result,
        error=job.error,
        created_at=job.created_at,
        updated_at=job.updated_at,
    )
