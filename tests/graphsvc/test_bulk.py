"""Rows by COPY: what PostgreSQL refuses has a name here, and no word of it quotes a row."""

import logging
from collections.abc import Iterator
from traceback import format_exception

import psycopg
import pytest
from postgres_server import Postgres
from sqlalchemy import Connection, Select, column, func, select, text

from graphsvc.bulk import Staging
from graphsvc.columns import tuples_of
from graphsvc.db import Database
from graphsvc.errors import DatabaseUnavailable, GraphError, NoSpace, ValueUnusable

PERSONAL = "someone@example.org"
STAGING = Staging(table="staged_here", columns={"name": "text", "number": "bigint"})
ROWS = [(PERSONAL, 1)] * 3


@pytest.fixture
def database(postgres: Postgres) -> Iterator[Database]:
    """PostgreSQL alone: SQLite has no COPY."""
    url = postgres.create()
    opened = Database(url)
    yield opened
    opened.dispose()
    postgres.drop(url)


def _end(database: Database, connection: Connection) -> None:
    """Terminate a connection's backend, as an administrator or a crash would."""
    pid = connection.scalar(select(func.pg_backend_pid()))
    with database.reading() as other:
        assert other.scalar(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})


def _is_silent(error: pytest.ExceptionInfo[Exception], caplog: pytest.LogCaptureFixture) -> None:
    told = "".join(format_exception(error.value))
    for secret in (PERSONAL, "CONTEXT", "DETAIL"):
        assert secret not in told + caplog.text


@pytest.mark.parametrize("after", ["nothing", "a filling"])
def test_a_connection_that_is_lost_between_the_steps(
    database: Database, caplog: pytest.LogCaptureFixture, after: str
) -> None:
    with (  # noqa: PT012  (the second step fails)
        caplog.at_level(logging.DEBUG),
        pytest.raises(DatabaseUnavailable, match="does not answer") as error,
        database.transaction() as connection,
    ):
        if after == "a filling":
            STAGING.fill(connection, ROWS)
        _end(database, connection)
        STAGING.fill(connection, ROWS)
    _is_silent(error, caplog)
    with database.transaction() as connection:
        STAGING.fill(connection, ROWS)
        assert connection.scalar(text("SELECT count(*) FROM staged_here")) == len(ROWS)


@pytest.mark.parametrize("rows", [3, 200_000], ids=["few", "more than any buffer holds"])
def test_a_connection_that_is_lost_within_a_copy(
    database: Database, caplog: pytest.LogCaptureFixture, rows: int
) -> None:
    _make_refusal(database, "PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW;")
    with (  # noqa: PT012  (the trigger comes first)
        caplog.at_level(logging.DEBUG),
        pytest.raises(DatabaseUnavailable, match="does not answer") as error,
        database.transaction() as connection,
    ):
        connection.exec_driver_sql(STAGING.make)
        _refuse(connection, "staged_here")
        STAGING.fill(connection, [(PERSONAL, number) for number in range(rows)])
    _is_silent(error, caplog)


@pytest.mark.parametrize(
    ("value", "told"), [("1", "refused"), (PERSONAL, "InvalidTextRepresentation")]
)
def test_what_the_driver_logs_of_a_copy_that_has_failed_quotes_no_row(
    database: Database, caplog: pytest.LogCaptureFixture, value: str, told: str
) -> None:
    """The driver raises the error that came first, and logs the server's."""
    _make_refusal(database, "RAISE 'refused' USING DETAIL = NEW;")
    with (  # noqa: PT012  (the trigger comes first)
        caplog.at_level(logging.DEBUG),
        pytest.raises(InterruptedError) as error,
        database.transaction() as connection,
    ):
        connection.exec_driver_sql(STAGING.make)
        _refuse(connection, "staged_here")
        driver = connection.connection.driver_connection
        with driver.cursor() as cursor, cursor.copy(STAGING.copy) as copy:
            copy.write(f"{PERSONAL}\t{value}\n" * 200_000)
            raise InterruptedError
    assert "error ignored" in caplog.text
    assert told in caplog.text
    _is_silent(error, caplog)


@pytest.mark.parametrize(
    "row",
    [
        (f"{PERSONAL}\0", 1),
        (f"{PERSONAL}\ud800", 1),
        (PERSONAL, 1 << 70),
        (PERSONAL, 1.5),
    ],
    ids=["null byte", "half a pair", "too large", "no whole number"],
)
def test_a_value_that_copy_refuses(
    database: Database, caplog: pytest.LogCaptureFixture, row: tuple[str, float]
) -> None:
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(ValueUnusable) as error,
        database.transaction() as connection,
    ):
        STAGING.fill(connection, [*ROWS, row, *ROWS * 10_000])
    assert str(error.value) == ValueUnusable.__doc__
    _is_silent(error, caplog)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("53100", NoSpace),
        ("55P03", DatabaseUnavailable),
        ("57P01", DatabaseUnavailable),
        ("22000", ValueUnusable),
        ("23514", psycopg.IntegrityError),
        ("42P01", psycopg.ProgrammingError),
    ],
)
def test_an_error_of_copy_has_the_name_that_it_has_elsewhere(
    database: Database, caplog: pytest.LogCaptureFixture, code: str, kind: type[Exception]
) -> None:
    _make_refusal(database, f"RAISE 'refused' USING ERRCODE = '{code}', DETAIL = NEW;")
    with (  # noqa: PT012  (the trigger comes first)
        caplog.at_level(logging.DEBUG),
        pytest.raises((GraphError, psycopg.Error)) as error,
        database.transaction() as connection,
    ):
        connection.exec_driver_sql(STAGING.make)
        _refuse(connection, "staged_here")
        STAGING.fill(connection, ROWS)
    assert isinstance(error.value, kind)
    _is_silent(error, caplog)
    if not issubclass(kind, GraphError):
        return
    with (  # noqa: PT012  (the table comes first)
        pytest.raises(kind) as elsewhere,
        database.transaction() as connection,
    ):
        connection.exec_driver_sql("CREATE TABLE here (name text, number bigint)")
        _refuse(connection, "here")
        connection.exec_driver_sql("INSERT INTO here VALUES ('a', 1)")
    assert str(elsewhere.value) == str(error.value)


def _make_refusal(database: Database, body: str) -> None:
    with database.transaction() as connection:
        connection.exec_driver_sql(
            f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$"
        )


def _refuse(connection: Connection, table: str) -> None:
    connection.exec_driver_sql(
        f"CREATE TRIGGER refuse BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION refuse()"
    )


def test_a_connection_that_is_lost_while_columns_are_read(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    numbers: Select[tuple[int]] = select(column("n")).select_from(
        func.generate_series(1, 200_000).alias("n")
    )
    with (  # noqa: PT012  (the second block fails)
        pytest.raises(DatabaseUnavailable, match="does not answer"),
        database.reading() as connection,
    ):
        blocks = tuples_of(connection, numbers)
        assert len(next(blocks)) == 50_000
        pid = connection.connection.driver_connection.info.backend_pid
        with database.reading() as other:
            other.scalar(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        list(blocks)
    assert "Traceback" not in caplog.text


def test_what_columns_cannot_be_read_of_quotes_nothing(database: Database) -> None:
    number = text("CAST(:name AS json)").bindparams(name=f'{{"{PERSONAL}"')
    with pytest.raises(ValueUnusable) as error, database.reading() as connection:
        list(tuples_of(connection, select(number)))
    assert PERSONAL not in "".join(format_exception(error.value))
