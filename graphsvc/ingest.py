"""Append events to the log once, and apply their changes in the same transaction.

Takes raw JSON values, gives a verdict for each; never commits, so the caller's transaction keeps
the log and its projections together or drops both.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection, delete, func, insert, select, text

from graphsvc.admission import Verdict, admit
from graphsvc.db import wait_for_writers
from graphsvc.events import Event, dump_properties
from graphsvc.ids import canonical_json
from graphsvc.projection import Changes, Logged, project
from graphsvc.schema import SET_ATTRIBUTES, Schema
from graphsvc.tables import attributes, counters, edges, entities, events

__all__ = ["Verdict", "ingest", "rebuild"]

#: Values in one IN list; SQLite takes 32,766 variables in a statement, older ones 999.
_CHUNK = 900
#: Events of the log replayed at a time.
_REPLAYED = 10_000

# Written out, because both databases run them as they stand (db.py gives SQLite the functions).
# The smaller power is bounded: PostgreSQL calls 2^-1100 an error rather than 0.
_ADD_TO_EDGE = text("""
    INSERT INTO edges (head, relation, tail, decayed, count, first_time, last_time)
    VALUES (:head, :relation, :tail, :decayed, :count, :first_time, :last_time)
    ON CONFLICT (head, relation, tail) DO UPDATE SET
        decayed = edges.decayed * power(2.0, greatest(-1000.0, least(0.0,
                      (edges.last_time - excluded.last_time) * CAST(:rate AS double precision))))
            + excluded.decayed * power(2.0, greatest(-1000.0, least(0.0,
                      (excluded.last_time - edges.last_time) * CAST(:rate AS double precision)))),
        count = edges.count + excluded.count,
        first_time = least(edges.first_time, excluded.first_time),
        last_time = greatest(edges.last_time, excluded.last_time)
""")
_ADD_TO_COUNTER = text("""
    INSERT INTO counters (entity, event_name, n) VALUES (:entity, :event_name, :n)
    ON CONFLICT (entity, event_name) DO UPDATE SET n = counters.n + excluded.n
""")
_SET_ATTRIBUTE = text("""
    INSERT INTO attributes (entity, name, value, event_time, seq)
    VALUES (:entity, :name, :value, :event_time, :seq)
    ON CONFLICT (entity, name) DO UPDATE SET
        value = excluded.value, event_time = excluded.event_time, seq = excluded.seq
    WHERE (excluded.event_time, excluded.seq) > (attributes.event_time, attributes.seq)
