"""Answers are kept once, listed in pages, and bounded by age and number."""

from dataclasses import replace

import pytest
from plans import plans_of

from graphsvc import answers
from graphsvc.answers import ALL, Answer, Item, Wanted
from graphsvc.db import Database
from graphsvc.errors import AnswerMissing, CursorInvalid
from graphsvc.ids import EntityId


def answer(request_id: str, asked_at: int, *items: str, head: str = "u1") -> Answer:
    return Answer(
        request_id=request_id,
        asked_at=asked_at,
        head=EntityId("user", head),
        tail_type="ad",
        state="learned",
        bundle="b" * 64,
        index="1" * 64,
        ranker="c" * 64,
        items=[Item(name, 0.5 - n / 10) for n, name in enumerate(items or ("a1", "ä/2"))],
    )


def keep(database: Database, *some: Answer) -> int:
    with database.transaction() as connection:
        return answers.write(connection, some)


def listed(database: Database, limit: int = 100, wanted: Wanted = ALL) -> list[str]:
    found, after = [], None
    with database.reading() as connection:
        while True:
            page = answers.page(connection, wanted, limit=limit, after=after)
            assert len(page.items) <= limit
            found += [one.request_id for one in page.items]
            if page.next is None:
                return found
            after = page.next


def test_an_answer_comes_back_as_it_was(database: Database) -> None:
    kept = answer("r1", 1000)
    ordered = replace(answer("r0", 1000), order="ctcvr", position=3)
    assert keep(database, kept, ordered) == 2
    with database.reading() as connection:
        assert answers.answer(connection, "r1") == kept
        assert answers.answer(connection, "r0") == ordered
        for nobody in ("r2", "\0", "x" * 999):
            with pytest.raises(AnswerMissing):
                answers.answer(connection, nobody)


def test_a_request_id_is_kept_once(database: Database) -> None:
    assert keep(database, answer("r1", 1000), answer("r2", 1000)) == 2
    assert keep(database, answer("r1", 2000), answer("r3", 2000), answer("r3", 2001)) == 1
    with database.reading() as connection:
        assert answers.answer(connection, "r1").asked_at == 1000
    assert keep(database) == 0


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_pages_are_newest_first_without_gap_or_repeat(database: Database, limit: int) -> None:
    keep(database, *(answer(f"r{n}", 1000 + n // 3) for n in range(7)))
    assert listed(database, limit) == ["r6", "r3", "r4", "r5", "r0", "r1", "r2"]


@pytest.mark.parametrize("cursor", ["", "x", "1:", ":r", "-1:r", "9" * 19 + ":r", "1:\0"])
def test_a_cursor_of_nobody(database: Database, cursor: str) -> None:
    with database.reading() as connection, pytest.raises(CursorInvalid):
        answers.page(connection, after=cursor)


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_pages_may_be_oldest_first_of_some_time(database: Database, limit: int) -> None:
    keep(database, *(answer(f"r{n}", 1000 + n // 3) for n in range(7)))
    everything = Wanted(oldest_first=True)
    assert listed(database, limit, everything) == [f"r{n}" for n in range(7)]
    some = Wanted(since=1001, until=1002, oldest_first=True)
    assert listed(database, limit, some) == ["r3", "r4", "r5"]
    assert listed(database, limit, Wanted(since=1001)) == ["r6", "r3", "r4", "r5"]
    assert listed(database, limit, Wanted(since=1003, until=2000)) == []


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_pages_may_be_of_one_head(database: Database, limit: int) -> None:
    keep(database, *(answer(f"r{n}", 1000 + n, head=f"u{n % 2}") for n in range(5)))
    assert listed(database, limit, Wanted(head=EntityId("user", "u1"))) == ["r3", "r1"]
    assert listed(database, limit, Wanted(head=EntityId("ad", "u1"))) == []


def test_a_page_of_many_items_is_shorter(database: Database) -> None:
    many = [f"a{n}" for n in range(answers.MOST_ITEMS // 2)]
    sizes = {"r0": 1, "r1": 1, "r2": 0, "r3": 3, "r4": 0}
    keep(database, *(answer(name, 1000, "a", *many * n) for name, n in sizes.items()))
    pages, after = [], None
    with database.reading() as connection:
        while True:
            page = answers.page(connection, after=after)
            pages.append([one.request_id for one in page.items])
            after = page.next
            if after is None:
                break
    assert pages == [["r0"], ["r1", "r2"], ["r3"], ["r4"]]


@pytest.mark.parametrize(
    ("wanted", "after", "index"),
    [
        (Wanted(), "1010:r20", "ix_answers_asked_at"),
        (Wanted(oldest_first=True), "2400:r2800", "ix_answers_asked_at"),
        (Wanted(head=EntityId("user", "u7")), "2400:r2800", "ix_answers_head_type_head_id"),
    ],
)
def test_a_page_is_found_by_an_index(
    database: Database, wanted: Wanted, after: str, index: str
) -> None:
    keep(database, *(answer(f"r{n}", 1000 + n // 2, head=f"u{n // 3}") for n in range(3000)))
    with plans_of(database, "answers") as plans, database.reading() as connection:
        assert answers.page(connection, wanted, limit=2, after=after).items
    assert len(plans) == 1
    assert index in plans[0], plans[0]
    assert "SCAN" not in plans[0], plans[0]
    assert "Seq Scan" not in plans[0], plans[0]


def test_what_is_old_or_too_much_goes_a_piece_at_a_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "_PRUNED", 3)
    keep(database, *(answer(f"r{n:02}", 1000 + n // 2) for n in range(12)))

    def prune(upto: tuple[int, str]) -> int:
        with database.transaction() as connection:
            return answers.prune(connection, upto=upto)

    assert [prune((1002, "")) for _ in range(3)] == [3, 1, 0], "those before a time"
    with database.reading() as connection:
        upto = answers.last_beyond(connection, 5)
        assert answers.last_beyond(connection, 8) == (0, "")
    assert upto == (1003, "r06"), "of a second those of the first ids"
    assert [prune(upto) for _ in range(2)] == [3, 0]
    assert [prune(upto) for _ in range(2)] == [0, 0], "whoever else was told the same"
    assert listed(database) == ["r10", "r11", "r08", "r09", "r07"]
