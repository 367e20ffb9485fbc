"""Whether a raw JSON value is an event of this schema.

Takes raw values and a schema, gives an `Event` or a rejection that says what to correct; never
looks at the database. Whatever JSON can hold is answered with a verdict, never with an exception.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from graphsvc.events import EntityRef, Event
from graphsvc.ids import MAX_ID_LENGTH
from graphsvc.schema import SET_ATTRIBUTES, EntityType, EventType, Schema

#: Clocks differ: what happened up to this many seconds after now is believed.
FUTURE_SECONDS = 600

_LONGEST_ECHO = 80
_KIND_EXPECTED = {
    "category": "a string",
    "text": "a string",
    "number": "a number",
    "list": "a list of strings",
}


class Verdict(NamedTuple):
    """What became of one event. The last four say what to correct if it was rejected."""

    event_id: str | None
    status: Literal["accepted", "duplicate", "rejected"]
    code: str | None = None
    #: Dotted path of the field, e.g. `actor.type`.
    field: str | None = None
    #: What was expected and what was received, in a sentence.
    message: str | None = None
    #: The value received, shortened.
    value: str | float | bool | None = None


def admit(schema: Schema, raw: Any, now: int) -> Event | Verdict:
    """The event that a JSON value is, or the verdict that rejects it."""
    try:
        event = Event.model_validate(raw)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_context=False)[0]
        return _malformed(raw, detail)
    return _against_schema(schema, event, now) or event


def _against_schema(  # noqa: PLR0911  (one return per rule)
    schema: Schema, event: Event, now: int
) -> Verdict | None:
    if event.event_name == SET_ATTRIBUTES:
        return _attributes_event(schema, event, now)
    declared = schema.events.get(event.event_name)
    if declared is None:
        known = f"an event of the schema {schema.name!r}"
        return _reject(event, "unknown_event", "event_name", known, event.event_name)
    if event.action_source != declared.source:
        return _reject(event, "wrong_source", "action_source", declared.source, event.action_source)
    wrong = _wrong_end(schema, event, "actor", event.actor, declared.head) or _wrong_end(
        schema, event, "object", event.object, declared.tail
    )
    if wrong:
        return wrong
    if declared.source != "structure" and event.event_time > now + FUTURE_SECONDS:
        return _in_future(event, now)
    if _needs_consent(schema, declared) and event.consent is not True:
        return _reject(
            event, "consent_required", "consent", "true for an offsite event", event.consent
        )
    return None


def _wrong_end(
    schema: Schema, event: Event, field: str, entity: EntityRef | None, expected: str
) -> Verdict | None:
    if entity is None:
        return _reject(event, "invalid", field, f"an entity of type {expected}", None)
    if entity.type == expected:
        return None
    known = entity.type in schema.entities
    code = "wrong_type" if known else "unknown_entity_type"
    return _reject(event, code, f"{field}.type", expected, entity.type)


def _needs_consent(schema: Schema, declared: EventType) -> bool:
    return declared.source == "offsite" and (
        schema.entities[declared.head].person or schema.entities[declared.tail].person
    )


def _attributes_event(schema: Schema, event: Event, now: int) -> Verdict | None:
    kind = schema.entities.get(event.actor.type)
    if event.action_source != "structure":
        return _reject(event, "wrong_source", "action_source", "structure", event.action_source)
    if kind is None:
        return _reject(
            event, "unknown_entity_type", "actor.type", "a type of the schema", event.actor.type
        )
    if event.object is not None:
        return _reject(event, "invalid", "object", "absent", event.object.id)
    if not event.properties:
        return _reject(event, "invalid", "properties", "an object of attributes", None)
    if event.event_time > now + FUTURE_SECONDS:
        return _in_future(event, now)  # else no later value could ever replace it
    return _attribute_values(kind, event, event.properties)


def _attribute_values(
    kind: EntityType, event: Event, properties: Mapping[str, Any]
) -> Verdict | None:
    for name, value in properties.items():
        if name not in kind.attributes:
            known = ", ".join(sorted(kind.attributes)) or "none"
            expected = f"declared for {kind.name} (known: {known})"
            return _reject(
                event, "attribute_unknown", f"properties.{name[:_LONGEST_ECHO]}", expected, value
            )
        if value is not None and not _fits(kind.attributes[name], value):
            expected = f"{_KIND_EXPECTED[kind.attributes[name]]} or null"
            return _reject(event, "attribute_type", f"properties.{name}", expected, value)
    return None


def _fits(kind: str, value: Any) -> bool:
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "list":
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, str)


def _in_future(event: Event, now: int) -> Verdict:
    expected = f"at most {FUTURE_SECONDS} seconds after now ({now})"
    return _reject(event, "invalid", "event_time", expected, event.event_time)


def _reject(event: Event, code: str, field: str, expected: str, value: Any) -> Verdict:
    short = _short(value)
    message = f"{field} should be {expected}, received {short!r}"
    return Verdict(event.event_id, "rejected", code, field, message, short)


def _malformed(raw: Any, detail: ErrorDetails) -> Verdict:
    field = ".".join(str(part) for part in detail["loc"]) or "event"
    field = _printable(field)
    code = "too_large" if detail["type"] in ("too_large", "string_too_long") else "invalid"
    short = None if detail["type"] == "missing" else _short(detail["input"])
    received = "nothing" if detail["type"] == "missing" else repr(short)
    expected = detail["msg"].removeprefix("Input ").removeprefix("Field ")
    message = f"{field}: {expected[:1].lower()}{expected[1:]}, received {received}"
    return Verdict(_event_id(raw), "rejected", code, field, message, short)


def _event_id(raw: Any) -> str | None:
    value = raw.get("event_id") if isinstance(raw, Mapping) else None
    if isinstance(value, str) and len(value) <= MAX_ID_LENGTH and value.isprintable():
        return value
    return None


def _short(value: Any) -> str | float | bool | None:
    """A form of any value that fits into an answer: bounded, printable, plain JSON."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _printable(value)
    if isinstance(value, int):
        return value if abs(value) < 2**63 else f"a whole number of {value.bit_length()} bits"
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, EntityRef):
        return _printable(f"{value.type}/{value.id}")
    return "an object" if isinstance(value, Mapping) else "a list"


def _printable(text: str) -> str:
    short = text if len(text) <= _LONGEST_ECHO else f"{text[:_LONGEST_ECHO]}..."
    # Python's isprintable is false for lone surrogates, control characters and separators.
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in short)
