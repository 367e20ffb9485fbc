"""The audit log: who asked for which write beyond ingestion, and what became of it."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from api.deps import ServicesOf
from api.routes import cursors
from graphsvc import audit

router = APIRouter(prefix="/v1/audit", tags=["operations"])


class WrittenOut(BaseModel):
    """A row. What became of a request is a row of its own, with `of` and `status`."""

    number: int = Field(examples=[12])
    at: int = Field(examples=[1767225600])
    actor: str = Field(description="the id of a key, or `command line`", examples=["5f" * 8])
    action: str = Field(examples=["POST /v1/retrains", "graphsvc key create"])
    about: dict[str, Any] = Field(
        description="people and things by a digest that this database alone can make",
        examples=[{"digest": "3f" * 32}],
    )
    trace_id: str | None
    of: int | None = Field(description="the number of the row that asked")
    status: int | None = Field(description="what it was answered", examples=[202])


class AuditPage(BaseModel):
    """A page of rows, newest first; `next` is null at the end."""

    items: list[WrittenOut]
    next: str | None = Field(examples=[None])


@router.get("", summary="Who asked for which write, newest first")
def get_audit(
    services: ServicesOf,
    actor: Annotated[str | None, Query(pattern="^([0-9a-f]{16}|command line)$")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> AuditPage:
    with services.database.reading() as connection:
        page = audit.page(connection, actor=actor, limit=limit, after=cursors.decode(cursor))
    items = [WrittenOut(**asdict(row)) for row in page.items]
    return AuditPage(items=items, next=cursors.encode(page.next))
