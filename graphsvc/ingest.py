"""Append events to the log once, and apply their changes in the same transaction.

Takes raw JSON values, gives a verdict for each; never commits, so the caller's transaction keeps
the log and its projections together or drops both. What needs no database comes first, so that the
time in which nobody else can write is short.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, delete, func, select

from graphsvc import journal_postgresql, journal_sqlite
from graphsvc.admission import Late, Rules, admit
from graphsvc.apply import apply_changes
from graphsvc.barred import barred, said_in
from graphsvc.batches import Batch, together
from graphsvc.builtin import CONSENTS, MERGE, SET_ATTRIBUTES
from graphsvc.db import require_writing, wait_for_writers
from graphsvc.dedupe import body_of, digest_of, expiry_of
from graphsvc.effects import apply_effects
from graphsvc.entry import Entry, Known, Written
from graphsvc.errors import SchemaOutdated
from graphsvc.events import Event, dump_properties
from graphsvc.gate import refused
from graphsvc.logread import merged, read_log, straightened
from graphsvc.projection import Logged, project
from graphsvc.schema import Schema
from graphsvc.tables import attributes, consents, counters, edges, retractions, schemas
from graphsvc.verdict import STATUSES, Status, Verdict

__all__ = [
    "STATUSES",
    "Batch",
    "Rules",
    "Status",
    "Verdict",
    "append",
    "ingest",
    "prepare",
    "rebuild",
    "together",
]

#: After one of these, what the next event may do can be different.
_ENDS_A_SEGMENT = CONSENTS | {MERGE}


def ingest(
    connection: Connection,
    schema: Schema,
    raw_events: Sequence[Any],
    *,
    now: int,
    rules: Rules = Rules(),  # noqa: B008  frozen
) -> list[Verdict]:
    """`prepare` and `append` in one call, for whoever does not mind the longer transaction."""
    batch = prepare(schema, raw_events, now=now, rules=rules)
    return append(connection, schema, batch, now=now)


def prepare(
    schema: Schema,
    raw_events: Sequence[Any],
    *,
    now: int,
    rules: Rules = Rules(),  # noqa: B008  frozen
) -> Batch:
    """Check raw events and make rows of them; `now` is in seconds since 1970.

    A bad event never affects its neighbors.
    """
    batch = Batch(verdicts=[None] * len(raw_events))
    first: dict[bytes, int] = {}
    for place, raw in enumerate(raw_events):
        admitted = admit(schema, raw, now, rules)
        if isinstance(admitted, Verdict):
            batch.verdicts[place] = admitted
            continue
        event = admitted.event if isinstance(admitted, Late) else admitted
        text = None if event.properties is None else dump_properties(event.properties)
        digest = digest_of(event.event_name, event.event_id)
        body = body_of(event, text)
        if isinstance(admitted, Late):
            batch.late.append((place, digest, body, admitted.verdict, said_in(event)))
        elif digest in first:
            batch.repeats.append((place, first[digest], body))
        else:
            first[digest] = place
            expires_at = expiry_of(event, now=now, late_seconds=rules.late_seconds)
            batch.entries.append(_entry(place, digest, body, expires_at, event, text))
            if event.event_name == SET_ATTRIBUTES:
                batch.properties[place] = event.properties
    return batch


def append(connection: Connection, schema: Schema, batch: Batch, *, now: int) -> list[Verdict]:
    """Append what is new; one verdict per raw event, in their order.

    The same name and id again, in this batch or in the log, is a duplicate if it says the same and
    a conflict if not; neither changes anything. Raises `SchemaOutdated` if the schema has changed
    since the batch was prepared.
    """
    require_writing(connection)
    verdicts = batch.verdicts
    postgresql = connection.dialect.name == "postgresql"
    segments = list(_segments(batch.entries))
    if postgresql and len(segments) == 1:
        journal_postgresql.stage(connection, segments[0])
    _begin(connection, schema)
    bodies: dict[int, int | None] = {}  # what is known now of each entry
    for segment in segments:
        wrong = refused(connection, schema, segment)
        allowed = [entry for entry in segment if entry.n not in wrong] if wrong else segment
        if postgresql:
            if wrong or len(segments) > 1:
                journal_postgresql.stage(connection, allowed)
            outcomes = journal_postgresql.append(connection, now=now)
        else:
            outcomes = journal_sqlite.append(connection, allowed, now=now)
        for entry in allowed:
            outcome = outcomes[entry.n]
            new = isinstance(outcome, Written)
            bodies[entry.n] = outcome.body if isinstance(outcome, Known) else entry.body
            verdicts[entry.n] = (
                Verdict(entry.event_id, "accepted")
                if new
                else _again(entry.event_id, entry.body, bodies[entry.n])
            )
        for place, verdict in wrong.items():
            verdicts[place] = verdict
        _project(connection, schema, batch, allowed, outcomes)
    _settle(connection, schema, batch, bodies, now)
    settled = [verdict for verdict in verdicts if verdict is not None]
    if len(settled) != len(verdicts):  # whoever reads them goes by their places
        raise RuntimeError("an event of the batch was left without a verdict")
    return settled


def rebuild(connection: Connection, schema: Schema, *, block: int = 10_000) -> None:
    """Wipe the projections and replay the log, `block` events at a time.

    Gives the tables that ingest made, with the half-lives that the schema has now.
    """
    _begin(connection, schema)
    for table in (edges, counters, attributes, retractions, consents):
        connection.execute(delete(table))
    merges = merged(connection)
    last = -1
    while logged := read_log(connection, schema, after=last, block=block, merges=merges):
        last = max(event.seq for event in logged)
        apply_changes(connection, schema, project(schema, logged))
        apply_effects(connection, schema, logged)


def _begin(connection: Connection, schema: Schema) -> None:
    wait_for_writers(connection)
    if connection.dialect.name == "postgresql":
        journal_postgresql.plan(connection)
    if schema.version and connection.scalar(select(func.max(schemas.c.version))) != schema.version:
        raise SchemaOutdated


def _segments(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Cut a batch behind each event that changes what may follow; as a rule there is none."""
    number = 0
    numbers = []
    for entry in entries:
        numbers.append(number)
        number += entry.event_name in _ENDS_A_SEGMENT
    if not number:
        if entries:
            yield list(entries)
        return
    for _, group in groupby(zip(numbers, entries, strict=True), key=lambda pair: pair[0]):
        yield [entry for _, entry in group]


