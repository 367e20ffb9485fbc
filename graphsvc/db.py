"""The database of the house: SQLite by default, or PostgreSQL; and the only commit.

Takes a URL, gives connections inside a transaction; never knows a table. On SQLite an
acknowledged transaction survives a power cut (synchronous FULL) and writers take turns from their
first statement (BEGIN IMMEDIATE), so none fails halfway because another was faster.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from math import inf
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import psycopg
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry

from graphsvc.errors import DatabaseUnavailable, GraphError, NoSpace, ValueUnusable

__all__ = [
    "PEER_SECONDS",
    "Connection",
    "Database",
    "limits",
    "reported",
    "require_writing",
    "wait_for_writers",
]

#: For how long a statement waits for another writer of an SQLite file, or a writer of PostgreSQL
#: for a lock; `?timeout=` of a URL counts instead.
_BUSY_SECONDS = 30.0
#: PostgreSQL's server that vanished without goodbye is noticed within about this long.
PEER_SECONDS = 15
#: What a connection to PostgreSQL is opened with. Without them a host that swallows packets would
#: hold a request for minutes while it connects, and for hours afterwards.
_LIMITS = {
    "connect_timeout": 5,
    "keepalives_idle": PEER_SECONDS // 3,
    "keepalives_interval": PEER_SECONDS // 3,
    "keepalives_count": 2,
    "tcp_user_timeout": PEER_SECONDS * 1000,
}
_DRIVERS = (psycopg.Error, sqlite3.Error)
_AWAY = (
    *(psycopg.OperationalError, psycopg.InterfaceError),
    *(sqlite3.OperationalError, sqlite3.InterfaceError),
)
_UNUSABLE = (psycopg.DataError, sqlite3.DataError)
#: What the drivers call a full disk, or one that takes no more: SQLSTATE, or SQLite's error names.
_FULL = frozenset({"53100", "SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_FSYNC"})
#: PostgreSQL's SQLSTATE of a lock that somebody else has held for too long.
_LOCKED = "55P03"
_BUSY = (
    "the database is busy: another writer holds the lock, perhaps a replay of the log; nothing of "
    "this request was kept, so repeat it"
)
#: PostgreSQL's advisory lock of everything that appends to the log or promotes; any fixed number.
_WRITERS = 0x67726170
#: SQLite's write-ahead log, in bytes: when it is copied back into the database, and what it keeps.
_COPIED_BACK, _LARGEST_WAL = 125 << 20, 160 << 20
_SECONDS_BETWEEN_TRIES = 0.05
_WRITES = "graphsvc_writes"
_PATIENCE = "graphsvc_patience"


class Database:
    """Connections to one database. Safe to share between threads."""

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        self.is_postgresql = parsed.get_backend_name() == "postgresql"
        if not self.is_postgresql and (
            parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:")
        ):
            raise GraphError(
                "the database URL should begin with postgresql:// or name an SQLite file "
                f"(sqlite:////folder/file), received {parsed.render_as_string()!r}"
            )
        patience = float(str(parsed.query.get("timeout", _BUSY_SECONDS)))
        if self.is_postgresql:
            parsed = parsed.difference_update_query(["timeout"])  # its driver knows no such thing
        self.url = parsed.render_as_string(hide_password=False)
        self._patience = patience
        self._engine: Engine = create_engine(
            parsed,
            connect_args=limits(parsed) if self.is_postgresql else {},
            execution_options={_PATIENCE: patience},
            pool_size=10,
            max_overflow=30,
            pool_pre_ping=self.is_postgresql,
            pool_use_lifo=True,  # SQLite forgets what a connection has read once another one writes
            hide_parameters=True,  # ids are personal: none reaches a log or a traceback
        )
        event.listen(self._engine, "handle_error", _keep_first_line)
        if not self.is_postgresql:
            event.listen(self._engine, "connect", _preparing_sqlite(patience))
            event.listen(self._engine, "begin", _begin_sqlite)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection whose changes are all kept when the block ends, or none if it raises."""
        with reported(), self._engine.connect() as plain:
            connection = plain.execution_options(**{_WRITES: True})
            with connection.begin() as transaction:
                yield connection
                transaction.commit()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one moment of the database and cannot change it."""
        options: dict[str, Any] = {}
        if self.is_postgresql:
            options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with reported(), self._engine.connect() as plain:
            connection = plain.execution_options(**options)
            with connection.begin() as transaction:
                try:
                    yield connection
                finally:
                    transaction.rollback()

    def ping(self) -> None:
        """Raise `DatabaseUnavailable` unless the database answers."""
        with self.reading() as connection:
            connection.execute(text("SELECT 1"))

    def rewrite(self, *, most_bytes: float = inf) -> bool:
        """Leave no copy of deleted rows in unused room, as far as the database can do that.

        SQLite: all of the file is written anew, if it has at most so many bytes, and the log of
        writes is emptied; nobody else writes meanwhile. PostgreSQL: all tables are vacuumed.
        Whether that was done to the end; else copies may be left. Raises `DatabaseUnavailable`.
        """
        with reported(), closing(self._engine.raw_connection()) as pooled:
            driver: Any = pooled.driver_connection
            if self.is_postgresql:
                driver.autocommit = True
                try:
                    driver.execute("VACUUM")
                finally:
                    driver.autocommit = False
                return True
            driver.execute("PRAGMA query_only = 0")
            file = Path(str(make_url(self.url).database))
            small = file.stat().st_size <= most_bytes
            if small:
                driver.execute("VACUUM")
            try:
                return _emptied(driver) and small
            finally:
                driver.execute(f"PRAGMA busy_timeout = {round(self._patience * 1000)}")

    def dispose(self) -> None:
        """Close every connection that is not in use."""
        self._engine.dispose()


def _emptied(driver: Any) -> bool:
    """Copy SQLite's log of writes into the file, and leave nothing of it; False if readers stay.

    It would hold up all writers while it waits for readers, so it asks again instead.
    """
    until = monotonic() + _BUSY_SECONDS
    driver.execute("PRAGMA busy_timeout = 0")
    while True:
        [busy, *_] = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not busy or monotonic() > until:
            return not busy
        sleep(_SECONDS_BETWEEN_TRIES)


def limits(url: URL) -> dict[str, Any]:
    """What a connection to PostgreSQL is opened with; what the URL says itself is left to it."""
    return {name: value for name, value in _LIMITS.items() if name not in url.query}


def require_writing(connection: Connection) -> None:
    """Raise `GraphError` for a connection that is there for reading."""
    if not connection.get_execution_options().get(_WRITES):
        raise GraphError("this needs Database.transaction(), received a connection for reading")


def wait_for_writers(connection: Connection) -> None:
    """Be the only writer of the log and the ledger until this transaction ends.

    So the order of `seq` is the order of commits: whoever has read up to a seq misses nothing.
    Raises `DatabaseUnavailable` after as long as a writer of SQLite would wait.
    """
    require_writing(connection)
    if connection.dialect.name == "postgresql":
        patience = connection.get_execution_options()[_PATIENCE]
        # One round trip, and the first is in force before the second waits. It stays so for the
        # rest of the transaction: a table that somebody else has locked is given up on as well.
        connection.exec_driver_sql(
            f"SET LOCAL lock_timeout = {max(1, round(patience * 1000))}; "
            f"SELECT pg_advisory_xact_lock({_WRITERS})"
        )


@contextmanager
def reported() -> Iterator[None]:
    """Give the drivers' errors their names here: `DatabaseUnavailable`, `NoSpace`, `ValueUnusable`.

    They may come through SQLAlchemy or straight from a driver: whoever uses the driver's own cursor
    does it in here, and so does whoever talks to a database of ours through another library. What
    has no name here keeps its class, and its first line only.
    """
    try:
        yield
    except (DBAPIError, *_DRIVERS) as error:
        original = error.orig if isinstance(error, DBAPIError) else error
        if original is not None:
            _shorten(original, error)
        if isinstance(original, _UNUSABLE):
            raise ValueUnusable from None  # even the first line may quote the value
        if isinstance(original, _AWAY) or _LOCKED in _codes(original):
            raise _away(original) from error
        raise
    except UnicodeEncodeError:
        raise ValueUnusable from None
    except PoolTimeout as error:
        raise DatabaseUnavailable("all connections to the database are in use") from error


def _away(error: BaseException | None) -> DatabaseUnavailable | NoSpace:
    """The name of an error that is nobody's fault."""
    codes = _codes(error)
    if _LOCKED in codes:
        return DatabaseUnavailable(_BUSY)
    cause = _first_line(str(error))
    if not _FULL.isdisjoint(codes):
        return NoSpace(
            f"the database could not write ({cause}): no space is left, or the disk refuses; "
            "nothing of this request was kept, so make room and repeat it"
        )
    return DatabaseUnavailable(f"the database does not answer: {cause}")


