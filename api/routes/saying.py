"""Saying one thing of an entity: a built-in event, made and logged in one transaction.

Takes what makes the event, gives nothing or a refusal; never decides what is said.
"""

from collections.abc import Callable, Mapping
from time import time
from typing import Any
from uuid import uuid4

from api.deps import Services
from api.errors import Invalid
from graphsvc.db import Connection, wait_for_writers
from graphsvc.ingest import Verdict, ingest
from graphsvc.schema import Schema

#: What the parts of an event are called where an entity stands in the path.
_NAMES = {"properties": "attributes", "actor": "path"}


def say(
    services: Services,
    make: Callable[[Connection], Mapping[str, Any] | None],
    *,
    names: Mapping[str, str] = _NAMES,
) -> None:
    """Log the event that `make` gives, without id and source; None says nothing.

    `make` is called while nobody else writes, so what it reads still holds when its event is
    logged. Raises `Invalid` for what is rejected, naming fields as the request does: `names` has
    what it calls the parts of the event.
    """

    def write(schema: Schema) -> Verdict | None:
        with services.database.transaction() as connection:
            wait_for_writers(connection)
            made = make(connection)
            if made is None:
                return None
            event = {"event_id": f"put-{uuid4().hex}", "action_source": "structure", **made}
            return ingest(connection, schema, [event], now=int(time()))[0]

    verdict = services.schemas.under(write)
    if verdict is None:
        return
    services.telemetry.events.labels(verdict.status).inc()
    if verdict.status != "accepted":
        raise _refusal(verdict, names)


def _refusal(verdict: Verdict, names: Mapping[str, str]) -> Invalid:
    field = verdict.field or ""
    part, dot, inner = field.partition(".")
    asked = f"{names.get(part, part)}{dot}{inner}"
    says = asked + (verdict.message or "").removeprefix(field)
    return Invalid(
        says, errors=[{"field": asked, "value": verdict.value, "expected": verdict.expected}]
    )
