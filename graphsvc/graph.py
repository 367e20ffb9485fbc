"""Reading the graph: edges, counts, and the states of many entities at once.

Takes entity ids, gives what the log has said of them so far; never writes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray
from sqlalchemy import Connection, func, literal, select, tuple_, union_all
from sqlalchemy.sql import Select

from graphsvc.bulk import rows_among
from graphsvc.catalog import key_of
from graphsvc.errors import CursorInvalid
from graphsvc.folding import weight_at
from graphsvc.ids import NAME, EntityId, is_storable
from graphsvc.schema import Schema
from graphsvc.tables import edges as edges_table
from graphsvc.tables import entities, events


@dataclass(frozen=True, slots=True)
class EdgeView:
    """An edge seen from one of its ends: `out` if that end is the head."""

    relation: str
    direction: Literal["out", "in"]
    other: EntityId
    count: int
    weight: float
    first_time: int
    last_time: int


@dataclass(frozen=True, slots=True)
class EdgePage:
    """Some edges; `next` continues, None at the end."""

    items: Sequence[EdgeView]
    next: str | None


@dataclass(frozen=True, slots=True)
class EntityRows:
    """Attributes and counters of many entities, in the order in which they were asked for.

    attributes: name -> one value per entity, None where unknown. counters: event -> int64 [n].
    found: bool [n], whether any event has named the entity. retired: bool [n]. keys: int64 [n], 0
    where not found. merged_into: per entity the id of the one that it is part of, or None.
    """

    attributes: Mapping[str, Sequence[Any]]
    counters: Mapping[str, NDArray[np.int64]]
    found: NDArray[np.bool_]
    retired: NDArray[np.bool_]
    keys: NDArray[np.int64]
    merged_into: Sequence[str | None]


def edges(
    connection: Connection,
    schema: Schema,
    entity_id: EntityId,
    *,
    as_of: int,
    limit: int = 100,
    after: str | None = None,
) -> EdgePage:
    """The edges of an entity, both directions, in a fixed order that new edges do not disturb.

    weight = relation weight * log2(1 + decayed count at `as_of`); a time before the newest event
    counts as the time of that event. Raises `EntityMissing` or `CursorInvalid`.
    """
    both = _both_directions(key_of(connection, entity_id)).subquery()
    place = tuple_(both.c.inverse, both.c.relation, both.c.other)
    query = _named(both).order_by(both.c.inverse, both.c.relation, both.c.other).limit(limit + 1)
    if after is not None:
        query = query.where(place > tuple_(*(literal(part) for part in _read_cursor(after))))
    rows = list(connection.execute(query))
    items = [_view(schema, row, as_of) for row in rows[:limit]]
    if len(rows) <= limit:
        return EdgePage(items, None)
    last = rows[limit - 1]
    return EdgePage(items, json.dumps([last.inverse, last.relation, last.other]))


def newest_edges(
    connection: Connection, schema: Schema, entity_id: EntityId, *, as_of: int, limit: int = 100
) -> list[EdgeView]:
    """The edges of an entity that were seen last, both directions, the newest first.

    Of the same second, in the order of `edges`. It reads all that the entity has, and names the
    other ends of these alone. Raises `EntityMissing`.
    """
    both = _both_directions(key_of(connection, entity_id)).subquery()
    first = select(both).order_by(*_newest_first(both)).limit(limit).subquery()
    rows = connection.execute(_named(first).order_by(*_newest_first(first)))
    return [_view(schema, row, as_of) for row in rows]


def counts(connection: Connection) -> dict[str, Any]:
    """Entities by type, edges by relation, events by name, and the log's last `seq`."""
    counted = {
        "entities": entities.c.type,
        "edges": edges_table.c.relation,
        "events": events.c.event_name,
    }
    found: dict[str, Any] = {
        name: {key: n for key, n in connection.execute(_count_by(column))}  # noqa: C416
        for name, column in counted.items()
    }
    found["seq"] = connection.scalar(select(func.max(events.c.seq))) or 0
    return found


