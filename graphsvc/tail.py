"""What the log says since: who was touched, and what has become of them.

Takes a place in the log, gives entities as they are now; never writes. The log says whom to look
at, the projections say what holds: rows that an opt-out took from the log are missed by nobody.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, or_, select, union_all
from sqlalchemy.sql import Select

from graphsvc.builtin import BUILT_IN, MERGE, OPT_OUT, RETIRE, SET_ATTRIBUTES
from graphsvc.bulk import fetch, rows_among
from graphsvc.ids import EntityId, is_storable
from graphsvc.logread import aliases, canonical
from graphsvc.tables import entities, events, sequences

#: Events that change more than what they name.
_CHANGING_OTHERS = BUILT_IN - {SET_ATTRIBUTES}
#: Also of keys in a statement, each as two of SQLite's 32,766 variables.
_BLOCK = 10_000


class Change(NamedTuple):
    """A row of the log, as far as it says who was touched; keys as the event named them."""

    seq: int
    event_name: str
    actor: int
    object: int | None
    event_time: int


class Touched(NamedTuple):
    """Whom some rows of the log name, up to row `seq`.

    `keys`: those that hold now. None: there are too many, or rows that change others as well: who
    opts out, is merged or takes something back changes what is said of whom they acted on.
    """

    seq: int
    keys: frozenset[int] | None


class Entity(NamedTuple):
    """An entity as it is now. `merged_into`: the key of the one that it is part of."""

    key: int
    type: str
    id: str
    retired: bool
    merged_into: int | None

    @property
    def name(self) -> EntityId:
        return EntityId(self.type, self.id)


class Named(NamedTuple):
    """An entity that was asked for, under the id that holds now."""

    key: int
    entity: EntityId
    retired: bool
    #: It has said something of offsite events at some time.
    spoke: bool
    #: What it said last was to opt out.
    out: bool


def reached(connection: Connection) -> int:
    """The number of the log's last row, also where that row was taken out since; 0 if empty."""
    return (
        connection.scalar(select(sequences.c.last).where(sequences.c.name == "event"))
        or connection.scalar(select(func.max(events.c.seq)))
        or 0
    )


def changes(connection: Connection, *, after: int, limit: int) -> list[Change]:
    """The next rows of the log behind `after`, in order."""
    log = events.c
    rows = connection.execute(_changes().where(log.seq > after).order_by(log.seq).limit(limit))
    return [Change(*row) for row in rows]


def changes_before(connection: Connection, seq: int, *, after: int, limit: int) -> list[Change]:
    """The last rows of the log before `seq` and behind `after`, the newest first."""
    log = events.c
    rows = connection.execute(
        _changes().where(log.seq < seq, log.seq > after).order_by(log.seq.desc()).limit(limit)
    )
    return [Change(*row) for row in rows]


def changes_later(
    connection: Connection,
    names: Collection[str],
    *,
    than: int,
    before: tuple[int, int],
    limit: int,
) -> list[Change]:
    """The last rows of some events that happened later than a second, the latest first.

    Only those before a place: (time, seq) of the last row of the page before this one.
    """
    if not names:
        return []
    log, (time, seq) = events.c, before
    parts = [
        select(
            _changes()
            .where(log.event_name == name, log.event_time > than, log.event_time <= time)
            .where(or_(log.event_time < time, log.seq < seq))
            .order_by(log.event_time.desc(), log.seq.desc())
            .limit(limit)
            .subquery()
        )
        for name in sorted(names)
    ]
    every = union_all(*parts).subquery()
    query = select(every).order_by(every.c.event_time.desc(), every.c.seq.desc()).limit(limit)
    return [Change(*row) for row in connection.execute(query)]


def unrest(connection: Connection, *, after: int) -> bool:
    """Whether a row behind `after` takes somebody out of answers, or takes their edges."""
    query = "SELECT 1 FROM events WHERE seq > ? AND event_name IN (?, ?, ?) LIMIT 1"
    return bool(fetch(connection, query, (after, RETIRE, MERGE, OPT_OUT)))


def touched(connection: Connection, *, after: int, most: int) -> Touched:
    """Whom the rows behind `after` name, as far as there are no more than `most`.

    What is known of anybody else as of `after` holds as of `seq`, too.
    """
    query = "SELECT seq, event_name, actor, object FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
    rows = fetch(connection, query, (after, most + 1))
    if not rows:
        return Touched(after, frozenset())
    if len(rows) > most:
        return Touched(max(rows[-1][0], reached(connection)), None)
    if any(name in _CHANGING_OTHERS for _, name, *_ in rows):
        return Touched(rows[-1][0], None)
    named_so = {key for row in rows for key in row[2:] if key is not None}
    return Touched(rows[-1][0], frozenset(canonical(connection, named_so).values()))


def entities_of(connection: Connection, keys: Collection[int]) -> dict[int, Entity]:
    """Entities by key; keys of nobody are left out. At most some thousand at once."""
    if not keys:
        return {}
    rows = connection.execute(_entities().where(entities.c.key.in_(sorted(keys))))
    return {row.key: Entity(*row) for row in rows}


def ids_of(connection: Connection, keys: Iterable[int]) -> dict[int, int]:
    """Every key that an event may name some entities by -> the one that holds now."""
    return aliases(connection, keys)


