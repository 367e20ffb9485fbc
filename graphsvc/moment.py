"""A moment in the life of the log: up to which row it is read, and what the clock said then.

Takes a connection, gives `Moment`s; never reads more than a few rows. `received_at` grows with
`seq`, so a time is found by bisection.
"""

from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from graphsvc.errors import NotEnoughData
from graphsvc.tables import events


class Moment(NamedTuple):
    """The log as it was when row `seq` was its last.

    `as_of` is when that row arrived, in seconds since 1970.
    """

    seq: int
    as_of: int


def present_moment(connection: Connection) -> Moment:
    """The log's end; (0, 0) where it is empty."""
    return _of_seq(connection, connection.scalar(select(func.max(events.c.seq))) or 0)


def moment_of_seq(connection: Connection, seq: int) -> Moment:
    """The moment when row `seq` was the last; if the row is gone, the one before it."""
    last = connection.scalar(select(func.max(events.c.seq)).where(events.c.seq <= seq))
    return _of_seq(connection, last or 0)


def moment_at_time(connection: Connection, time: int) -> Moment:
    """The log as it was at the end of a second. Raises `NotEnoughData` before the first event."""
    first, last = connection.execute(select(func.min(events.c.seq), func.max(events.c.seq))).one()
    if first is None:
        raise NotEnoughData("no event has arrived yet; post some first")
    arrived = _arrival_from(connection, first)[1]
    if arrived > time:
        raise NotEnoughData(
            f"no event had arrived by {time} (seconds since 1970): the first one arrived at "
            f"{arrived} ({datetime.fromtimestamp(arrived, UTC):%Y-%m-%d %H:%M:%S} UTC); events "
            "count from when they arrived, whenever they happened"
        )
    # Invariant: the first row at or behind `low` came in time; none at or behind `high` did.
    low, high = first, last + 1
    while high - low > 1:
        middle = (low + high) // 2
        found, came = _arrival_from(connection, middle)
        if found < high and came <= time:
            low = found
        else:
            high = middle
    return _of_seq(connection, low)


def _arrival_from(connection: Connection, seq: int) -> tuple[int, int]:
    """(seq, received_at) of the first row at or behind `seq`: rows may have been taken out."""
    query = select(events.c.seq, events.c.received_at).where(events.c.seq >= seq)
    row = connection.execute(query.order_by(events.c.seq).limit(1)).one()
    return row.seq, row.received_at


def _of_seq(connection: Connection, seq: int) -> Moment:
    arrived = connection.scalar(select(events.c.received_at).where(events.c.seq == seq))
    return Moment(seq, arrived or 0)
