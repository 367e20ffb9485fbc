"""What has expired goes, part by part; what has not stays."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from time import sleep, time

import pytest
from running import eventually
from semantics import event, post
from sqlalchemy import func, select, update

from api.housekeeping import Housekeeping
from api.known_keys import KnownKeys
from graphsvc import answers, dedupe, idempotency, joblog
from graphsvc.answers import Answer, Item
from graphsvc.db import Database
from graphsvc.ids import EntityId
from graphsvc.joblog import Line
from graphsvc.tables import seen


def housekeeping(database: Database, **bounds: float) -> Housekeeping:
    loose = {"answers_days": 99, "answers_rows": 99} | dict.fromkeys(
        ("keyed_hours", "keyed_rows", "keyed_mib"), 99
    )
    return Housekeeping(
        database,
        write_used=KnownKeys(database).write_used,
        **(loose | bounds),  # type: ignore[arg-type]
    )


def test_a_round_deletes_what_has_expired_and_nothing_else(database: Database) -> None:
    now = int(time())
    post(
        database, *(event("click", f"c{n}", "user/1", "item/1") for n in range(300)), backfill=True
    )
    with database.transaction() as connection:
        old = [dedupe.digest_of("click", f"c{n}") for n in range(100)]
        connection.execute(update(seen).where(seen.c.digest.in_(old)).values(expires_at=now))
        connection.execute(update(seen).where(~seen.c.digest.in_(old)).values(expires_at=now + 99))
    keeper = housekeeping(database, answers_days=2, answers_rows=3)
    assert sum(keeper.clean(part) for part in range(dedupe.PARTS)) == 100
    with database.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(seen)) == 200


def keep(database: Database, days_old: Sequence[int], now: int) -> None:
    """An answer r0, r1, ... for each number of days."""
    some = [
        Answer(
            request_id=f"r{n}",
            asked_at=now - days * 86_400,
            head=EntityId("user", "u1"),
            tail_type="ad",
            state="learned",
            bundle="b" * 64,
            index="1" * 64,
            ranker="c" * 64,
            items=[Item("a1", 0.5)],
        )
        for n, days in enumerate(days_old)
    ]
    with database.transaction() as connection:
        answers.write(connection, some)


def kept(database: Database) -> list[str]:
    with database.reading() as connection:
        return [one.request_id for one in answers.page(connection).items]


def test_age_and_number_of_answers_are_bounded(database: Database) -> None:
    now = 10 * 86_400
    keep(database, (9, 8, 3, 2, 1, 1, 1, 0), now)
    keeper = housekeeping(database, answers_days=2, answers_rows=3)
    assert keeper.prune(now) == 5, "three too old; of the other five the oldest two"
    assert keeper.prune(now) == 0
    assert kept(database) == ["r7", "r5", "r6"]


def test_answers_to_keyed_requests_go_as_well(database: Database) -> None:
    now = int(time())
    for n, hours_old in enumerate((30, 25, 23, 0)):
        then = now - hours_old * 3600
        request = idempotency.Request("key", f"n{n}", "a" * 64)
        with database.transaction() as connection:
            idempotency.reserve(connection, request, now=then, keep_seconds=1)
            answer = idempotency.Answer(200, "", b"x" * 600_000)
            idempotency.keep(connection, request, answer, since=then, now=then, digest="a" * 64)
    keeper = housekeeping(database, keyed_hours=24, keyed_mib=1)
    assert keeper.prune_keyed(now) == 3, "two too old; of the others one, of 1.2 MB together"
    assert keeper.prune_keyed(now) == 0


def test_lines_of_jobs_are_bounded(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joblog, "MOST", 2)
    for n in range(5):
        with database.transaction() as connection:
            joblog.add(connection, f"job{n}", Line(1, "info", None, "begun"))
    keeper = housekeeping(database, seconds=0.01)
    keeper.start()
    eventually("the oldest go", lambda: _jobs(database) == ["job3", "job4"], seconds=5)
    keeper.stop()


def _jobs(database: Database) -> list[str]:
    with database.reading() as connection:
        return [f"job{n}" for n in range(5) if joblog.read(connection, f"job{n}")]


def test_it_lives_on_whatever_goes_wrong(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[int] = []

    def broken(*_args: object, **_named: object) -> int:
        tries.append(1)
        raise RuntimeError("no such table")

    monkeypatch.setattr(answers, "prune", broken)
    keep(database, (0,), int(time()))
    keeper = housekeeping(database, seconds=0.01)
    keeper.start()
    eventually("it tries again", lambda: len(tries) > 2, seconds=5)
    keeper.stop()
    assert "cannot clean up" in caplog.text


def test_old_answers_go_without_traffic_and_more_than_one_piece_of_them(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "_PRUNED", 2)
    keep(database, (9, 8, 7, 6, 5, 0, 0), int(time()))
    keeper = housekeeping(database, answers_days=2, answers_rows=99, seconds=0.01)
    keeper.start()
    eventually("the old ones are gone", lambda: kept(database) == ["r5", "r6"], seconds=5)
    keeper.stop()


def test_it_works_by_itself_until_it_is_stopped(database: Database) -> None:
    keeper = housekeeping(database, answers_days=2, answers_rows=3, seconds=0.001)
    keeper.start()
    keeper.stop()
    assert keeper._thread is not None
    assert not keeper._thread.is_alive()


def test_it_goes_on_when_the_database_is_back(tmp_path: Path, migrated_sqlite: Path) -> None:
    folder = tmp_path / "later"
    database = Database(f"sqlite:///{folder}/graph.sqlite")
    keeper = housekeeping(database, answers_days=2, answers_rows=3, seconds=0.01)
    keeper.start()
    sleep(0.1)
    folder.mkdir()
    shutil.copy(migrated_sqlite, folder / "moving")
    (folder / "moving").rename(folder / "graph.sqlite")
    keep(database, (9, 0), int(time()))
    eventually("the old one is gone", lambda: kept(database) == ["r1"], seconds=5)
    keeper.stop()
    database.dispose()
