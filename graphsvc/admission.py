"""Whether a raw JSON value is an event of this schema.

Takes raw values, a schema and a clock, gives an `Event` or a rejection that says what to correct;
never looks at the database. Whatever JSON can hold is answered with a verdict, never with an
exception.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from graphsvc.admission_builtin import check_builtin
from graphsvc.builtin import BUILT_IN, CONSENTS, RETRACT
from graphsvc.ends import check_ends
from graphsvc.events import Event
from graphsvc.hints import meant, one_of
from graphsvc.ids import MAX_ID_LENGTH
from graphsvc.schema import EventType, Schema
from graphsvc.verdict import Verdict, printable, reject, shortened
from graphsvc.wording import sentence

#: Clocks differ: what happened up to this many seconds after now is believed.
FUTURE_SECONDS = 600
#: Events that arrive later than this many seconds after they happened are not taken, by default.
LATE_SECONDS = 7 * 86_400

#: `Event.model_validate`, without a detour that every event would take.
_validate: Callable[[Any], Event] = Event.__pydantic_validator__.validate_python


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """How old an event may be when it arrives. Structure, which is timeless, may be of any age."""

    late_seconds: int = LATE_SECONDS
    #: Events of any age are taken, e.g. to fill the graph with the past.
    backfill: bool = False

    def oldest(self, now: int) -> int:
        """The earliest time, in seconds since 1970, of an event that is not late."""
        return 0 if self.backfill else now - self.late_seconds


@dataclass(frozen=True, slots=True)
class Late:
    """An event that is too old, unless it turns out to be one that was taken in time."""

    event: Event
    verdict: Verdict


def admit(schema: Schema, raw: Any, now: int, rules: Rules = Rules()) -> Event | Late | Verdict:
    """The event that a JSON value is, or the verdict that rejects it.

    `now` is when it arrives, in seconds since 1970.
    """
    try:
        event = _validate(raw)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        return _malformed(raw, detail)
    wrong = (
        check_builtin(schema, event)
        if event.event_name in BUILT_IN
        else _against_schema(schema, event)
    )
    if wrong:
        return wrong
    # Facts without a time of their own may be dated ahead, but an attribute of the future could
    # never be replaced, and so with the other built-in events.
    timeless = event.action_source == "structure" and (
        event.event_name == RETRACT or event.event_name not in BUILT_IN
    )
    if not timeless and event.event_time > now + FUTURE_SECONDS:
        expected = f"at most {FUTURE_SECONDS} seconds after now ({now})"
        return reject(event, "future", "event_time", expected, event.event_time)
    named = event.relation or event.event_name
    if named in schema.undirected and event.object and event.actor.id > event.object.id:
        event = event.model_copy(update={"actor": event.object, "object": event.actor})
    if (
        event.event_time < rules.oldest(now)
        and event.action_source != "structure"
        and event.event_name not in CONSENTS
    ):
        expected = (
            f"at most {rules.late_seconds} seconds before now ({now}), unless it is a backfill"
        )
        return Late(event, reject(event, "late", "event_time", expected, event.event_time))
    return event


def _against_schema(schema: Schema, event: Event) -> Verdict | None:
    declared = schema.events.get(event.event_name)
    if declared is None:
        known, name = [*schema.events, *sorted(BUILT_IN)], event.event_name
        return reject(event, "unknown_event", "event_name", one_of(known), name, meant(name, known))
    if event.relation is not None:
        return reject(event, "invalid", "relation", "absent", event.relation)
    wrong = check_ends(schema, event, declared)
    if wrong:
        return wrong
    if _needs_consent(schema, declared) and event.consent is not True:
        return reject(
            event, "consent_required", "consent", "true for an offsite event", event.consent
        )
    return None


def _needs_consent(schema: Schema, declared: EventType) -> bool:
    return declared.source == "offsite" and (
        schema.entities[declared.head].person or schema.entities[declared.tail].person
    )


def _malformed(raw: Any, detail: ErrorDetails) -> Verdict:
    field = ".".join(str(part) for part in detail["loc"]) or "event"
    field = printable(field)
    code = "too_large" if detail["type"] in ("too_large", "string_too_long") else "invalid"
    short = None if detail["type"] == "missing" else shortened(detail["input"])
    message = f"{field}: {sentence(detail, Event)}"
    if field == "event_time" and detail["type"] == "less_than_equal":
        message += "; it should be in seconds since 1970, and this looks like milliseconds"
    return Verdict(_event_id(raw), "rejected", code, field, message, short)


def _event_id(raw: Any) -> str | None:
    value = raw.get("event_id") if isinstance(raw, Mapping) else None
    if isinstance(value, str) and len(value) <= MAX_ID_LENGTH and value.isprintable():
        return value
    return None
