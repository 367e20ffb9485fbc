"""POST /v1/events/bulk: events as lines of JSON, any number of them, in one request."""

from collections import Counter
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from api.bulk import MEDIA_TYPE, BulkAnswer, Exchange
from api.deps import ServicesOf
from api.errors import EncodingUnknown, StreamTooLarge, TooBusy
from api.intake import Intake
from api.problems import DOCUMENTED
from api.reading.lines import Bounds, LineReader
from api.routes.events import Backfill
from graphsvc.ingest import Rules

router = APIRouter(prefix="/v1", tags=["events"])

PATH = "/v1/events/bulk"

#: Streams that a server process takes at once; each holds a chunk, a connection and two threads.
MOST_STREAMS = 8

_LINES = (
    '{"event_id":"c-1","event_name":"click","event_time":1767225600,"action_source":"onsite",'
    '"actor":{"type":"user","id":"u1"},"object":{"type":"ad","id":"a1"}}\n'
)
_ANSWER = (
    '{"line":1,"event_id":"c-1","status":"accepted"}\n'
    '{"summary":{"accepted":1,"duplicate":0,"conflict":0,"rejected":0,"complete":true}}\n'
)
_DESCRIPTION = """\
One event per line. The body may be gzipped (`Content-Encoding: gzip`) and as long as
`GRAPHSVC_MAX_BULK_BYTES`, unpacked; it is read as it comes in, in chunks of up to 3000 lines, and
each chunk is one transaction. The answer is a line of JSON per event line, in their order, sent
once its chunk is committed: what is said to be accepted is stored. A line that is no event is
`rejected` and changes nothing for the others. The last line is a summary. If the stream breaks, is
too large or stalls, a line `{"error": {...}}` with a problem document comes before it and
`complete` is false: what was answered before holds, and sending everything again is harmless. An
answer without a summary was cut off, and says as much: send everything again.

Clients that read the answer only when they have sent everything may do so. With an
`Idempotency-Key`, a stream that was taken whole gets its first answer again; the answer to any
other is not kept, since sending the rest is then what helps.
"""


@router.post(
    "/events/bulk",
    summary="Stream events in, one per line; a verdict per line streams out",
    description=_DESCRIPTION,
    response_class=Response,
    responses={
        200: {"content": {MEDIA_TYPE: {"schema": {"type": "string"}, "example": _ANSWER}}},
        415: DOCUMENTED[422] | {"description": "The encoding is neither gzip nor identity"},
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {MEDIA_TYPE: {"schema": {"type": "string"}, "example": _LINES}},
        }
    },
)
async def post_bulk(
    request: Request,
    services: ServicesOf,
    *,
    backfill: Backfill = False,
    verdicts: Annotated[
        Literal["all", "errors"],
        Query(description="errors: only the lines that were not accepted, and the summary"),
    ] = "all",
) -> BulkAnswer:
    most = services.settings.max_bulk_bytes
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("gzip", "identity"):
        raise EncodingUnknown(
            f"Content-Encoding should be gzip or identity, received {encoding[:40]!r}"
        )
    declared = request.headers.get("content-length", "0")
    if encoding == "identity" and declared.isdigit() and int(declared) > most:
        raise StreamTooLarge(f"the stream should be at most {most} bytes, received {declared}")
    exchange = Exchange(
        intake=Intake(
            gathering=services.gathering,
            schemas=services.schemas,
            rules=Rules(late_seconds=services.settings.late_seconds, backfill=backfill),
        ),
        reader=LineReader(gzipped=encoding == "gzip", bounds=Bounds(most_bytes=most)),
        show=verdicts,
        counted=_counter_of(services.telemetry),
    )
    return BulkAnswer(exchange, _turn(request.app.state))


def _counter_of(telemetry: Any) -> Any:
    def count(counts: Counter[str]) -> None:
        for status, number in counts.items():
            telemetry.events.labels(status).inc(number)

    return count


def _turn(state: Any) -> Any:
    """Take one of the places for streams; gives what hands it back. Raises `TooBusy`."""
    state.bulk_streams = getattr(state, "bulk_streams", 0)
    if state.bulk_streams >= MOST_STREAMS:
        raise TooBusy(f"this server takes {MOST_STREAMS} bulk streams at once; try again later")
    state.bulk_streams += 1

    def hand_back() -> None:
        state.bulk_streams -= 1

    return hand_back
