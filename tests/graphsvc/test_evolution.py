"""Changing the schema: adding is free, what would orphan something is refused with counts."""

import threading
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from semantics import DAY, NOW, SMALL_SCHEMA, event, tables

from graphsvc import evolution, versions
from graphsvc.db import Database
from graphsvc.errors import ReplayTooLong, SchemaChanged, SchemaOutdated, SchemaRefused
from graphsvc.ingest import Rules, ingest, rebuild
from graphsvc.schema import Schema, parse_schema, to_document

Document = dict[str, Any]
Edit = Callable[[Document], Any]


@pytest.fixture
def graph(database: Database) -> Database:
    """A graph under version 1 in which everything but `told` and `shown` is in use."""
    with database.transaction() as connection:
        versions.seed(connection, SMALL_SCHEMA, now=NOW)
    fill(
        database,
        event("click", "c1", "user/1", "item/1", event_time=NOW - 14 * DAY),
        event("click", "c2", "user/1", "item/1"),
        event("click", "c3", "user/2", "item/1"),
        event("buy", "b1", "user/1", "item/1"),
        event("part_of", "p1", "item/1", "item/2"),
        event("friend", "f1", "user/1", "user/2"),
        event("friend", "f2", "user/2", "user/2"),
        event("set_attributes", "s1", "user/1", properties={"country": "DE"}),
        event("set_attributes", "s2", "user/1", properties={"country": None}),
    )
    return database


def fill(database: Database, *raw: Document) -> None:
    with database.transaction() as connection:
        schema = versions.current(connection)
        verdicts = ingest(connection, schema, raw, now=NOW, rules=Rules(backfill=True))
        assert {verdict.status for verdict in verdicts} == {"accepted"}, verdicts


def edited(edit: Edit) -> Schema:
    document = deepcopy(to_document(SMALL_SCHEMA))
    edit(document)
    return parse_schema(document)


def change(database: Database, schema: Schema, **more: Any) -> evolution.Change:
    with database.transaction() as connection:
        return evolution.change(connection, schema, reason="test", now=NOW, **more)


def removed(section: str, name: str) -> Edit:
    return lambda document: document[section].pop(name)


def field(section: str, name: str, key: str, value: Any) -> Edit:
    return lambda document: document[section][name].update({key: value})


def as_observation(document: Document) -> None:
    relation = document["relations"].pop("buy")
    document["observations"]["buy"] = {key: relation[key] for key in ("head", "tail", "source")}


def without_items(document: Document) -> None:
    for name in ("click", "buy", "told", "part_of"):
        document["relations"].pop(name)
    document["observations"] = {
        "shown": {"head": "user", "tail": "user", "source": "onsite"},
    }
    document["entities"].pop("item")
    document["label"]["outcome"] = "friend"


FREE: list[Edit] = [
    lambda document: document.update(name="another"),
    lambda document: document["entities"].update(place={"person": False, "attributes": {}}),
    lambda document: document["entities"]["item"]["attributes"].update(price="number"),
    removed("relations", "told"),  # no such event is stored
    field("relations", "told", "source", "onsite"),
    lambda document: document["entities"]["user"]["attributes"].pop("age"),  # none was ever set
    field("relations", "click", "weight", 2.0),
    field("relations", "click", "window_days", 1.0),
    lambda document: document["label"].update(window_minutes=5.0),
]


@pytest.mark.parametrize("edit", FREE)
def test_what_orphans_nothing_is_free(graph: Database, edit: Edit) -> None:
    before = tables(graph)
    changed = change(graph, edited(edit))
    assert (changed.schema.version, changed.replayed) == (2, 0)
    with graph.reading() as connection:
        assert versions.current(connection) == changed.schema
    assert tables(graph) == before
    again = change(graph, edited(edit))
    assert again.schema.version == 2, "the same once more makes no version"


ORPHANS: list[tuple[Edit, str, dict[str, int]]] = [
    (removed("relations", "friend"), "relations.friend", {"events": 2, "edges": 2}),
    (removed("relations", "buy"), "relations.buy", {"events": 1, "edges": 1}),
    (as_observation, "relations.buy", {"events": 1, "edges": 1}),
    (
        field("relations", "buy", "source", "onsite"),
        "relations.buy.source",
        {"events": 1, "edges": 1},
    ),
    (
        field("relations", "part_of", "head", "user"),
        "relations.part_of.head",
        {"events": 1, "edges": 1},
    ),
    (
        field("relations", "friend", "self_loops", False),
        "relations.friend.self_loops",
        {"events": 1},
    ),
    (field("relations", "click", "parallel", False), "relations.click.parallel", {"pairs": 1}),
    (field("entities", "user", "person", False), "entities.user.person", {"entities": 2}),
    (
        lambda document: document["entities"]["user"]["attributes"].pop("country"),
        "entities.user.attributes.country",
        {"entities": 1},
    ),
    (
        lambda document: document["entities"]["user"]["attributes"].update(country="list"),
        "entities.user.attributes.country",
        {"entities": 1},
    ),
    (without_items, "entities.item", {"entities": 2}),
]


