"""The database: all or nothing, one writer of the log at a time, readers see one moment."""

import sqlite3
from contextlib import closing
from pathlib import Path
from threading import Thread
from time import monotonic
from traceback import format_exception
from typing import Any

import psycopg
import pytest
from postgres_server import Postgres
from sqlalchemy import func, insert, select, text
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from graphsvc.alone import claim
from graphsvc.db import Database, reported, wait_for_writers
from graphsvc.errors import DatabaseUnavailable, GraphError, ValueUnusable
from graphsvc.ingest import ingest
from graphsvc.schema import load_schema
from graphsvc.tables import api_keys, edges, events

ADS = load_schema("ads")
NOW = 1_767_225_600
ROW = {"id": "k", "hash": "h", "name": "n", "created_at": 1}


def clicks(writer: int, batch: int) -> list[dict[str, Any]]:
    return [
        {
            "event_id": f"{writer}-{batch}-{number}",
            "event_name": "click",
            "event_time": NOW,
            "action_source": "onsite",
            "actor": {"type": "user", "id": f"u{number}"},
            "object": {"type": "ad", "id": f"a{writer}"},
        }
        for number in range(20)
    ]


def test_a_block_that_raises_leaves_nothing(database: Database) -> None:
    with (  # noqa: PT012  (the point is what happens after the insert)
        pytest.raises(KeyError),
        database.transaction() as connection,
    ):
        connection.execute(insert(api_keys).values(ROW))
        raise KeyError
    with database.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(api_keys)) == 0


def test_a_reader_cannot_write(database: Database) -> None:
    with database.reading() as connection, pytest.raises((DBAPIError, DatabaseUnavailable)):
        connection.execute(insert(api_keys).values(ROW))
    with database.transaction() as connection:  # the connection is a writer's again
        connection.execute(insert(api_keys).values(ROW))
    with database.reading() as connection:
        assert connection.scalar(select(api_keys.c.id)) == "k"


def test_a_reader_sees_one_moment(database: Database) -> None:
    count = select(func.count()).select_from(api_keys)
    with database.reading() as reader:
        assert reader.scalar(count) == 0
        with database.transaction() as writer:
            writer.execute(insert(api_keys).values(ROW))
        assert reader.scalar(count) == 0
    with database.reading() as reader:
        assert reader.scalar(count) == 1


def test_writers_take_turns_and_readers_miss_nothing(database: Database) -> None:
    writers, batches = 4, 5
    seen: list[int] = []
    failed: list[Exception] = []

    def write(writer: int) -> None:
        try:
            for batch in range(batches):
                with database.transaction() as connection:
                    ingest(connection, ADS, clicks(writer, batch), now=NOW)
        except Exception as error:  # noqa: BLE001  (told to the test, whatever it is)
            failed.append(error)

    threads = [Thread(target=write, args=(writer,)) for writer in range(writers)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        # Whoever has read up to a seq has read all below it: a later commit never fills a gap.
        with database.reading() as connection:
            last = seen[-1] if seen else 0
            query = select(events.c.seq).where(events.c.seq > last).order_by(events.c.seq)
            seen += connection.scalars(query)
    for thread in threads:
        thread.join()
    assert not failed
    with database.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(events)) == 400
        logged = connection.scalars(select(events.c.seq).order_by(events.c.seq)).all()
        assert connection.scalar(select(func.sum(edges.c.count))) == 400
    assert seen == logged[: len(seen)]
    assert logged == list(range(1, 401))


def test_who_waits_for_a_writer_gives_up(database_url: str) -> None:
    hasty = Database(f"{database_url}{'&' if '?' in database_url else '?'}timeout=0.3")
    patient = Database(database_url)
    with patient.transaction() as holder:
        wait_for_writers(holder)
        began = monotonic()
        with (
            pytest.raises(DatabaseUnavailable, match=r"another writer holds|database is locked"),
            hasty.transaction() as connection,
        ):
            wait_for_writers(connection)
        assert 0.2 < monotonic() - began < 10, "as long as the URL says"
        ingest(holder, ADS, clicks(0, 0), now=NOW)  # who holds it is not hurried
    with hasty.transaction() as connection:
        verdicts = ingest(connection, ADS, clicks(0, 0), now=NOW)
        assert {verdict.status for verdict in verdicts} == {"duplicate"}
        if hasty.is_postgresql:
            assert connection.scalar(text("SHOW lock_timeout")) == "300ms"
    if hasty.is_postgresql:
        with hasty.reading() as connection:
            assert connection.scalar(text("SHOW lock_timeout")) == "0", "nobody inherits it"
    hasty.dispose()
    patient.dispose()


@pytest.mark.parametrize("kind", [DBAPIError, OperationalError, ProgrammingError])
def test_a_lock_that_somebody_holds_whatever_its_class(kind: type[DBAPIError]) -> None:
    with pytest.raises(DatabaseUnavailable, match="another writer holds the lock"), reported():
        raise kind("SELECT 1", {}, psycopg.errors.LockNotAvailable("canceling statement"))


def test_a_peer_that_vanished_is_noticed(postgres: Postgres) -> None:
    """Both ways in say so to the driver, and what the URL says counts."""
    url = postgres.create()
    wanted = {"keepalives_idle": "5", "keepalives_interval": "5", "keepalives_count": "2"}
    wanted |= {"tcp_user_timeout": "15000", "connect_timeout": "5"}
    said = {"tcp_user_timeout": "9000", "keepalives_idle": "7"}
    query = "&".join(f"{name}={value}" for name, value in said.items())
    for name, expected in ((url, wanted), (f"{url}&{query}", wanted | said)):
        database = Database(name)
        held = claim(database)
        assert held is not None
        with database.reading() as connection:
            for each in (connection, held._holder):
                given = each.connection.driver_connection.info.get_parameters()
                assert {name: given.get(name) for name in expected} == expected
        held.release()
        database.dispose()
    postgres.drop(url)


