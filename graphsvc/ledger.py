"""The ledger: which artifacts exist, where they came from, and which three are live.

Takes digests, gives rows; never opens an artifact's files. Promotion is one transaction; rolling
back is promoting what was live before.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, and_, func, insert, or_, select, update

from graphsvc.artifact import Artifact
from graphsvc.db import wait_for_writers
from graphsvc.errors import ArtifactMissing, CursorInvalid, PromotionRefused
from graphsvc.ids import DIGEST, canonical_json, is_storable
from graphsvc.tables import artifacts as artifacts_table
from graphsvc.tables import promotions, successors

_LONGEST_SUMMARY_VALUE = 256
_LONGEST_ECHO = 80
#: Of a number in a cursor: what both databases can compare with.
_MOST_DIGITS = 18


@dataclass(frozen=True, slots=True)
class ArtifactRow:
    """An artifact as the ledger knows it."""

    digest: str
    kind: str
    parents: Mapping[str, str]
    dials: Mapping[str, Any]
    metrics: Mapping[str, Any]
    #: The short values of the manifest's payload.
    summary: Mapping[str, Any]
    #: sealed | live | retired
    state: str
    job_id: str | None
    created_at: int
    #: Nobody whose erasure has this number or a lower one is in it.
    erased_to: int = 0
    #: The row of the log up to which its snapshot looks; 0, the safe side, where nobody knows.
    watermark: int = 0


@dataclass(frozen=True, slots=True)
class ArtifactPage:
    """Some artifacts, newest first; `next` continues, None at the end."""

    items: Sequence[ArtifactRow]
    next: str | None


@dataclass(frozen=True, slots=True)
class Live:
    """The trio that is live, and since which generation."""

    generation: int
    bundle: str
    index: str
    ranker: str


class Signed(NamedTuple):
    """Who makes a promotion, and what the gate had said of it, if it was asked."""

    by: str
    decision: str | None = None


@dataclass(frozen=True, slots=True)
class Promotion:
    """A promotion as the ledger keeps it; what is not known of an old one is None."""

    generation: int
    bundle: str
    index: str
    ranker: str
    reason: str
    promoted_by: str | None
    decision: str | None
    created_at: int


@dataclass(frozen=True, slots=True)
class PromotionPage:
    """Some promotions, newest first; `next` continues, None at the end."""

    items: Sequence[Promotion]
    next: str | None


def record(
    connection: Connection,
    artifact: Artifact,
    *,
    job_id: str | None,
    now: int,
    erased_to: int = 0,
) -> None:
    """Write an artifact's row. Recording the same digest again changes nothing."""
    wait_for_writers(connection)
    found = select(artifacts_table.c.digest).where(artifacts_table.c.digest == artifact.digest)
    if connection.scalar(found):
        return
    summary = {
        name: value
        for name, value in artifact.payload.items()
        if value is None or isinstance(value, bool | int | float | str)
        if len(str(value)) <= _LONGEST_SUMMARY_VALUE
    }
    connection.execute(
        insert(artifacts_table).values(
            digest=artifact.digest,
            kind=artifact.kind,
            parents=_dump(artifact.parents),
            dials=_dump(artifact.dials),
            metrics=_dump(artifact.metrics),
            summary=_dump(summary),
            state="sealed",
            job_id=job_id,
            created_at=now,
            erased_to=erased_to,
            watermark=watermark_of(connection, artifact),
        )
    )


def watermark_of(connection: Connection, artifact: Artifact) -> int | None:
    """The row of the log up to which an artifact's snapshot looks; None where nobody knows."""
    if artifact.kind == "snapshot":
        return int(artifact.payload["watermark"]["seq"])
    for kind in ("snapshot", "bundle", "ranker"):
        if kind in artifact.parents:
            parent = present(connection, artifact.parents[kind])
            query = select(artifacts_table.c.watermark).where(artifacts_table.c.digest == parent)
            return connection.scalar(query)
    return None


def artifact(connection: Connection, digest: str) -> ArtifactRow:
    """One artifact's row, or that of its successor. Raises `ArtifactMissing`."""
    if not DIGEST.fullmatch(digest):
        raise ArtifactMissing(
            f"digest should be 64 hexadecimal digits, received {digest[:_LONGEST_ECHO]!r}"
        )
    row = connection.execute(
        select(artifacts_table).where(artifacts_table.c.digest == present(connection, digest))
    ).one_or_none()
    if row is None:
        raise ArtifactMissing(f"the ledger holds no artifact {digest}")
    return _artifact_row(row)