def _codes(error: BaseException | None) -> set[str]:
    """What the drivers call an error: SQLSTATE, or SQLite's name of it."""
    names = (getattr(error, name, None) for name in ("sqlstate", "sqlite_errorname"))
    return {name for name in names if name}


def _keep_first_line(context: ExceptionContext) -> None:
    if isinstance(context.sqlalchemy_exception, DBAPIError):
        _shorten(context.original_exception, context.sqlalchemy_exception)


def _shorten(original: BaseException, wrapped: BaseException) -> None:
    """Drop what PostgreSQL adds to its errors (DETAIL, CONTEXT): it quotes values."""
    whole = str(original)
    first = _first_line(whole)
    original.args = (first,)
    if wrapped is not original:
        wrapped.args = (str(wrapped.args[0]).replace(whole, first),)


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


def _log_shortly(record: logging.LogRecord) -> bool:
    """Keep an error that psycopg only logs as short as one that it raises.

    It logs what PostgreSQL says of a COPY that had failed already: whole, with the row.
    """
    if isinstance(record.args, tuple):
        record.args = tuple(
            type(each).__name__ if isinstance(each, _UNUSABLE) else each for each in record.args
        )
    record.msg, record.args = _first_line(record.getMessage()), None
    return True


logging.getLogger("psycopg").addFilter(_log_shortly)


