"""How the present graph joins two entities: edges between them, and through one entity more.

Takes an entity and others, gives paths of at most two edges, some that differ from one another, the
strongest ones first; never reads more than a fixed number of edges of any entity, and never walks
through what is retired.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import Connection

from graphsvc.bulk import fetch, rows_among
from graphsvc.folding import weight_at
from graphsvc.ids import EntityId, is_storable
from graphsvc.schema import Schema

#: Edges that are looked at per entity, relation and direction: the newest other ends.
_LOOKED_AT = 200
#: Queries of one statement; SQLite takes 500.
_TERMS = 200


class Hop(NamedTuple):
    """An edge as it is walked; `outward`: from head to tail."""

    relation: str
    outward: bool
    to: EntityId


Path = tuple[Hop, ...]


class _Edge(NamedTuple):
    relation: str
    outward: bool
    other: int
    weight: float


@dataclass(slots=True)
class Walks:
    """Finds paths as of one moment, each entity's edges read once; good for one request."""

    connection: Connection
    schema: Schema
    as_of: int
    _keys: dict[EntityId, int | None] = field(default_factory=dict)
    _around: dict[int, list["_Edge"]] = field(default_factory=dict)
    #: What keys are called; None: out of answers.
    _names: dict[int, EntityId | None] = field(default_factory=dict)

    def between(
        self, source: EntityId, targets: Sequence[EntityId], *, most: int
    ) -> list[list[Path]]:
        """Up to `most` paths from one entity to each of the others; direct ones go first.

        A path is as strong as the weaker of its edges. Of more, those of other relations and
        through other entities are taken before those that tell the same again.
        """
        keys = self._keys_of([source, *targets])
        start = keys.get(source)
        if start is None:
            return [[] for _ in targets]
        self._read({key: entity.type for entity, key in keys.items()})
        near: dict[int, list[_Edge]] = defaultdict(list)
        for edge in self._around[start]:
            near[edge.other].append(edge)
        found = [_between(start, keys.get(target, 0), near, self._around) for target in targets]
        self._look_up({edge.other for some in found for path in some for edge in path})
        return [self._told(some, most) for some in found]

    def _told(self, found: Sequence[Sequence["_Edge"]], most: int) -> list[Path]:
        # What is retired goes first: it takes no place of a path that holds.
        holds = [path for path in found if all(self._names[edge.other] for edge in path)]
        return [
            tuple(
                Hop(edge.relation, edge.outward, name)
                for edge in path
                if (name := self._names[edge.other]) is not None
            )
            for path in _unlike(holds, most)
        ]

    def _keys_of(self, named: Sequence[EntityId]) -> dict[EntityId, int]:
        new = [entity for entity in dict.fromkeys(named) if entity not in self._keys]
        self._keys.update(dict.fromkeys(new))
        self._keys.update(_keys(self.connection, new))
        return {entity: key for entity in named if (key := self._keys[entity]) is not None}

    def _read(self, types: Mapping[int, str]) -> None:
        """The edges around some entities, whose types are given by key."""
        new = {key: type_ for key, type_ in types.items() if key not in self._around}
        self._around.update({key: [] for key in new})
        self._around.update(_around(self.connection, self.schema, new, self.as_of))

    def _look_up(self, keys: Collection[int]) -> None:
        new = [key for key in keys if key not in self._names]
        self._names.update(dict.fromkeys(new))
        self._names.update(_named(self.connection, new))


def _between(
    start: int,
    target: int,
    near: Mapping[int, Sequence[_Edge]],
    around: Mapping[int, Sequence[_Edge]],
) -> list[tuple[_Edge, ...]]:
    found: list[tuple[_Edge, ...]] = [(edge,) for edge in near.get(target, ())]
    known = {(edge.relation, edge.outward) for edge in near.get(target, ())}
    for last in around.get(target, ()):
        walked = last._replace(outward=not last.outward, other=target)
        if last.other == start:
            # The start may have too many edges for this one to be among those looked at.
            if (walked.relation, walked.outward) not in known:
                found.append((walked,))
        else:
            found.extend((first, walked) for first in near.get(last.other, ()))
    return found


