"""Erasures: who was erased, by digest, and what became of it."""

from collections.abc import Iterable
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from api.deps import ServicesOf
from api.jobs.job import Job
from api.jobs.queue import JobQueue
from api.jobs.requests import JobName
from api.routes import cursors
from graphsvc import erasures
from graphsvc.erasures import Erasure

router = APIRouter(prefix="/v1/erasures", tags=["erasures"])


State = Literal["under_way", "failed", "done", "returned"]


class ErasureOut(BaseModel):
    """One id that was erased, or is being erased."""

    erasure: int = Field(examples=[1])
    type: str = Field(examples=["user"])
    subject: str = Field(examples=["9a" * 32], description="a keyed digest of type and id")
    state: State = Field(
        description="failed: its job has, and is tried again within the hour; returned: the person "
        "has agreed again since, and is somebody new"
    )
    job: str | None = Field(
        examples=["4c1f2a1e"],
        description="the one that is to do it, or that failed at it; null where there is none",
    )
    asked_at: int = Field(examples=[1767225600])
    removed: dict[str, int] | None = Field(
        examples=[{"events": 12, "edges": 9}], description="rows by table; null before they were"
    )
    certificate: str | None = Field(
        examples=["3f" * 32], description="`GET /v1/artifacts/{digest}` shows it"
    )
    returned_at: int | None = Field(examples=[None])


class ErasurePage(BaseModel):
    """A page of erasures, newest first; `next` is the cursor of the next one, null at the end."""

    items: list[ErasureOut]
    next: str | None = Field(examples=[None])


@router.get("", summary="Erasures, newest first")
def get_erasures(
    services: ServicesOf,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(max_length=100)] = None,
) -> ErasurePage:
    with services.database.reading() as connection:
        page = erasures.page(connection, limit=limit, after=cursors.decode(cursor))
    job = newest(services.jobs, page.items)
    items = [shown(one, job) for one in page.items]
    return ErasurePage(items=items, next=cursors.encode(page.next))


@router.get("/{number}", summary="One erasure and its certificate")
def get_erasure(
    services: ServicesOf, number: Annotated[int, Path(ge=1, le=2**53, examples=[1])]
) -> ErasureOut:
    with services.database.reading() as connection:
        one = erasures.erasure(connection, number)
    return shown(one, newest(services.jobs, [one]))


def newest(jobs: JobQueue, listed: Iterable[Erasure]) -> Job | None:
    """The newest job that erases, where somebody listed waits for one: it does all that wait."""
    if all(one.certificate for one in listed):
        return None
    last = jobs.last(JobName.ERASE)
    # Where the newest is done, whoever waits was listed since, and one is about to be asked for.
    return None if last is None or last.status == "SUCCESS" else jobs.get(last.workflow_id)


def shown(one: Erasure, job: Job | None) -> ErasureOut:
    """An erasure as it is answered; `job`: as `newest` gave it."""
    job = None if one.certificate else job
    state: State = "under_way"
    if one.certificate:
        state = "done" if one.returned_at is None else "returned"
    elif job is not None and job.state == "failed":
        state = "failed"
    return ErasureOut(
        erasure=one.number,
        type=one.type,
        subject=one.subject,
        state=state,
        job=job.id if job else None,
        asked_at=one.asked_at,
        removed=None if one.removed is None else dict(one.removed),
        certificate=one.certificate,
        returned_at=one.returned_at,
    )
