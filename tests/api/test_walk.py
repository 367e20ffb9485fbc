"""A step that the database fails: it waits, runs again a few times, and then says why."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from dbos import error as dbos_error
from sqlalchemy import Connection

from api.jobs import walk
from api.jobs.walk import StepFailed, Walk
from graphsvc import joblog, progress
from graphsvc.db import Database
from graphsvc.errors import DatabaseUnavailable, NoSpace

AWAY = DatabaseUnavailable("the database does not answer: gone\nand a second line")


class Failing:
    """A database that refuses so many of its next transactions."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.refuses = 0
        self.error: Exception = AWAY
        self.pings = 0

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        if self.refuses:
            self.refuses -= 1
            raise self.error
        with self.database.transaction() as connection:
            yield connection

    def reading(self) -> Any:
        return self.database.reading()

    def ping(self) -> None:
        self.pings += 1
        self.database.ping()


@pytest.fixture
def failing(database: Database, monkeypatch: pytest.MonkeyPatch) -> Failing:
    monkeypatch.setattr(walk, "_SECONDS_BETWEEN_PINGS", 0.001)
    return Failing(database)


def run(failing: Failing, work: Any, *, status: str = "PENDING") -> Any:
    jobs: Any = SimpleNamespace(status=lambda _job: SimpleNamespace(status=status))
    shop: Any = SimpleNamespace(database=failing)
    return Walk(shop, jobs, "job", ("snapshot", "embed"))._run("embed", work)


def told(failing: Failing) -> tuple[str, str]:
    with failing.database.reading() as connection:
        (step,) = progress.read(connection, "job")
    assert (step.step, step.position) == ("embed", 1)
    return step.state, step.note


def lines(failing: Failing) -> list[tuple[str, str]]:
    with failing.database.reading() as connection:
        found = joblog.read(connection, "job")
    assert {line.step for line in found} == {"embed"}
    return [(line.level, line.message) for line in found]


class Work:
    """Fails so often, then is done; refuses so many transactions after it failed."""

    def __init__(self, failing: Failing, error: Exception, *, times: int, then: int = 0) -> None:
        self.failing, self.error, self.times, self.then = failing, error, times, then
        self.ran = 0

    def __call__(self, _tick: Any) -> str:
        self.ran += 1
        if self.ran > self.times:
            return "made"
        self.failing.refuses = self.then
        raise self.error


def test_a_step_waits_for_the_database_and_runs_again(failing: Failing) -> None:
    work = Work(failing, AWAY, times=3)
    assert run(failing, work) == "made"
    assert (work.ran, failing.pings) == (4, 3)
    assert told(failing) == ("done", "")
    begun, *again, done = lines(failing)
    assert begun == ("info", "begun")
    assert again == [("warning", "begun again: the database did not answer")] * 3
    assert re.fullmatch(r"done in \d+\.\d s", done[1])


@pytest.mark.parametrize("away", [0, 1, 3], ids="away for {}".format)
def test_a_step_that_the_database_always_fails_says_so(failing: Failing, away: int) -> None:
    """Also if it is away at the moment at which the step is told."""
    work = Work(failing, AWAY, times=99)

    def last(tick: Any) -> str:
        work.then = away if work.ran == 3 else 0
        return work(tick)

    with pytest.raises(StepFailed) as failed:
        run(failing, last)
    assert str(failed.value) == "embed: the database does not answer: gone"
    assert work.ran == 4
    assert told(failing) == ("failed", "the database does not answer: gone")
    # Of an error whose words are a library's the log of the job has none.
    assert lines(failing)[-1] == ("error", "failed: the database did not answer, 4 times")


def test_what_nobody_foresaw_is_told_by_class_and_place_in_the_log(failing: Failing) -> None:
    with pytest.raises(StepFailed):
        run(failing, Work(failing, ValueError("anna@example.invalid"), times=1))
    level, message = lines(failing)[-1]
    assert level == "error"
    assert re.match(
        r"failed unexpectedly: builtins\.ValueError at api/test_walk\.py:\d+ __call__;", message
    )
    assert "anna" not in message


def test_what_was_foreseen_is_told_in_its_words(failing: Failing) -> None:
    with pytest.raises(StepFailed):
        run(failing, Work(failing, NoSpace(), times=1))
    assert lines(failing)[-1] == ("error", f"failed: {NoSpace()}")


@pytest.mark.parametrize("error", [AWAY, NoSpace()], ids=["away", "full"])
def test_a_job_names_its_step_even_where_that_cannot_be_written(
    failing: Failing, error: Exception
) -> None:
    failing.error = error
    with pytest.raises(StepFailed, match=r"^embed: ValueError: wrong$"):
        run(failing, Work(failing, ValueError("wrong"), times=1, then=99))
    assert told(failing)[0] == "running"


def test_a_step_that_cannot_even_begin_is_named(failing: Failing) -> None:
    failing.error, failing.refuses = NoSpace(), 1
    work = Work(failing, AWAY, times=0)
    with pytest.raises(StepFailed, match=r"^embed: The disk is full"):
        run(failing, work)
    assert work.ran == 0
    assert told(failing)[0] == "failed"


def test_a_cancelled_job_fails_at_no_step(failing: Failing) -> None:
    with pytest.raises(dbos_error.DBOSWorkflowCancelledError):
        run(failing, Work(failing, AWAY, times=0), status="CANCELLED")
    assert told(failing)[0] == "cancelled"
    assert lines(failing)[-1] == ("warning", "stopped before its end; nothing of it was kept")
