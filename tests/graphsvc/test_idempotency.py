"""One name, one request, one answer: whoever asks, in whatever order, on either database."""

import threading

from sqlalchemy import func, select

from graphsvc.db import Database
from graphsvc.idempotency import (
    RESERVED_SECONDS,
    Answer,
    Known,
    Request,
    keep,
    prune,
    release,
    renew,
    reserve,
)
from graphsvc.tables import idempotency

NOW, DAY = 1_700_000_000, 86_400
ASKED = Request("key1", "order-7", "a" * 64)
ANSWER = Answer(202, "application/json", b'{"job":"7"}')
LATE = Answer(500, "", b"late")


def ask(database: Database, now: int, request: Request = ASKED) -> Known:
    with database.transaction() as connection:
        return reserve(connection, request, now=now, keep_seconds=DAY)


def answered(database: Database, now: int, request: Request = ASKED) -> None:
    assert ask(database, now, request).state == "ours"
    with database.transaction() as connection:
        keep(connection, request, ANSWER, since=now, now=now, digest=request.digest)


def count(database: Database) -> int:
    with database.reading() as connection:
        return connection.scalar(select(func.count()).select_from(idempotency)) or 0


def test_an_answer_is_given_again_until_it_is_too_old(database: Database) -> None:
    answered(database, NOW)
    assert ask(database, NOW + DAY - 1) == Known("answered", ANSWER, ASKED.digest)
    assert ask(database, NOW + DAY) == Known("ours")
    assert ask(database, NOW + DAY) == Known("under_way")


def test_another_request_or_another_caller(database: Database) -> None:
    answered(database, NOW)
    assert ask(database, NOW, Request("key1", "order-7", "b" * 64)).state == "another"
    assert ask(database, NOW, Request("key2", "order-7", "b" * 64)).state == "ours"
    assert ask(database, NOW, Request("key2", "order-7", "a" * 64)).state == "another"


def test_a_digest_that_was_known_at_the_end(database: Database) -> None:
    """As a stream's: reserved by its head, kept by all of it, and for the caller to compare."""
    head, whole = ASKED, "c" * 64
    assert ask(database, NOW, head).state == "ours"
    assert ask(database, NOW, head).state == "under_way"
    with database.transaction() as connection:
        keep(connection, head, ANSWER, since=NOW, now=NOW, digest=whole)
    assert ask(database, NOW, head) == Known("another", ANSWER, whole)
    assert ask(database, NOW, Request("key1", "order-7", whole)).state == "answered"


def test_a_reservation_holds_while_it_is_renewed(database: Database) -> None:
    assert ask(database, NOW).state == "ours"
    assert ask(database, NOW + RESERVED_SECONDS - 1).state == "under_way"
    with database.transaction() as connection:
        assert renew(connection, ASKED, since=NOW, now=NOW + 50)
    assert ask(database, NOW + 50 + RESERVED_SECONDS - 1).state == "under_way"
    # Its holder died: the next one takes over, and the dead one's late answer is not kept.
    later = NOW + 50 + RESERVED_SECONDS
    assert ask(database, later).state == "ours"
    with database.transaction() as connection:
        assert not renew(connection, ASKED, since=NOW + 50, now=later)
        late = keep(connection, ASKED, LATE, since=NOW + 50, now=later, digest=ASKED.digest)
        assert not late
        release(connection, ASKED, since=NOW + 50)
    assert ask(database, later + 1).state == "under_way"
    with database.transaction() as connection:
        assert keep(connection, ASKED, ANSWER, since=later, now=later, digest=ASKED.digest)
    assert ask(database, later + 1) == Known("answered", ANSWER, ASKED.digest)


def test_what_is_released_may_run_again(database: Database) -> None:
    assert ask(database, NOW).state == "ours"
    with database.transaction() as connection:
        release(connection, ASKED, since=NOW)
    assert count(database) == 0
    assert ask(database, NOW).state == "ours"


def test_of_many_at_once_one_runs(database: Database) -> None:
    """Each with connections of its own, as server processes have."""
    others = [Database(database.url) for _ in range(8)]
    start = threading.Barrier(len(others))
    states: list[str] = []

    def race(own: Database) -> None:
        start.wait()
        states.append(ask(own, NOW).state)

    threads = [threading.Thread(target=race, args=(own,)) for own in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for own in others:
        own.dispose()
    assert sorted(states) == ["ours", *["under_way"] * 7]


def test_pruning_forgets_the_old_and_the_surplus(database: Database) -> None:
    for n in range(6):
        answered(database, NOW + n, Request("key1", f"n{n}", "a" * 64))
    ask(database, NOW, Request("key1", "died", "a" * 64))
    ask(database, NOW + 9, Request("key1", "alive", "a" * 64))
    with database.transaction() as connection:
        assert (
            prune(connection, before=NOW + 2, most=100, most_bytes=1 << 30) == 3
        )  # n0, n1 and the one that died
        assert (
            prune(connection, before=NOW, most=3, most_bytes=1 << 30) == 2
        )  # 5 are left: n2 and n3 go
        assert prune(connection, before=NOW, most=3, most_bytes=1 << 30) == 0
    assert count(database) == 3
    assert ask(database, NOW + 9, Request("key1", "n4", "a" * 64)).state == "answered"
    assert ask(database, NOW + 9, Request("key1", "alive", "a" * 64)).state == "under_way"


def test_pruning_bounds_what_all_answers_take(database: Database) -> None:
    for n in range(6):
        answered(database, NOW + n, Request("key1", f"n{n}", "a" * 64))
    size = len(ANSWER.body)
    with database.transaction() as connection:
        assert prune(connection, before=NOW, most=100, most_bytes=6 * size) == 0
        assert prune(connection, before=NOW, most=100, most_bytes=6 * size - 1) == 1
        assert prune(connection, before=NOW, most=100, most_bytes=2 * size + 1) == 3
    assert count(database) == 2
    assert ask(database, NOW + 9, Request("key1", "n4", "a" * 64)).state == "answered"
