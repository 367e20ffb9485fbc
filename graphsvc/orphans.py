"""What a change of the schema would leave without a meaning, counted.

Takes the present schema and the next one, gives counts per name; never changes anything. Adding
is free, and so are weights, half-lives and windows: they only say how the log is read.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, or_, select
from sqlalchemy import text as sql

from graphsvc.builtin import RETRACT
from graphsvc.schema import EntityType, EventType, Schema
from graphsvc.tables import attributes, edges, entities, events

#: What of a relation changes its edges when the log is read again.
_COUNTING = ("half_life_days", "self_loops", "parallel", "directed")
#: What of an event has to stay as it is while the log has such events.
_FIXED = ("head", "tail", "source")

_OF_RELATION = "(v.event_name = :name OR (v.event_name = 'retract' AND v.relation = :name))"
_LOOPS = f"""
    SELECT count(*) FROM events v
    JOIN entities a ON a.key = v.actor JOIN entities o ON o.key = v.object
    WHERE {_OF_RELATION}
        AND coalesce(a.merged_into, a.key) = coalesce(o.merged_into, o.key)"""  # noqa: S608
_REPEATED = """
    SELECT count(*) FROM (
        SELECT 1 FROM events v
        JOIN entities a ON a.key = v.actor JOIN entities o ON o.key = v.object
        WHERE v.event_name = :name
        GROUP BY coalesce(a.merged_into, a.key), coalesce(o.merged_into, o.key)
        HAVING count(*) > 1
    ) pairs"""
_TURNED = f"""
    SELECT count(*) FROM events v
    JOIN entities a ON a.key = v.actor JOIN entities o ON o.key = v.object
    WHERE {_OF_RELATION} AND a.id {{collated}} > o.id {{collated}}"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Orphan:
    """Something stored that the next schema has no place for."""

    #: Dotted path into the present document, e.g. `relations.click.head`.
    field: str
    expected: str
    #: What is stored under it: entities, events, edges, pairs.
    counts: Mapping[str, int]

    def __str__(self) -> str:
        counted = ", ".join(f"{n} {what}" for what, n in self.counts.items())
        return f"{self.field} ({counted})"

    def as_error(self) -> dict[str, Any]:
        """Its form in the `errors` of a problem document."""
        return {"field": self.field, "expected": self.expected, **self.counts}


def orphans(connection: Connection, present: Schema, following: Schema) -> list[Orphan]:
    """All that `following` has no place for, in the order of the present document."""
    found: list[Orphan] = []
    for kind in present.entities.values():
        found += _of_entities(connection, kind, following.entities.get(kind.name))
    for event in present.events.values():
        found += _of_events(connection, event, following.events.get(event.name))
    return found


def replay_needed(connection: Connection, present: Schema, following: Schema) -> bool:
    """Whether edges that are there would be summed differently."""
    return any(
        changed(relation, after, _COUNTING) and any(_stored(connection, relation).values())
        for relation in present.relations
        if (after := following.events.get(relation.name))
    )


def changed(before: EventType, after: EventType, fields: tuple[str, ...]) -> list[str]:
    """Those of some fields in which two differ."""
    return [name for name in fields if getattr(before, name) != getattr(after, name)]


def _of_entities(
    connection: Connection, kind: EntityType, after: EntityType | None
) -> Iterator[Orphan]:
    where = f"entities.{kind.name}"
    if after is None or after.person != kind.person:
        count = select(func.count()).where(entities.c.type == kind.name)
        if n := connection.scalar(count):
            if after is None:
                yield Orphan(where, "kept while entities have this type", {"entities": n})
            else:
                says = f"{str(kind.person).lower()} while entities have this type"
                yield Orphan(f"{where}.person", says, {"entities": n})
    for name, values in kind.attributes.items():
        if after is not None and after.attributes.get(name) != values:
            # A row stays when its value is removed, so whatever was ever set counts.
            count = (
                select(func.count())
                .select_from(attributes.join(entities, entities.c.key == attributes.c.entity))
                .where(entities.c.type == kind.name, attributes.c.name == name)
            )
            if n := connection.scalar(count):
                says = f"{values} while entities have a value of it"
                yield Orphan(f"{where}.attributes.{name}", says, {"entities": n})


def _of_events(
    connection: Connection, event: EventType, after: EventType | None
) -> Iterator[Orphan]:
    where = f"{'relations' if event.edge else 'observations'}.{event.name}"
    if after == event:
        return
    if after is None or after.edge != event.edge:
        stored = _stored(connection, event)
        if any(stored.values()):
            yield Orphan(where, "kept while such events are stored", stored)
        return
    for field in changed(event, after, _FIXED):
        stored = _stored(connection, event)
        if any(stored.values()):
            says = f"{getattr(event, field)} while such events are stored"
            yield Orphan(f"{where}.{field}", says, stored)
    yield from _narrowed(connection, where, event, after)


def _narrowed(
    connection: Connection, where: str, event: EventType, after: EventType
) -> Iterator[Orphan]:
    collated = 'COLLATE "C"' if connection.dialect.name == "postgresql" else ""
    for field, statement, what, says in (
        ("self_loops", _LOOPS, "events", "true while events relate an entity to itself"),
        ("parallel", _REPEATED, "pairs", "true while pairs have several events"),
        (
            "directed",
            _TURNED.format(collated=collated),
            "events",
            "true while events have the greater id as actor",
        ),
    ):
        if getattr(event, field) and not getattr(after, field):
            n = connection.scalar(sql(statement), {"name": event.name})
            if n:
                yield Orphan(f"{where}.{field}", says, {what: n})


def _stored(connection: Connection, event: EventType) -> dict[str, int]:
    """How many events and edges there are of a name."""
    log = events.c
    named = or_(
        log.event_name == event.name,
        (log.event_name == RETRACT) & (log.relation == event.name),
    )
    found = {"events": connection.scalar(select(func.count()).where(named)) or 0}
    if event.edge:
        of_relation = select(func.count()).where(edges.c.relation == event.name)
        found["edges"] = connection.scalar(of_relation) or 0
    return found