def keys_of(connection: Connection, names: Iterable[EntityId]) -> list[int]:
    """The keys of some entities, however many; nobody's name has none."""
    ids: dict[str, list[str]] = defaultdict(list)
    for name in names:
        ids[name.type].append(name.id)
    query = "SELECT key FROM entities WHERE type = {value} AND id {among}"
    return [
        row[0]
        for type_, some in ids.items()
        for row in rows_among(connection, query, some, where=(type_,))
    ]


def entities_below(connection: Connection, key: int, *, limit: int) -> list[Entity]:
    """The next entities below a key, the highest first: those that were named last."""
    rows = connection.execute(
        _entities().where(entities.c.key < key).order_by(entities.c.key.desc()).limit(limit)
    )
    return [Entity(*row) for row in rows]


def last_key(connection: Connection) -> int:
    """The highest key of an entity, 0 if there is none."""
    return connection.scalar(select(func.max(entities.c.key))) or 0


def out_of_answers(connection: Connection) -> Iterator[Entity]:
    """Everything that is retired or merged into something else."""
    for condition in (entities.c.retired, entities.c.merged_into.is_not(None)):
        query = _entities().where(condition).execution_options(yield_per=_BLOCK)
        yield from (Entity(*row) for row in connection.execute(query))


def opted_out(connection: Connection, *, after: int) -> Iterator[Entity]:
    """Everybody who opted out behind a place in the log, also if they agreed again; some twice."""
    said = events.c.actor
    query = _named_by(said).where(events.c.event_name == OPT_OUT, events.c.seq > after)
    yield from (Entity(*row) for row in connection.execute(query))


def not_as_before(connection: Connection, *, after: int, until: int) -> Iterator[Entity]:
    """Who opted out between two places in the log, or was merged with somebody; some twice."""
    place = (events.c.seq > after, events.c.seq <= until)
    for names, end in (((OPT_OUT, MERGE), events.c.actor), ((MERGE,), events.c.object)):
        query = _named_by(end).where(events.c.event_name.in_(names), *place)
        yield from (Entity(*row) for row in connection.execute(query))


def opted_out_since(connection: Connection, seq: int, *, keys: Collection[int]) -> dict[int, int]:
    """Which of some opted out behind a place in the log, also if they agreed again: key -> place.

    Keys are those that hold now, however many.
    """
    holds = func.coalesce(entities.c.merged_into, entities.c.key)
    every = sorted(keys)
    found: dict[int, int] = {}
    for first in range(0, len(every), _BLOCK):
        some = every[first : first + _BLOCK]
        named_so = select(entities.c.key).where(
            or_(entities.c.key.in_(some), entities.c.merged_into.in_(some))
        )
        query = (
            select(holds, func.max(events.c.seq))
            .join(entities, entities.c.key == events.c.actor)
            .where(events.c.event_name == OPT_OUT, events.c.seq > seq, events.c.actor.in_(named_so))
            .group_by(holds)
        )
        found.update(dict(tuple(row) for row in connection.execute(query)))
    return found


def named(connection: Connection, entity: EntityId) -> Named | None:
    """The entity that an id stands for now; None if no event has named it."""
    if not (is_storable(entity.type) and is_storable(entity.id)):
        return None
    query = (
        "SELECT h.key, h.type, h.id, h.retired, c.state FROM entities a "
        "JOIN entities h ON h.key = COALESCE(a.merged_into, a.key) "
        "LEFT JOIN consents c ON c.entity = h.key WHERE a.type = ? AND a.id = ?"
    )
    rows = fetch(connection, query, (entity.type, entity.id))
    if not rows:
        return None
    row = rows[0]
    holding = EntityId(row[1], row[2])
    return Named(row[0], holding, bool(row[3]), spoke=row[4] is not None, out=row[4] == "out")


def unfit(
    connection: Connection, type_: str, ids: Sequence[str], *, since: int
) -> dict[str, int | None]:
    """Of some entities, those that no answer may hold now, or not with an older vector.

    id -> None where it is retired or merged; the log's row of the last opt-out behind `since`
    where a person has opted out. However many there are, as many answers may hold.
    """
    query = (
        "SELECT e.key, e.id, e.retired, e.merged_into FROM entities e "
        "WHERE e.type = {value} AND e.id {among} AND (e.retired OR e.merged_into IS NOT NULL "
        "OR EXISTS (SELECT 1 FROM consents c WHERE c.entity = e.key))"
    )
    found: dict[str, int | None] = {}
    spoken: dict[int, str] = {}
    for key, id_, retired, merged_into in rows_among(connection, query, ids, where=(type_,)):
        if retired or merged_into is not None:
            found[id_] = None
        else:
            spoken[key] = id_
    if spoken:
        opted_out = opted_out_since(connection, since, keys=spoken)
        found.update((spoken[key], place) for key, place in opted_out.items())
    return found


def _changes() -> Select[Any]:
    log = events.c
    return select(log.seq, log.event_name, log.actor, log.object, log.event_time)


def _named_by(end: Any) -> Select[Any]:
    """Who holds now of whom events name at one end."""
    said = entities.alias("said")
    return (
        _entities()
        .join(said, entities.c.key == func.coalesce(said.c.merged_into, said.c.key))
        .join(events, end == said.c.key)
        .execution_options(yield_per=_BLOCK)
    )


def _entities() -> Select[Any]:
    table = entities.c
    return select(table.key, table.type, table.id, table.retired, table.merged_into)
