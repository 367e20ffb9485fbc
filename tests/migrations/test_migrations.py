"""Migrations lead to the tables of tables.py, from anywhere, and back."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from graphsvc.db import Database
from graphsvc.tables import metadata
from migrations import downgrade, upgrade


def _tables(database: Database) -> set[str]:
    with database.reading() as connection:
        return set(inspect(connection).get_table_names())


def test_an_empty_database_gets_exactly_the_tables_of_tables_py(empty_url: str) -> None:
    upgrade(empty_url)
    database = Database(empty_url)
    with database.reading() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []
    database.dispose()


def test_up_down_up(empty_url: str) -> None:
    database = Database(empty_url)
    upgrade(empty_url)
    assert _tables(database) == set(metadata.tables) | {"alembic_version"}
    downgrade(empty_url, "base")
    assert _tables(database) == {"alembic_version"}
    upgrade(empty_url)
    upgrade(empty_url)  # nothing left to do
    assert _tables(database) == set(metadata.tables) | {"alembic_version"}
    database.dispose()


def test_the_working_directory_does_not_matter(
    empty_url: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    upgrade(empty_url)
    database = Database(empty_url)
    assert "events" in _tables(database)
    database.dispose()