def _preparing_sqlite(patience: float) -> Callable[[DBAPIConnection, ConnectionPoolEntry], None]:
    def prepare(handle: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        handle.isolation_level = None  # transactions begin where we say, see below
        # PostgreSQL's names, so that both databases run the same statements.
        handle.create_function("power", 2, pow, deterministic=True)
        handle.create_function("least", 2, min, deterministic=True)
        handle.create_function("greatest", 2, max, deterministic=True)
        cursor = handle.cursor()
        for pragma in (
            f"busy_timeout = {round(patience * 1000)}",
            # A commit changes one row in most of the pages it touches, and writes them whole.
            "page_size = 2048",
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            "secure_delete = ON",  # what is deleted is overwritten
            "cache_size = -32768",  # KiB
            f"journal_size_limit = {_LARGEST_WAL}",  # what a long reader made of more goes again
        ):
            cursor.execute(f"PRAGMA {pragma}")
        # What changes often is copied back less often. A file that was made before has other pages.
        [page] = cursor.execute("PRAGMA page_size").fetchone()
        cursor.execute(f"PRAGMA wal_autocheckpoint = {_COPIED_BACK // page}")
        cursor.close()

    return prepare


def _begin_sqlite(connection: Connection) -> None:
    writes: Any = connection.get_execution_options().get(_WRITES)
    # Without SQLAlchemy's bookkeeping: every score begins a transaction.
    driver: Any = connection.connection.driver_connection
    driver.execute(f"PRAGMA query_only = {0 if writes else 1}")
    driver.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
