"""Two ids of one thing: what belongs to the duplicate becomes part of the entity that is kept.

Takes merges that were logged, changes the projections so that they are what a replay of the log
makes of them when both ids have one key; never touches the log, which keeps ids as they were named.
Only what hangs on the duplicate is read. Our design.
"""

import json
from collections.abc import Iterable, Sequence
from math import exp2
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, delete, or_, select, update

from graphsvc.apply import apply_changes
from graphsvc.builtin import MERGE
from graphsvc.bulk import rows_among
from graphsvc.consent import apply_consents
from graphsvc.entry import Entry
from graphsvc.lifecycle import settle
from graphsvc.logread import aliases, canonical
from graphsvc.projection import (
    AttributeChange,
    Changes,
    EdgeChange,
    Logged,
    Pair,
    empty_edge,
)
from graphsvc.schema import Schema
from graphsvc.tables import attributes, consents, counters, edges, entities, retractions, seen
from graphsvc.verdict import Verdict


class _Merge(NamedTuple):
    """Canonical keys; the duplicate's own ids will stand for the kept one."""

    duplicate: int
    kept: int


def apply_merges(connection: Connection, schema: Schema, merges: Sequence[Logged]) -> None:
    """Do what logged `merge` events ask for, in their order; what is one already stays so.

    Everything that the log says so far has to be projected under the ids as they were.
    """
    for event in merges:
        ends = [event.actor, event.object or event.actor]
        held = canonical(connection, ends)
        merge = _Merge(*(held[end] for end in ends))
        if merge.duplicate != merge.kept:
            _merge(connection, schema, merge)


def circular(connection: Connection, entries: Sequence[Entry]) -> dict[int, Verdict]:
    """The verdicts on merges of what is one entity already, by their place in the batch.

    One that was logged before is left to be called a duplicate.
    """
    return {
        entry.n: Verdict(
            entry.event_id,
            "rejected",
            "merge_cycle",
            "object",
            "object should be another entity than the one merged: these two ids are one already",
            entry.object_id,
        )
        for entry in entries
        if entry.event_name == MERGE and _are_one(connection, entry)
    }


def _are_one(connection: Connection, entry: Entry) -> bool:
    query = "SELECT coalesce(merged_into, key) FROM entities WHERE type = {value} AND id {among}"
    ids = [entry.actor_id, entry.object_id]
    found = [row[0] for row in rows_among(connection, query, ids, where=(entry.actor_type,))]
    if len(found) != len(ids) or len(set(found)) != 1:
        return False
    known = select(seen.c.digest).where(seen.c.digest == entry.digest)
    return connection.execute(known).first() is None


def _merge(connection: Connection, schema: Schema, merge: _Merge) -> None:
    duplicate, kept = merge
    changes = Changes()
    _move_counters(connection, changes, merge)  # while the two still have keys of their own
    connection.execute(
        update(entities)
        .where(or_(entities.c.key == duplicate, entities.c.merged_into == duplicate))
        .values(merged_into=kept, retired=False, retired_time=None)
    )
    _move_edges(connection, schema, changes, merge)
    _move_attributes(connection, changes, merge)
    apply_changes(connection, schema, changes)
    settle(connection, [kept])
    connection.execute(delete(consents).where(consents.c.entity == duplicate))
    apply_consents(connection, schema, [kept])


def _move_counters(connection: Connection, changes: Changes, merge: _Merge) -> None:
    """An event between the two was counted for both, and counts once for one."""
    own, theirs = (sorted(aliases(connection, [key])) for key in merge)
    held = counters.c
    counted = {
        row.event_name: row.n
        for row in connection.execute(
            delete(counters)
            .where(held.entity == merge.duplicate)
            .returning(held.event_name, held.n)
        )
    }
    for actors, objects in ((own, theirs), (theirs, own)):
        among = ", ".join(map(str, objects))  # keys are whole numbers
        query = (
            "SELECT event_name, count(*) FROM events WHERE actor {among_numbers} "  # noqa: S608
            f"AND object IN ({among}) GROUP BY event_name"
        )
        for row in rows_among(connection, query, actors):
            counted[row[0]] -= row[1]
    changes.counters.update({(merge.kept, name): n for name, n in counted.items() if n})


def _move_edges(connection: Connection, schema: Schema, changes: Changes, merge: _Merge) -> None:
    moved = list(_taken(connection, edges, merge.duplicate))
    turned_back = list(_taken(connection, retractions, merge.duplicate))
    placed = _placed(connection, schema, merge, {_pair(row) for row in (*moved, *turned_back)})
    for row in moved:
        place = placed[_pair(row)]
        if place is not None:
            edge = changes.edges.setdefault(place, empty_edge(schema.events[row.relation]))
            _add(edge, row)
    places = (placed[_pair(row)] for row in turned_back)
    changes.retracted.update(place for place in places if place is not None)


def _placed(
    connection: Connection, schema: Schema, merge: _Merge, pairs: Iterable[Pair]
) -> dict[Pair, Pair | None]:
    """Where each of the duplicate's edges belongs now; None: it is a loop that may not be."""
    named = set(pairs)
    keys = {end for head, _, tail in named for end in (head, tail)} | {merge.kept}
    query = "SELECT key, id FROM entities WHERE key {among_numbers}"
    ids = {row[0]: row[1] for row in rows_among(connection, query, sorted(keys))}
    placed: dict[Pair, Pair | None] = {}
    for pair in named:
        head, relation, tail = pair
        head, tail = (merge.kept if end == merge.duplicate else end for end in (head, tail))
        if relation in schema.undirected and ids[head] > ids[tail]:
            head, tail = tail, head
        allowed = head != tail or schema.events[relation].self_loops
        placed[pair] = (head, relation, tail) if allowed else None
    return placed


def _taken(connection: Connection, table: Table, key: int) -> Iterable[Any]:
    """The rows of which an entity is one end; the table has them no more."""
    ends = or_(table.c.head == key, table.c.tail == key)
    return connection.execute(delete(table).where(ends).returning(*table.c)).all()


def _pair(row: Any) -> Pair:
    return row.head, row.relation, row.tail


def _add(edge: EdgeChange, row: Any) -> None:
    """Add the sum of a row to that of an edge; it is kept as of the newer event."""
    if not edge.count:
        edge.first_time, edge.last_time = row.first_time, row.last_time
    last = max(edge.last_time, row.last_time)
    edge.decayed = edge.decayed * exp2((edge.last_time - last) * edge.rate) + row.decayed * exp2(
        (row.last_time - last) * edge.rate
    )
    edge.count += row.count
    edge.first_time, edge.last_time = min(edge.first_time, row.first_time), last
    if not edge.adds_up:
        edge.count, edge.decayed = 1, 1.0


def _move_attributes(connection: Connection, changes: Changes, merge: _Merge) -> None:
    held = attributes.c
    rows = connection.execute(
        delete(attributes)
        .where(held.entity == merge.duplicate)
        .returning(held.name, held.event_time, held.event_id, held.value)
    )
    for row in rows:
        change = AttributeChange(row.event_time, row.event_id, json.loads(row.value))
        changes.attributes[merge.kept, row.name] = change
