"""What events mean: once, in time, taken back, refused; and the same whatever their order."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from semantics import DAY, NOW, SMALL_SCHEMA, event, post, statuses, tables
from sqlalchemy import delete, func, select

from graphsvc import dedupe
from graphsvc.db import Connection, Database
from graphsvc.ingest import rebuild
from graphsvc.tables import events, metadata, seen, sequences

LATE = 7 * DAY
HORIZON = LATE + 7 * DAY
NEVER = 2**62


def edge(database: Database, *name: str) -> Any:
    """(count, first, last, decayed) of an edge, None if there is none."""
    return tables(database)["edges"].get(name)


def test_the_same_content_is_a_duplicate_and_other_content_a_conflict(database: Database) -> None:
    first = event("click", "c1", "user/1", "item/1", properties={"a": 1, "b": 2}, value=1)
    assert statuses(post(database, first)) == ["accepted"]
    same = first | {"properties": {"b": 2, "a": 1.0}, "value": 1.0}  # another spelling of it
    assert statuses(post(database, same)) == ["duplicate"]
    changes: list[dict[str, Any]] = [
        {"event_time": NOW - 1},
        {"object": {"type": "item", "id": "2"}},
        {"properties": {"a": 1, "b": 3}},
        {"properties": None},
        {"value": 2},
        {"currency": "EUR"},
        {"consent": True},
        {"request_id": "r1"},
        {"position": 3},
        {"sampling_rate": 0.5},
    ]
    for change in changes:
        [verdict] = post(database, first | change)
        assert (verdict.status, verdict.field, verdict.value) == ("conflict", "event_id", "c1")
    other_name = event("shown", "c1", "user/1", "item/1")
    assert statuses(post(database, other_name)) == ["accepted"]
    assert edge(database, "user/1", "click", "item/1") == (1, NOW, NOW, 1.0)


def test_what_an_event_about_one_entity_says_is_compared_too(database: Database) -> None:
    first = event("set_attributes", "a1", "user/1", properties={"age": 1})
    retired = event("retire", "a1", "item/1")
    assert statuses(post(database, first, retired)) == ["accepted", "accepted"]
    verdicts = post(database, first | {"properties": {"age": 2}}, retired | {"consent": False})
    assert statuses(verdicts) == ["conflict", "conflict"]


def test_within_a_batch_the_first_one_counts(database: Database) -> None:
    one, two = event("click", "c1", "user/1", "item/1"), event("click", "c1", "user/1", "item/2")
    assert statuses(post(database, one, two, one, two)) == [
        "accepted",
        "conflict",
        "duplicate",
        "conflict",
    ]
    assert statuses(post(database, two, one)) == ["conflict", "duplicate"]
    assert list(tables(database)["edges"]) == [("user/1", "click", "item/1")]


def test_the_late_window_ends_with_its_last_second(database: Database) -> None:
    at_the_edge = event("click", "c1", "user/1", "item/1", event_time=NOW - LATE)
    past_it = event("click", "c2", "user/1", "item/1", event_time=NOW - LATE - 1)
    [verdict, late] = post(database, at_the_edge, past_it)
    assert verdict.status == "accepted"
    assert (late.status, late.code, late.field) == ("rejected", "late", "event_time")
    assert statuses(post(database, past_it, backfill=True)) == ["accepted"]


def test_structure_is_of_any_age_and_any_future(database: Database) -> None:
    old = event("part_of", "p1", "item/1", "item/2", event_time=0)
    ahead = event("part_of", "p2", "item/1", "item/3", event_time=NOW + 400 * DAY)
    assert statuses(post(database, old, ahead)) == ["accepted", "accepted"]
    assert statuses(
        post(database, event("click", "c", "user/1", "item/1", event_time=NOW + 601))
    ) == ["future"]
    assert statuses(
        post(database, event("click", "c", "user/1", "item/1", event_time=NOW + 600))
    ) == ["accepted"]


def test_what_was_seen_in_time_is_a_duplicate_and_not_late(database: Database) -> None:
    click = event("click", "c1", "user/1", "item/1")
    assert statuses(post(database, click)) == ["accepted"]
    other = click | {"value": 1.0}
    for age, expected in (
        (LATE, ["duplicate", "conflict"]),
        (LATE + 1, ["duplicate", "conflict"]),
        (HORIZON - 1, ["duplicate", "conflict"]),
        (HORIZON, ["late", "late"]),  # forgotten, and too old in any case
    ):
        assert statuses(post(database, click, other, now=NOW + age)) == expected
    assert edge(database, "user/1", "click", "item/1")[0] == 1


def test_an_undirected_event_is_the_same_from_either_end(database: Database) -> None:
    friends = event("friend", "f1", "user/9", "user/1")
    turned = event("friend", "f1", "user/1", "user/9")
    assert statuses(post(database, friends)) == ["accepted"]
    for age in (0, LATE + DAY):  # in time, and late
        found = statuses(post(database, friends, turned, now=NOW + age))
        assert found == ["duplicate", "duplicate"]
    assert edge(database, "user/1", "friend", "user/9")[0] == 1


def test_an_id_is_free_again_behind_the_horizon(database: Database) -> None:
    post(database, event("click", "c1", "user/1", "item/1"))
    for age, expected in ((HORIZON - 1, "conflict"), (HORIZON, "accepted")):
        later = event("click", "c1", "user/1", "item/1", event_time=NOW + age)
        assert statuses(post(database, later, now=NOW + age)) == [expected]
    assert edge(database, "user/1", "click", "item/1")[0] == 2


def test_structure_is_never_forgotten(database: Database) -> None:
    fact = event("part_of", "p1", "item/1", "item/2")
    post(database, fact, event("click", "c1", "user/1", "item/1"))

    def forget(connection: Connection, now: int) -> int:
        return sum(dedupe.forget(connection, now=now, part=n) for n in range(dedupe.PARTS))

    with database.transaction() as connection:
        assert forget(connection, NOW + HORIZON - 1) == 0
        assert forget(connection, NOW + HORIZON) == 1
        assert connection.scalar(select(func.count()).select_from(seen)) == 1
    assert statuses(post(database, fact, now=NOW + 1000 * DAY)) == ["duplicate"]


def test_a_retraction_takes_back_the_newest_that_stands(database: Database) -> None:
    # Half-life of a click: 14 days.
    for age in (28, 14, 0):
        post(
            database,
            event("click", f"c{age}", "user/1", "item/1", event_time=NOW - age * DAY),
            backfill=True,
        )
    taken = event("retract", "r1", "user/1", "item/1", relation="click", event_time=NOW + 1)
    assert statuses(post(database, taken)) == ["accepted"]
    assert edge(database, "user/1", "click", "item/1") == (
        2,
        NOW - 28 * DAY,
        NOW - 14 * DAY,
        1.5,
    )
    for number in (2, 3):
        post(database, taken | {"event_id": f"r{number}"})
    assert edge(database, "user/1", "click", "item/1") is None
    post(database, taken | {"event_id": "r4"})  # nothing is left to take back
    again = event("click", "c9", "user/1", "item/1", event_time=NOW + 2)
    assert statuses(post(database, again)) == ["accepted"]
    assert edge(database, "user/1", "click", "item/1") == (1, NOW + 2, NOW + 2, 1.0)


def test_a_retraction_that_comes_before_its_event(database: Database) -> None:
    post(database, event("retract", "r", "user/1", "item/1", relation="click"))
    assert edge(database, "user/1", "click", "item/1") is None
    post(database, event("click", "c", "user/1", "item/1", event_time=NOW - 1))
    assert edge(database, "user/1", "click", "item/1") is None


def test_a_relation_that_does_not_add_up(database: Database) -> None:
    for number in range(3):
        post(database, event("part_of", f"p{number}", "item/1", "item/2", event_time=NOW - number))
    assert edge(database, "item/1", "part_of", "item/2") == (1, NOW - 2, NOW, 1.0)
    ended = event("retract", "r", "item/1", "item/2", relation="part_of", event_time=NOW + 5)
    post(database, ended)
    assert edge(database, "item/1", "part_of", "item/2") is None


def test_self_loops_and_directions_are_as_declared(database: Database) -> None:
    loop = event("part_of", "p", "item/1", "item/1")
    [verdict] = post(database, loop)
    assert (verdict.code, verdict.field) == ("self_loop", "object")
    post(
        database,
        event("friend", "f1", "user/9", "user/1"),
        event("friend", "f2", "user/1", "user/9"),
        event("friend", "f3", "user/5", "user/5"),
    )
    assert edge(database, "user/1", "friend", "user/9")[0] == 2
    assert edge(database, "user/5", "friend", "user/5")[0] == 1
    assert len(tables(database)["edges"]) == 2


@pytest.mark.parametrize(
    ("raw", "code", "field"),
    [
        (event("retract", "r", "user/1", "item/1"), "unknown_relation", "relation"),
        (
            event("retract", "r", "user/1", "item/1", relation="shown"),
            "unknown_relation",
            "relation",
        ),
        (event("retract", "r", "item/1", "item/2", relation="click"), "wrong_type", "actor.type"),
        (event("click", "c", "user/1", "item/1") | {"relation": "click"}, "invalid", "relation"),
        (event("opt_out", "o", "item/1"), "wrong_type", "actor.type"),
        (event("opt_out", "o", "user/1", "item/1"), "invalid", "object"),
        (event("retire", "o", "user/1"), "wrong_type", "actor.type"),
        (event("retire", "o", "nothing/1"), "unknown_entity_type", "actor.type"),
        (event("merge", "m", "item/1"), "invalid", "object"),
        (event("merge", "m", "item/1", "user/1"), "wrong_type", "object.type"),
        (event("merge", "m", "item/1", "item/1"), "merge_cycle", "object"),
        (event("opt_in", "o", "user/1", event_time=NOW + 601), "future", "event_time"),
    ],
)
def test_built_in_events_are_checked(database: Database, raw: Any, code: str, field: str) -> None:
    [verdict] = post(database, raw)
    assert (verdict.status, verdict.code, verdict.field) == ("rejected", code, field)
    assert not tables(database)["entities"]


def test_an_opt_out_deletes_what_is_stored_and_refuses_what_comes(database: Database) -> None:
    bought = event("buy", "b1", "user/1", "item/1", event_time=NOW - 10)
    heard = event("told", "t1", "item/2", "user/1", event_time=NOW - 10)
    clicked = event("click", "c1", "user/1", "item/1", event_time=NOW - 10)
    other = event("buy", "b2", "user/2", "item/1", event_time=NOW - 10)
    post(database, bought, heard, clicked, other)
    assert statuses(post(database, event("opt_out", "o1", "user/1"))) == ["accepted"]
    assert set(tables(database)["edges"]) == {
        ("user/1", "click", "item/1"),
        ("user/2", "buy", "item/1"),
    }
    with database.reading() as connection:
        kept = set(connection.scalars(select(events.c.event_id)))
    assert kept == {"c1", "b2", "o1"}
    held = tables(database)["counters"]
    assert ("user/1", "buy") not in held
    assert held["item/1", "buy"] == 1
    later = event("buy", "b3", "user/1", "item/1", event_time=NOW + 1)
    earlier = event("told", "t2", "item/2", "user/1", event_time=NOW - 20)
    assert statuses(post(database, later, earlier)) == ["opted_out", "opted_out"]
    assert statuses(post(database, bought)) == ["opted_out"]  # what was deleted does not come back
    assert statuses(post(database, event("click", "c2", "user/1", "item/1"))) == ["accepted"]


def test_agreeing_again_restores_nothing(database: Database) -> None:
    bought = event("buy", "b1", "user/1", "item/1", event_time=NOW - 10)
    refused = event("opt_out", "o", "user/1", event_time=NOW)
    agreed = event("opt_in", "i", "user/1", event_time=NOW + 10)
    post(database, bought, refused, agreed)
    assert tables(database)["consents"] == {"user/1": ("in", NOW + 10, NOW + 10)}
    assert not tables(database)["edges"]
    between = event("buy", "b2", "user/1", "item/1", event_time=NOW + 9)
    after = event("buy", "b3", "user/1", "item/1", event_time=NOW + 10)
    assert statuses(post(database, bought, between, after)) == [
        "opted_out",
        "opted_out",
        "accepted",
    ]
    # A refusal of the same second as an agreement counts.
    post(database, event("opt_out", "o2", "user/1", event_time=NOW + 10))
    assert tables(database)["consents"] == {"user/1": ("out", NOW + 10, NEVER)}
    assert not tables(database)["edges"]


def test_consent_is_heard_wherever_it_was_said(database: Database) -> None:
    def said(name: str, number: int, after: int) -> list[str]:
        offsite = {"event_time": NOW + after, "action_source": "offsite"}
        return statuses(post(database, event(name, f"o{number}", "user/1", **offsite)))

    assert said("opt_out", 1, 0) == ["accepted"]
    assert said("opt_out", 2, 5) == ["accepted"]  # the first stays, though it is offsite and older
    assert said("opt_in", 3, 10) == ["accepted"]
    assert tables(database)["consents"] == {"user/1": ("in", NOW + 10, NOW + 10)}
    with database.reading() as connection:
        kept = list(connection.scalars(select(events.c.event_id).order_by(events.c.seq)))
    assert kept == ["o1", "o2", "o3"]


def test_an_opt_out_holds_for_the_next_event_of_its_batch(database: Database) -> None:
    verdicts = post(
        database,
        event("buy", "b1", "user/1", "item/1"),
        event("opt_out", "o", "user/1"),
        event("buy", "b2", "user/1", "item/1"),
        event("buy", "b2", "user/1", "item/1"),
        event("buy", "b3", "user/2", "item/1"),
    )
    assert statuses(verdicts) == ["accepted", "accepted", "opted_out", "opted_out", "accepted"]
    assert set(tables(database)["edges"]) == {("user/2", "buy", "item/1")}


def test_a_number_of_the_log_is_never_given_twice(database: Database) -> None:
    post(database, event("buy", "b1", "user/1", "item/1"))
    post(database, event("opt_out", "o", "user/1", event_time=NOW + 1))
    post(database, event("buy", "b2", "user/2", "item/1"))
    with database.reading() as connection:
        assert list(connection.scalars(select(events.c.seq).order_by(events.c.seq))) == [2, 3]


_USERS, _ITEMS = st.sampled_from(["user/1", "user/2"]), st.sampled_from(["item/1", "item/2"])
_TIMES = st.integers(NOW - 5, NOW + 5) | st.integers(NOW - 30 * DAY, NOW)


@st.composite
def _history(draw: st.DrawFn) -> list[dict[str, Any]]:
    made = []
    for number in range(draw(st.integers(0, 14))):
        name = draw(
            st.sampled_from(
                ["click", "buy", "told", "part_of", "friend", "shown", "set_attributes"]
                + ["retract"] * 4
                + ["opt_out"]
            )
        )
        told: dict[str, Any] = {"event_time": draw(_TIMES)}
        if name == "retract":
            told["relation"] = draw(st.sampled_from(["click", "buy", "told", "part_of", "friend"]))
        ends = {
            "told": (_ITEMS, _USERS),
            "part_of": (st.just("item/1"), st.just("item/2")),
            "friend": (_USERS, _USERS),
        }.get(told.get("relation", name), (_USERS, _ITEMS))
        target = None if name in ("set_attributes", "opt_out") else draw(ends[1])
        if name == "set_attributes":
            told["properties"] = {"country": draw(st.sampled_from(["DE", "FR", None]))}
        made.append(event(name, f"e{number}", draw(ends[0]), target, **told))
    return made


@given(history=_history(), data=st.data())
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_every_order_of_the_same_events_gives_the_same_tables(
    database: Database, history: list[dict[str, Any]], data: st.DataObject
) -> None:
    found = []
    for _ in range(2):
        _empty(database)
        order = data.draw(st.permutations(history))
        size = data.draw(st.integers(1, 5))
        for start in range(0, len(order), size):
            verdicts = post(database, *order[start : start + size], backfill=True)
            assert set(statuses(verdicts)) <= {"accepted", "opted_out"}
        found.append(tables(database))
        with database.transaction() as connection:
            rebuild(connection, SMALL_SCHEMA, block=data.draw(st.integers(1, 6)))
        assert tables(database) == found[-1]
    # Whom an event names is remembered even if it is deleted later, but not if it was refused.
    for one in found:
        del one["entities"]
    assert found[0] == found[1]


def _empty(database: Database) -> None:
    with database.transaction() as connection:  # the fixture is shared by all examples
        for table in set(metadata.sorted_tables) - {sequences}:
            connection.execute(delete(table))
