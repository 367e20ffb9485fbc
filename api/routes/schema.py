"""The schema: what may be posted now, and changing it while the service runs."""

from time import time
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Response
from pydantic import BaseModel, Field

from api.auditing import tell
from api.deps import ServicesOf
from api.routes import etags
from graphsvc import evolution, versions
from graphsvc.schema import Schema, parse_schema, to_document

router = APIRouter(prefix="/v1/schema", tags=["schema"])

_EXAMPLE: dict[str, Any] = {
    "name": "tiny",
    "entities": {"user": {"person": True, "attributes": {"country": "category"}}, "ad": {}},
    "relations": {
        "click": {"head": "user", "tail": "ad", "source": "onsite", "half_life_days": 14}
    },
    "observations": {"impression": {"head": "user", "tail": "ad", "source": "onsite"}},
    "label": {"exposure": "impression", "outcome": "click", "window_minutes": 30},
}


class SchemaOut(BaseModel):
    """The version that holds. Numbers of days that are infinite are "inf"."""

    version: int = Field(examples=[1])
    document: dict[str, Any] = Field(examples=[_EXAMPLE])


class SchemaChangedOut(SchemaOut):
    """The version that holds from now on."""

    replayed_events: int = Field(
        examples=[0], description="events that were read again, because edges are summed otherwise"
    )


@router.get(
    "",
    summary="The schema that holds",
    response_model=SchemaOut,
    responses={304: {"description": "It is the version named in If-None-Match"}},
)
def get_schema(
    services: ServicesOf, response: Response, if_none_match: etags.IfNoneMatch = None
) -> Any:
    """The ETag is the version."""
    with services.database.reading() as connection:
        held = versions.current(connection)
    tag = str(held.version)
    if etags.is_known(if_none_match, tag):
        return Response(status_code=304, headers={"ETag": etags.quoted(tag)})
    response.headers["ETag"] = etags.quoted(tag)
    return _out(held)


@router.put("", summary="Change the schema; what is stored keeps its meaning")
def put_schema(
    services: ServicesOf,
    response: Response,
    document: Annotated[dict[str, Any], Body(examples=[_EXAMPLE])],
    *,
    if_match: etags.IfMatch = None,
    replay: Annotated[
        bool,
        Query(description="Go on even if more than 200,000 events have to be read again."),
    ] = False,
) -> SchemaChangedOut:
    """Adding is free, and so are weights, half-lives and windows.

    What would orphan stored entities, events, edges or attributes is refused with counts (409). A
    new half-life, or another way of counting, reads the log again before the answer, and nothing
    can be written meanwhile. Every server process follows within a second, and no event is taken
    under an outdated version.
    """
    wanted = parse_schema(document)
    expected = etags.expected(if_match)
    with services.database.transaction() as connection:
        changed = evolution.change(
            connection,
            wanted,
            reason="PUT /v1/schema",
            now=int(time()),
            seen=expected and (lambda version: expected(str(version))),
            patient=replay,
        )
    services.schemas.refresh()
    tell({"version": changed.schema.version})
    response.headers["ETag"] = etags.quoted(str(changed.schema.version))
    return SchemaChangedOut(
        version=changed.schema.version,
        document=to_document(changed.schema),
        replayed_events=changed.replayed,
    )


def _out(schema: Schema) -> SchemaOut:
    return SchemaOut(version=schema.version, document=to_document(schema))
