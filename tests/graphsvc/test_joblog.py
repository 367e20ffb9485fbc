"""What became of jobs: lines in their order, bounded per job and in all."""

import pytest

from graphsvc import joblog
from graphsvc.db import Database
from graphsvc.joblog import Line


def _add(database: Database, job: str, *messages: str) -> None:
    for message in messages:
        with database.transaction() as connection:
            joblog.add(connection, job, Line(7, "info", "embed", message))


def _read(database: Database, job: str) -> list[str]:
    with database.reading() as connection:
        return [line.message for line in joblog.read(connection, job)]


def test_lines_are_read_in_their_order_by_job(database: Database) -> None:
    _add(database, "a", "begun", "done")
    _add(database, "b", "begun")
    with database.transaction() as connection:
        joblog.add(connection, "a", Line(9, "warning", None, "cancelled, as was asked"))
    with database.reading() as connection:
        assert joblog.read(connection, "a") == [
            Line(7, "info", "embed", "begun"),
            Line(7, "info", "embed", "done"),
            Line(9, "warning", None, "cancelled, as was asked"),
        ]
    assert _read(database, "b") == ["begun"]
    assert _read(database, "c") == []
    assert _read(database, "\x00") == [], "no database holds such an id"


def test_a_long_message_is_cut(database: Database) -> None:
    _add(database, "a", "x" * 9_000)
    assert _read(database, "a") == ["x" * 500]


def test_the_oldest_lines_of_a_job_go_first(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joblog, "MOST_OF_ONE", 3)
    _add(database, "b", "of another job")
    _add(database, "a", *"12345")
    assert _read(database, "a") == ["3", "4", "5"]
    assert _read(database, "b") == ["of another job"]


def test_the_oldest_lines_of_all_go_first(database: Database) -> None:
    _add(database, "a", *"123")
    _add(database, "b", *"45")
    with database.transaction() as connection:
        assert joblog.prune(connection, most=5) == 0
        assert joblog.prune(connection, most=2) == 3
        assert joblog.prune(connection, most=2) == 0
    assert (_read(database, "a"), _read(database, "b")) == ([], ["4", "5"])
