"""POST /v1/events: the front door. A verdict per event, and what is accepted is on disk."""

import json
from collections import Counter
from time import time
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from api.deps import BodyOf, Services, ServicesOf
from api.errors import Invalid
from graphsvc.events import Event
from graphsvc.ingest import STATUSES, Rules, Status, Verdict, prepare
from graphsvc.schema import Schema

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
    """What became of one event. `field` and `message` say what to correct, where there is any."""

    event_id: str | None
    status: Status = Field(
        description="accepted: it is stored. duplicate: it was stored before. conflict: another "
        "event came with this name and id before. rejected: see code, field and message."
    )
    code: str | None = None
    field: str | None = None
    value: Any = None
    message: str | None = None


class Verdicts(BaseModel):
    """One verdict per event, in the order in which they came."""

    accepted: int = Field(examples=[1])
    duplicate: int = Field(examples=[0])
    conflict: int = Field(examples=[0])
    rejected: int = Field(examples=[0])
    verdicts: list[VerdictOf]


Backfill = Annotated[
    bool,
    Query(
        description="Take events of any age, to fill the graph with the past; else those that "
        "happened more than the late window (7 days) ago are rejected."
    ),
]


@router.post(
    "/events",
    summary="Post 1 to 1000 events; each gets a verdict of its own",
    response_model=Verdicts,
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
def post_events(services: ServicesOf, body: BodyOf, *, backfill: Backfill = False) -> Response:
    """An accepted event is durable when the answer is sent. Posting it again is harmless."""
    verdicts = accept(services, _events_in(body), backfill=backfill)
    counts = Counter(verdict.status for verdict in verdicts)
    # Verdicts are made here, so nothing is gained by checking and copying a thousand of them.
    answer: dict[str, Any] = {status: counts[status] for status in STATUSES}
    answer["verdicts"] = [as_json(verdict) for verdict in verdicts]
    return Response(orjson.dumps(answer), media_type="application/json")


def accept(services: Services, events: list[Any], *, backfill: bool = False) -> list[Verdict]:
    """Ingest raw events, all of them or none, and count their verdicts."""
    now = int(time())
    rules = Rules(late_seconds=services.settings.late_seconds, backfill=backfill)

    def write(schema: Schema) -> list[Verdict]:
        batch = prepare(schema, events, now=now, rules=rules)
        return services.gathering.append(schema, batch, now=now)

    verdicts = services.schemas.under(write)
    for status, count in Counter(verdict.status for verdict in verdicts).items():
        services.telemetry.events.labels(status).inc(count)
    return verdicts


def as_json(verdict: Verdict) -> dict[str, Any]:
    """A verdict as it is answered: what needs no correction has no code, field, value, message."""
    if verdict.code is None:
        return {"event_id": verdict.event_id, "status": verdict.status}
    return verdict._asdict()


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
