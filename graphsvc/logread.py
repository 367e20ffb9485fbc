"""Reading the log as the projection wants it: merged entities as one, undirected ends in order.

Takes a connection, gives `Logged` events; never writes.
"""

import json
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection, select

from graphsvc.builtin import SET_ATTRIBUTES
from graphsvc.bulk import rows_among
from graphsvc.projection import Logged
from graphsvc.schema import Schema
from graphsvc.tables import entities, events


def merged(connection: Connection) -> dict[int, int]:
    """The key of every entity that was merged -> the key of the entity that it is part of."""
    query = select(entities.c.key, entities.c.merged_into).where(
        entities.c.merged_into.is_not(None)
    )
    return {row.key: row.merged_into for row in connection.execute(query)}


def aliases(connection: Connection, keys: Iterable[int]) -> dict[int, int]:
    """Every key that stands for one of `keys` -> that one; each stands for itself."""
    wanted = sorted(set(keys))
    query = "SELECT key, merged_into FROM entities WHERE merged_into {among_numbers}"
    found = {key: key for key in wanted}
    found.update((row[0], row[1]) for row in rows_among(connection, query, wanted))
    return found


def canonical(connection: Connection, keys: Iterable[int]) -> dict[int, int]:
    """Key -> the key of the entity that it is part of now, as a rule itself."""
    query = "SELECT key, coalesce(merged_into, key) FROM entities WHERE key {among_numbers}"
    return {row[0]: row[1] for row in rows_among(connection, query, sorted(set(keys)))}


def read_log(
    connection: Connection, schema: Schema, *, after: int, block: int, merges: Mapping[int, int]
) -> list[Logged]:
    """The next `block` events behind the log's row `after`."""
    log = events.c
    rows = connection.execute(
        select(
            log.seq,
            log.event_name,
            log.event_time,
            log.actor,
            log.object,
            log.relation,
            log.event_id,
            log.properties,
        )
        .where(log.seq > after)
        .order_by(log.seq)
        .limit(block)
    )
    read = [
        Logged(
            row.seq,
            row.event_name,
            row.event_time,
            merges.get(row.actor, row.actor),
            merges.get(row.object, row.object),
            row.relation,
            row.event_id,
            json.loads(row.properties) if row.event_name == SET_ATTRIBUTES else None,
        )
        for row in rows
    ]
    return straightened(connection, schema, read)


def straightened(connection: Connection, schema: Schema, logged: Sequence[Logged]) -> list[Logged]:
    """Put the ends of undirected relations into the order of their ids.

    The door has done so for ids as they were posted; a merge may have changed them.
    """
    if not schema.undirected:
        return list(logged)
    alike = [n for n, e in enumerate(logged) if (e.relation or e.event_name) in schema.undirected]
    if not alike:
        return list(logged)
    keys = {end for n in alike for end in (logged[n].actor, logged[n].object) if end is not None}
    query = "SELECT key, id FROM entities WHERE key {among_numbers}"
    ids = dict(tuple(row) for row in rows_among(connection, query, sorted(keys)))
    ordered = list(logged)
    for n in alike:
        event = logged[n]
        if event.object is not None and ids[event.actor] > ids[event.object]:
            ordered[n] = event._replace(actor=event.object, object=event.actor)
    return ordered
