"""The edges that a vector can be solved from: the most recent ones of one entity, by relation.

Takes an entity's key, gives edges with the ids of their other ends; never reads more than a fixed
number of rows of a relation and direction, however many edges the entity has.

The rule is that of training (`graphsvc/triples.py`): who has been settled from so many of each
relation would move if an event had them solved from the newest of all.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import exp2, isinf, log2
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select

from graphsvc.bulk import fetch
from graphsvc.ids import EntityId
from graphsvc.projection import decay_rate
from graphsvc.schema import EventType, Schema
from graphsvc.tables import edges

_DAY_SECONDS = 86_400
#: Edges looked at per relation and direction, as a multiple of those that are given: whoever has
#: more is a hub, and some thousand of its edges say as much as all of them. Our design.
_LOOKED_AT = 20
#: Edges that are counted of a relation and direction. What goes by degree goes by its doublings,
#: and a hub is solved again with each of its events. Our design.
_MOST_COUNTED = 20_000
#: Statements that are kept: one for each type and use, of a few schemas.
_STATEMENTS = 64


class FoldEdge(NamedTuple):
    """An edge to solve an entity's vector from; `inverse`: the entity is the tail.

    `times`: how many events made it. `key` is the other end's.
    """

    relation: str
    other: EntityId
    inverse: bool
    weight: float
    times: int
    key: int = 0


class Outcomes(NamedTuple):
    """What one entity's outcomes lead to, newest first, as columns: each id, and how often."""

    ids: tuple[str, ...]
    times: tuple[int, ...]


NO_OUTCOMES = Outcomes((), ())


def fold_edges(
    connection: Connection,
    schema: Schema,
    *,
    type_: str,
    key: int,
    as_of: int,
    limit: int = 200,
) -> list[FoldEdge]:
    """The `limit` most recent edges of each relation and direction within its window, newest first.

    Structure that the entity is the head of is not cut, as in training. An entity with more than
    20 * `limit` edges of one relation and direction has its most recent among that many.
    """
    rows = _recent(connection, schema, tuple(_terms(schema, type_, limit)), key, as_of)
    return [
        FoldEdge(
            relation=relation,
            other=EntityId(type_of, id_),
            inverse=bool(inverse),
            weight=weight_at(schema, relation, decayed, as_of - last_time),
            times=times,
            key=other,
        )
        for inverse, relation, other, times, decayed, last_time, type_of, id_ in rows
    ]


def fold_outcomes(
    connection: Connection, schema: Schema, *, type_: str, key: int, as_of: int, limit: int = 200
) -> Outcomes:
    """The same of the outcomes that the entity is the head of, as rankers read heads: unweighted.

    Asked for each score of somebody new, where an object for each edge is felt.
    """
    outcome = schema.label.outcome
    terms = (term for term in _terms(schema, type_, limit) if not term.inverse)
    own = tuple(term for term in terms if term.relation == outcome)
    rows = _recent(connection, schema, own, key, as_of)
    if not rows:
        return NO_OUTCOMES
    _, _, _, times, _, _, _, ids = zip(*rows, strict=True)
    return Outcomes(ids, times)


def _recent(
    connection: Connection, schema: Schema, terms: tuple["_Term", ...], key: int, as_of: int
) -> list[tuple[Any, ...]]:
    """Rows of `_statement` for an entity at a moment; none where its type can have no edge."""
    if not terms:
        return []
    values: list[Any] = []
    for term in terms:
        values += (key, term.relation, _window_start(schema.events[term.relation], as_of))
    return fetch(connection, _statement(terms), tuple(values))


def count_edges(
    connection: Connection,
    schema: Schema,
    found: Sequence[FoldEdge],
    *,
    type_: str,
    key: int,
    as_of: int,
    limit: int = 200,
) -> dict[str, int]:
    """How many edges an entity has of each relation, as training counts them: up to 20,000 each.

    `found`: what `fold_edges` gave with the same `limit`. What it cut is counted anew, but not
    where the entity is the head: there training cuts too.
    """
    counted = Counter((edge.relation, edge.inverse) for edge in found)
    for relation in schema.relations:
        place = (relation.name, True)
        if relation.tail == type_ and counted[place] >= limit:
            counted[place] = _count(connection, relation, key, _window_start(relation, as_of))
    numbers: Counter[str] = Counter()
    for (name, _), number in counted.items():
        numbers[name] += number
    return dict(numbers)


def _count(connection: Connection, relation: EventType, key: int, start: int) -> int:
    """How many edges of a relation lead to an entity."""
    table = edges.c
    some = select(table.head).where(table.tail == key, table.relation == relation.name)
    if start:  # without it the index has all there is to read
        some = some.where(table.last_time >= start)
    counted = select(func.count()).select_from(some.limit(_MOST_COUNTED).subquery())
    return connection.scalar(counted) or 0


def weight_at(schema: Schema, relation: str, decayed: float, age: int) -> float:
    """Weight of an edge whose newest event is `age` seconds old; 0 if it is undeclared now."""
    declared = schema.events.get(relation)
    if declared is None:  # an edge of an earlier schema
        return 0.0
    return declared.weight * log2(1.0 + decayed * exp2(-max(age, 0) * decay_rate(declared)))


class _Term(NamedTuple):
    """Edges of a relation in one direction: so many are looked at, the most recent few given."""

    relation: str
    inverse: bool
    most: int
    kept: int


def _terms(schema: Schema, type_: str, limit: int) -> Iterator[_Term]:
    """One for each relation and direction that the entity's type can have."""
    for relation in schema.relations:
        most = limit * _LOOKED_AT
        if relation.head == type_:
            kept = most if relation.source == "structure" else limit
            yield _Term(relation.name, inverse=False, most=most, kept=kept)
        if relation.tail == type_:
            yield _Term(relation.name, inverse=True, most=most, kept=limit)


@lru_cache(maxsize=_STATEMENTS)
def _statement(terms: tuple[_Term, ...]) -> str:
    """All of them at once. Its values are, for each term, the entity, the relation, a start."""
    both = " UNION ALL ".join(_edges(term, n) for n, term in enumerate(terms))
    return (
        "SELECT b.inverse, b.relation, b.other, b.times, b.decayed, b.last_time, e.type, e.id "  # noqa: S608
        f"FROM ({both}) b JOIN entities e ON e.key = b.other "
        "ORDER BY b.last_time DESC, b.inverse, b.relation, b.other"
    )


def _edges(term: _Term, number: int) -> str:
    own, other = ("tail", "head") if term.inverse else ("head", "tail")
    # In the order of the index, newcomers first.
    looked_at = (
        f"SELECT {int(term.inverse)} AS inverse, relation, {other} AS other, count AS times, "  # noqa: S608
        f"decayed, last_time FROM edges WHERE {own} = ? AND relation = ? AND last_time >= ? "
        f"ORDER BY {other} DESC LIMIT {term.most}"
    )
    recent = f"ORDER BY last_time DESC, other LIMIT {term.kept}"
    return f"SELECT * FROM (SELECT * FROM ({looked_at}) l{number} {recent}) r{number}"  # noqa: S608


def _window_start(relation: EventType, as_of: int) -> int:
    if isinf(relation.window_days):
        return 0
    return max(0, as_of - round(relation.window_days * _DAY_SECONDS))
