"""Entities as the log has described them so far: one, or a page of a type.

Takes application ids, gives views; never writes. An id that was merged into another one stands for
that one, and its view says so.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from graphsvc.bulk import rows_among
from graphsvc.consent import Consent
from graphsvc.db import wait_for_writers
from graphsvc.errors import ChangedMeanwhile, EntityMissing
from graphsvc.ids import EntityId, digest_of_json, is_storable
from graphsvc.tables import attributes, consents, entities

_ETAG_DIGITS = 32


@dataclass(frozen=True, slots=True)
class EntityView:
    """An entity, its attributes, and how often it was actor or object of each event."""

    type: str
    id: str
    attributes: Mapping[str, Any]
    #: None: not counted, because the view is of the past.
    counters: Mapping[str, int] | None
    #: Out of answers, kept for labels.
    retired: bool = False
    #: When it was last retired or restored, in seconds since 1970.
    retired_time: int | None = None
    #: The id that was asked for, where this entity is another one's by now.
    merged_from: str | None = None
    #: In pages, which name every id: the id that stands for this one.
    merged_into: str | None = None

    @property
    def etag(self) -> str:
        """The same as long as attributes, retirement and name are; counters move without it."""
        state = [self.type, self.id, dict(self.attributes), self.retired, self.merged_into]
        return digest_of_json(state)[:_ETAG_DIGITS]


@dataclass(frozen=True, slots=True)
class EntityPage:
    """Some entities of a type in the order of their ids; `next` continues, None at the end."""

    items: Sequence[EntityView]
    next: str | None


def key_of(connection: Connection, entity_id: EntityId) -> int:
    """The key of the entity that an id stands for by now. Raises `EntityMissing`."""
    if not (is_storable(entity_id.type) and is_storable(entity_id.id)):
        raise EntityMissing("no entity has a null byte or half a surrogate pair in its type or id")
    key = connection.scalar(
        select(func.coalesce(entities.c.merged_into, entities.c.key)).where(
            entities.c.type == entity_id.type, entities.c.id == entity_id.id
        )
    )
    if key is None:
        raise EntityMissing(f"no event has named {entity_id.type} {entity_id.id!r} yet")
    return int(key)


def entity(connection: Connection, entity_id: EntityId) -> EntityView:
    """One entity, by any of its ids. Raises `EntityMissing`."""
    [found] = _views(connection, [key_of(connection, entity_id)])
    return _asked_as(found, entity_id)


def consent(connection: Connection, entity_id: EntityId) -> Consent | None:
    """What a person said last of offsite events; None: nothing. Raises `EntityMissing`."""
    kept = select(consents.c.state, consents.c.time, consents.c.barrier)
    row = connection.execute(
        kept.where(consents.c.entity == key_of(connection, entity_id))
    ).one_or_none()
    return None if row is None else Consent(*row)


def page(
    connection: Connection,
    type_: str,
    *,
    limit: int,
    after: str | None = None,
    id_: str | None = None,
    retired: bool | None = None,
) -> EntityPage:
    """Entities of a type in the order of their ids, merged ones included.

    `after` is the last id of the page before, `id_` asks for that one alone.
    """
    query = select(entities.c.key, entities.c.id).where(entities.c.type == type_)
    if not all(is_storable(text) for text in (after, id_) if text is not None):
        return EntityPage([], None)  # what cannot be stored was never stored
    if after is not None:
        query = query.where(entities.c.id > after)
    if id_ is not None:
        query = query.where(entities.c.id == id_)
    if retired is not None:
        query = query.where(entities.c.retired == retired)
    rows = connection.execute(query.order_by(entities.c.id).limit(limit + 1)).all()
    items = _views(connection, [row.key for row in rows[:limit]])
    return EntityPage(items, items[-1].id if len(rows) > limit else None)


def require_seen(connection: Connection, entity_id: EntityId, seen: Callable[[str], bool]) -> None:
    """Raise `ChangedMeanwhile` unless the caller has seen the entity as it is.

    Nobody else writes until the transaction ends, so it stays as it was seen.
    """
    wait_for_writers(connection)
    try:
        held = entity(connection, entity_id)
    except EntityMissing:
        raise ChangedMeanwhile(
            f"{entity_id.type} {entity_id.id!r} does not exist, so it has no ETag to match"
        ) from None
    if not seen(held.etag):
        raise ChangedMeanwhile(
            f'the ETag is "{held.etag}" by now; read the entity again and repeat the change'
        )


def require_unseen(
    connection: Connection, entity_id: EntityId, known: Callable[[str], bool]
) -> None:
    """Raise `ChangedMeanwhile` where the entity is there, in a state that the caller knows of."""
    wait_for_writers(connection)
    try:
        held = entity(connection, entity_id)
    except EntityMissing:
        return
    if known(held.etag):
        raise ChangedMeanwhile(
            f'{entity_id.type} {entity_id.id!r} exists, with the ETag "{held.etag}", and '
            "If-None-Match asked for that not to be so"
        )


def time_after(connection: Connection, entity_id: EntityId, *, now: int, event_id: str) -> int:
    """The first second from `now` on at which `event_id` is the last writer of every attribute.

    Of the same second the greater event id wins, so this is rarely later than now.
    """
    try:
        key = key_of(connection, entity_id)
    except EntityMissing:
        return now
    held = select(attributes.c.event_time, attributes.c.event_id)
    rows = connection.execute(held.where(attributes.c.entity == key))
    time, last = max(((row.event_time, row.event_id) for row in rows), default=(-1, ""))
    return max(now, time if event_id > last else time + 1)


def _asked_as(found: EntityView, entity_id: EntityId) -> EntityView:
    if found.id == entity_id.id:
        return found
    return EntityView(
        type=found.type,
        id=found.id,
        attributes=found.attributes,
        counters=found.counters,
        retired=found.retired,
        retired_time=found.retired_time,
        merged_from=entity_id.id,
    )


def _views(connection: Connection, keys: Sequence[int]) -> list[EntityView]:
    """The entities of some keys, in their order."""
    values: dict[int, dict[str, Any]] = defaultdict(dict)
    query = "SELECT entity, name, value FROM attributes WHERE entity {among_numbers} ORDER BY name"
    for key, name, value in rows_among(connection, query, keys):
        if value != "null":
            values[key][name] = json.loads(value)
    counted: dict[int, dict[str, int]] = defaultdict(dict)
    query = (
        "SELECT entity, event_name, n FROM counters WHERE entity {among_numbers} "
        "ORDER BY event_name"
    )
    for key, name, n in rows_among(connection, query, keys):
        counted[key][name] = n
    query = (
        "SELECT e.key, e.type, e.id, e.retired, e.retired_time, m.id FROM entities e "
        "LEFT JOIN entities m ON m.key = e.merged_into WHERE e.key {among_numbers}"
    )
    rows = {row[0]: row for row in rows_among(connection, query, keys)}
    return [
        EntityView(
            type=rows[key][1],
            id=rows[key][2],
            attributes=values[key],
            counters=counted[key],
            retired=bool(rows[key][3]),
            retired_time=rows[key][4],
            merged_into=rows[key][5],
        )
        for key in keys
    ]
