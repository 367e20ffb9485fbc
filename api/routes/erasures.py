"""Erasures: who was erased, by digest, and what became of it."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from api.deps import ServicesOf
from api.routes import cursors
from graphsvc import erasures
from graphsvc.erasures import Erasure

router = APIRouter(prefix="/v1/erasures", tags=["erasures"])


State = Literal["under_way", "done", "returned"]


class ErasureOut(BaseModel):
    """One id that was erased, or is being erased."""

    erasure: int = Field(examples=[1])
    type: str = Field(examples=["user"])
    subject: str = Field(examples=["9a" * 32], description="a keyed digest of type and id")
    state: State = Field(
        description="returned: the person has agreed again since, and is somebody new"
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
    return ErasurePage(items=[shown(one) for one in page.items], next=cursors.encode(page.next))


@router.get("/{number}", summary="One erasure and its certificate")
def get_erasure(
    services: ServicesOf, number: Annotated[int, Path(ge=1, le=2**53, examples=[1])]
) -> ErasureOut:
    with services.database.reading() as connection:
        return shown(erasures.erasure(connection, number))


def shown(one: Erasure) -> ErasureOut:
    """An erasure as it is answered."""
    state: State = "done" if one.certificate else "under_way"
    return ErasureOut(
        erasure=one.number,
        type=one.type,
        subject=one.subject,
        state=state if one.returned_at is None else "returned",
        asked_at=one.asked_at,
        removed=None if one.removed is None else dict(one.removed),
        certificate=one.certificate,
        returned_at=one.returned_at,
    )
