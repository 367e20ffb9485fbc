"""The list of who was erased: asked for, done, certified; and who came back.

Takes ids, keeps digests of them; an id itself stands here only until nothing else has it. The list
is what ingestion and sealing ask, so whoever is on it does not come in again before they agree to.
Our design.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, func, insert, select, update

from graphsvc.bulk import rows_among
from graphsvc.db import wait_for_writers
from graphsvc.errors import ErasureMissing
from graphsvc.gone import Gone, Named
from graphsvc.ids import EntityId, canonical_json
from graphsvc.ledger import read_number
from graphsvc.logread import aliases
from graphsvc.subjects import Digested, Subjects
from graphsvc.tables import entities, erasures

#: Of who came back in another database: nothing that is here is of later.
_NEVER_SEEN = 2**62


@dataclass(frozen=True, kw_only=True, slots=True)
class Erasure:
    """One id that was erased, or is to be."""

    number: int
    type: str
    #: A keyed digest of type and id.
    subject: str
    asked_at: int
    #: Rows that were taken out, by table; None before they were.
    removed: Mapping[str, int] | None
    #: The digest of the certificate; None while it is being done.
    certificate: str | None
    #: From this event time on the person agrees again; None: they do not.
    returned_at: int | None
    returned_seq: int | None

    def bars(self, watermark: int) -> bool:
        """Whether what is of a moment of the log must not hold them."""
        return self.returned_seq is None or watermark < self.returned_seq


@dataclass(frozen=True, slots=True)
class ErasurePage:
    """Some erasures, newest first; `next` continues, None at the end."""

    items: Sequence[Erasure]
    next: str | None


class Barrier(NamedTuple):
    """What the list says of events that name somebody."""

    asked_at: int
    returned_at: int | None
    #: Whether the tables have lost them by now: before that nobody comes back.
    out: bool

    def refuses(self, event_time: int, *, agrees: bool) -> bool:
        """Whether an event may not come in. `agrees`: the person says in it that they agree."""
        if agrees and self.out and event_time > self.asked_at:
            return False
        return self.returned_at is None or event_time < self.returned_at


def ask(connection: Connection, entity: EntityId, *, now: int) -> Erasure:
    """Put an entity on the list, under all ids that stand for it; from now on none comes in.

    Who is on it and has not come back stays as they are.
    """
    wait_for_writers(connection)
    subjects = Subjects.of(connection)
    for name in _names(connection, entity):
        if not _listed(connection, subjects.digest(name)):
            _append(connection, name.type, subjects.digest(name), name.id, now)
    held = _listed(connection, subjects.digest(entity))
    if held is None:
        raise ErasureMissing(f"{entity.type} was not put on the list")
    return held


def replay(connection: Connection, listed: Mapping[str, Any]) -> Erasure | None:
    """Put somebody on the list as another list has them; None where this one has them already.

    `listed`: `as_listed` of a database that this one is an earlier state of. Whoever is not known
    to have been erased is here as they were before, so all of it goes.
    """
    wait_for_writers(connection)
    held = _listed(connection, listed["subject"], returned=True)
    if held is not None and held.asked_at >= listed["asked_at"]:
        return None
    made = _append(connection, listed["type"], listed["subject"], None, listed["asked_at"])
    if listed["returned_at"] is not None:
        back = {"returned_at": listed["returned_at"], "returned_seq": _NEVER_SEEN}
        row = update(erasures).where(erasures.c.number == made.number)
        connection.execute(row.values(back))
    return made


def key_name(connection: Connection) -> str:
    """What the key is called that all digests of this list are under."""
    return Subjects.of(connection).name


def as_listed(one: Erasure) -> dict[str, Any]:
    """What another list has to know of somebody."""
    names = ("type", "subject", "asked_at", "returned_at")
    return {name: getattr(one, name) for name in names}


def find(connection: Connection, entity: EntityId) -> list[Erasure]:
    """Those of one id, the newest first."""
    subject = Subjects.of(connection).digest(entity)
    query = select(erasures).where(erasures.c.subject == subject)
    return [_erasure(row) for row in connection.execute(query.order_by(erasures.c.number.desc()))]


def erasure(connection: Connection, number: int) -> Erasure:
    """One of them. Raises `ErasureMissing`."""
    query = select(erasures).where(erasures.c.number == number)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise ErasureMissing(f"there is no erasure {number}")
    return _erasure(row)


def page(connection: Connection, *, limit: int, after: str | None = None) -> ErasurePage:
    """Erasures, newest first. `after` is the `next` of a page. Raises `CursorInvalid`."""
    query = select(erasures).order_by(erasures.c.number.desc())
    if after is not None:
        query = query.where(erasures.c.number < read_number(after))
    rows = [_erasure(row) for row in connection.execute(query.limit(limit + 1))]
    items = rows[:limit]
    return ErasurePage(items, str(items[-1].number) if len(rows) > limit else None)


def every(connection: Connection) -> list[Erasure]:
    """The whole list, in its order."""
    rows = connection.execute(select(erasures).order_by(erasures.c.number))
    return [_erasure(row) for row in rows]


def last(connection: Connection) -> int:
    """The highest number, 0 of an empty list."""
    return connection.scalar(select(func.coalesce(func.max(erasures.c.number), 0))) or 0


def settled(connection: Connection) -> int:
    """The highest number up to which all are done."""
    query = select(func.min(erasures.c.number)).where(erasures.c.certificate.is_(None))
    first = connection.scalar(query)
    return last(connection) if first is None else int(first) - 1


def taken_out(connection: Connection) -> int:
    """How many are out of the tables: what servers remember of the time before is too old."""
    query = select(func.count()).where(erasures.c.removed.is_not(None))
    return connection.scalar(query) or 0


def under_way(connection: Connection) -> list[tuple[int, EntityId | None]]:
    """Numbers that have no certificate yet, and who they are, as long as that is known."""
    query = select(erasures.c.number, erasures.c.type, erasures.c.id)
    rows = connection.execute(query.where(erasures.c.certificate.is_(None)).order_by("number"))
    return [
        (row.number, None if row.id is None else EntityId(row.type, row.id)) for row in rows.all()
    ]


def took_out(connection: Connection, number: int, removed: Mapping[str, int]) -> None:
    """Keep what was taken out of the tables, in the transaction that does it."""
    told = canonical_json(dict(removed)).decode()
    connection.execute(update(erasures).where(erasures.c.number == number).values(removed=told))


def forget_ids(connection: Connection, numbers: Collection[int]) -> None:
    """Let go of the ids themselves: nothing else has them any more."""
    connection.execute(update(erasures).where(erasures.c.number.in_(numbers)).values(id=None))


def certify(connection: Connection, numbers: Collection[int], certificate: str) -> None:
    """Say that these are done, and which certificate tells how."""
    connection.execute(
        update(erasures).where(erasures.c.number.in_(numbers)).values(certificate=certificate)
    )


def barriers(connection: Connection, names: Collection[EntityId]) -> Mapping[EntityId, Barrier]:
    """Those of some entities who were erased, and what may come in of them."""
    if not names or not last(connection):
        return {}
    subjects = Subjects.of(connection)
    by_digest = {subjects.digest(name): name for name in names}
    query = (
        "SELECT subject, asked_at, returned_at, removed IS NOT NULL FROM erasures "
        "WHERE subject {among} ORDER BY number"
    )
    rows = rows_among(connection, query, sorted(by_digest))
    return {by_digest[row[0]]: Barrier(row[1], row[2], bool(row[3])) for row in rows}


def came_back(connection: Connection, agreed: Iterable[tuple[int, int, int]]) -> None:
    """Let those in again who agree: (key, event time, row of the log) of what they said."""
    if not last(connection):
        return
    said = {key: (time, seq) for key, time, seq in agreed}
    query = "SELECT key, type, id FROM entities WHERE key {among_numbers}"
    rows = rows_among(connection, query, sorted(said))
    subjects, table = Subjects.of(connection), erasures.c
    for key, type_, id_ in rows:
        held = _listed(connection, subjects.digest(EntityId(type_, id_)), returned=True)
        time, seq = said[key]
        if held is None or time <= held.asked_at:
            continue
        since = time if held.returned_at is None else min(time, held.returned_at)
        known = held.returned_seq is not None and held.returned_seq != _NEVER_SEEN
        first = held.returned_seq if known else seq
        connection.execute(
            update(erasures)
            .where(table.number == held.number)
            .values(returned_at=since, returned_seq=first)
        )


def gone(connection: Connection, *, after: int = 0, watermark: int | None = None) -> Gone:
    """Those behind a number of the list, by digest, whom what is of a moment must not hold.

    `watermark`: a row of the log; without it, everybody who has not come back.
    """
    some = [one for one in every(connection) if one.number > after]
    if watermark is None:
        return those(connection, [one for one in some if one.returned_seq is None])
    return those(connection, [one for one in some if one.bars(watermark)])


def types(connection: Connection) -> frozenset[str]:
    """Of which types somebody was erased."""
    return frozenset(connection.scalars(select(erasures.c.type).distinct()))


def those(connection: Connection, some: Iterable[Erasure]) -> Gone:
    """Some of the list, by their digests."""
    subjects: dict[str, set[str]] = {}
    for one in some:
        subjects.setdefault(one.type, set()).add(one.subject)
    return Digested(Subjects.of(connection), subjects)


def ids_left(connection: Connection, numbers: Collection[int]) -> int:
    """How many of some numbers still have an id beside them."""
    query = select(func.count()).where(erasures.c.number.in_(numbers), erasures.c.id.is_not(None))
    return connection.scalar(query) or 0


def of(connection: Connection, numbers: Collection[int]) -> Gone:
    """Those of some numbers, by their ids as long as these are known."""
    query = select(erasures.c.type, erasures.c.id, erasures.c.subject)
    rows = connection.execute(query.where(erasures.c.number.in_(numbers))).all()
    named: dict[str, set[str]] = {}
    subjects: dict[str, set[str]] = {}
    for row in rows:
        named.setdefault(row.type, set()).add(row.id)
        subjects.setdefault(row.type, set()).add(row.subject)
    if all(row.id is not None for row in rows):
        return Named({type_: frozenset(ids) for type_, ids in named.items()})
    return Digested(Subjects.of(connection), subjects)


def find_ids(connection: Connection) -> None:
    """The ids of those who are on the list by their digest alone, as far as events named them."""
    table = erasures.c
    unknown = select(table.number, table.type, table.subject)
    unknown = unknown.where(table.id.is_(None), table.removed.is_(None))
    wanted: dict[str, dict[str, int]] = {}
    for number, type_, subject in connection.execute(unknown):
        wanted.setdefault(type_, {})[subject] = number
    for type_, some in wanted.items():
        known = Subjects.of(connection)
        ids = connection.scalars(select(entities.c.id).where(entities.c.type == type_)).all()
        for place in known.are(type_, ids, some).tolist():
            number = some[known.digest(EntityId(type_, ids[place]))]
            connection.execute(update(erasures).where(table.number == number).values(id=ids[place]))


def dropped(connection: Connection, names: Iterable[EntityId]) -> Callable[[EntityId], bool]:
    """Whether each of some entities may not be written down: they were erased."""
    barred = {
        name for name, held in barriers(connection, set(names)).items() if held.returned_at is None
    }
    return barred.__contains__


def _names(connection: Connection, entity: EntityId) -> list[EntityId]:
    """Every id that stands for an entity; its own, where no event has named it."""
    own = select(func.coalesce(entities.c.merged_into, entities.c.key)).where(
        entities.c.type == entity.type, entities.c.id == entity.id
    )
    key = connection.scalar(own)
    if key is None:
        return [entity]
    keys = aliases(connection, [key])
    query = "SELECT type, id FROM entities WHERE key {among_numbers} ORDER BY key"
    return [EntityId(*row) for row in rows_among(connection, query, sorted(keys))]


def _listed(connection: Connection, subject: str, *, returned: bool = False) -> Erasure | None:
    """The last row of somebody; by default only of one who has not come back."""
    query = select(erasures).where(erasures.c.subject == subject)
    if not returned:
        query = query.where(erasures.c.returned_at.is_(None))
    row = connection.execute(query.order_by(erasures.c.number.desc()).limit(1)).one_or_none()
    return None if row is None else _erasure(row)


def _append(connection: Connection, type_: str, subject: str, id_: str | None, now: int) -> Erasure:
    number = last(connection) + 1
    row = {"number": number, "type": type_, "subject": subject, "id": id_, "asked_at": now}
    connection.execute(insert(erasures).values(row))
    return erasure(connection, number)


def _erasure(row: Row[Any]) -> Erasure:
    return Erasure(
        number=row.number,
        type=row.type,
        subject=row.subject,
        asked_at=row.asked_at,
        removed=None if row.removed is None else json.loads(row.removed),
        certificate=row.certificate,
        returned_at=row.returned_at,
        returned_seq=row.returned_seq,
    )
