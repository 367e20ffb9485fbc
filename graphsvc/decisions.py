"""What the gate decided: which candidate, against which champion, why, and by which numbers.

Takes a decision, gives rows; never decides, and never changes a row. The same decision of the same
job is one row, however often its step runs.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select

from graphsvc.db import wait_for_writers
from graphsvc.errors import DecisionMissing
from graphsvc.ids import DIGEST, canonical_json, digest_of_json, is_storable
from graphsvc.ledger import present, read_number
from graphsvc.tables import decisions

_LONGEST_ECHO = 80
_ARTIFACTS = ("ranker", "bundle", "snapshot", "champion_ranker", "champion_bundle")


@dataclass(frozen=True, kw_only=True, slots=True)
class Decided:
    """One decision of the gate, before it has a row."""

    #: passed | refused | not decided
    decision: str
    #: champion: against what is live. first: nothing was. live: the candidate itself is.
    rule: str
    reason: str
    ranker: str
    bundle: str
    #: Whose rows it rests on.
    snapshot: str
    champion_ranker: str | None
    champion_bundle: str | None
    #: The verdict, the dials and what else it rests on, as JSON holds it.
    numbers: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class DecisionRow(Decided):
    """A decision as it is kept."""

    id: str
    job_id: str | None
    created_at: int


@dataclass(frozen=True, slots=True)
class DecisionPage:
    """Some decisions, newest first; `next` continues, None at the end."""

    items: Sequence[DecisionRow]
    next: str | None


def record(connection: Connection, decided: Decided, *, job_id: str | None, now: int) -> str:
    """Write a decision's row and give its id; the same of the same job again changes nothing."""
    wait_for_writers(connection)
    values = asdict(decided)
    # Somebody may have been erased from them since it was begun.
    for name in _ARTIFACTS:
        values[name] = values[name] and present(connection, values[name])
    own = digest_of_json(values | {"job_id": job_id})
    if connection.scalar(select(decisions.c.id).where(decisions.c.id == own)) is None:
        values["numbers"] = canonical_json(dict(decided.numbers)).decode()
        last = connection.scalar(select(func.coalesce(func.max(decisions.c.number), 0))) or 0
        row = values | {"number": last + 1, "id": own, "job_id": job_id, "created_at": now}
        connection.execute(insert(decisions).values(row))
    return own


def decision(connection: Connection, own: str) -> DecisionRow:
    """One decision. Raises `DecisionMissing`."""
    found = None
    if DIGEST.fullmatch(own):
        query = select(decisions).where(decisions.c.id == own)
        found = connection.execute(query).one_or_none()
    if found is None:
        raise DecisionMissing(f"there is no decision {own[:_LONGEST_ECHO]!r}")
    return _row(found)


def page(
    connection: Connection,
    *,
    decision: str | None = None,
    ranker: str | None = None,
    limit: int = 100,
    after: str | None = None,
) -> DecisionPage:
    """Decisions, newest first, of one kind or of one ranker. Raises `CursorInvalid`."""
    table = decisions.c
    query = select(decisions).order_by(table.number.desc())
    for column, value in ((table.decision, decision), (table.ranker, ranker)):
        if value is not None:
            if not is_storable(value):
                return DecisionPage([], None)
            query = query.where(column == value)
    if after is not None:
        query = query.where(table.number < read_number(after))
    rows = list(connection.execute(query.limit(limit + 1)))
    more = str(rows[limit - 1].number) if len(rows) > limit else None
    return DecisionPage([_row(row) for row in rows[:limit]], more)


def latest(
    connection: Connection, candidate: tuple[str, str], champion: tuple[str, str] | None
) -> DecisionRow | None:
    """The last decision on a (ranker, bundle) against a champion's, or against nothing live."""
    table = decisions.c
    their_ranker, their_bundle = champion or (None, None)
    row = connection.execute(
        select(decisions)
        .where(
            table.ranker == candidate[0],
            table.bundle == candidate[1],
            table.champion_ranker.is_not_distinct_from(their_ranker),
            table.champion_bundle.is_not_distinct_from(their_bundle),
        )
        .order_by(table.number.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else _row(row)


def _row(row: Row[Any]) -> DecisionRow:
    return DecisionRow(
        id=row.id,
        decision=row.decision,
        rule=row.rule,
        reason=row.reason,
        ranker=row.ranker,
        bundle=row.bundle,
        snapshot=row.snapshot,
        champion_ranker=row.champion_ranker,
        champion_bundle=row.champion_bundle,
        numbers=json.loads(row.numbers),
        job_id=row.job_id,
        created_at=row.created_at,
    )
