"""Changing the schema under a log that goes on.

Takes the next schema, gives the version that holds afterwards; never accepts a change that would
leave something stored without a meaning (see `orphans.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from graphsvc.db import wait_for_writers
from graphsvc.errors import ReplayTooLong, SchemaChanged, SchemaRefused
from graphsvc.ingest import rebuild
from graphsvc.orphans import orphans, replay_needed
from graphsvc.schema import Schema
from graphsvc.tables import events
from graphsvc.versions import current, store, text_of

__all__ = ["MOST_REPLAYED", "Change", "change"]

#: How many events are replayed per second, for what people are told: on the cautious side of what
#: `benchmarks/ingest.py --only replay` measures, since machines are busy.
_REPLAYED_PER_SECOND = 10_000
#: A change that replays more events than this has to be asked for: writers wait meanwhile, and give
#: up after 30 seconds.
MOST_REPLAYED = 20 * _REPLAYED_PER_SECOND


@dataclass(frozen=True, slots=True)
class Change:
    """The schema that holds now, and how many events were replayed for it."""

    schema: Schema
    replayed: int


def change(
    connection: Connection,
    schema: Schema,
    *,
    reason: str,
    now: int,
    seen: Callable[[int], bool] | None = None,
    patient: bool = False,
) -> Change:
    """Make `schema` the next version; the same as the present one makes none.

    Where half-lives or the way of counting change, edges are summed anew from the log in the same
    transaction. `seen` tells whether the caller has seen a version; `patient` accepts a replay of
    more than 200,000 events. Raises `SchemaChanged`, `SchemaRefused` or `ReplayTooLong`.
    """
    wait_for_writers(connection)
    present = current(connection)
    if seen is not None and not seen(present.version):
        raise SchemaChanged(
            f"the schema is at version {present.version}, which is not the one you have seen; "
            "read it again and repeat the change"
        )
    if text_of(schema) == text_of(present):
        return Change(present, 0)
    if lost := orphans(connection, present, schema):
        named = ", ".join(map(str, lost))
        raise SchemaRefused(
            f"the change would orphan what is stored under {named}; add new names instead",
            errors=[orphan.as_error() for orphan in lost],
        )
    replay = _log_length(connection) if replay_needed(connection, present, schema) else 0
    if replay > MOST_REPLAYED and not patient:
        raise ReplayTooLong(
            f"the change replays {replay} events, during which nothing can be written: about "
            f"{replay // _REPLAYED_PER_SECOND} seconds; ask for it with replay=true"
        )
    following = store(connection, schema, present.version + 1, reason=reason, now=now)
    if replay:
        rebuild(connection, following)
    return Change(following, replay)


def _log_length(connection: Connection) -> int:
    return int(connection.scalar(select(func.count()).select_from(events)) or 0)