""")

_T = TypeVar("_T")


def ingest(
    connection: Connection, schema: Schema, raw_events: Sequence[Any], *, now: int
) -> list[Verdict]:
    """Append what is new; one verdict per event, in their order.

    `now` is in seconds since 1970. A bad event never affects its neighbors. The same name and id
    again, in this batch or in the log, is a duplicate and changes nothing.
    """
    outcomes = [admit(schema, raw, now) for raw in raw_events]
    admitted = [event for event in outcomes if isinstance(event, Event)]
    fresh: list[Event] = []
    if admitted:
        wait_for_writers(connection)
        known = _logged(connection, [event.event_id for event in admitted])
        for position, event in enumerate(outcomes):
            if isinstance(event, Event):
                name_and_id = (event.event_name, event.event_id)
                is_new = name_and_id not in known
                outcomes[position] = Verdict(event.event_id, "accepted" if is_new else "duplicate")
                if is_new:
                    known.add(name_and_id)
                    fresh.append(event)
    if fresh:
        _apply(connection, project(schema, _append(connection, fresh, now)))
    return [outcome for outcome in outcomes if isinstance(outcome, Verdict)]


def rebuild(connection: Connection, schema: Schema) -> None:
    """Wipe edges, counters and attributes and replay the log, in blocks.

    Gives the tables that ingest made, with the half-lives that the schema has now.
    """
    wait_for_writers(connection)
    for table in (edges, counters, attributes):
        connection.execute(delete(table))
    last = -1
    while block := _read_log(connection, last):
        _apply(connection, project(schema, block))
        last = block[-1].seq


def _read_log(connection: Connection, after: int) -> list[Logged]:
    rows = connection.execute(
        select(
            events.c.seq,
            events.c.event_name,
            events.c.event_time,
            events.c.actor,
            events.c.object,
            events.c.properties,
        )
        .where(events.c.seq > after)
        .order_by(events.c.seq)
        .limit(_REPLAYED)
    )
    return [
        Logged(*row[:5], json.loads(row[5]) if row[1] == SET_ATTRIBUTES else None) for row in rows
    ]


def _logged(connection: Connection, event_ids: list[str]) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for chunk in _chunks(event_ids):
        query = select(events.c.event_name, events.c.event_id).where(events.c.event_id.in_(chunk))
        found.update((row[0], row[1]) for row in connection.execute(query))
    return found


def _append(connection: Connection, fresh: Sequence[Event], now: int) -> list[Logged]:
    keys = _keys(connection, fresh)
    last = connection.scalar(select(func.max(events.c.seq))) or 0
    rows: list[Mapping[str, Any]] = []
    logged: list[Logged] = []
    for seq, event in enumerate(fresh, start=last + 1):
        actor = keys[event.actor.type, event.actor.id]
        target = keys[event.object.type, event.object.id] if event.object else None
        properties = event.properties
        rows.append(
            {
                "seq": seq,
                "event_id": event.event_id,
                "event_name": event.event_name,
                "event_time": event.event_time,
                "action_source": event.action_source,
                "actor": actor,
                "object": target,
                "value": event.value,
                "currency": event.currency,
                "properties": None if properties is None else dump_properties(properties),
                "consent": event.consent,
                "received_at": now,
            }
        )
        logged.append(Logged(seq, event.event_name, event.event_time, actor, target, properties))
    connection.execute(insert(events), rows)
    return logged


def _keys(connection: Connection, fresh: Sequence[Event]) -> dict[tuple[str, str], int]:
    """The key of every entity that the events name; entities not seen before get the next ones."""
    named: dict[tuple[str, str], None] = {}  # a dict keeps the order of first mention
    for event in fresh:
        named[event.actor.type, event.actor.id] = None
        if event.object:
            named[event.object.type, event.object.id] = None
    ids_by_type = defaultdict(list)
    for type_, id_ in named:
        ids_by_type[type_].append(id_)
    keys: dict[tuple[str, str], int] = {}
    for type_, ids in ids_by_type.items():
        for chunk in _chunks(ids):
            query = select(entities.c.id, entities.c.key).where(
                entities.c.type == type_, entities.c.id.in_(chunk)
            )
            keys.update(((type_, id_), key) for id_, key in connection.execute(query))
    new = [name for name in named if name not in keys]
    if new:
        last = connection.scalar(select(func.max(entities.c.key))) or 0
        made = {name: key for key, name in enumerate(new, start=last + 1)}
        connection.execute(
            insert(entities), [{"key": key, "type": t, "id": i} for (t, i), key in made.items()]
        )
        keys |= made
    return keys


def _apply(connection: Connection, changes: Changes) -> None:
    if changes.edges:
        rows = [
            {
                "head": head,
                "relation": relation,
                "tail": tail,
                "rate": change.rate,
                "decayed": change.decayed,
                "count": change.count,
                "first_time": change.first_time,
                "last_time": change.last_time,
            }
            for (head, relation, tail), change in changes.edges.items()
        ]
        connection.execute(_ADD_TO_EDGE, rows)
    if changes.counters:
        connection.execute(
            _ADD_TO_COUNTER,
            [
                {"entity": e, "event_name": name, "n": n}
                for (e, name), n in changes.counters.items()
            ],
        )
    if changes.attributes:
        rows = [
            {
                "entity": entity,
                "name": name,
                "value": canonical_json(change.value).decode(),
                "event_time": change.event_time,
                "seq": change.seq,
            }
            for (entity, name), change in changes.attributes.items()
        ]
        connection.execute(_SET_ATTRIBUTE, rows)


def _chunks(items: Iterable[_T]) -> Iterator[list[_T]]:
    remaining = iter(items)
    while chunk := list(islice(remaining, _CHUNK)):
        yield chunk