def _project(
    connection: Connection,
    schema: Schema,
    batch: Batch,
    entries: Sequence[Entry],
    outcomes: dict[int, Written | Known],
) -> None:
    logged = []
    for entry in entries:
        row = outcomes[entry.n]
        if isinstance(row, Written):
            logged.append(
                Logged(
                    row.seq,
                    entry.event_name,
                    entry.event_time,
                    row.actor,
                    row.object,
                    entry.relation,
                    entry.event_id,
                    batch.properties.get(entry.n),
                )
            )
    if logged:
        logged = straightened(connection, schema, logged)
        apply_changes(connection, schema, project(schema, logged))
        apply_effects(connection, schema, logged)


def _settle(
    connection: Connection,
    schema: Schema,
    batch: Batch,
    bodies: dict[int, int | None],
    now: int,
) -> None:
    """The verdicts of what depends on another event: repetitions, and late ones that are known."""
    verdicts = batch.verdicts
    for place, first, body in batch.repeats:
        before = verdicts[first]
        if before is None or first not in bodies:
            verdicts[place] = before
        else:
            verdicts[place] = _again(before.event_id or "", body, bodies[first])
    if batch.late:
        digests = [late[1] for late in batch.late]
        journal = journal_postgresql if connection.dialect.name == "postgresql" else journal_sqlite
        known = journal.bodies(connection, digests, now=now)
        erased = barred(connection, schema, {late[0]: late[4] for late in batch.late})
        for place, digest, body, verdict, _ in batch.late:
            seen = digest in known
            event_id = verdict.event_id or ""
            told = erased.get(place, verdict)
            verdicts[place] = _again(event_id, body, known[digest]) if seen else told


def _again(event_id: str, body: int, before: int | None) -> Verdict:
    if before is None or before == body:
        return Verdict(event_id, "duplicate")
    message = "event_id should be new, or the event the same as before: it came with other content"
    return Verdict(event_id, "conflict", "conflict", "event_id", message, event_id)


def _entry(
    place: int, digest: bytes, body: int, expires_at: int, event: Event, text: str | None
) -> Entry:
    target = event.object
    return Entry(
        place,
        digest,
        body,
        expires_at,
        event.event_id,
        event.event_name,
        event.event_time,
        event.action_source,
        event.actor.type,
        event.actor.id,
        target.type if target else None,
        target.id if target else None,
        event.relation,
        event.value,
        event.currency,
        text,
        event.consent,
        event.request_id,
        event.position,
        event.sampling_rate,
    )