def test_no_value_reaches_a_log_or_a_traceback(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    personal = "someone@example.org"
    row = ROW | {"id": personal}
    broken = {"body": f'{{"{personal}"'}
    cast = "CAST(:body AS json)" if database.is_postgresql else "json_extract(:body, '$.a')"
    for failing, values in (
        (insert(api_keys), row),  # not unique; PostgreSQL's DETAIL quotes the key
        (text(f"SELECT {cast}"), broken),  # its CONTEXT quotes the document
        (text("SELECT * FROM nowhere WHERE id = :id"), {"id": personal}),
    ):
        with (  # noqa: PT012  (the second time fails)
            caplog.at_level("DEBUG"),
            pytest.raises((DBAPIError, GraphError)) as error,
            database.transaction() as connection,
        ):
            connection.execute(failing, values)
            connection.execute(failing, values)
        told = "".join(format_exception(error.value))
        assert personal not in told + caplog.text


@pytest.mark.parametrize("value", ["a\0b", "\ud800"])
def test_a_value_that_cannot_be_stored(both_databases: Any, value: str) -> None:
    """SQLite can store a null byte; the ways in do not let one pass."""
    sqlite, postgresql = both_databases
    for database in [postgresql] if "\0" in value else [sqlite, postgresql]:
        with (
            pytest.raises(ValueUnusable) as error,
            database.transaction() as connection,
        ):
            connection.execute(insert(api_keys).values(ROW | {"name": value}))
        assert str(error.value) == ValueUnusable.__doc__


def test_ping(database: Database) -> None:
    database.ping()


@pytest.mark.parametrize(
    "url", ["sqlite:////nowhere/at/all.sqlite", "postgresql://postgres@/x?host=/nowhere"]
)
def test_a_database_that_does_not_answer(url: str) -> None:
    database = Database(url)
    with pytest.raises(DatabaseUnavailable, match="does not answer"):
        database.ping()
    database.dispose()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://u:secret@h/d"])
def test_a_url_of_something_else(url: str) -> None:
    with pytest.raises(GraphError, match="should begin with") as error:
        Database(url)
    assert "secret" not in str(error.value)


def test_sqlite_is_durable_and_checks_references(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/new.sqlite")
    with database.transaction() as connection:
        pragmas = [
            connection.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    assert pragmas == ["wal", 2, 1, 30_000]
    database.dispose()


@pytest.mark.parametrize("page", [2048, 4096])
def test_the_log_of_sqlite_is_copied_back_at_a_size(tmp_path: Path, page: int) -> None:
    """Of a new file, and of one that an earlier version made with larger pages."""
    path = tmp_path / "graph.sqlite"
    if page != 2048:
        with closing(sqlite3.connect(path)) as before:
            before.execute(f"PRAGMA page_size = {page}")
            before.execute("CREATE TABLE made (before)")
    database = Database(f"sqlite:///{path}")
    with database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA page_size").scalar() == page
        pages = connection.exec_driver_sql("PRAGMA wal_autocheckpoint").scalar()
    database.dispose()
    assert pages is not None
    assert pages * page == 125 * 2**20


def test_what_a_long_reader_let_the_log_of_sqlite_grow_to_is_given_back(
    tmp_path: Path, migrated_sqlite: Path
) -> None:
    path = tmp_path / "graph.sqlite"
    path.write_bytes(migrated_sqlite.read_bytes())
    database, megabyte = Database(f"sqlite:///{path}"), 1 << 20

    def write(megabytes: int) -> int:
        for _ in range(megabytes):
            with database.transaction() as connection:
                connection.execute(text("DELETE FROM big"))
                connection.execute(text("INSERT INTO big VALUES (zeroblob(1048576))"))
        return path.with_name("graph.sqlite-wal").stat().st_size // megabyte

    with database.transaction() as connection:
        connection.execute(text("CREATE TABLE big (bytes BLOB)"))
    with database.reading() as connection:
        connection.execute(text("SELECT * FROM big")).fetchall()
        assert write(300) >= 300, "the reader may still need what was there before"
    assert write(5) <= 160
    database.dispose()


def test_a_rewritten_file_has_no_copy_of_what_was_deleted(
    tmp_path: Path, migrated_sqlite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "graph.sqlite"
    path.write_bytes(migrated_sqlite.read_bytes())
    database = Database(f"sqlite:///{path}?timeout=0.1")
    with database.transaction() as connection:
        connection.execute(text("CREATE TABLE names (name TEXT)"))
        for n in range(2_000):
            connection.execute(text("INSERT INTO names VALUES (:name)"), {"name": f"name {n:05d}"})
    with database.transaction() as connection:
        connection.execute(text("DELETE FROM names WHERE name <> 'name 01000'"))
    assert not database.rewrite(most_bytes=1000), "it is larger"
    assert database.rewrite()
    files = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"name 01000" in files
    assert b"name 00999" not in files
    assert path.with_name("graph.sqlite-wal").stat().st_size == 0
    # While somebody reads what was, the log cannot be let go of.
    monkeypatch.setattr("graphsvc.db._BUSY_SECONDS", 0.1)
    with database.reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM names")).scalar() == 1
        assert not database.rewrite()
    database.dispose()


def test_postgresql_is_vacuumed(postgres: Postgres) -> None:
    database = Database(postgres.create())
    with database.transaction() as connection:
        connection.execute(text("CREATE TABLE names (name TEXT)"))
    assert database.rewrite()
    with database.transaction() as connection:  # its connections are as before
        connection.execute(text("INSERT INTO names VALUES ('a')"))
    database.dispose()
