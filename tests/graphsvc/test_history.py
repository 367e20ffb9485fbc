"""The past of attributes: by the time of the events, whenever and in whatever order they came."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from semantics import NOW, event, post
from sqlalchemy import delete

from graphsvc import catalog, history
from graphsvc.db import Database
from graphsvc.errors import CursorInvalid, EntityMissing
from graphsvc.ids import EntityId
from graphsvc.tables import metadata, sequences

USER = EntityId("user", "1")


def said(number: int, after: int, user: str = "user/1", **values: Any) -> dict[str, Any]:
    told = {"event_time": NOW + after, "properties": values}
    return event("set_attributes", f"s{number}", user, **told)


def at(database: Database, after: int, who: EntityId = USER) -> dict[str, Any]:
    with database.reading() as connection:
        return dict(history.as_of(connection, who, NOW + after).attributes)


def test_attributes_at_a_past_second(database: Database) -> None:
    post(database, said(1, 0, country="DE", age=30))
    post(database, said(3, 200, country=None))
    post(database, said(2, 100, age=31))  # came last, holds before
    assert at(database, -1) == {}
    assert at(database, 0) == at(database, 99) == {"age": 30, "country": "DE"}
    assert at(database, 100) == at(database, 199) == {"age": 31, "country": "DE"}
    assert at(database, 200) == {"age": 31}
    with database.reading() as connection:
        assert history.as_of(connection, USER, NOW).counters is None
        with pytest.raises(EntityMissing):
            history.as_of(connection, EntityId("user", "9"), NOW)


def test_of_the_same_second_the_greater_event_id_wins(database: Database) -> None:
    for number in (2, 9, 1):
        post(database, said(number, 0, age=number))
    assert at(database, 0) == {"age": 9}
    with database.reading() as connection:
        assert catalog.entity(connection, USER).attributes == {"age": 9}


def test_whether_it_was_retired_then(database: Database) -> None:
    item = EntityId("item", "1")
    post(database, event("retire", "a", "item/1", event_time=NOW + 1))
    post(database, event("restore", "b", "item/1", event_time=NOW + 3))
    with database.reading() as connection:
        found = [history.as_of(connection, item, NOW + after).retired for after in range(5)]
    assert found == [False, True, True, False, False]


def test_a_history_tells_of_retiring_beside_attributes(database: Database) -> None:
    item = EntityId("item", "1")
    post(database, event("click", "c", "user/1", "item/1"))
    for name, after in (("retire", 5), ("restore", 7)):
        post(database, event(name, "same", "item/1", event_time=NOW + after))
    told = {"event_time": NOW + 5, "properties": {"title": "t"}}
    post(database, event("set_attributes", "same", "item/1", **told))
    with database.reading() as connection:
        seen, after = [], None
        while True:  # an id that others have too, cut in every place
            page = history.history(connection, item, limit=1, after=after)
            seen += [(one.event_name, one.event_time - NOW, one.attributes) for one in page.items]
            after = page.next
            if after is None:
                break
        assert history.as_of(connection, item, NOW + 5).attributes == {"title": "t"}
    assert seen == [("restore", 7, {}), ("set_attributes", 5, {"title": "t"}), ("retire", 5, {})]


def test_the_history_comes_in_pages_newest_first(database: Database) -> None:
    post(
        database, *(said(number, after, age=number) for number, after in enumerate([0, 5, 5, 2, 9]))
    )
    with database.reading() as connection:
        seen, after = [], None
        while True:
            page = history.history(connection, USER, limit=2, after=after)
            seen += [(one.event_time - NOW, one.event_id, one.attributes) for one in page.items]
            after = page.next
            if after is None:
                break
        assert [(time, id_) for time, id_, _ in seen] == [
            (9, "s4"),
            (5, "s2"),
            (5, "s1"),
            (2, "s3"),
            (0, "s0"),
        ]
        assert seen[0][2] == {"age": 4}
        with pytest.raises(EntityMissing):
            history.history(connection, EntityId("user", "9"), limit=2)
        for cursor in (
            "x",
            "[]",
            "[1]",
            '["1", "s"]',
            "[1, 2]",
            "[-1, 's']",
            '[1, "\\u0000"]',
            '[1, "click", "s"]',
        ):
            with pytest.raises(CursorInvalid):
                history.history(connection, USER, limit=2, after=cursor)


def test_a_merged_id_brings_its_past(database: Database) -> None:
    post(database, said(1, 0, age=1), said(2, 1, "user/2", age=2), said(3, 2, age=3))
    post(database, event("merge", "m", "user/2", "user/1"))
    assert [at(database, after)["age"] for after in range(3)] == [1, 2, 3]
    with database.reading() as connection:
        page = history.history(connection, EntityId("user", "2"), limit=9)
        assert [one.named for one in page.items] == ["1", "2", "1"]
        assert history.as_of(connection, EntityId("user", "2"), NOW).merged_from == "2"


_VALUES = st.fixed_dictionaries(
    {}, optional={"age": st.sampled_from([1, 2, None]), "country": st.sampled_from(["DE", None])}
).filter(bool)


@given(told=st.lists(st.tuples(st.integers(0, 6), _VALUES), max_size=8), data=st.data())
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_the_past_is_what_was_the_present_then(
    database: Database, told: list[tuple[int, dict[str, Any]]], data: st.DataObject
) -> None:
    with database.transaction() as connection:  # the fixture is shared by all examples
        for table in set(metadata.sorted_tables) - {sequences}:
            connection.execute(delete(table))
    post(database, event("click", "c", "user/1", "item/1"))
    in_time = sorted(enumerate(told), key=lambda pair: (pair[1][0], f"s{pair[0]}"))
    present = [{}]  # what each second should say, by hand: write in the order of time
    for second in range(8):
        for _, (time, values) in in_time:
            if time == second:
                present[-1] = {**present[-1], **values}
        present.append(dict(present[-1]))
    for number in data.draw(st.permutations(range(len(told)))):
        time, values = told[number]
        post(database, said(number, time, **values))
    for second in range(8):
        expected = {name: value for name, value in present[second].items() if value is not None}
        assert at(database, second) == expected
    with database.reading() as connection:
        assert catalog.entity(connection, USER).attributes == at(database, 8)
