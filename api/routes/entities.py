"""Entities: attributes and edges. Life, past and neighbors are in files of their own."""

from time import time, time_ns
from typing import Annotated, Any, Literal
from uuid import uuid4

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from api.deps import Services, ServicesOf
from api.errors import UnknownName
from api.routes import cursors, etags
from api.routes.saying import say
from graphsvc import catalog, graph, history
from graphsvc.builtin import SET_ATTRIBUTES
from graphsvc.catalog import EntityView
from graphsvc.db import Connection
from graphsvc.events import LATEST_TIME
from graphsvc.ids import ID_PATTERN, MAX_ID_LENGTH, NAME, EntityId

router = APIRouter(prefix="/v1/entities/{type}", tags=["entities"])

#: An id may hold slashes (%2F), so the routes below it are declared before the entity itself; one
#: that ends like such a route is asked for by `?id=`.
ENTITY = "/{id:path}"

TypeOf = Annotated[str, Path(alias="type", pattern=NAME.pattern, examples=["user"])]
IdOf = Annotated[
    str,
    Path(alias="id", min_length=1, max_length=MAX_ID_LENGTH, pattern=ID_PATTERN, examples=["u1"]),
]


class Ref(BaseModel):
    """An entity by type and id."""

    type: str = Field(examples=["ad"])
    id: str = Field(examples=["a1"])


class EntityOut(Ref):
    """An entity, its attributes, and how often it was actor or object of each event."""

    attributes: dict[str, Any] = Field(examples=[{"country": "DE"}])
    counters: dict[str, int] | None = Field(
        examples=[{"click": 3}], description="null where the past was asked for"
    )
    retired: bool = Field(examples=[False], description="out of answers, kept for labels")
    retired_time: int | None = Field(
        examples=[None], description="since when it is retired; null where it is not"
    )
    merged_from: str | None = Field(
        examples=[None], description="the id that was asked for, where it was merged into this one"
    )
    merged_into: str | None = Field(
        examples=[None], description="in lists: the id that stands for this one"
    )


class EntityPage(BaseModel):
    """A page of entities; `next` is the cursor of the next one, null at the end."""

    items: list[EntityOut]
    next: str | None = Field(examples=[None])


class AttributesIn(BaseModel):
    """Attributes to set; null removes one. Those not named stay as they are."""

    model_config = ConfigDict(extra="forbid")

    attributes: dict[str, Any] = Field(min_length=1, examples=[{"country": "DE", "age": 34}])


class EdgeOut(BaseModel):
    """An edge, seen from the entity that was asked for."""

    relation: str = Field(examples=["click"])
    direction: Literal["out", "in"]
    other: Ref
    count: int = Field(examples=[2])
    weight: float = Field(examples=[1.58], description="relation weight * log2(1 + decayed count)")
    first_time: int = Field(examples=[1767225600])
    last_time: int = Field(examples=[1767225600])


class EdgePage(BaseModel):
    """A page of edges; `next` is the cursor of the next one, null at the end."""

    items: list[EdgeOut]
    next: str | None = Field(examples=[None])


@router.get(ENTITY + "/edges", summary="The edges of an entity, in pages")
def get_edges(
    services: ServicesOf,
    type_: TypeOf,
    id_: IdOf,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(max_length=1000)] = None,
) -> EdgePage:
    check_type(services, type_)
    with services.database.reading() as connection:
        page = graph.edges(
            connection,
            services.schema,
            EntityId(type_, id_),
            as_of=int(time()),
            limit=limit,
            after=cursors.decode(cursor),
        )
    items = [
        EdgeOut(
            relation=edge.relation,
            direction=edge.direction,
            other=Ref(type=edge.other.type, id=edge.other.id),
            count=edge.count,
            weight=edge.weight,
            first_time=edge.first_time,
            last_time=edge.last_time,
        )
        for edge in page.items
    ]
    return EdgePage(items=items, next=cursors.encode(page.next))