def states(
    connection: Connection,
    type_: str,
    ids: Sequence[str],
    *,
    attributes: Sequence[str],
    events: Sequence[str],
) -> EntityRows:
    """Some attributes and counters of many entities of one type, in one statement.

    One row per entity, a join per attribute and event: scoring asks this for every request.
    """
    joins = [
        f"LEFT JOIN attributes a{n} ON a{n}.entity = e.key AND a{n}.name = {{value}} "
        for n in range(len(attributes))
    ]
    joins += [
        f"LEFT JOIN counters c{n} ON c{n}.entity = e.key AND c{n}.event_name = {{value}} "
        for n in range(len(events))
    ]
    columns = [f"a{n}.value" for n in range(len(attributes))]
    columns += [f"c{n}.n" for n in range(len(events))]
    query = (
        f"SELECT {', '.join(['e.id', *columns])}, e.key, e.retired, m.id "  # noqa: S608  (our names)
        "FROM entities e LEFT JOIN entities m ON m.key = e.merged_into "
        f"{''.join(joins)}WHERE e.type = {{value}} AND e.id {{among}}"
    )
    where = (*attributes, *events, type_)
    askable = [id_ for id_ in ids if is_storable(id_)] if is_storable(type_) else []
    rows = rows_among(connection, query, askable, where=where) if askable else []
    by_id = {row[0]: row for row in rows}
    nothing = (None,) * (4 + len(columns))
    ordered = [by_id.get(id_, nothing) for id_ in ids]
    return EntityRows(
        attributes={
            name: [None if row[n] is None else orjson.loads(row[n]) for row in ordered]
            for n, name in enumerate(attributes, start=1)
        },
        counters={
            name: np.array([row[n] or 0 for row in ordered], dtype=np.int64)
            for n, name in enumerate(events, start=1 + len(attributes))
        },
        found=np.array([id_ in by_id for id_ in ids], dtype=bool),
        retired=np.array([bool(row[-2]) for row in ordered], dtype=bool),
        keys=np.array([row[-3] or 0 for row in ordered], dtype=np.int64),
        merged_into=[row[-1] for row in ordered],
    )


def led_to(
    connection: Connection, keys: Sequence[int], relations: Sequence[str], *, most: int
) -> list[tuple[int, EntityId]]:
    """Where the edges of some relations lead that some entities are the head of: (key, other end).

    None from an entity to itself. At most `most` of all together, those of the least keys.
    """
    if not keys or not relations:
        return []
    query = (
        "SELECT d.head, o.type, o.id FROM edges d JOIN entities o ON o.key = d.tail "  # noqa: S608
        "WHERE d.relation {among} AND d.tail <> d.head AND d.head {among_numbers} "
        f"ORDER BY d.head, d.relation, d.tail LIMIT {int(most)}"
    )
    where = (json.dumps(list(relations)),)
    rows = rows_among(connection, query, sorted(set(keys)), where=where)
    return [(key, EntityId(type_, id_)) for key, type_, id_ in rows]


def _both_directions(key: int) -> Any:
    """The edges of an entity as (inverse 0 or 1, relation, other end, ...)."""
    table = edges_table.c

    def seen_from(own: Any, other: Any, inverse: int) -> Select[Any]:
        return select(
            literal(inverse).label("inverse"),
            table.relation,
            other.label("other"),
            table.count.label("n"),
            table.decayed,
            table.first_time,
            table.last_time,
        ).where(own == key)

    return union_all(seen_from(table.head, table.tail, 0), seen_from(table.tail, table.head, 1))


def _newest_first(found: Any) -> tuple[Any, ...]:
    return found.c.last_time.desc(), found.c.inverse, found.c.relation, found.c.other


def _named(found: Any) -> Select[Any]:
    """Edges of `_both_directions`, each with the type and id of its other end."""
    named = select(found, entities.c.type, entities.c.id)
    return named.join(entities, entities.c.key == found.c.other)


def _view(schema: Schema, row: Any, as_of: int) -> EdgeView:
    """A row of `_named`, as of a time."""
    return EdgeView(
        relation=row.relation,
        direction="in" if row.inverse else "out",
        other=EntityId(row.type, row.id),
        count=row.n,
        weight=weight_at(schema, row.relation, row.decayed, as_of - row.last_time),
        first_time=row.first_time,
        last_time=row.last_time,
    )


def _count_by(column: Any) -> Select[Any]:
    return select(column, func.count()).group_by(column).order_by(column)


def _read_cursor(after: str) -> tuple[int, str, int]:
    try:
        inverse, relation, other = json.loads(after)
        place = int(inverse), str(relation), int(other)
    except (ValueError, TypeError, OverflowError, RecursionError):
        place = (-1, "", -1)
    if place[0] not in (0, 1) or not 0 <= place[2] < 2**63 or not NAME.fullmatch(place[1]):
        raise CursorInvalid(f"cursor should be the `next` of a page, received {after[:80]!r}")
    return place
