"""The end of the log, as a number to hold on to.

Takes a connection, gives the last sequence number; never reads an event.
"""

from sqlalchemy import Connection, func, select

from graphsvc.tables import events


def last_seq(connection: Connection) -> int:
    """The number of the last event in the log; 0 if there is none."""
    return connection.scalar(select(func.max(events.c.seq))) or 0
