"""One worker per database: the claim, who else asks for it, and how it ends."""

from pathlib import Path

import pytest
from postgres_server import Postgres
from sqlalchemy import text

from graphsvc.alone import claim
from graphsvc.db import Database
from graphsvc.errors import DatabaseUnavailable


@pytest.fixture
def two(postgres: Postgres):
    """The same PostgreSQL as two hosts see it."""
    url = postgres.create()
    opened = Database(url), Database(url)
    yield opened
    for database in opened:
        database.dispose()
    postgres.drop(url)


def test_only_one_has_the_claim_until_it_lets_go(two: tuple[Database, Database]) -> None:
    first, second = two
    mine = claim(first)
    assert mine is not None
    mine.check()
    assert claim(second) is None
    assert claim(first) is None, "also for the one who has it: a claim is a connection"
    mine.release()
    yours = claim(second)
    assert yours is not None
    assert claim(first) is None
    yours.release()


def test_the_claim_ends_with_its_connection(two: tuple[Database, Database]) -> None:
    first, second = two
    mine = claim(first)
    assert mine is not None
    with second.transaction() as connection:
        ended = connection.execute(
            text("""
                SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
                WHERE application_name = 'graphsvc worker' AND datname = current_database()
            """)
        )
        assert [row[0] for row in ended] == [True]
    yours = claim(second)
    assert yours is not None, "the next one need not wait"
    with pytest.raises(DatabaseUnavailable):
        mine.check()
    yours.check()
    mine.release()
    yours.release()


def test_another_database_of_the_same_server_has_its_own(postgres: Postgres) -> None:
    urls = [postgres.create(), postgres.create()]
    databases = [Database(url) for url in urls]
    claims = [claim(database) for database in databases]
    for database, held, url in zip(databases, claims, urls, strict=True):
        assert held is not None
        held.check()
        held.release()
        database.dispose()
        postgres.drop(url)


def test_a_file_has_one_claim_wherever_it_is_named(tmp_path) -> None:
    database = Database(f"sqlite:///{tmp_path}/graph.sqlite")
    mine = claim(database)
    assert mine is not None
    mine.check()
    assert claim(database) is None
    mine.release()
    yours = claim(database)
    assert yours is not None
    yours.release()
    database.dispose()


def test_a_file_has_one_claim_whatever_it_is_called(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    Path("data/graph.sqlite").touch()
    Path("linked.sqlite").symlink_to("data/graph.sqlite")
    Path("folder").symlink_to("data")
    names = (f"{tmp_path}/data/graph", "data/graph", "data/../data/graph", "folder/graph", "linked")
    mine = claim(Database(f"sqlite:///{names[0]}.sqlite"))
    assert mine is not None
    for name in names:
        assert claim(Database(f"sqlite:///{name}.sqlite")) is None, name
    mine.release()
    assert sorted(path.name for path in tmp_path.rglob("*.worker")) == ["graph.sqlite.worker"]
