"""What filters ask of the graph: who has which attribute, who is joined to whom, who is who now.

Takes names and keys, gives ids and JSON texts as they are at this moment; never decides who passes.
"""

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, select

from graphsvc.builtin import MERGE, SET_ATTRIBUTES
from graphsvc.bulk import fetch, rows_among
from graphsvc.ids import EntityId, is_storable
from graphsvc.tables import attributes, entities, events

_NULL = "null"


def attribute_values(connection: Connection, type_: str, name: str) -> list[tuple[str, str]]:
    """(id, JSON text) of every entity of a type that has the attribute."""
    rows = connection.execute(
        select(entities.c.id, attributes.c.value)
        .join(entities, entities.c.key == attributes.c.entity)
        .where(attributes.c.name == name, entities.c.type == type_, attributes.c.value != _NULL)
    )
    return [(row[0], row[1]) for row in rows]


def attribute_values_of(
    connection: Connection, name: str, keys: Collection[int]
) -> list[tuple[str, str, str | None]]:
    """(type, id, JSON text or None) of what some keys stand for now."""
    query = (
        "SELECT h.type, h.id, a.value FROM entities e "
        "JOIN entities h ON h.key = coalesce(e.merged_into, e.key) "
        "LEFT JOIN attributes a ON a.entity = h.key AND a.name = {value} "
        "WHERE e.key {among_numbers}"
    )
    rows = rows_among(connection, query, sorted(keys), where=(name,)) if keys else []
    return [(row[0], row[1], None if row[2] == _NULL else row[2]) for row in rows]


def attribute_changes(connection: Connection, *, after: int, most: int) -> set[int] | None:
    """Keys whose attributes the log changes behind a place; None if it has more than `most` rows.

    Both databases give rows in the order of commits, so what is not seen here is not stored either.
    """
    log = events.c
    rows = connection.execute(
        select(log.event_name, log.actor, log.object)
        .where(log.seq > after)
        .order_by(log.seq)
        .limit(most + 1)
    ).all()
    if len(rows) > most:
        return None
    touched = [row for row in rows if row.event_name in (SET_ATTRIBUTES, MERGE)]
    return {key for row in touched for key in (row.actor, row.object) if key is not None}


def joined(
    connection: Connection, relation: str, key: int, *, type_: str, outward: bool, most: int
) -> list[str] | None:
    """Ids of a type at the other ends of an entity's edges; None if there are more than `most`.

    `outward`: the entity is the head.
    """
    own, other = ("head", "tail") if outward else ("tail", "head")
    query = (
        f"SELECT e.id FROM edges d JOIN entities e ON e.key = d.{other} "  # noqa: S608  (our names)
        f"WHERE d.{own} = ? AND d.relation = ? AND e.type = ? LIMIT {int(most) + 1}"
    )
    rows = fetch(connection, query, (key, relation, type_))
    return None if len(rows) > most else [row[0] for row in rows]


def leads(
    connection: Connection, relation: str, *, type_: str, ids: Sequence[str], most: int
) -> list[tuple[str, EntityId]]:
    """Where the edges of a relation lead that some ids of a type are the head of: (id, other end).

    None from an entity to itself. At most `most` of all together.
    """
    query = (
        "SELECT e.id, o.type, o.id FROM entities e "  # noqa: S608  (our names)
        "JOIN edges d ON d.head = e.key AND d.tail <> d.head "
        "JOIN entities o ON o.key = d.tail "
        "WHERE d.relation = {value} AND e.type = {value} AND e.id {among} "
        f"ORDER BY e.key, d.tail LIMIT {int(most)}"
    )
    askable = [id_ for id_ in ids if is_storable(id_)]
    rows = rows_among(connection, query, askable, where=(relation, type_)) if askable else []
    return [(id_, EntityId(kind, other)) for id_, kind, other in rows]


def standing_for(connection: Connection, type_: str, ids: Sequence[str]) -> set[str]:
    """The ids that some ids stand for now: of what was merged, the one that is kept."""
    askable = [id_ for id_ in ids if is_storable(id_)]
    query = (
        "SELECT h.id FROM entities e JOIN entities h ON h.key = coalesce(e.merged_into, e.key) "
        "WHERE e.type = {value} AND e.id {among}"
    )
    return {row[0] for row in rows_among(connection, query, askable, where=(type_,))}
