"""What was said of an entity, and what it was at a past moment.

Takes an id and a time, gives what the log's `set_attributes`, `retire` and `restore` events say;
never writes. Time is the time of the events: a value that arrived later but is dated earlier counts
from its date on. Of the same second, the greater event id wins, as in the projection.
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
#: What a history tells.
_TOLD = (SET_ATTRIBUTES, RETIRE, RESTORE)
#: Time, name and id of an event. Of the same second `retire` comes after `restore`, as everywhere.
_Place = tuple[int, str, str]


@dataclass(frozen=True, slots=True)
class Said:
    """One event that says something of an entity by itself."""

    #: set_attributes | retire | restore
    event_name: str
    event_id: str
    event_time: int
    received_at: int
    #: The id that the event named: another one where it was merged later.
    named: str
    #: Attribute -> value; None: it was removed. Empty where the event sets none.
    attributes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SaidPage:
    """Some events, newest first; `next` continues, None at the end."""

    items: Sequence[Said]
    next: str | None


def history(
    connection: Connection, entity_id: EntityId, *, limit: int, after: str | None = None
) -> SaidPage:
    """What was said of an entity, under any of its ids, newest first.

    Raises `EntityMissing` or `CursorInvalid`.
    """
    keys = aliases(connection, [key_of(connection, entity_id)])
    before = None if after is None else _read_cursor(after)
    rows = _said(connection, list(keys), _TOLD, before=before, limit=limit + 1)
    if len(rows) <= limit:
        return SaidPage(rows, None)
    last = rows[limit - 1]
    return SaidPage(rows[:limit], json.dumps(_place(last)))


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
    before: _Place | None = (moment + 1, "", "")
    while before is not None:
        rows = _said(connection, keys, (SET_ATTRIBUTES,), before=before, limit=_BLOCK)
        yield from rows
        before = _place(rows[-1]) if len(rows) == _BLOCK else None


def _place(said: Said) -> _Place:
    return said.event_time, said.event_name, said.event_id


def _said(
    connection: Connection,
    keys: Sequence[int],
    names: Sequence[str],
    *,
    before: _Place | None,
    limit: int,
) -> list[Said]:
    """Events of some names, newest first, those in front of a place."""
    log = events.c
    # The order of code points, whatever the language of the database: the projection's order.
    collation = "C" if connection.dialect.name == "postgresql" else "BINARY"
    event_id, event_name = log.event_id.collate(collation), log.event_name.collate(collation)
    told = (log.event_name, log.event_id, log.event_time, log.received_at, log.properties)
    query = (
        select(*told, entities.c.id)
        .join(entities, entities.c.key == log.actor)
        .where(log.actor.in_(keys), log.event_name.in_(names))
        .order_by(log.event_time.desc(), event_name.desc(), event_id.desc())
        .limit(limit)
    )
    if before is not None:
        place = tuple_(*(literal(part) for part in before))
        query = query.where(tuple_(log.event_time, event_name, event_id) < place)
    return [
        Said(
            row.event_name,
            row.event_id,
            row.event_time,
            row.received_at,
            row.id,
            json.loads(row.properties) if row.event_name == SET_ATTRIBUTES else {},
        )
        for row in connection.execute(query)
    ]


def _read_cursor(after: str) -> _Place:
    try:
        time, event_name, event_id = json.loads(after)
    except (ValueError, TypeError, RecursionError):
        time, event_name, event_id = None, None, None
    if (
        not isinstance(time, int)
        or not isinstance(event_id, str)
        or event_name not in _TOLD
        or not 0 <= time < 2**62
        or len(event_id) > MAX_ID_LENGTH
        or not is_storable(event_id)
    ):
        raise CursorInvalid(f"cursor should be the `next` of a page, received {after[:80]!r}")
    return time, event_name, event_id
