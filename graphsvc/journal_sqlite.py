"""Appending to the log on SQLite: a few statements of many rows.

Takes entries, gives for each the new row or what was known of it; never projects.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import Connection

from graphsvc.bulk import Insert, fetch, parts
from graphsvc.entry import Entry, Known, Written

_ENTITIES = Insert(
    table="entities",
    columns={"key": "bigint", "type": "text", "id": "text", "first_seq": "bigint"},
)
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
        "relation": "text",
        "value": "double precision",
        "currency": "text",
        "properties": "text",
        "consent": "boolean",
        "request_id": "text",
        "position": "integer",
        "sampling_rate": "double precision",
        "received_at": "bigint",
    },
)
# Whoever waited for their turn looked at the clock before; the log's own never goes back.
_ARRIVAL = """
SELECT max(?, coalesce((SELECT received_at FROM events ORDER BY seq DESC LIMIT 1), 0))"""
# As one value, an object by id: Python's lock is let go and taken again for each row that is read.
_HELD = """
SELECT json_group_object(id, json_array(key, coalesce(merged_into, key))) FROM entities
WHERE type = ? AND id IN (SELECT value FROM json_each(?))"""
_Name = tuple[str | None, str | None]


def append(
    connection: Connection, entries: Sequence[Entry], *, now: int
) -> dict[int, Written | Known]:
    """Write entries; by place in the batch, what became of each."""
    new = _note(connection, entries, now)
    known = bodies(connection, [e.digest for e in entries if e.digest not in new], now=now)
    outcome: dict[int, Written | Known] = {
        e.n: Known(known[e.digest]) for e in entries if e.digest not in new
    }
    fresh = [entry for entry in entries if entry.digest in new]
    if fresh:
        outcome.update(_log(connection, fresh, now))
    return outcome


def bodies(
    connection: Connection, digests: Sequence[bytes], *, now: int
) -> dict[bytes, int | None]:
    """What is known of some digests."""
    found: dict[bytes, int | None] = {}
    for some in parts(digests):
        marks = ",".join("?" * len(some))
        query = f"SELECT digest, body FROM seen WHERE digest IN ({marks}) AND expires_at > ?"  # noqa: S608
        found.update(fetch(connection, query, (*some, now)))
    return found


def _note(connection: Connection, entries: Sequence[Entry], now: int) -> set[bytes]:
    """Remember the entries; the digests of those that were not."""
    new: set[bytes] = set()
    for some in parts(entries):
        statement = (
            f"INSERT INTO seen VALUES {','.join(['(?,?,?)'] * len(some))} "  # noqa: S608
            "ON CONFLICT (digest) DO UPDATE SET body = excluded.body, "
            "expires_at = excluded.expires_at WHERE seen.expires_at <= ? RETURNING digest"
        )
        values = [value for entry in some for value in entry[1:4]]
        new.update(row[0] for row in fetch(connection, statement, (*values, now)))
    return new


def _log(connection: Connection, fresh: Sequence[Entry], now: int) -> dict[int, Written]:
    last = dict(fetch(connection, "SELECT * FROM sequences"))
    [(now,)] = fetch(connection, _ARRIVAL, (now,))
    keys = _keys(connection, fresh, last)
    rows: list[tuple[Any, ...]] = []
    written: dict[int, Written] = {}
    for seq, entry in enumerate(fresh, start=last["event"] + 1):
        actor, head = keys[entry.actor_type, entry.actor_id]
        target, tail = keys.get((entry.object_type, entry.object_id), (None, None))
        rows.append((seq, *entry[4:8], actor, target, *entry[12:], now))
        written[entry.n] = Written(seq, head, tail)
    _EVENTS.run(connection, rows)
    connection.exec_driver_sql(
        "UPDATE sequences SET last = last + ? WHERE name = 'event'", (len(rows),)
    )
    return written


def _keys(
    connection: Connection, fresh: Sequence[Entry], last: dict[str, int]
) -> dict[_Name, tuple[int, int]]:
    """(key, canonical key) of every entity that is named; new ones get the next keys."""
    first: dict[_Name, int] = {}  # a dict keeps the order of first mention
    for seq, entry in enumerate(fresh, start=last["event"] + 1):
        first.setdefault((entry.actor_type, entry.actor_id), seq)
        if entry.object_id is not None:
            first.setdefault((entry.object_type, entry.object_id), seq)
    ids_by_type = defaultdict(list)
    for type_, id_ in first:
        ids_by_type[type_].append(id_)
    keys: dict[_Name, tuple[int, int]] = {}
    for type_, ids in ids_by_type.items():
        [(found,)] = fetch(connection, _HELD, (type_, json.dumps(ids)))
        keys.update(((type_, id_), (key, one)) for id_, (key, one) in orjson.loads(found).items())
    new = [name for name in first if name not in keys]
    made = {name: key for key, name in enumerate(new, start=last["entity"] + 1)}
    _ENTITIES.run(connection, [(key, *name, first[name]) for name, key in made.items()])
    if made:
        connection.exec_driver_sql(
            "UPDATE sequences SET last = last + ? WHERE name = 'entity'", (len(made),)
        )
    return keys | {name: (key, key) for name, key in made.items()}
