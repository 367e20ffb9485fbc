"""Append events to the log once, and apply their changes in the same transaction.

Takes raw JSON values, gives a verdict for each; never commits, so the caller's transaction keeps
the log and its projections together or drops both.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, func, select

from graphsvc.admission import Verdict, admit
from graphsvc.bulk import Insert, rows_among
from graphsvc.db import wait_for_writers
from graphsvc.events import Event, dump_properties
from graphsvc.ids import canonical_json
from graphsvc.projection import Changes, Logged, decay_rate, project
from graphsvc.schema import SET_ATTRIBUTES, Schema
from graphsvc.tables import attributes, counters, edges, entities, events

__all__ = ["Verdict", "ingest", "rebuild"]

_EVENTS = Insert(
    table="events",
    columns={
        "seq": "bigint",
        "event_id": "text",
        "event_name": "text",
        "event_time": "bigint",
        "action_source": "text",
        "actor": "bigint",
        "object": "bigint",
        "value": "double precision",
        "currency": "text",
        "properties": "text",
        "consent": "boolean",
        "received_at": "bigint",
    },
)
_ENTITIES = Insert(table="entities", columns={"key": "bigint", "type": "text", "id": "text"})
_COUNTERS = Insert(
    table="counters",
    columns={"entity": "bigint", "event_name": "text", "n": "bigint"},
    otherwise="ON CONFLICT (entity, event_name) DO UPDATE SET n = counters.n + excluded.n",
)
_ATTRIBUTES = Insert(
    table="attributes",
    columns={
        "entity": "bigint",
        "name": "text",
        "value": "text",
        "event_time": "bigint",
        "seq": "bigint",
    },
    otherwise="""
        ON CONFLICT (entity, name) DO UPDATE SET
            value = excluded.value, event_time = excluded.event_time, seq = excluded.seq
        WHERE (excluded.event_time, excluded.seq) > (attributes.event_time, attributes.seq)""",
)


def _edges(schema: Schema) -> Insert:
    """Adding to edges: the sum with the older `last_time` is decayed to the newer one.

    The exponent is bounded, because PostgreSQL calls 2^-1100 an error rather than 0.
    """
    rates = " ".join(
        f"WHEN '{relation.name}' THEN CAST('{decay_rate(relation)!r}' AS double precision)"
        for relation in schema.relations
    )
    rate = f"(CASE excluded.relation {rates} ELSE 0 END)" if rates else "0"
    decay = "power(2.0, greatest(-1000.0, least(0.0, ({older} - {newer}) * {rate})))"
    kept = decay.format(older="edges.last_time", newer="excluded.last_time", rate=rate)
    added = decay.format(older="excluded.last_time", newer="edges.last_time", rate=rate)
    return Insert(
        table="edges",
        columns={
            "head": "bigint",
            "relation": "text",
            "tail": "bigint",
            "decayed": "double precision",
            "count": "bigint",
            "first_time": "bigint",
            "last_time": "bigint",
        },
        otherwise=f"""
            ON CONFLICT (head, relation, tail) DO UPDATE SET
                decayed = edges.decayed * {kept} + excluded.decayed * {added},
                count = edges.count + excluded.count,
                first_time = least(edges.first_time, excluded.first_time),
                last_time = greatest(edges.last_time, excluded.last_time)""",
    )


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
        _begin(connection)
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
        _apply(connection, schema, project(schema, _append(connection, fresh, now)))
    return [outcome for outcome in outcomes if isinstance(outcome, Verdict)]


def rebuild(connection: Connection, schema: Schema, *, block: int = 10_000) -> None:
    """Wipe edges, counters and attributes and replay the log, `block` events at a time.

    Gives the tables that ingest made, with the half-lives that the schema has now.
    """
    _begin(connection)
    for table in (edges, counters, attributes):
        connection.execute(delete(table))
    last = -1
    while logged := _read_log(connection, last, block):
        _apply(connection, schema, project(schema, logged))
        last = logged[-1].seq


def _read_log(connection: Connection, after: int, block: int) -> list[Logged]:
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
        .limit(block)
    )
    return [
        Logged(*row[:5], json.loads(row[5]) if row[1] == SET_ATTRIBUTES else None) for row in rows
    ]


def _begin(connection: Connection) -> None:
    wait_for_writers(connection)
    if connection.dialect.name == "postgresql":
        # Rows are found by key here. A plan that was made and kept while a table was empty must
        # not go on reading all of it when it is full.
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")


def _logged(connection: Connection, event_ids: list[str]) -> set[tuple[str, str]]:
    query = "SELECT event_name, event_id FROM events WHERE event_id {among}"
    return {(name, id_) for name, id_ in rows_among(connection, query, event_ids)}


def _append(connection: Connection, fresh: Sequence[Event], now: int) -> list[Logged]:
    keys = _keys(connection, fresh)
    last = connection.scalar(select(func.max(events.c.seq))) or 0
    rows: list[tuple[Any, ...]] = []
    logged: list[Logged] = []
    for seq, event in enumerate(fresh, start=last + 1):
        name, time, properties = event.event_name, event.event_time, event.properties
        actor = keys[event.actor.type, event.actor.id]
        target = keys[event.object.type, event.object.id] if event.object else None
        rows.append(
            (
                seq,
                event.event_id,
                name,
                time,
                event.action_source,
                actor,
                target,
                event.value,
                event.currency,
                None if properties is None else dump_properties(properties),
                event.consent,
                now,
            )
        )
        logged.append(Logged(seq, name, time, actor, target, properties))
    _EVENTS.run(connection, rows)
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
    query = "SELECT id, key FROM entities WHERE type = {value} AND id {among}"
    for type_, ids in ids_by_type.items():
        found = rows_among(connection, query, ids, where=(type_,))
        keys.update(((type_, id_), key) for id_, key in found)
    new = [name for name in named if name not in keys]
    if new:
        last = connection.scalar(select(func.max(entities.c.key))) or 0
        made = {name: key for key, name in enumerate(new, start=last + 1)}
        _ENTITIES.run(connection, [(key, type_, id_) for (type_, id_), key in made.items()])
        keys |= made
    return keys


def _apply(connection: Connection, schema: Schema, changes: Changes) -> None:
    _edges(schema).run(
        connection,
        [
            (*name, edge.decayed, edge.count, edge.first_time, edge.last_time)
            for name, edge in changes.edges.items()
        ],
    )
    _COUNTERS.run(connection, [(*name, n) for name, n in changes.counters.items()])
    _ATTRIBUTES.run(
        connection,
        [
            (*name, canonical_json(change.value).decode(), change.event_time, change.seq)
            for name, change in changes.attributes.items()
        ],
    )