def present(connection: Connection, digest: str) -> str:
    """The digest that stands for one now: that of its successor, or itself."""
    query = select(successors.c.after).where(successors.c.before == digest)
    return connection.scalar(query) or digest


def digests(connection: Connection) -> frozenset[str]:
    """Of all artifacts that there are."""
    return frozenset(connection.scalars(select(artifacts_table.c.digest)))


def artifacts(
    connection: Connection, *, kind: str | None = None, limit: int = 100, after: str | None = None
) -> ArtifactPage:
    """Artifacts, newest first. `after` is the `next` of the page before. Raises `CursorInvalid`."""
    if kind is not None and not is_storable(kind):
        return ArtifactPage([], None)
    table = artifacts_table.c
    query = select(artifacts_table).order_by(table.created_at.desc(), table.digest)
    if kind is not None:
        query = query.where(table.kind == kind)
    if after is not None:
        time, digest = _read_cursor(after)
        query = query.where(
            or_(table.created_at < time, and_(table.created_at == time, table.digest > digest))
        )
    rows = [_artifact_row(row) for row in connection.execute(query.limit(limit + 1))]
    items = rows[:limit]
    more = len(rows) > limit
    return ArtifactPage(items, f"{items[-1].created_at}:{items[-1].digest}" if more else None)


def trio_of(connection: Connection, ranker: str, bundle: str | None = None) -> tuple[str, str, str]:
    """The bundle, index and ranker that belong together: the bundle that the ranker was trained on.

    `bundle`: another one; `promote` says whether they fit. Of several indexes of the bundle, the
    newest. Raises `ArtifactMissing` or `PromotionRefused`.
    """
    row = _of_kind(connection, ranker, "ranker")
    ranker = row.digest
    if bundle is None:
        bundle = row.parents.get("bundle")
    else:
        bundle = _of_kind(connection, bundle, "bundle").digest
    if bundle is None:
        raise PromotionRefused(f"ranker {ranker} names no bundle as its parent")
    index = _newest_of(connection, "index", "bundle", bundle)
    if index is None:
        raise PromotionRefused(f"bundle {bundle} of ranker {ranker} has no index yet; build one")
    return bundle, index, ranker


def forward_of(connection: Connection, ranker: str, *, by: int | None = None) -> str | None:
    """The exported network of a ranker, the newest of several; None where there is none.

    `by`: that there was at that second.
    """
    return _newest_of(connection, "forward", "ranker", present(connection, ranker), by=by)


def forward_of_live(connection: Connection, live: Live) -> str | None:
    """The exported network that a promotion has made live with its ranker, if there was one.

    One that came later is for the next promotion: whoever loads what is live loads the same.
    """
    table = promotions.c
    promoted = select(table.created_at).where(table.generation == live.generation)
    return forward_of(connection, live.ranker, by=connection.scalar(promoted))


def map_of(connection: Connection, bundle: str) -> str | None:
    """The map of a bundle, the newest of several; None where none was made."""
    return _newest_of(connection, "map", "bundle", present(connection, bundle))


def promote(
    connection: Connection,
    *,
    bundle: str,
    index: str,
    ranker: str,
    reason: str,
    now: int,
    signed: Signed | None = None,
) -> Live:
    """Make a trio live: what was live is retired, and the generation grows by one.

    The index must be built over the bundle, and bundle and ranker must have the same frame.
    Raises `ArtifactMissing`, or `PromotionRefused` naming both digests.
    """
    wait_for_writers(connection)
    bundle_row = _of_kind(connection, bundle, "bundle")
    index_row = _of_kind(connection, index, "index")
    ranker_row = _of_kind(connection, ranker, "ranker")
    bundle, index, ranker = bundle_row.digest, index_row.digest, ranker_row.digest
    if index_row.parents.get("bundle") != bundle:
        raise PromotionRefused(
            f"index {index} should be built over bundle {bundle}, "
            f"it is built over {index_row.parents.get('bundle')}"
        )
    frames = bundle_row.summary.get("frame"), ranker_row.summary.get("frame")
    if frames[0] is None or frames[0] != frames[1]:
        raise PromotionRefused(
            f"ranker {ranker} should have the frame of bundle {bundle} ({frames[0]}), "
            f"it has {frames[1]}"
        )
    state, digest = artifacts_table.c.state, artifacts_table.c.digest
    connection.execute(update(artifacts_table).where(state == "live").values(state="retired"))
    connection.execute(
        update(artifacts_table).where(digest.in_([bundle, index, ranker])).values(state="live")
    )
    next_generation = generation(connection) + 1
    connection.execute(
        insert(promotions).values(
            generation=next_generation,
            bundle=bundle,
            index=index,
            ranker=ranker,
            reason=reason,
            created_at=now,
            promoted_by=signed.by if signed else None,
            decision=signed.decision if signed else None,
        )
    )
    return Live(next_generation, bundle, index, ranker)


