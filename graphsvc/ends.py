"""Whether an event's source and ends are the declared ones.

Takes an event and what was declared, gives a rejection or nothing; never looks at the database.
"""

from graphsvc.events import EntityRef, Event
from graphsvc.schema import EventType, Schema
from graphsvc.verdict import Verdict, reject


def check_ends(schema: Schema, event: Event, declared: EventType) -> Verdict | None:
    """Whether source, actor and object are what an event of this type has."""
    if event.action_source != declared.source:
        return reject(event, "wrong_source", "action_source", declared.source, event.action_source)
    wrong = _wrong_end(schema, event, "actor", event.actor, declared.head) or _wrong_end(
        schema, event, "object", event.object, declared.tail
    )
    if wrong:
        return wrong
    if not declared.self_loops and event.actor == event.object:
        expected = f"another entity than the actor: {declared.name} allows no self-loops"
        return reject(event, "self_loop", "object", expected, event.object)
    return None


def _wrong_end(
    schema: Schema, event: Event, field: str, entity: EntityRef | None, expected: str
) -> Verdict | None:
    if entity is None:
        return reject(event, "invalid", field, f"an entity of type {expected}", None)
    if entity.type == expected:
        return None
    known = entity.type in schema.entities
    code = "wrong_type" if known else "unknown_entity_type"
    return reject(event, code, f"{field}.type", expected, entity.type)
