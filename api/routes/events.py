"""POST /v1/events: the front door. A verdict per event, and what is accepted is on disk."""

import json
from time import time
from typing import Any, Literal

import orjson
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from api.deps import BodyOf, Services, ServicesOf
from api.errors import Invalid
from graphsvc.events import Event
from graphsvc.ingest import ingest

router = APIRouter(prefix="/v1", tags=["events"])

MOST_EVENTS = 1000

_EXAMPLE: dict[str, Any] = {
    "events": [
        {
            "event_id": "c-1",
            "event_name": "click",
            "event_time": 1767225600,
            "action_source": "onsite",
            "actor": {"type": "user", "id": "u1"},
            "object": {"type": "ad", "id": "a1"},
        }
    ]
}


class EventBatch(BaseModel):
    """From 1 to 1000 events."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    events: list[Event] = Field(min_length=1, max_length=MOST_EVENTS)


class VerdictOf(BaseModel):
    """What became of one event. `field` and `message` say what to correct if it was rejected."""

    event_id: str | None
    status: Literal["accepted", "duplicate", "rejected"]
    code: str | None = None
    field: str | None = None
    value: Any = None
    message: str | None = None


class Verdicts(BaseModel):
    """One verdict per event, in the order in which they came."""

    accepted: int = Field(examples=[1])
    duplicate: int = Field(examples=[0])
    rejected: int = Field(examples=[0])
    verdicts: list[VerdictOf]


@router.post(
    "/events",
    summary="Post 1 to 1000 events; each gets a verdict of its own",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/EventBatch"},
                    "example": _EXAMPLE,
                }
            },
        }
    },
)
def post_events(services: ServicesOf, body: BodyOf) -> Verdicts:
    """An accepted event is durable when the answer is sent. Posting it again is harmless."""
    return accept(services, _events_in(body))


def accept(services: Services, events: list[Any]) -> Verdicts:
    """Ingest raw events in one transaction and count their verdicts."""
    with services.database.transaction() as connection:
        verdicts = ingest(connection, services.schema, events, now=int(time()))
    counts = {"accepted": 0, "duplicate": 0, "rejected": 0}
    for verdict in verdicts:
        counts[verdict.status] += 1
    for status, count in counts.items():
        services.telemetry.events.labels(status).inc(count)
    return Verdicts(
        **counts,
        verdicts=[
            VerdictOf.model_construct(
                event_id=v.event_id,
                status=v.status,
                code=v.code,
                field=v.field,
                value=v.value,
                message=v.message,
            )
            for v in verdicts
        ],
    )


def _events_in(body: bytes) -> list[Any]:
    try:
        document = _parsed(body)
    except ValueError as error:
        raise Invalid(f"the body should be JSON: {error}") from error
    except RecursionError as error:
        raise Invalid("the body should be JSON that is less deep") from error
    if not isinstance(document, dict) or set(document) != {"events"}:
        raise Invalid('the body should be an object with one field, "events"')
    events = document["events"]
    if not isinstance(events, list) or not 1 <= len(events) <= MOST_EVENTS:
        received = len(events) if isinstance(events, list) else type(events).__name__
        raise Invalid(f"events should be a list of 1 to {MOST_EVENTS} events, received {received}")
    return events


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        # JSON can spell what no event may hold, such as half a pair or 1e999. The standard library
        # reads that, and the event that holds it gets a verdict; its neighbors are none the worse.
        return json.loads(body)
