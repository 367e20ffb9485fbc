"""Which requests were answered already, and with what.

Takes the name that a caller gave to a request and a digest of it, gives what is known of it; never
knows what a request is. A reservation says that somebody is at it. It holds for as long as it is
renewed, so one whose holder died is taken over. Our design, after the IETF draft "The
Idempotency-Key HTTP Header Field".
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import ColumnElement, Connection, and_, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from graphsvc.tables import idempotency

#: A reservation that was not renewed for so long, in seconds, is nobody's.
RESERVED_SECONDS = 120
#: Most rows that one pruning deletes, so that it is short.
_PRUNED = 2000
#: Rows that are read at a time: an answer may be large.
_READ = 100


@dataclass(frozen=True, slots=True)
class Request:
    """Whose request it is, what they call it, and what it is."""

    api_key: str
    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered. `body` is whatever the caller packed."""

    status: int
    media_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Known:
    """What became of asking for a request: it is ours to run, or it is not.

    `request`: the digest of the request that was answered, if one was.
    """

    state: Literal["ours", "answered", "under_way", "another"]
    answer: Answer | None = None
    request: str | None = None


def reserve(connection: Connection, request: Request, *, now: int, keep_seconds: int) -> Known:
    """Say that this request is being run, unless it was run or somebody is at it.

    `another`: its name was given to a request with another digest, which may be answered already.
    Times are in seconds.
    """
    # Without the lock of the log's writers: nobody has to wait for a batch of events.
    values = {"request": request.digest, "created_at": now}
    kind = postgresql if connection.dialect.name == "postgresql" else sqlite
    fresh = kind.insert(idempotency).values(api_key=request.api_key, name=request.name, **values)
    made = fresh.on_conflict_do_nothing().returning(idempotency.c.name)
    if connection.execute(made).first():
        return Known("ours")
    row = connection.execute(
        select(idempotency).where(_is(request)).with_for_update()
    ).one_or_none()
    if row is None:  # pruned or released between the two statements
        return Known("under_way")
    age = now - row.created_at
    if age >= (RESERVED_SECONDS if row.status is None else keep_seconds):
        nothing = {"status": None, "media_type": None, "answer": None}
        connection.execute(update(idempotency).where(_is(request)).values(**values, **nothing))
        return Known("ours")
    same = row.request == request.digest
    if row.status is None:
        return Known("under_way" if same else "another")
    answer = Answer(row.status, row.media_type or "", row.answer or b"")
    return Known("answered" if same else "another", answer, row.request)


def renew(connection: Connection, request: Request, *, since: int, now: int) -> bool:
    """Keep the reservation of time `since`; False if it was taken over."""
    changed = connection.execute(
        update(idempotency).where(_held(request, since)).values(created_at=now)
    )
    return bool(changed.rowcount)


def keep(
    connection: Connection, request: Request, answer: Answer, *, since: int, now: int, digest: str
) -> bool:
    """Keep the answer to the request that was reserved at `since`; False if it was taken over.

    `digest` is the request's from now on: that of a stream is known when it has been read.
    """
    changed = connection.execute(
        update(idempotency)
        .where(_held(request, since))
        .values(
            status=answer.status,
            request=digest,
            media_type=answer.media_type[:100],
            answer=answer.body,
            created_at=now,
        )
    )
    return bool(changed.rowcount)


def release(connection: Connection, request: Request, *, since: int) -> None:
    """Give up the reservation of time `since`: the request may be run again."""
    connection.execute(delete(idempotency).where(_held(request, since)))


def mentioning(connection: Connection, mentions: Callable[[bytes], bool]) -> list[tuple[str, str]]:
    """Whose answers mention somebody, by key and name. `mentions` reads what the caller packed."""
    table = idempotency.c
    query = select(table.api_key, table.name, table.answer).where(table.answer.is_not(None))
    rows = connection.execute(query.execution_options(yield_per=_READ))
    return [(row.api_key, row.name) for row in rows if mentions(row.answer)]


def answers_of_before(connection: Connection, moment: int) -> Iterator[tuple[int, bytes]]:
    """When answers were kept, and what the caller packed: all of before a moment."""
    table = idempotency.c
    query = select(table.created_at, table.answer)
    query = query.where(table.answer.is_not(None), table.created_at < moment)
    for row in connection.execute(query.execution_options(yield_per=_READ)):
        yield row.created_at, row.answer


def forget(connection: Connection, names: Iterable[tuple[str, str]]) -> int:
    """Forget some answers: how many were there."""
    table = idempotency.c
    return sum(
        connection.execute(
            delete(idempotency).where(table.api_key == api_key, table.name == name)
        ).rowcount
        for api_key, name in names
    )


def prune(connection: Connection, *, before: int, most: int, most_bytes: int) -> int:
    """Forget answers of before `before` (seconds since 1970), and the oldest of too many.

    Too many are more than `most` rows, or answers of more than `most_bytes`. Deletes a bounded
    number of rows, so it is to be called until nothing is left over; gives how many went.
    """
    table = idempotency.c
    size = func.coalesce(func.length(table.answer), 0)
    counted = select(func.count(), func.coalesce(func.sum(size), 0)).select_from(idempotency)
    rows, total = connection.execute(counted).one()
    oldest = (
        select(table.api_key, table.name, table.created_at, size)
        .where(or_(table.status.is_not(None), table.created_at < before))
        .order_by(table.created_at, table.api_key, table.name)
        .limit(_PRUNED)
    )
    gone = 0
    for api_key, name, created_at, taken in connection.execute(oldest).all():
        if created_at >= before and rows <= most and total <= most_bytes:
            break
        connection.execute(delete(idempotency).where(table.api_key == api_key, table.name == name))
        rows, total, gone = rows - 1, total - taken, gone + 1
    return gone


def _is(request: Request) -> ColumnElement[bool]:
    return and_(idempotency.c.api_key == request.api_key, idempotency.c.name == request.name)


def _held(request: Request, since: int) -> ColumnElement[bool]:
    return and_(
        _is(request),
        idempotency.c.request == request.digest,
        idempotency.c.status.is_(None),
        idempotency.c.created_at == since,
    )
