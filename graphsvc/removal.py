"""Taking events out of the log, and out of the counters.

Takes keys of rows, deletes them; never decides whose they are.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection


def delete_events(connection: Connection, seqs: Sequence[int]) -> None:
    """Delete rows of the log; their numbers are not given again."""
    mark = "%s" if connection.dialect.name == "postgresql" else "?"
    statement = f"DELETE FROM events WHERE seq = {mark}"  # noqa: S608
    if seqs:
        connection.exec_driver_sql(statement, [(seq,) for seq in seqs])


def lower(connection: Connection, counted: Mapping[tuple[int, str], int]) -> None:
    """Take (entity, event name) -> n from counters; one that counts nothing any more goes."""
    if not counted:
        return
    mark = "%s" if connection.dialect.name == "postgresql" else "?"
    where = f"WHERE entity = {mark} AND event_name = {mark}"
    less = f"UPDATE counters SET n = n - {mark} {where}"  # noqa: S608
    connection.exec_driver_sql(less, [(n, *name) for name, n in counted.items()])
    gone = f"DELETE FROM counters {where} AND n <= 0"  # noqa: S608
    connection.exec_driver_sql(gone, list(counted))
