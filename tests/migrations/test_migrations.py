"""Migrations lead to the tables of tables.py, from anywhere, and back."""

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from graphsvc.db import Database
from graphsvc.tables import metadata
from migrations import downgrade, upgrade

ROOT = Path(__file__).parents[2]


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


def test_several_processes_at_once(empty_url: str) -> None:
    command = [sys.executable, "-c", f"from migrations import upgrade; upgrade({empty_url!r})"]
    processes = [subprocess.Popen(command, cwd=ROOT) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    database = Database(empty_url)
    assert "events" in _tables(database)
    database.dispose()


def test_the_alembic_command_for_people(empty_url: str) -> None:
    alembic = [sys.executable, "-m", "alembic"]
    subprocess.run([*alembic, "-x", f"url={empty_url}", "upgrade", "head"], cwd=ROOT, check=True)
    without_url = subprocess.run([*alembic, "current"], cwd=ROOT, capture_output=True, text=True)
    assert without_url.returncode
    assert "say which database" in without_url.stdout
