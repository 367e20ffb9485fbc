"""What an entity did, newest first: the events of which it is the actor."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from api.deps import ServicesOf
from api.routes import cursors
from api.routes.entities import ENTITY, IdOf, Ref, TypeOf, check_type
from graphsvc.acts import Act, acts
from graphsvc.ids import EntityId

router = APIRouter(prefix="/v1/entities/{type}", tags=["entities"])


class ActOut(BaseModel):
    """One event, as its actor did it."""

    event_name: str = Field(examples=["click"])
    event_id: str = Field(examples=["e1"])
    event_time: int = Field(examples=[1767225600])
    received_at: int = Field(examples=[1767225601], description="when it came")
    action_source: str = Field(examples=["onsite"], description="onsite, offsite or structure")
    id: str = Field(examples=["u1"], description="the id that it named, if others stand for it too")
    object: Ref | None = Field(description="null for events about one entity")
    value: float | None = Field(examples=[None])
    currency: str | None = Field(examples=[None])
    properties: dict[str, Any] = Field(examples=[{}])


class ActPageOut(BaseModel):
    """A page of events; `next` is the cursor of the next one, null at the end."""

    items: list[ActOut]
    next: str | None = Field(examples=[None])


@router.get(ENTITY + "/events", summary="The events that it is the actor of, newest first")
def get_events(
    services: ServicesOf,
    type_: TypeOf,
    id_: IdOf,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
) -> ActPageOut:
    """By the time of the events. What others did to it is told by its edges."""
    check_type(services, type_)
    with services.database.reading() as connection:
        page = acts(connection, EntityId(type_, id_), limit=limit, after=cursors.decode(cursor))
    return ActPageOut(items=[_out(act) for act in page.items], next=cursors.encode(page.next))


def _out(act: Act) -> ActOut:
    return ActOut(
        event_name=act.event_name,
        event_id=act.event_id,
        event_time=act.event_time,
        received_at=act.received_at,
        action_source=act.action_source,
        id=act.named,
        object=None if act.other is None else Ref(type=act.other.type, id=act.other.id),
        value=act.value,
        currency=act.currency,
        properties=dict(act.properties),
    )
