"""Merging two ids: the projections are what a replay makes of the log under one name."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from semantics import DAY, NOW, SMALL_SCHEMA, event, post, statuses, tables
from sqlalchemy import delete

from graphsvc.db import Database
from graphsvc.ingest import rebuild
from graphsvc.tables import metadata, sequences

HALF_LIFE = 14 * DAY


def merge(number: int, duplicate: str, kept: str, **more: Any) -> dict[str, Any]:
    return event("merge", f"m{number}", duplicate, kept, **more)


def replayed(database: Database) -> dict[str, dict[Any, Any]]:
    with database.transaction() as connection:
        rebuild(connection, SMALL_SCHEMA, block=3)
    return tables(database)


def test_edges_of_the_duplicate_are_added(database: Database) -> None:
    post(
        database,
        event("click", "c1", "user/1", "item/1", event_time=NOW),
        event("click", "c2", "user/1", "item/2", event_time=NOW - HALF_LIFE),
        event("click", "c3", "user/2", "item/2", event_time=NOW - 5),
        backfill=True,
    )
    assert statuses(post(database, merge(1, "item/2", "item/1"))) == ["accepted"]
    held = tables(database)
    # One click now and one a half-life ago: 1 + 1/2.
    assert held["edges"] == {
        ("user/1", "click", "item/1"): (2, NOW - HALF_LIFE, NOW, 1.5),
        ("user/2", "click", "item/1"): (1, NOW - 5, NOW - 5, 1.0),
    }
    assert held["entities"]["item/2"] == (False, None, "item/1")
    assert held["counters"]["item/1", "click"] == 3
    assert ("item/2", "click") not in held["counters"]
    assert replayed(database) == held
    # What is posted under the old id belongs to the one that is kept.
    post(database, event("click", "c4", "user/1", "item/2", event_time=NOW))
    assert tables(database)["edges"]["user/1", "click", "item/1"] == (
        3,
        NOW - HALF_LIFE,
        NOW,
        2.5,
    )


def test_an_event_between_the_two_counts_once_and_its_loop_is_dropped(database: Database) -> None:
    post(
        database,
        event("part_of", "p1", "item/1", "item/2"),
        event("part_of", "p2", "item/2", "item/3"),
        event("friend", "f", "user/1", "user/2"),
    )
    post(database, merge(1, "item/1", "item/2"), merge(2, "user/2", "user/1"))
    held = tables(database)
    assert held["counters"] == {
        ("item/2", "part_of"): 2,
        ("item/3", "part_of"): 1,
        ("item/2", "merge"): 1,
        ("user/1", "friend"): 1,
        ("user/1", "merge"): 1,
    }
    # A part of itself may not be, a friend of oneself may.
    assert set(held["edges"]) == {
        ("item/2", "part_of", "item/3"),
        ("user/1", "friend", "user/1"),
    }
    assert replayed(database) == held


@pytest.mark.parametrize(("duplicate", "kept"), [("item/2", "item/1"), ("item/1", "item/2")])
def test_what_was_taken_back_of_either_is_summed_anew(
    database: Database, duplicate: str, kept: str
) -> None:
    post(
        database,
        event("click", "c1", "user/1", "item/1", event_time=NOW - 30),
        event("click", "c2", "user/1", "item/2", event_time=NOW - 10),
        event("retract", "r1", "user/1", "item/1", relation="click", event_time=NOW - 5),
    )
    assert set(tables(database)["edges"]) == {("user/1", "click", "item/2")}
    post(database, merge(1, duplicate, kept))
    held = tables(database)
    assert list(held["retractions"]) == [("user/1", "click", kept)]
    # As one entity, the retraction takes back the newer of the two.
    [(name, (count, first, last, _))] = held["edges"].items()
    assert (name, count, first, last) == (("user/1", "click", kept), 1, NOW - 30, NOW - 30)
    assert replayed(database) == held


def test_ends_that_are_alike_stay_in_the_order_of_their_ids(database: Database) -> None:
    post(database, event("friend", "f1", "user/1", "user/2"))
    post(database, event("friend", "f2", "user/3", "user/2"))
    post(database, merge(1, "user/1", "user/3"))
    held = tables(database)
    assert held["edges"] == {("user/2", "friend", "user/3"): (2, NOW, NOW, 2.0)}
    assert replayed(database) == held


def test_the_later_attribute_counts_whoever_had_it(database: Database) -> None:
    def titled(number: int, item: str, title: str | None, after: int) -> dict[str, Any]:
        return event(
            "set_attributes",
            f"s{number}",
            item,
            event_time=NOW + after,
            properties={"title": title},
        )

    post(database, titled(1, "item/1", "early", 0), titled(2, "item/2", "late", 1))
    post(database, merge(1, "item/2", "item/1"))
    assert tables(database)["attributes"] == {("item/1", "title"): ('"late"', NOW + 1, "s2")}
    post(database, titled(3, "item/3", None, 2), merge(2, "item/3", "item/1"))
    assert tables(database)["attributes"] == {("item/1", "title"): ("null", NOW + 2, "s3")}


def test_a_refusal_of_either_person_holds_for_both(database: Database) -> None:
    post(
        database,
        event("buy", "b1", "user/1", "item/1", event_time=NOW - 9),
        event("click", "c1", "user/1", "item/1", event_time=NOW - 9),
        event("opt_out", "o", "user/2"),
    )
    post(database, merge(1, "user/2", "user/1"))
    held = tables(database)
    assert set(held["edges"]) == {("user/1", "click", "item/1")}
    assert held["consents"] == {"user/1": ("out", NOW, 2**62)}
    assert ("user/1", "buy") not in held["counters"]
    again = event("buy", "b2", "user/2", "item/1")
    assert statuses(post(database, again)) == ["opted_out"]
    assert replayed(database) == held


def test_merges_are_flat_and_never_a_circle(database: Database) -> None:
    post(database, event("part_of", "p", "item/1", "item/9"))
    post(database, merge(1, "item/1", "item/2"), merge(2, "item/2", "item/3"))
    names = {name: row[2] for name, row in tables(database)["entities"].items()}
    assert names == {"item/1": "item/3", "item/2": "item/3", "item/3": None, "item/9": None}
    [verdict] = post(database, merge(3, "item/3", "item/1"))
    assert (verdict.status, verdict.code, verdict.field) == ("rejected", "merge_cycle", "object")
    assert statuses(post(database, merge(4, "item/1", "item/3"))) == ["merge_cycle"]
    assert statuses(post(database, merge(1, "item/1", "item/2"))) == ["duplicate"]
    assert set(tables(database)["edges"]) == {("item/3", "part_of", "item/9")}
    # Within one batch the second sees what the first did.
    both = [merge(5, "item/7", "item/8"), merge(6, "item/8", "item/7")]
    assert statuses(post(database, *both)) == ["accepted", "merge_cycle"]


@pytest.mark.parametrize("first", ["merge", "retire"])
def test_what_was_said_of_either_id_retires_the_one(database: Database, first: str) -> None:
    told = {
        "merge": [merge(1, "item/2", "item/1")],
        "retire": [event("retire", "x", "item/2", event_time=NOW)],
    }
    for name in (first, *(told.keys() - {first})):
        post(database, *told[name])
    held = tables(database)["entities"]
    assert held["item/1"] == (True, NOW, None)
    assert held["item/2"] == (False, None, "item/1")
    post(database, event("restore", "y", "item/2", event_time=NOW + 1))
    assert tables(database)["entities"]["item/1"] == (False, NOW + 1, None)


_USERS = st.sampled_from(["user/1", "user/2", "user/3"])
_ITEMS = st.sampled_from(["item/1", "item/2", "item/3"])
_NAMES = ("click", "buy", "told", "part_of", "friend", "shown", "set_attributes")


@st.composite
def _history(draw: st.DrawFn) -> list[dict[str, Any]]:
    made = []
    for number in range(draw(st.integers(2, 16))):
        name = draw(st.sampled_from([*_NAMES, *["retract"] * 3, *["merge"] * 5, "opt_out"]))
        name = draw(st.sampled_from([name, name, name, "retire", "restore"]))
        told: dict[str, Any] = {"event_time": draw(st.integers(NOW - 4 * DAY, NOW))}
        if name == "retract":
            told["relation"] = draw(st.sampled_from(["click", "buy", "told", "part_of", "friend"]))
        both = draw(st.sampled_from([_USERS, _ITEMS]))
        actors, objects = {
            "told": (_ITEMS, _USERS),
            "part_of": (_ITEMS, _ITEMS),
            "friend": (_USERS, _USERS),
            "merge": (both, both),
            "retire": (_ITEMS, _ITEMS),
            "restore": (_ITEMS, _ITEMS),
        }.get(told.get("relation", name), (_USERS, _ITEMS))
        alone = name in ("set_attributes", "opt_out", "retire", "restore")
        if name == "set_attributes":
            told["properties"] = {"country": draw(st.sampled_from(["DE", "FR", None]))}
        made.append(
            event(name, f"e{number}", draw(actors), None if alone else draw(objects), **told)
        )
    return made


@given(history=_history(), data=st.data())
@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_merging_gives_what_one_name_would_have_given(
    database: Database, history: list[dict[str, Any]], data: st.DataObject
) -> None:
    _empty(database)
    taken = []
    start = 0
    while start < len(history):
        some = history[start : start + data.draw(st.integers(1, 6))]
        verdicts = statuses(post(database, *some, backfill=True))
        assert set(verdicts) <= {"accepted", "opted_out", "merge_cycle", "self_loop"}
        taken += [one for one, what in zip(some, verdicts, strict=True) if what == "accepted"]
        start += len(some)
    held = tables(database)
    assert replayed(database) == held
    kept = {name: row[2] or name for name, row in held["entities"].items()}
    assert all(kept[name] == name for name in kept.values()), "flat"

    # The slow twin: the same events, posted under the names that are kept, and no merge.
    _empty(database)
    for one in taken:
        if one["event_name"] == "merge":
            continue
        renamed = one | {
            end: dict(
                zip(
                    ("type", "id"),
                    kept[f"{one[end]['type']}/{one[end]['id']}"].split("/"),
                    strict=True,
                )
            )
            for end in ("actor", "object")
            if end in one
        }
        post(database, renamed, backfill=True)
    twin = tables(database)
    for table in ("edges", "attributes", "consents", "retractions"):
        assert held[table] == twin[table], table
    for name, (retired, when, _) in twin["entities"].items():
        assert held["entities"][name][:2] == (retired, when)


def _empty(database: Database) -> None:
    with database.transaction() as connection:  # the fixture is shared by all examples
        for table in set(metadata.sorted_tables) - {sequences}:
            connection.execute(delete(table))
