"""Entities: attributes, edges, neighbors."""

from time import time, time_ns
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from api.answers import Answerer
from api.deps import Services, ServicesOf
from api.errors import Invalid, UnknownName
from api.routes import cursors
from api.routes.events import accept
from graphsvc import graph
from graphsvc.ids import ID_PATTERN, MAX_ID_LENGTH, NAME, EntityId
from graphsvc.builtin import SET_ATTRIBUTES

router = APIRouter(prefix="/v1/entities/{type}", tags=["entities"])

#: An id may hold slashes (%2F), so the routes below it are declared before the entity itself.
_ENTITY = "/{id:path}"

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
    counters: dict[str, int] = Field(examples=[{"click": 3}])


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


class NeighborOut(Ref):
    """A near entity; `distance` is 1 - cosine: 0 is the same direction, 2 the opposite one."""

    distance: float = Field(examples=[0.31])
    cold: bool = Field(
        examples=[False], description="its vector is folded in from the edges it has now"
    )
    edges: int = Field(examples=[0], description="edges that a cold entity was folded in from")


class NeighborsOut(BaseModel):
    """The nearest entities, and the versions that answered."""

    items: list[NeighborOut]
    state: Literal["learned", "cold"] = Field(
        description="learned in training, or folded in from the edges it has now (cold)"
    )
    folded_edges: int = Field(
        examples=[0], description="edges that a cold entity was folded in from"
    )
    merged_into: str | None = Field(
        examples=[None], description="the id that holds now, where the entity was merged"
    )
    bundle: str
    index: str
    ranker: str


@router.get(_ENTITY + "/edges", summary="The edges of an entity, in pages")
def get_edges(
    services: ServicesOf,
    type_: TypeOf,
    id_: IdOf,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(max_length=1000)] = None,
) -> EdgePage:
    _check_type(services, type_)
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


@router.get(_ENTITY + "/neighbors", summary="The nearest entities by embedding")
def get_neighbors(
    services: ServicesOf,
    type_: TypeOf,
    id_: IdOf,
    k: Annotated[int, Query(ge=1, le=1000)] = 10,
    wanted: Annotated[
        str | None,
        Query(alias="type", pattern=NAME.pattern, description="by default its own type"),
    ] = None,
) -> NeighborsOut:
    trio = services.live.trio()
    answerer = Answerer(services.database, services.schema, services.settings.foldin_edges)
    entity = EntityId(type_, id_)
    found = answerer.neighbors(trio, entity, k=k, type_=wanted)
    return NeighborsOut(
        items=[
            NeighborOut(
                type=n.entity.type,
                id=n.entity.id,
                distance=n.distance,
                cold=n.cold,
                edges=n.edges,
            )
            for n in found.items
        ],
        state="learned" if found.of.state == "learned" else "cold",
        folded_edges=found.of.edges,
        merged_into=None if found.of.entity == entity else found.of.entity.id,
        **trio.versions,
    )


@router.get(_ENTITY, summary="One entity with its attributes and counters")
def get_entity(services: ServicesOf, type_: TypeOf, id_: IdOf) -> EntityOut:
    _check_type(services, type_)
    with services.database.reading() as connection:
        found = graph.entity(connection, EntityId(type_, id_))
    return EntityOut(
        type=found.type,
        id=found.id,
        attributes=dict(found.attributes),
        counters=dict(found.counters),
    )


@router.put(_ENTITY, summary="Set attributes; the entity is made if it is new")
def put_attributes(services: ServicesOf, type_: TypeOf, id_: IdOf, body: AttributesIn) -> EntityOut:
    """Attributes go through the log like every event, so a replay knows them too."""
    event = {
        "event_id": f"put-{time_ns()}-{type_}-{id_}"[:MAX_ID_LENGTH],
        "event_name": SET_ATTRIBUTES,
        "event_time": int(time()),
        "action_source": "structure",
        "actor": {"type": type_, "id": id_},
        "properties": body.attributes,
    }
    verdict = accept(services, [event])[0]
    if verdict.status == "rejected":
        field = (verdict.field or "").replace("properties", "attributes").replace("actor", "path")
        says = (verdict.message or "").replace("properties", "attributes")
        error = {"field": field, "value": verdict.value, "expected": says}
        raise Invalid(says, errors=[error])
    return get_entity(services, type_, id_)


def _check_type(services: Services, type_: str) -> None:
    known = services.schema.entities
    if type_ not in known:
        raise UnknownName(f"type should be one of {', '.join(known)}, received {type_!r}")