def _unlike(found: Sequence[Sequence[_Edge]], most: int) -> list[Sequence[_Edge]]:
    """Some paths, strongest first: direct ones, then the strongest of those least like others."""
    ordered = sorted(found, key=_order)
    taken = [path for path in ordered if len(path) == 1][:most]
    # Alike: the same relations, walked the same ways.
    alike: dict[tuple[tuple[str, bool], ...], list[Sequence[_Edge]]] = defaultdict(list)
    for path in ordered:
        if len(path) > 1:
            alike[tuple((edge.relation, edge.outward) for edge in path)].append(path)
    told = Counter(edge.relation for path in taken for edge in path)
    passed: set[int] = set()
    while alike and len(taken) < most:
        nexts = [
            (next((path for path in some if path[0].other not in passed), some[0]), way)
            for way, some in alike.items()
        ]
        path, way = min(
            nexts,
            key=lambda one: (
                sum(told[name] for name in {name for name, _ in one[1]}),
                _order(one[0]),
            ),
        )
        taken.append(path)
        told.update({edge.relation for edge in path})
        passed.add(path[0].other)
        alike[way].remove(path)
        if not alike[way]:
            del alike[way]
    return sorted(taken, key=_order)


def _order(path: Sequence[_Edge]) -> tuple[int, float, list[tuple[str, bool, int]]]:
    steps = [(edge.relation, edge.outward, edge.other) for edge in path]
    return len(path), -min(edge.weight for edge in path), steps


def _around(
    connection: Connection, schema: Schema, types: Mapping[int, str], as_of: int
) -> dict[int, list[_Edge]]:
    """The edges of some entities, by key."""
    asked = list(_asked(schema, types))
    found: dict[int, list[_Edge]] = defaultdict(list)
    for first in range(0, len(asked), _TERMS):
        some = asked[first : first + _TERMS]
        query = " UNION ALL ".join(
            f"SELECT * FROM (SELECT {own} AS own, {int(outward)} AS outward, relation, "  # noqa: S608
            f"{other} AS other, decayed, last_time FROM edges WHERE {own} = ? "
            f"AND relation = ? ORDER BY {other} DESC LIMIT {_LOOKED_AT}) AS t{n}"
            for n, (own, other, outward, _, _) in enumerate(some)
        )
        values = tuple(value for *_, key, relation in some for value in (key, relation))
        for own, outward, relation, other, decayed, last_time in fetch(connection, query, values):
            weight = weight_at(schema, relation, decayed, as_of - last_time)
            if weight > 0:
                found[own].append(_Edge(relation, bool(outward), other, weight))
    return found


def _asked(schema: Schema, types: Mapping[int, str]) -> Iterator[tuple[str, str, bool, int, str]]:
    for key, type_ in types.items():
        for relation in schema.relations:
            if relation.head == type_:
                yield "head", "tail", True, key, relation.name
            if relation.tail == type_:
                yield "tail", "head", False, key, relation.name


def _keys(connection: Connection, named: Sequence[EntityId]) -> dict[EntityId, int]:
    query = "SELECT id, key FROM entities WHERE type = {value} AND id {among}"
    return {
        EntityId(type_, row[0]): row[1]
        for type_ in dict.fromkeys(one.type for one in named)
        for row in rows_among(
            connection,
            query,
            [one.id for one in named if one.type == type_ and is_storable(one.id)],
            where=(type_,),
        )
    }


def _named(connection: Connection, keys: Collection[int]) -> dict[int, EntityId]:
    """What some keys are called, without those that are out of answers."""
    query = "SELECT key, type, id, retired, merged_into FROM entities WHERE key {among_numbers}"
    rows = rows_among(connection, query, sorted(keys)) if keys else []
    return {row[0]: EntityId(row[1], row[2]) for row in rows if not row[3] and row[4] is None}