@router.get("", summary="The entities of a type, in pages")
def get_entities(
    services: ServicesOf,
    type_: TypeOf,
    *,
    id_: Annotated[
        str | None,
        Query(alias="id", max_length=MAX_ID_LENGTH, description="This one alone, if there is one."),
    ] = None,
    retired: Annotated[bool | None, Query(description="Only those that are, or are not.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
) -> EntityPage:
    """Every id in its order, those that were merged into another one included."""
    check_type(services, type_)
    with services.database.reading() as connection:
        page = catalog.page(
            connection,
            type_,
            limit=limit,
            after=cursors.decode(cursor),
            id_=id_,
            retired=retired,
        )
    return EntityPage(items=[shown(item) for item in page.items], next=cursors.encode(page.next))


@router.get(
    ENTITY,
    summary="One entity with its attributes and counters",
    response_model=EntityOut,
    responses={304: {"description": "It is as named in If-None-Match"}},
)
def get_entity(
    services: ServicesOf,
    response: Response,
    type_: TypeOf,
    id_: IdOf,
    *,
    as_of: Annotated[
        int | None,
        Query(ge=0, le=LATEST_TIME, description="Its attributes at that second since 1970."),
    ] = None,
    if_none_match: etags.IfNoneMatch = None,
) -> Any:
    """An id that was merged into another one answers with that one, and says so.

    The ETag stands for attributes and retirement; counters move without it.
    """
    check_type(services, type_)
    asked = EntityId(type_, id_)
    with services.database.reading() as connection:
        found = (
            catalog.entity(connection, asked)
            if as_of is None
            else history.as_of(connection, asked, as_of)
        )
    tag = etags.quoted(found.etag)
    if etags.is_known(if_none_match, found.etag):
        return Response(status_code=304, headers={"ETag": tag})
    response.headers["ETag"] = tag
    return shown(found)


@router.put(ENTITY, summary="Set attributes; the entity is made if it is new")
def put_attributes(
    services: ServicesOf,
    response: Response,
    type_: TypeOf,
    id_: IdOf,
    body: AttributesIn,
    *,
    if_match: etags.IfMatch = None,
    if_none_match: etags.IfNew = None,
) -> EntityOut:
    """Attributes go through the log like every event, so a replay knows them too."""
    entity = EntityId(type_, id_)
    seen, unwanted = etags.expected(if_match), etags.named(if_none_match)

    def set_attributes(connection: Connection) -> dict[str, Any]:
        if seen is not None:
            catalog.require_seen(connection, entity, seen)
        if unwanted is not None:
            catalog.require_unseen(connection, entity, unwanted)
        event_id = f"put-{time_ns():020d}-{uuid4().hex[:8]}"
        return {
            "event_id": event_id,
            "event_name": SET_ATTRIBUTES,
            # What is put now is the last word, even behind an event that is dated a little ahead.
            "event_time": catalog.time_after(
                connection, entity, now=int(time()), event_id=event_id
            ),
            "actor": entity._asdict(),
            "properties": body.attributes,
        }

    say(services, set_attributes)
    with services.database.reading() as connection:
        found = catalog.entity(connection, entity)
    response.headers["ETag"] = etags.quoted(found.etag)
    return shown(found)


def shown(view: EntityView) -> EntityOut:
    """An entity as it is answered."""
    return EntityOut(
        type=view.type,
        id=view.id,
        attributes=dict(view.attributes),
        counters=None if view.counters is None else dict(view.counters),
        retired=view.retired,
        retired_time=view.retired_time if view.retired else None,
        merged_from=view.merged_from,
        merged_into=view.merged_into,
    )


def check_type(services: Services, type_: str) -> None:
    """Raise `UnknownName` unless the schema has this entity type."""
    known = services.schema.entities
    if type_ not in known:
        raise UnknownName(f"type should be one of {', '.join(known)}, received {type_!r}")
