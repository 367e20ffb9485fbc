"""What an entity did, event by event."""

import pytest
from semantics import NOW, SMALL_SCHEMA, event, post

from graphsvc.acts import Act, acts
from graphsvc.db import Database
from graphsvc.erase import erase
from graphsvc.errors import CursorInvalid, EntityMissing
from graphsvc.ids import EntityId

USER = EntityId("user", "1")


def every(database: Database, who: EntityId, limit: int) -> list[Act]:
    found: list[Act] = []
    after = None
    with database.reading() as connection:
        while True:
            page = acts(connection, who, limit=limit, after=after)
            found += page.items
            after = page.next
            if after is None:
                return found


def test_what_somebody_did_comes_newest_first(database: Database) -> None:
    post(
        database,
        event("click", "a", "user/1", "item/1", event_time=NOW - 9),
        event("buy", "b", "user/1", "item/2", value=3.5, currency="EUR"),
        event("click", "c", "user/1", "item/3"),
        event("click", "d", "user/2", "item/1"),
        event("set_attributes", "e", "user/1", event_time=NOW - 5, properties={"age": 3}),
    )
    found = every(database, USER, 100)
    assert [(act.event_name, act.event_id, act.event_time - NOW) for act in found] == [
        ("click", "c", 0),  # of one second, what was logged last comes first
        ("buy", "b", 0),
        ("set_attributes", "e", -5),
        ("click", "a", -9),
    ]
    buy = found[1]
    assert (buy.other, buy.action_source, buy.value, buy.currency) == (
        *(EntityId("item", "2"), "offsite"),
        *(3.5, "EUR"),
    )
    assert (found[2].other, found[2].properties) == (None, {"age": 3})
    for limit in (1, 2, 3):
        assert every(database, USER, limit) == found
    assert every(database, EntityId("item", "1"), 9) == []


def test_a_merged_id_brings_what_it_did(database: Database) -> None:
    post(
        database,
        event("click", "a", "user/1", "item/1"),
        event("click", "b", "user/2", "item/1"),
        event("merge", "m", "user/2", "user/1", event_time=NOW + 1),
        now=NOW + 1,
    )
    for one in ("1", "2"):
        found = every(database, EntityId("user", one), 9)
        assert [(act.event_name, act.named) for act in found] == [
            *(("merge", "2"), ("click", "2"), ("click", "1")),
        ]


def test_nothing_is_left_of_who_was_erased(database: Database) -> None:
    post(
        database, event("click", "a", "user/1", "item/1"), event("friend", "f", "user/2", "user/1")
    )
    with database.transaction() as connection:
        erase(connection, SMALL_SCHEMA, "user", ["1"])
    with database.reading() as connection, pytest.raises(EntityMissing):
        acts(connection, USER, limit=1)
    assert every(database, EntityId("user", "2"), 9) == []


@pytest.mark.parametrize("cursor", ["x", "[]", "[1]", '["1", 2]', "[-1, 2]", "[1, 1e99]", "null"])
def test_a_cursor_of_elsewhere_is_refused(database: Database, cursor: str) -> None:
    post(database, event("click", "a", "user/1", "item/1"))
    with database.reading() as connection, pytest.raises(CursorInvalid):
        acts(connection, USER, limit=1, after=cursor)
