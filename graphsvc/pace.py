"""How many events came lately, minute by minute.

Takes a connection, gives counts; never reads more than so many rows of the log's end.
"""

from sqlalchemy import Connection, func, select

from graphsvc.tables import events

_MINUTE = 60
#: Rows from the end that are looked at; with more in the time asked for, the oldest lack.
MOST_ROWS = 200_000


def per_minute(connection: Connection, *, now: int, minutes: int) -> list[int]:
    """Events that were received in each of the last minutes, the oldest first."""
    first = now // _MINUTE - minutes + 1
    last = select(events.c.received_at).order_by(events.c.seq.desc()).limit(MOST_ROWS).subquery()
    minute = (last.c.received_at / _MINUTE).label("minute")
    if connection.dialect.name == "sqlite":
        minute = func.floor(last.c.received_at / _MINUTE).label("minute")
    counted = (
        select(minute, func.count()).where(last.c.received_at >= first * _MINUTE).group_by("minute")
    )
    found = {int(row[0]): int(row[1]) for row in connection.execute(counted)}
    return [found.get(first + n, 0) for n in range(minutes)]
