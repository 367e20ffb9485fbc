"""What an entity did: the events that name it as their actor, newest first.

Takes an id, gives rows of the log; never writes. What others did to it is told by its edges: the
log has no index by object, so that a popular one costs nothing to write.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, literal, select, tuple_

from graphsvc.catalog import key_of
from graphsvc.errors import CursorInvalid
from graphsvc.ids import EntityId
from graphsvc.logread import aliases
from graphsvc.tables import entities, events

#: Greater than any time or number of the log.
_LARGEST = 2**62


@dataclass(frozen=True, slots=True)
class Act:
    """One event, as its actor did it."""

    event_name: str
    event_id: str
    event_time: int
    received_at: int
    #: onsite | offsite | structure
    action_source: str
    #: The id that the event named: another one where it was merged later.
    named: str
    #: To whom or what; None for events about one entity.
    other: EntityId | None
    value: float | None
    currency: str | None
    properties: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ActPage:
    """Some events, newest first; `next` continues, None at the end."""

    items: Sequence[Act]
    next: str | None


def acts(
    connection: Connection, entity_id: EntityId, *, limit: int, after: str | None = None
) -> ActPage:
    """What an entity did, under any of its ids, newest first; of one second, last logged first.

    Raises `EntityMissing` or `CursorInvalid`.
    """
    log, other = events.c, entities.alias("other")
    keys = aliases(connection, [key_of(connection, entity_id)])
    query = (
        select(events, entities.c.id.label("named"), other.c.type, other.c.id)
        .join(entities, entities.c.key == log.actor)
        .outerjoin(other, other.c.key == log.object)
        .where(log.actor.in_(list(keys)))
        .order_by(log.event_time.desc(), log.seq.desc())
        .limit(limit + 1)
    )
    if after is not None:
        place = tuple_(*(literal(part) for part in _read_cursor(after)))
        query = query.where(tuple_(log.event_time, log.seq) < place)
    rows = connection.execute(query).all()
    items = [
        Act(
            event_name=row.event_name,
            event_id=row.event_id,
            event_time=row.event_time,
            received_at=row.received_at,
            action_source=row.action_source,
            named=row.named,
            other=None if row.object is None else EntityId(row.type, row.id),
            value=row.value,
            currency=row.currency,
            properties=json.loads(row.properties or "{}"),
        )
        for row in rows[:limit]
    ]
    if len(rows) <= limit:
        return ActPage(items, None)
    last = rows[limit - 1]
    return ActPage(items, json.dumps([last.event_time, last.seq]))


def _read_cursor(after: str) -> tuple[int, int]:
    try:
        time, seq = json.loads(after)
    except (ValueError, TypeError, RecursionError):
        time, seq = None, None
    for part in (time, seq):
        if not isinstance(part, int) or not 0 <= part < _LARGEST:
            raise CursorInvalid(f"cursor should be the `next` of a page, received {after[:80]!r}")
    return time, seq
