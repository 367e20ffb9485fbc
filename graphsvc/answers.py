"""The answers that were given to score requests, kept for a while, to be joined with outcomes.

Takes answers, gives them back by request; never says what became of them (see `attribution.py`).
Bounded by age and by number, as long as somebody calls `prune` now and then.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, delete, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from graphsvc import erasures
from graphsvc.errors import AnswerMissing, CursorInvalid
from graphsvc.ids import EntityId, is_storable
from graphsvc.tables import answers as answers_table

#: Rows that one transaction prunes at most, so that no other writer waits for long, and that no
#: more than a few MiB of pages are held for it: a row of a hundred items lies on pages of its own.
_PRUNED = 250

#: Items of all answers of a page, unless a single answer has more.
MOST_ITEMS = 10_000


class Item(NamedTuple):
    """A candidate and its score, at its place in the answer."""

    id: str
    score: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What was answered to one score request, best first."""

    request_id: str
    #: Seconds since 1970.
    asked_at: int
    head: EntityId
    #: The type of the items.
    tail_type: str
    #: How the head's vector came about: learned | cold | unknown.
    state: str
    bundle: str
    index: str
    ranker: str
    items: Sequence[Item]
    #: What scores are: ctr | cvr | ctcvr; None for answers from before that was kept.
    order: str | None = None
    #: The place that scores are for; None where the ranker did not mind.
    position: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Which answers, and in which order: by default all, newest first."""

    since: int = 0
    #: Not included.
    until: int | None = None
    #: As the request named it, also where it was merged into another one since.
    head: EntityId | None = None
    oldest_first: bool = False


ALL = Wanted()


@dataclass(frozen=True, slots=True)
class AnswerPage:
    """Some answers; `next` continues, None at the end."""

    items: Sequence[Answer]
    next: str | None


def write(connection: Connection, answers: Sequence[Answer]) -> int:
    """Keep answers, and give the number of new ones; a request id that is kept already stays.

    None about somebody who was erased, and none that names them.
    """
    answers = _of_the_living(connection, answers)
    if not answers:
        return 0
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    fresh: Any = dialect.insert(answers_table).on_conflict_do_nothing()
    # What the database counted, instead of a question that names every id: that one would hold on
    # to itself, and to them, until Python looks for cycles, which is minutes.
    counted = {"preserve_rowcount": True}
    rows = [_row(answer) for answer in answers]
    return connection.execute(fresh, rows, execution_options=counted).rowcount


def answer(connection: Connection, request_id: str) -> Answer:
    """The answer to one request. Raises `AnswerMissing`."""
    row = None
    if is_storable(request_id):
        query = select(answers_table).where(answers_table.c.request_id == request_id)
        row = connection.execute(query).one_or_none()
    if row is None:
        raise AnswerMissing(f"no answer is kept for request_id {request_id[:80]!r}")
    return _answer(row)


def page(
    connection: Connection, wanted: Wanted = ALL, *, limit: int = 100, after: str | None = None
) -> AnswerPage:
    """Answers in the order of their time; of the same second, in that of their request ids.

    A page that holds many items has less than `limit` answers.

    `after` is the `next` of the page before, of the same `wanted`. Raises `CursorInvalid`.
    """
    table = answers_table.c
    since, until, query = wanted.since, wanted.until, select(answers_table)
    if after is not None:
        time, request_id = _read_cursor(after)
        query = query.where(or_(table.asked_at != time, table.request_id > request_id))
        if wanted.oldest_first:
            since = max(since, time)
        else:
            until = time + 1 if until is None else min(until, time + 1)
    query = query.where(table.asked_at >= since)
    if until is not None:
        query = query.where(table.asked_at < until)
    if wanted.head is not None:
        query = query.where(table.head_type == wanted.head.type, table.head_id == wanted.head.id)
    order = table.asked_at if wanted.oldest_first else table.asked_at.desc()
    rows = connection.execute(query.order_by(order, table.request_id).limit(limit + 1))
    found = [_answer(row) for row in rows]
    items = found[: min(limit, _bounded(found))]
    more = len(found) > len(items)
    return AnswerPage(items, f"{items[-1].asked_at}:{items[-1].request_id}" if more else None)


def _bounded(some: Sequence[Answer]) -> int:
    """How many of some answers hold no more items than a page may; the first one in any case."""
    held = list(accumulate(len(answer.items) for answer in some))
    return max(1, bisect_right(held, MOST_ITEMS))


def to_heads(
    connection: Connection, type_: str, ids: Sequence[str], *, since: int, until: int
) -> Iterator[Answer]:
    """The answers about some heads of one type within a time, both ends included, oldest first."""
    table = answers_table.c
    rows = connection.execute(
        select(answers_table)
        .where(
            table.head_type == type_,
            table.head_id.in_(list(ids)),
            table.asked_at.between(since, until),
        )
        .order_by(table.asked_at, table.request_id)
    )
    return (_answer(row) for row in rows)


def last_beyond(connection: Connection, most: int) -> tuple[int, str]:
    """When the newest of those beyond a number was given, and its request id; (0, "") if none is.

    Reads a whole index: once for all pieces of a prune.
    """
    table = answers_table.c
    surplus = (connection.scalar(select(func.count()).select_from(answers_table)) or 0) - most
    if surplus <= 0:
        return 0, ""
    times = select(table.asked_at).order_by(table.asked_at)
    time = connection.scalar(times.offset(surplus - 1).limit(1)) or 0
    earlier = connection.scalar(select(func.count()).where(table.asked_at < time)) or 0
    same = select(table.request_id).where(table.asked_at == time).order_by(table.request_id)
    return time, connection.scalar(same.offset(surplus - 1 - earlier).limit(1)) or ""


def prune(connection: Connection, *, upto: tuple[int, str]) -> int:
    """Remove answers up to one, by time and then request id; `(time, "")`: those before a time.

    At most some hundred at once, and how many; call again, in a new transaction, until it says 0.
    However many do so at once, none removes more than that.
    """
    table, (time, last) = answers_table.c, upto
    oldest = (
        select(table.request_id)
        .where(table.asked_at <= time, or_(table.asked_at < time, table.request_id <= last))
        .order_by(table.asked_at, table.request_id)
        .limit(_PRUNED)
    )
    # One statement: ids that came through here would stay, in the statement that names them.
    gone = delete(answers_table).where(table.request_id.in_(oldest))
    return connection.execute(gone).rowcount


def _of_the_living(connection: Connection, answers: Sequence[Answer]) -> Sequence[Answer]:
    barred_types = erasures.types(connection) if answers else frozenset()
    if not barred_types:
        return answers
    named = {answer.head for answer in answers}
    named |= {
        EntityId(answer.tail_type, item.id)
        for answer in answers
        if answer.tail_type in barred_types
        for item in answer.items
    }
    gone = erasures.dropped(connection, named)
    return [
        answer
        for answer in answers
        if not gone(answer.head)
        and not any(gone(EntityId(answer.tail_type, item.id)) for item in answer.items)
    ]


def _row(answer: Answer) -> dict[str, Any]:
    items = [[item.id, item.score] for item in answer.items]
    return {
        "request_id": answer.request_id,
        "asked_at": answer.asked_at,
        "head_type": answer.head.type,
        "head_id": answer.head.id,
        "tail_type": answer.tail_type,
        "state": answer.state,
        "bundle": answer.bundle,
        "index": answer.index,
        "ranker": answer.ranker,
        "items": orjson.dumps(items).decode(),
        "ordered_by": answer.order,
        "position": answer.position,
    }


def _answer(row: Any) -> Answer:
    found = row._mapping  # noqa: SLF001  `row.index` is a method of tuples
    return Answer(
        request_id=found["request_id"],
        asked_at=found["asked_at"],
        head=EntityId(found["head_type"], found["head_id"]),
        tail_type=found["tail_type"],
        state=found["state"],
        bundle=found["bundle"],
        index=found["index"],
        ranker=found["ranker"],
        items=[Item(*item) for item in orjson.loads(found["items"])],
        order=found["ordered_by"],
        position=found["position"],
    )


def _read_cursor(after: str) -> tuple[int, str]:
    time, _, request_id = after.partition(":")
    is_time = time.isascii() and time.isdecimal() and len(time) <= 18
    if not is_time or not request_id or not is_storable(request_id):
        raise CursorInvalid(f"cursor should be the `next` of a page, received {after[:80]!r}")
    return int(time), request_id
