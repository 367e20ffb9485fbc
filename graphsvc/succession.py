"""What became of artifacts from which somebody was erased: ledger and promotions name successors.

Takes digests of before, gives those of now; never opens an artifact. Re-pointing is one
transaction, in which what answers is promoted anew where it has a successor.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Column, Connection, Table, delete, func, insert, select, update

from graphsvc import ledger
from graphsvc.artifact import Artifact
from graphsvc.db import wait_for_writers
from graphsvc.ids import DIGEST, canonical_json
from graphsvc.tables import artifacts, decisions, promotions, successors

#: Where the ledger names artifacts beside their own rows.
_NAMING: tuple[tuple[Table, tuple[str, ...]], ...] = (
    (promotions, ("bundle", "index", "ranker")),
    (decisions, ("ranker", "bundle", "snapshot", "champion_ranker", "champion_bundle")),
)


class Pair(NamedTuple):
    """An artifact's digest, its successor, and what became of rows."""

    before: str
    after: Artifact
    #: As JSON holds it: `zeroed`, by file and tensor, and `dropped`, by table.
    told: Mapping[str, Any]


class Succeeded(NamedTuple):
    """An artifact of before and of now, and its kind."""

    before: str
    after: str
    kind: str
    told: Mapping[str, Any]


def behind(connection: Connection, number: int) -> list[ledger.ArtifactRow]:
    """The artifacts that nobody has looked through for the erasures up to a number."""
    query = select(artifacts.c.digest).where(artifacts.c.erased_to < number)
    digests = connection.scalars(query.order_by(artifacts.c.created_at, artifacts.c.digest)).all()
    return [ledger.artifact(connection, digest) for digest in digests]


def made_for(connection: Connection, numbers: Collection[int]) -> list[Succeeded]:
    """What has a successor because of some erasures."""
    table = successors.c
    query = select(table.before, table.after, table.kind, table.told)
    rows = connection.execute(
        query.where(table.erasure.in_(numbers)).order_by(table.kind, table.before)
    )
    return [Succeeded(row.before, row.after, row.kind, json.loads(row.told)) for row in rows]


def switch(
    connection: Connection,
    pairs: Sequence[Pair],
    number: int,
    *,
    reason: str,
    signed: ledger.Signed,
    now: int,
) -> None:
    """Let successors stand wherever the ledger names what they succeed.

    All artifacts count as looked through up to `number`. Where what answers has a successor, that
    one is promoted, so that every server takes it.
    """
    wait_for_writers(connection)
    live = ledger.live(connection)
    after = {pair.before: pair.after.digest for pair in pairs}
    for pair in pairs:
        former = ledger.artifact(connection, pair.before)
        ledger.record(connection, pair.after, job_id=former.job_id, now=former.created_at)
        row = update(artifacts).where(artifacts.c.digest == pair.after.digest)
        connection.execute(row.values(state=former.state))
    for table, columns in _NAMING:
        for name in columns:
            for before, digest in after.items():
                _repoint(connection, table, table.c[name], before, digest)
    _repoint_parents(connection, after)
    connection.execute(delete(artifacts).where(artifacts.c.digest.in_(after)))
    connection.execute(update(artifacts).values(erased_to=number))
    for pair in pairs:
        succeeded(connection, pair, number)
    if live is None or after.keys().isdisjoint((live.bundle, live.index, live.ranker)):
        return
    ledger.promote(
        connection,
        bundle=after.get(live.bundle, live.bundle),
        index=after.get(live.index, live.index),
        ranker=after.get(live.ranker, live.ranker),
        reason=reason,
        now=now,
        signed=signed,
    )


def succeeded(connection: Connection, pair: Pair, number: int) -> None:
    """Write down what an artifact became; whoever has a digest of longer ago finds it, too."""
    digest, kind = pair.after.digest, pair.after.kind
    earlier = update(successors).where(successors.c.after == pair.before)
    connection.execute(earlier.values(after=digest))
    told = canonical_json(dict(pair.told)).decode()
    row = {"before": pair.before, "after": digest, "kind": kind, "erasure": number, "told": told}
    connection.execute(insert(successors).values(row))


def everything(connection: Connection) -> list[Succeeded]:
    """All that has a successor."""
    numbers = connection.scalars(select(successors.c.erasure).distinct()).all()
    return made_for(connection, numbers)


def every(connection: Connection) -> dict[str, str]:
    """What each artifact of before is called now."""
    rows = connection.execute(select(successors.c.before, successors.c.after))
    return {row.before: row.after for row in rows}


def count(connection: Connection) -> int:
    """How many artifacts have had a successor."""
    return connection.scalar(select(func.count()).select_from(successors)) or 0


def renewed(connection: Connection, value: Any) -> Any:
    """The same JSON value, or named tuple, with the digests of now."""
    if isinstance(value, str):
        return ledger.present(connection, value) if DIGEST.fullmatch(value) else value
    if isinstance(value, Mapping):
        return {name: renewed(connection, item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        items = [renewed(connection, item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def _repoint(
    connection: Connection, table: Table, column: Column[Any], before: str, after: str
) -> None:
    connection.execute(update(table).where(column == before).values({column.name: after}))


def _repoint_parents(connection: Connection, after: Mapping[str, str]) -> None:
    """Also of those whose bytes are gone, which have no successor."""
    query = select(artifacts.c.digest, artifacts.c.parents).where(artifacts.c.digest.not_in(after))
    for digest, text in connection.execute(query).all():
        parents = json.loads(text)
        told = {kind: after.get(parent, parent) for kind, parent in parents.items()}
        if told != parents:
            row = update(artifacts).where(artifacts.c.digest == digest)
            connection.execute(row.values(parents=canonical_json(told).decode()))
