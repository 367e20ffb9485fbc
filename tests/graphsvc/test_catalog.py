"""Entities as they are now: one by any of its ids, pages of a type, and ETags."""

import pytest
from semantics import NOW, SMALL_SCHEMA, event, post

from graphsvc import catalog, graph
from graphsvc.db import Connection, Database
from graphsvc.errors import ChangedMeanwhile, EntityMissing
from graphsvc.ids import EntityId

USER, ITEM = EntityId("user", "1"), EntityId("item", "1")


def titled(number: int, item: str, title: str | None, after: int = 0) -> dict:
    told = {"event_time": NOW + after, "properties": {"title": title}}
    return event("set_attributes", f"s{number}", item, **told)


def etag(database: Database, name: EntityId = ITEM) -> str:
    with database.reading() as connection:
        return catalog.entity(connection, name).etag


def test_an_entity_has_attributes_and_counters(database: Database) -> None:
    attributes = {"country": "DE", "age": None}
    post(
        database,
        event("click", "c1", "user/1", "item/1"),
        event("click", "c2", "user/1", "item/1"),
        event("set_attributes", "s", "user/1", properties=attributes),
    )
    with database.reading() as connection:
        assert catalog.entity(connection, USER) == catalog.EntityView(
            type="user",
            id="1",
            attributes={"country": "DE"},
            counters={"click": 2, "set_attributes": 1},
        )
        assert catalog.entity(connection, ITEM).counters == {"click": 2}
        for missing in (EntityId("user", "9"), EntityId("user", "\0")):
            with pytest.raises(EntityMissing):
                catalog.entity(connection, missing)


def test_a_merged_id_answers_for_the_kept_one(database: Database) -> None:
    post(
        database, event("click", "c1", "user/1", "item/2"), event("merge", "m", "item/2", "item/1")
    )
    with database.reading() as connection:
        found = catalog.entity(connection, EntityId("item", "2"))
        assert (found.id, found.merged_from, found.merged_into) == ("1", "2", None)
        assert found.counters == {"click": 1, "merge": 1}
        assert catalog.entity(connection, ITEM).merged_from is None
        [edge] = graph.edges(connection, SMALL_SCHEMA, EntityId("item", "2"), as_of=NOW).items
        assert edge.other == USER


def test_pages_name_every_id_once(database: Database) -> None:
    ids = ["a/edges", "b", "Z", "é", "漢", "10", "9", "x y"]
    post(database, *(event("click", f"c{id_}", "user/1", f"item/{n}") for n, id_ in enumerate(ids)))
    more = [
        event("click", f"d{n}", "user/1", "item/0") | {"object": {"type": "item", "id": id_}}
        for n, id_ in enumerate(ids)
    ]
    post(database, *more, event("retire", "r", "item/3"), event("merge", "m", "item/4", "item/5"))
    with database.reading() as connection:
        seen: list[str] = []
        after = None
        while True:
            page = catalog.page(connection, "item", limit=3, after=after)
            assert len(page.items) <= 3
            seen += [item.id for item in page.items]
            after = page.next
            if after is None:
                break
        assert sorted(seen) == sorted({*ids, *map(str, range(len(ids)))})
        [exact] = catalog.page(connection, "item", limit=3, id_="a/edges").items
        assert (exact.id, exact.counters) == ("a/edges", {"click": 1})
        assert not catalog.page(connection, "item", limit=3, id_="nothing").items
        assert not catalog.page(connection, "item", limit=3, id_="\0").items
        [gone] = catalog.page(connection, "item", limit=3, retired=True).items
        assert (gone.id, gone.retired, gone.retired_time) == ("3", True, NOW)
        [merged] = catalog.page(connection, "item", limit=3, id_="4").items
        assert (merged.merged_into, merged.counters) == ("5", {})
        assert not catalog.page(connection, "user", limit=3, after="1").items


def test_an_etag_stands_for_attributes_and_retirement(database: Database) -> None:
    post(database, titled(1, "item/1", "shoe"))
    first = etag(database)
    post(database, event("click", "c", "user/1", "item/1"))
    assert etag(database) == first, "counters move without it"
    post(database, titled(2, "item/1", "boot", 1))
    second = etag(database)
    post(database, event("retire", "r", "item/1"))
    third = etag(database)
    assert len({first, second, third}) == 3
    post(database, event("restore", "b", "item/1", event_time=NOW + 1))
    assert etag(database) == second
    post(database, titled(3, "item/1", "shoe", 2))
    assert etag(database) == first


def test_only_who_has_seen_it_may_go_on(database: Database) -> None:
    post(database, titled(1, "item/1", "shoe"))
    tag = etag(database)

    def require(connection: Connection, name: EntityId = ITEM, wanted: str = tag) -> None:
        catalog.require_seen(connection, name, lambda held: held == wanted)

    with database.transaction() as connection:
        require(connection)
    for name, wanted in ((ITEM, "another"), (EntityId("item", "9"), tag)):
        with database.transaction() as connection, pytest.raises(ChangedMeanwhile):
            require(connection, name, wanted)


@pytest.mark.parametrize(
    ("held", "after"),
    [
        ((NOW - 5, "z"), NOW),
        ((NOW, "a"), NOW),  # "put" is greater than "a", so it wins in the same second
        ((NOW, "z"), NOW + 1),
        ((NOW + 3, "a"), NOW + 3),
        ((NOW + 3, "put"), NOW + 4),
    ],
)
def test_the_next_word_is_the_last(database: Database, held: tuple[int, str], after: int) -> None:
    time, event_id = held
    post(database, titled(1, "item/1", "before") | {"event_id": event_id, "event_time": time})
    with database.reading() as connection:
        found = catalog.time_after(connection, ITEM, now=NOW, event_id="put")
        assert found == after
        assert catalog.time_after(connection, EntityId("item", "9"), now=7, event_id="put") == 7
    post(database, titled(1, "item/1", "last") | {"event_id": "put", "event_time": found})
    if event_id != "put":
        with database.reading() as connection:
            assert catalog.entity(connection, ITEM).attributes == {"title": "last"}
