"""Who asked for which write beyond ingestion, and what became of it.

Takes actors, actions and what they are about, gives rows; never changes one, which the database
refuses anyway. People and things are named by a digest that is keyed with a secret of the database:
whoever has the id and the database finds the rows, nobody reads an id from them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select

from graphsvc.db import wait_for_writers
from graphsvc.ids import EntityId, canonical_json
from graphsvc.ledger import read_number
from graphsvc.subjects import Subjects
from graphsvc.tables import audit

#: Who writes without a key.
COMMAND_LINE = "command line"
#: What became of what is written down in the transaction that does it.
_DONE = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """A row: what was asked for, or what became of it."""

    number: int
    at: int
    actor: str
    action: str
    about: Mapping[str, Any]
    trace_id: str | None
    #: The number of the row that asked, of the row of what became of it.
    of: int | None
    status: int | None


@dataclass(frozen=True, slots=True)
class WrittenPage:
    """Some rows, newest first; `next` continues, None at the end."""

    items: Sequence[Written]
    next: str | None


@dataclass(frozen=True, slots=True)
class Write:
    """A write whole: the row that asked, and the row of what became of it, where there is one."""

    asked: Written
    became: Written | None


@dataclass(frozen=True, slots=True)
class WritePage:
    """Some writes, newest first; `next` continues, None at the end."""

    items: Sequence[Write]
    next: str | None


def asked(
    connection: Connection,
    actor: str,
    action: str,
    about: Mapping[str, Any],
    *,
    now: int,
    trace_id: str | None = None,
) -> int:
    """Write down that somebody asks for something, before it is done: the row's number."""
    told = {"actor": actor, "action": action, "about": canonical_json(dict(about)).decode()}
    return _append(connection, told | {"at": now, "trace_id": trace_id})


def by_command(connection: Connection, verb: str, about: Mapping[str, Any], *, now: int) -> int:
    """Write down that the command line asks for something, before it is done: the row's number."""
    return asked(connection, COMMAND_LINE, f"graphsvc {verb}", about, now=now)


def done_by_command(
    connection: Connection, verb: str, about: Mapping[str, Any], *, now: int
) -> None:
    """Write down what the command line does, in the transaction that does it: both rows at once."""
    became(connection, by_command(connection, verb, about, now=now), _DONE, now=now)


def became(
    connection: Connection,
    of: int,
    status: int,
    *,
    now: int,
    told: Mapping[str, Any] | None = None,
) -> None:
    """Write down what became of a request, in a row of its own, with what else is told of it."""
    former = connection.execute(select(audit).where(audit.c.number == of)).one()
    about = canonical_json(json.loads(former.about) | dict(told or {})).decode()
    row = {"actor": former.actor, "action": former.action, "about": about}
    row |= {"at": now, "trace_id": former.trace_id, "of": of, "status": status}
    _append(connection, row)


def subject(connection: Connection, entity: EntityId) -> str:
    """A digest that stands for an entity, the same at each call in this database."""
    return Subjects.of(connection).digest(entity)


def page(
    connection: Connection,
    *,
    actor: str | None = None,
    limit: int = 100,
    after: str | None = None,
) -> WrittenPage:
    """Rows, newest first, of one actor or of all. Raises `CursorInvalid`."""
    query = select(audit).order_by(audit.c.number.desc())
    if actor is not None:
        query = query.where(audit.c.actor == actor)
    if after is not None:
        query = query.where(audit.c.number < read_number(after))
    rows = connection.execute(query.limit(limit + 1)).all()
    items = [_written(row) for row in rows[:limit]]
    return WrittenPage(items, str(items[-1].number) if len(rows) > limit else None)


def writes(connection: Connection, *, limit: int = 100, after: str | None = None) -> WritePage:
    """Writes by when they were asked for, newest first. Raises `CursorInvalid`."""
    query = select(audit).where(audit.c.of.is_(None)).order_by(audit.c.number.desc())
    if after is not None:
        query = query.where(audit.c.number < read_number(after))
    rows = connection.execute(query.limit(limit + 1)).all()
    items = [_written(row) for row in rows[:limit]]
    outcomes: dict[int | None, Written] = {}
    if items:
        # An outcome has a higher number than what asked, and nothing else leads to it.
        since = audit.c.number > items[-1].number
        of = audit.c.of.in_([row.number for row in items])
        found = connection.execute(select(audit).where(since, of).order_by(audit.c.number))
        outcomes = {row.of: _written(row) for row in found}
    made = [Write(row, outcomes.get(row.number)) for row in items]
    return WritePage(made, str(items[-1].number) if len(rows) > limit else None)


def _written(row: Row[Any]) -> Written:
    return Written(
        number=row.number,
        at=row.at,
        actor=row.actor,
        action=row.action,
        about=json.loads(row.about),
        trace_id=row.trace_id,
        of=row.of,
        status=row.status,
    )


def _append(connection: Connection, told: Mapping[str, Any]) -> int:
    wait_for_writers(connection)
    last = connection.scalar(select(func.coalesce(func.max(audit.c.number), 0))) or 0
    connection.execute(insert(audit).values(number=last + 1, **told))
    return int(last) + 1