@pytest.mark.parametrize(("edit", "where", "counts"), ORPHANS)
def test_what_would_orphan_something_is_refused_with_counts(
    graph: Database, edit: Edit, where: str, counts: dict[str, int]
) -> None:
    before = tables(graph)
    with pytest.raises(SchemaRefused) as refused:
        change(graph, edited(edit))
    first = refused.value.errors[0]
    assert first["field"] == where
    assert {name: first[name] for name in counts} == counts
    assert set(first) == {"field", "expected", *counts}
    assert where in str(refused.value)
    assert all(str(n) in str(refused.value) for n in counts.values())
    assert tables(graph) == before
    with graph.reading() as connection:
        assert versions.version(connection) == 1


def test_a_retraction_alone_keeps_its_relation(graph: Database) -> None:
    fill(graph, event("retract", "r", "item/1", "user/1", relation="told"))
    with pytest.raises(SchemaRefused) as refused:
        change(graph, edited(removed("relations", "told")))
    assert refused.value.errors[0]["events"] == 1


@pytest.mark.parametrize("turned", [False, True])
def test_a_relation_loses_its_direction_if_all_events_have_it(
    database: Database, turned: bool
) -> None:
    directed = edited(field("relations", "friend", "directed", True))
    with database.transaction() as connection:
        versions.seed(connection, directed, now=NOW)
    ends = ("user/z", "user/é") if not turned else ("user/é", "user/z")  # by code point
    fill(database, event("friend", "f1", *ends), event("friend", "f2", "user/A", "user/a"))
    if turned:
        with pytest.raises(SchemaRefused) as refused:
            change(database, SMALL_SCHEMA)
        assert refused.value.errors == [
            {
                "field": "relations.friend.directed",
                "expected": "true while events have the greater id as actor",
                "events": 1,
            }
        ]
    else:
        assert change(database, SMALL_SCHEMA).replayed == 2


def test_a_new_half_life_sums_edges_anew(graph: Database) -> None:
    # Two clicks, one 14 days old: 1 + 1/2 with a half-life of 14 days, 1 + 1/4 with one of 7.
    name = ("user/1", "click", "item/1")
    assert tables(graph)["edges"][name][3] == 1.5
    shorter = edited(field("relations", "click", "half_life_days", 7.0))
    changed = change(graph, shorter)
    assert changed.replayed == 9
    held = tables(graph)
    assert held["edges"][name][3] == 1.25
    with graph.transaction() as connection:
        rebuild(connection, changed.schema)
    assert tables(graph) == held
    never = edited(field("relations", "click", "half_life_days", "inf"))
    change(graph, never)
    assert tables(graph)["edges"][name][3] == 2.0


def test_counting_once_more_sums_edges_anew(graph: Database) -> None:
    fill(graph, event("part_of", "p2", "item/1", "item/2"))
    assert tables(graph)["edges"]["item/1", "part_of", "item/2"][0] == 1
    change(graph, edited(field("relations", "part_of", "parallel", True)))
    assert tables(graph)["edges"]["item/1", "part_of", "item/2"][0] == 2


def test_a_long_replay_has_to_be_asked_for(
    graph: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evolution, "MOST_REPLAYED", 8)
    shorter = edited(field("relations", "click", "half_life_days", 7.0))
    with pytest.raises(ReplayTooLong, match=r"replays 9 events.*seconds"):
        change(graph, shorter)
    assert change(graph, shorter, patient=True).replayed == 9


def test_who_has_not_seen_the_version_is_stopped(graph: Database) -> None:
    weightier = edited(field("relations", "click", "weight", 2.0))
    with pytest.raises(SchemaChanged, match="at version 1"):
        change(graph, weightier, seen=lambda version: version == 7)
    assert change(graph, weightier, seen=lambda version: version == 1).schema.version == 2


def test_removing_a_relation_while_others_post_it(database: Database) -> None:
    """Either it is gone and no event of it is stored, or one is stored and it is there."""
    with database.transaction() as connection:
        versions.seed(connection, SMALL_SCHEMA, now=NOW)
    for attempt in range(12):
        outcomes = race(database, attempt)
        stored = [name for name in tables(database)["edges"] if name[1] == "told"]
        with database.reading() as connection:
            declared = "told" in versions.current(connection).events
        if declared:
            assert {"accepted", "kept"} <= set(outcomes)
            break
        assert sorted(outcomes) == ["outdated", "outdated", "removed"]
        assert not stored
        change(database, SMALL_SCHEMA)  # and again


def race(database: Database, attempt: int) -> list[str]:
    """What became of two who post a relation and one who removes it, at once."""
    ready = threading.Barrier(3)
    outcomes: list[str] = []
    with database.reading() as connection:
        schema = versions.current(connection)
    without = edited(removed("relations", "told"))

    def post(number: int) -> None:
        told = event("told", f"t{attempt}-{number}", f"item/{attempt}", "user/1")
        ready.wait()
        try:
            with database.transaction() as connection:
                outcomes.append(ingest(connection, schema, [told], now=NOW)[0].status)
        except SchemaOutdated:
            outcomes.append("outdated")

    def remove() -> None:
        ready.wait()
        try:
            change(database, without)
            outcomes.append("removed")
        except SchemaRefused:
            outcomes.append("kept")

    workers = [threading.Thread(target=post, args=(number,)) for number in range(2)]
    workers.append(threading.Thread(target=remove))
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    return outcomes
