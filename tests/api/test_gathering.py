"""Many requests at once: few commits, each its own verdicts, and nobody pays for another."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from semantics import NOW, SMALL_SCHEMA, event, statuses, tables
from sqlalchemy import Connection

from api import gathering
from api.gathering import Gathering
from graphsvc.batches import Batch
from graphsvc.db import Database
from graphsvc.errors import DatabaseUnavailable, ValueUnusable
from graphsvc.ingest import Verdict, prepare

CLIENTS = 12


class Slow:
    """A database whose first transaction waits until all others have come."""

    def __init__(self, database: Database, ready: Callable[[], bool]) -> None:
        self.is_postgresql = False  # one writer
        self.database = database
        self.ready = ready
        self.transactions = 0

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        self.transactions += 1
        if self.transactions == 1:
            waited = threading.Event()
            while not self.ready():
                assert not waited.wait(0.005)
        with self.database.transaction() as connection:
            yield connection


def gathered(database: Database) -> tuple[Gathering, Slow]:
    """A gathering whose first turn begins when all clients but it wait."""
    slow = Slow(database, lambda: len(made._waiting) == CLIENTS - 1)
    made = Gathering(slow)  # type: ignore[arg-type]
    return made, slow


def clicks(client: int, *, item: str = "item/1") -> Batch:
    events = [event("click", f"{client}-{n}", f"user/{client}", item) for n in range(3)]
    return prepare(SMALL_SCHEMA, [*events, events[0]], now=NOW)


def at_once(made: Gathering, batches: list[Batch]) -> list[Any]:
    """The verdicts on each batch, or the error."""

    def ask(batch: Batch) -> list[Verdict] | Exception:
        try:
            return made.append(SMALL_SCHEMA, batch, now=NOW)
        except Exception as error:  # noqa: BLE001  compared by the test
            return error

    with ThreadPoolExecutor(len(batches)) as pool:
        return list(pool.map(ask, batches))


def test_those_who_wait_are_written_together(database: Database) -> None:
    made, slow = gathered(database)
    answers = at_once(made, [clicks(n) for n in range(CLIENTS)])
    assert slow.transactions == 2
    for n, verdicts in enumerate(answers):
        assert statuses(verdicts) == ["accepted"] * 3 + ["duplicate"]
        assert [verdict.event_id for verdict in verdicts[:3]] == [f"{n}-{k}" for k in range(3)]
    assert {name[0]: value[0] for name, value in tables(database)["edges"].items()} == {
        f"user/{n}": 3 for n in range(CLIENTS)
    }


def test_the_same_batch_at_once_is_accepted_once(database: Database) -> None:
    made, slow = gathered(database)
    answers = at_once(made, [clicks(1) for _ in range(CLIENTS)])
    found = sorted(statuses(verdicts)[0] for verdicts in answers)
    assert found == ["accepted", *["duplicate"] * (CLIENTS - 1)]
    assert slow.transactions == CLIENTS, "batches that share an event take turns"


def test_a_group_has_a_bound(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "MOST_EVENTS", 8)  # two batches of four
    made, slow = gathered(database)
    answers = at_once(made, [clicks(n) for n in range(CLIENTS)])
    assert all(statuses(verdicts)[0] == "accepted" for verdicts in answers)
    assert slow.transactions == 1 + -(-(CLIENTS - 1) // 2)


def test_what_one_batch_holds_does_not_spoil_the_others(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = gathered(database)
    real = gathering.append

    def refusing(connection: Connection, schema: Any, batch: Batch, **more: Any) -> Any:
        verdicts = real(connection, schema, batch, **more)
        if any(entry.object_id == "poison" for entry in batch.entries):
            raise ValueUnusable
        return verdicts

    monkeypatch.setattr(gathering, "append", refusing)
    batches = [clicks(n, item="item/poison" if n == 5 else "item/1") for n in range(CLIENTS)]
    answers = at_once(made, batches)
    assert isinstance(answers.pop(5), ValueUnusable)
    assert all(statuses(verdicts)[0] == "accepted" for verdicts in answers)
    assert len(tables(database)["edges"]) == CLIENTS - 1


def test_a_database_that_is_away_is_away_for_all(database: Database) -> None:
    made, slow = gathered(database)
    real = slow.transaction

    @contextmanager
    def away() -> Iterator[Connection]:
        with real() as connection:
            yield connection
            raise DatabaseUnavailable("gone")

    slow.transaction = away  # type: ignore[method-assign]
    answers = at_once(made, [clicks(n) for n in range(CLIENTS)])
    assert all(isinstance(answer, DatabaseUnavailable) for answer in answers)
    assert slow.transactions == 2, "nobody tries again for each"
    assert tables(database)["edges"] == {}
    slow.transaction = real  # type: ignore[method-assign]
    assert statuses(made.append(SMALL_SCHEMA, clicks(1), now=NOW))[0] == "accepted"


def test_two_writers_on_postgresql_and_one_event_once(database: Database) -> None:
    made = Gathering(database)
    answers = at_once(made, [clicks(n % 4) for n in range(CLIENTS)])
    found = sorted(statuses(verdicts)[0] for verdicts in answers)
    assert found == ["accepted"] * 4 + ["duplicate"] * (CLIENTS - 4)
