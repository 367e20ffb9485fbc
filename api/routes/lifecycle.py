"""The life of entities: retired, restored, merged, all through the log; or erased from it."""

from time import time
from typing import Annotated, Any

from fastapi import APIRouter, Response, status
from pydantic import BaseModel, ConfigDict, Field

from api import erasure_list
from api.auditing import tell
from api.deps import Services, ServicesOf
from api.errors import PersonKept
from api.jobs.asking import ask
from api.routes.entities import ENTITY, EntityOut, IdOf, TypeOf, check_type, shown
from api.routes.saying import say
from graphsvc import audit, catalog
from graphsvc.builtin import MERGE, RESTORE, RETIRE
from graphsvc.db import Connection
from graphsvc.ids import ID_PATTERN, MAX_ID_LENGTH, EntityId

router = APIRouter(prefix="/v1/entities/{type}", tags=["entities"])


class MergeIn(BaseModel):
    """The entity of the same type whose id is kept."""

    model_config = ConfigDict(extra="forbid")

    into: Annotated[
        str, Field(min_length=1, max_length=MAX_ID_LENGTH, pattern=ID_PATTERN, examples=["a1"])
    ]


class ErasureAsked(BaseModel):
    """A person is being erased."""

    erasure: int = Field(examples=[1], description="its number: `GET /v1/erasures/{number}`")
    job: str | None = Field(description="the job that does it; null where it was done before")


@router.delete(
    ENTITY,
    summary="Retire a catalog entity, or erase a person",
    response_model=EntityOut | ErasureAsked,
    responses={202: {"description": "A person is being erased", "model": ErasureAsked}},
)
def delete(
    services: ServicesOf, response: Response, type_: TypeOf, id_: IdOf
) -> EntityOut | ErasureAsked:
    """Harmless to repeat.

    A catalog entity goes out of answers and its events stay, so that models go on learning from
    them. A person, with all ids that were merged, is removed from everything that is kept, by a
    job that ends with a certificate; there is no way back. From this answer on, no event of theirs
    is taken, until one says that they agree again.
    """
    check_type(services, type_)
    entity = EntityId(type_, id_)
    if services.schema.entities[type_].person:
        response.status_code = status.HTTP_202_ACCEPTED
        listed = erasure_list.path_of(services.settings)
        asked = ask(services.database, services.jobs, entity, listed)
        tell({"erasure": asked.erasure, "job": asked.job})
        return ErasureAsked(erasure=asked.erasure, job=asked.job)
    _say_of(services, entity, retired=True)
    return _present(services, entity)


@router.post(ENTITY + "/restore", summary="Take a retired entity back into answers")
def restore(services: ServicesOf, type_: TypeOf, id_: IdOf) -> EntityOut:
    """Harmless to repeat."""
    entity = EntityId(type_, id_)
    _say_of(services, entity, retired=False)
    return _present(services, entity)


@router.post(ENTITY + "/merge", summary="Make an entity part of another one of its type")
def merge(services: ServicesOf, type_: TypeOf, id_: IdOf, body: MergeIn) -> EntityOut:
    """Both ids stand for the kept entity from now on; there is no way back.

    Edges and counters are added, the later attribute counts, and so does what was said last of
    retiring either. If one of two persons has opted out, both have. Answers with the kept entity;
    harmless to repeat.
    """
    check_type(services, type_)
    duplicate, kept = EntityId(type_, id_), EntityId(type_, body.into)

    def event(connection: Connection) -> dict[str, Any] | None:
        one = catalog.key_of(connection, duplicate) == catalog.key_of(connection, kept)
        if one and catalog.entity(connection, duplicate).merged_from:
            return None  # said before; the other way round would be a contradiction
        return {
            "event_name": MERGE,
            "event_time": int(time()),
            "actor": duplicate._asdict(),
            "object": kept._asdict(),
        }

    say(services, event, names={"actor": "path", "object": "into"})
    with services.database.transaction() as connection:
        tell({"into": audit.subject(connection, kept)})
    return _present(services, kept)


def _say_of(services: Services, entity: EntityId, *, retired: bool) -> None:
    check_type(services, entity.type)
    if services.schema.entities[entity.type].person:
        raise PersonKept(
            f"{entity.type} is a type of persons, who are not retired, so there is nobody to "
            "restore: who was erased comes back by an opt_in event"
        )

    def event(connection: Connection) -> dict[str, Any] | None:
        held = catalog.entity(connection, entity)
        if held.retired == retired:
            return None
        # The last word counts, and of the same second retiring does.
        last = held.retired_time if held.retired_time is not None else -1
        return {
            "event_name": RETIRE if retired else RESTORE,
            "event_time": max(int(time()), last if retired else last + 1),
            "actor": entity._asdict(),
        }

    say(services, event)


def _present(services: Services, entity: EntityId) -> EntityOut:
    with services.database.reading() as connection:
        return shown(catalog.entity(connection, entity))
