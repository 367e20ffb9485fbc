"""What was said of an entity's attributes, and what they were at a past moment.

Takes an id and a time, gives what the log's `set_attributes` events say; never writes. Time is the
time of the events: a value that arrived later but is dated earlier counts from its date on. Of the
same second, the greater event id wins, as in the projection.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, literal, select, tuple_

from graphsvc.builtin import RESTORE, RETIRE, SET_ATTRIBUTES
from graphsvc.catalog import EntityView, entity, key_of
from graphsvc.errors import CursorInvalid
from graphsvc.ids import MAX_ID_LENGTH, EntityId, is_storable
from graphsvc.logread import aliases
from graphsvc.tables import entities, events

_BLOCK = 200


@dataclass(frozen=True, slots=True)
class Said:
    """One `set_attributes` event."""

    event_id: str
    event_time: int
    received_at: int
    #: The id that the event named: another one where it was merged later.
    named: str
    #: Attribute -> value; None: it was removed.
    attributes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SaidPage:
    """Some events, newest first; `next` continues, None at the end."""

    items: Sequence[Said]
    next: str | None


def history(
    connection: Connection, entity_id: EntityId, *, limit: int, after: str | None = None
) -> SaidPage:
    """What was said of an entity's attributes, under any of its ids, newest first.

    Raises `EntityMissing` or `CursorInvalid`.
    """
    keys = aliases(connection, [key_of(connection, entity_id)])
    before = None if after is None else _read_cursor(after)
    rows = _said(connection, list(keys), before=before, limit=limit + 1)
    if len(rows) <= limit:
        return SaidPage(rows, None)
    last = rows[limit - 1]
    return SaidPage(rows[:limit], json.dumps([last.event_time, last.event_id]))


def as_of(connection: Connection, entity_id: EntityId, moment: int) -> EntityView:
    """An entity with the attributes that events up to a second say, and whether it was retired.

    Reads the log newest first until every attribute is known. Raises `EntityMissing`.
    """
    now = entity(connection, entity_id)
    keys = list(aliases(connection, [key_of(connection, entity_id)]))
    found: dict[str, Any] = {}
    for said in _up_to(connection, keys, moment):
        for name, value in said.attributes.items():
            found.setdefault(name, value)
    log = events.c
    last = connection.execute(
        select(log.event_time, log.event_name)
        .where(
            log.actor.in_(keys),
            log.event_name.in_((RETIRE, RESTORE)),
            log.event_time <= moment,
        )
        .order_by(log.event_time.desc(), log.event_name.desc())  # retire after restore
        .limit(1)
    ).one_or_none()
    return replace(
        now,
        attributes={name: found[name] for name in sorted(found) if found[name] is not None},
        counters=None,
        retired=last is not None and last.event_name == RETIRE,
        retired_time=last and last.event_time,
    )


def _up_to(connection: Connection, keys: Sequence[int], moment: int) -> Iterator[Said]:
    before: tuple[int, str] | None = (moment + 1, "")
    while before is not None:
        rows = _said(connection, keys, before=before, limit=_BLOCK)
        yield from rows
        last = rows[-1] if len(rows) == _BLOCK else None
        before = (last.event_time, last.event_id) if last else None


def _said(
    connection: Connection, keys: Sequence[int], *, before: tuple[int, str] | None, limit: int
) -> list[Said]:
    """Events newest first, those earlier than (time, event id)."""
    log = events.c
    # The order of code points, whatever the language of the database: the projection's order.
    collation = "C" if connection.dialect.name == "postgresql" else "BINARY"
    event_id = log.event_id.collate(collation)
    query = (
        select(log.event_id, log.event_time, log.received_at, log.properties, entities.c.id)
        .join(entities, entities.c.key == log.actor)
        .where(log.actor.in_(keys), log.event_name == SET_ATTRIBUTES)
        .order_by(log.event_time.desc(), event_id.desc())
        .limit(limit)
    )
    if before is not None:
        place = tuple_(literal(before[0]), literal(before[1]))
        query = query.where(tuple_(log.event_time, event_id) < place)
    return [
        Said(row.event_id, row.event_time, row.received_at, row.id, json.loads(row.properties))
        for row in connection.execute(query)
    ]


def _read_cursor(after: str) -> tuple[int, str]:
    try:
        time, event_id = json.loads(after)
    except (ValueError, TypeError, RecursionError):
        time, event_id = None, None
    if (
        not isinstance(time, int)
        or not isinstance(event_id, str)
        or not 0 <= time < 2**62
        or len(event_id) > MAX_ID_LENGTH
        or not is_storable(event_id)
    ):
        raise CursorInvalid(f"cursor should be the `next` of a page, received {after[:80]!r}")
    return time, event_id
