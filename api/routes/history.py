"""What was said of an entity, newest first: its attributes, and whether it is retired."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from api.deps import ServicesOf
from api.routes import cursors
from api.routes.entities import ENTITY, IdOf, TypeOf, check_type
from graphsvc import history
from graphsvc.ids import EntityId

router = APIRouter(prefix="/v1/entities/{type}", tags=["entities"])


class SaidOut(BaseModel):
    """One event that set attributes, retired the entity or restored it."""

    event_name: str = Field(
        examples=["set_attributes"], description="set_attributes, retire or restore"
    )
    event_id: str = Field(examples=["put-1"])
    event_time: int = Field(examples=[1767225600], description="from when on it holds")
    received_at: int = Field(examples=[1767225600], description="when it came")
    id: str = Field(examples=["a1"], description="the id that it named, if others stand for it too")
    attributes: dict[str, Any] = Field(
        examples=[{"title": "Shoes"}],
        description="null: the attribute was removed; empty: none was set",
    )


class HistoryPage(BaseModel):
    """A page of a history; `next` is the cursor of the next one, null at the end."""

    items: list[SaidOut]
    next: str | None = Field(examples=[None])


@router.get(
    ENTITY + "/history", summary="What was said of its attributes, and of retiring it, newest first"
)
def get_history(
    services: ServicesOf,
    type_: TypeOf,
    id_: IdOf,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
) -> HistoryPage:
    """By the time of the events. With `GET .../{id}?as_of=` the attributes of a past second."""
    check_type(services, type_)
    with services.database.reading() as connection:
        page = history.history(
            connection, EntityId(type_, id_), limit=limit, after=cursors.decode(cursor)
        )
    items = [
        SaidOut(
            event_name=said.event_name,
            event_id=said.event_id,
            event_time=said.event_time,
            received_at=said.received_at,
            id=said.named,
            attributes=said.attributes,
        )
        for said in page.items
    ]
    return HistoryPage(items=items, next=cursors.encode(page.next))
