"""Being the only worker of a database.

Takes the graph's database, gives a claim: a lock of PostgreSQL that lasts as long as its
connection, or the lock of a file beside SQLite's. It ends with the process that holds it, however
that dies. Never waits for the one who has it.
"""

from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import TextIO

from sqlalchemy import Connection, create_engine, make_url, text

from graphsvc.db import PEER_SECONDS, Database, limits, reported
from graphsvc.errors import DatabaseUnavailable

__all__ = ["Claim", "claim"]

#: PostgreSQL's advisory lock of the one worker; any fixed number that nothing else uses.
_WORKER = 0x776F726B
_TAKE = text("SELECT pg_try_advisory_lock(:key)")
_HELD = text("""
    SELECT count(*) FROM pg_locks
    WHERE locktype = 'advisory' AND objid = :key AND pid = pg_backend_pid() AND granted
""")


class Claim:
    """The right to run jobs, held by a connection or a file of its own."""

    def __init__(self, holder: Connection | TextIO) -> None:
        self._holder = holder

    def check(self) -> None:
        """Raise `DatabaseUnavailable` once the claim may be somebody else's."""
        if not isinstance(self._holder, Connection):
            return  # a file's lock is lost with the process alone
        with reported():
            held = self._holder.scalar(_HELD, {"key": _WORKER})
        if not held:
            raise DatabaseUnavailable("the connection that held the worker's lock was lost")

    def release(self) -> None:
        """Let go of it."""
        self._holder.close()
        if isinstance(self._holder, Connection):
            self._holder.engine.dispose()


def claim(database: Database) -> Claim | None:
    """Become the only worker, or None if another one is. Raises `DatabaseUnavailable`."""
    return _of_server(database) if database.is_postgresql else _of_file(database)


def _of_file(database: Database) -> Claim | None:
    # Not the lock of the data folder: a file can be named from two folders, and by links.
    path = Path(make_url(database.url).database or "").resolve()
    lock = path.with_name(f"{path.name}.worker").open("a+")
    try:
        flock(lock, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return Claim(lock)


def _of_server(database: Database) -> Claim | None:
    # The server has to notice as well that the worker vanished, or nobody could take over.
    third = PEER_SECONDS // 3
    ends = f"-c tcp_keepalives_idle={third} -c tcp_keepalives_interval={third}"
    url = make_url(database.url)
    engine = create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        hide_parameters=True,
        pool_size=1,
        connect_args={
            **limits(url),
            "application_name": "graphsvc worker",
            "options": f"{ends} -c tcp_keepalives_count=2",
        },
    )
    try:
        with reported():
            connection = engine.connect()
            taken = connection.scalar(_TAKE, {"key": _WORKER})
    except DatabaseUnavailable:
        engine.dispose()
        raise
    held = Claim(connection)
    if taken:
        return held
    held.release()
    return None
