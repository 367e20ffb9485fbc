"""Whether a built-in event fits the schema.

Takes an event whose form is right, gives a rejection or nothing; never looks at the database.
"""

from collections.abc import Callable, Mapping
from typing import Any

from graphsvc.builtin import MERGE, OPT_IN, OPT_OUT, RESTORE, RETIRE, RETRACT, SET_ATTRIBUTES
from graphsvc.ends import check_ends
from graphsvc.events import Event
from graphsvc.hints import meant, one_of
from graphsvc.schema import EntityType, Schema
from graphsvc.verdict import LONGEST_ECHO, Verdict, reject

_KIND_EXPECTED = {
    "category": "a string",
    "text": "a string",
    "number": "a number",
    "list": "a list of strings",
}


def check_builtin(schema: Schema, event: Event) -> Verdict | None:
    """What is wrong with an event that is part of every schema, if anything is."""
    if event.event_name != RETRACT and event.relation is not None:
        return reject(event, "invalid", "relation", "absent", event.relation)
    return _CHECKS[event.event_name](schema, event)


def _attributes(schema: Schema, event: Event) -> Verdict | None:
    wrong = _structure_about_one(schema, event)
    if wrong:
        return wrong
    if not event.properties:
        return reject(event, "invalid", "properties", "an object of attributes", None)
    return _attribute_values(schema.entities[event.actor.type], event, event.properties)


def _retract(schema: Schema, event: Event) -> Verdict | None:
    declared = schema.events.get(event.relation or "")
    if declared is None or not declared.edge:
        known, name = [relation.name for relation in schema.relations], event.relation
        hint = meant(name or "", known)
        return reject(event, "unknown_relation", "relation", one_of(known), name, hint)
    return check_ends(schema, event, declared)


def _consent(schema: Schema, event: Event) -> Verdict | None:
    wrong = _about_one(schema, event)
    if wrong:
        return wrong
    if not schema.entities[event.actor.type].person:
        return reject(event, "wrong_type", "actor.type", "a type of person", event.actor.type)
    return None


def _lifecycle(schema: Schema, event: Event) -> Verdict | None:
    wrong = _structure_about_one(schema, event)
    if wrong:
        return wrong
    if schema.entities[event.actor.type].person:
        expected = "a type of the catalog; persons opt out instead"
        return reject(event, "wrong_type", "actor.type", expected, event.actor.type)
    return None


def _merge(schema: Schema, event: Event) -> Verdict | None:
    wrong = _structure(event) or _known_actor(schema, event)
    if wrong:
        return wrong
    if event.object is None:
        return reject(event, "invalid", "object", "the entity whose id is kept", None)
    if event.object.type != event.actor.type:
        return reject(event, "wrong_type", "object.type", event.actor.type, event.object.type)
    if event.object == event.actor:
        expected = "another entity than the one merged"
        return reject(event, "merge_cycle", "object", expected, event.object.id)
    return None


_CHECKS: Mapping[str, Callable[[Schema, Event], Verdict | None]] = {
    SET_ATTRIBUTES: _attributes,
    RETRACT: _retract,
    OPT_OUT: _consent,
    OPT_IN: _consent,
    RETIRE: _lifecycle,
    RESTORE: _lifecycle,
    MERGE: _merge,
}


def _structure_about_one(schema: Schema, event: Event) -> Verdict | None:
    return _structure(event) or _about_one(schema, event)


def _structure(event: Event) -> Verdict | None:
    if event.action_source != "structure":
        return reject(event, "wrong_source", "action_source", "structure", event.action_source)
    return None


def _about_one(schema: Schema, event: Event) -> Verdict | None:
    wrong = _known_actor(schema, event)
    if wrong is None and event.object is not None:
        return reject(event, "invalid", "object", "absent", event.object.id)
    return wrong


def _known_actor(schema: Schema, event: Event) -> Verdict | None:
    if event.actor.type not in schema.entities:
        known, name = list(schema.entities), event.actor.type
        hint = meant(name, known)
        return reject(event, "unknown_entity_type", "actor.type", one_of(known), name, hint)
    return None


def _attribute_values(
    kind: EntityType, event: Event, properties: Mapping[str, Any]
) -> Verdict | None:
    for name, value in properties.items():
        if name not in kind.attributes:
            field = f"properties.{name[:LONGEST_ECHO]}"
            known = sorted(kind.attributes)
            expected = f"declared for {kind.name}: {one_of(known)}"
            hint = meant(name, known)
            return reject(event, "attribute_unknown", field, expected, value, hint)
        if value is not None and not _fits(kind.attributes[name], value):
            expected = f"{_KIND_EXPECTED[kind.attributes[name]]} or null"
            return reject(event, "attribute_type", f"properties.{name}", expected, value)
    return None


def _fits(kind: str, value: Any) -> bool:
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "list":
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, str)