def live(connection: Connection) -> Live | None:
    """The live trio, or None before the first promotion."""
    table = promotions.c
    row = connection.execute(
        select(table.generation, table.bundle, table.index, table.ranker)
        .order_by(table.generation.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else Live(*row)


def promoted_for(connection: Connection, reason: str) -> Live | None:
    """The last promotion that was made for a reason, live or not; None if there was none."""
    table = promotions.c
    row = connection.execute(
        select(table.generation, table.bundle, table.index, table.ranker)
        .where(table.reason == reason)
        .order_by(table.generation.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else Live(*row)


def promotion_page(
    connection: Connection, *, limit: int = 100, after: str | None = None
) -> PromotionPage:
    """Promotions, newest first. `after` is the `next` of a page. Raises `CursorInvalid`."""
    table = promotions.c
    query = select(
        table.generation,
        table.bundle,
        table.index,
        table.ranker,
        table.reason,
        table.promoted_by,
        table.decision,
        table.created_at,
    ).order_by(table.generation.desc())
    if after is not None:
        query = query.where(table.generation < read_number(after))
    rows = [Promotion(*row) for row in connection.execute(query.limit(limit + 1))]
    items = rows[:limit]
    return PromotionPage(items, str(items[-1].generation) if len(rows) > limit else None)


def generation(connection: Connection) -> int:
    """How often something was promoted; servers poll this."""
    return connection.scalar(select(func.coalesce(func.max(promotions.c.generation), 0))) or 0


def _newest_of(
    connection: Connection, kind: str, parent: str, digest: str, *, by: int | None = None
) -> str | None:
    """The newest artifact of a kind that has such a parent; `by`: of those that were there then."""
    table = artifacts_table.c
    query = select(table.digest, table.parents).where(table.kind == kind)
    if by is not None:
        query = query.where(table.created_at <= by)
    for found, parents in connection.execute(query.order_by(table.created_at.desc(), table.digest)):
        if json.loads(parents).get(parent) == digest:
            return str(found)
    return None


def _of_kind(connection: Connection, digest: str, kind: str) -> ArtifactRow:
    row = artifact(connection, digest)
    if row.kind != kind:
        raise PromotionRefused(f"{digest} should be a {kind}, it is a {row.kind}")
    return row


def _artifact_row(row: Row[Any]) -> ArtifactRow:
    return ArtifactRow(
        digest=row.digest,
        kind=row.kind,
        parents=json.loads(row.parents),
        dials=json.loads(row.dials),
        metrics=json.loads(row.metrics),
        summary=json.loads(row.summary),
        state=row.state,
        job_id=row.job_id,
        created_at=row.created_at,
        erased_to=row.erased_to,
        watermark=row.watermark or 0,
    )


def read_number(after: str) -> int:
    """The number before which a page begins. Raises `CursorInvalid`."""
    if not (after.isascii() and after.isdecimal() and len(after) <= _MOST_DIGITS):
        raise _cursor_invalid(after)
    return int(after)


def _read_cursor(after: str) -> tuple[int, str]:
    time, _, digest = after.partition(":")
    is_time = time.isascii() and time.isdecimal() and len(time) <= _MOST_DIGITS
    if not is_time or not DIGEST.fullmatch(digest):
        raise _cursor_invalid(after)
    return int(time), digest


def _cursor_invalid(after: str) -> CursorInvalid:
    return CursorInvalid(
        f"cursor should be the `next` of a page, received {after[:_LONGEST_ECHO]!r}"
    )


def _dump(value: Mapping[str, Any]) -> str:
    return canonical_json(dict(value)).decode()
