"""Ingest: a verdict per event, the log once, the projections with it; and replaying the log."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from graphsvc.db import Database
from graphsvc.errors import GraphError
from graphsvc.ingest import Rules, Verdict, ingest, rebuild
from graphsvc.schema import load_schema
from graphsvc.tables import attributes, counters, edges, entities, events, metadata, sequences

ADS = load_schema("ads")
DAY = 86_400
NOW = 1_767_225_600


def click(number: int, **changes: Any) -> dict[str, Any]:
    event = {
        "event_id": f"c{number}",
        "event_name": "click",
        "event_time": NOW,
        "action_source": "onsite",
        "actor": {"type": "user", "id": "u1"},
        "object": {"type": "ad", "id": "a1"},
    }
    return event | changes


def attributes_of(user: str, values: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    event = {
        "event_id": f"set-{user}",
        "event_name": "set_attributes",
        "event_time": NOW,
        "action_source": "structure",
        "actor": {"type": "user", "id": user},
        "properties": values,
    }
    return event | changes


def post(database: Database, *raw: Any, backfill: bool = True, now: int = NOW) -> list[Verdict]:
    with database.transaction() as connection:
        return ingest(connection, ADS, raw, now=now, rules=Rules(backfill=backfill))


def rows(database: Database, table: Any) -> list[tuple[Any, ...]]:
    """All rows in the order of the primary key."""
    with database.reading() as connection:
        query = select(table).order_by(*table.primary_key.columns)
        return [tuple(row) for row in connection.execute(query)]


def test_an_accepted_event_is_in_the_log_and_in_the_graph(database: Database) -> None:
    event = click(1, value=2.5, currency="EUR", properties={"b": [1, "x"], "a": None}, consent=True)
    assert post(database, event) == [Verdict("c1", "accepted")]
    assert [row[:5] for row in rows(database, entities)] == [
        (1, "user", "u1", 1, False),
        (2, "ad", "a1", 1, False),
    ]
    properties = '{"a":null,"b":[1,"x"]}'
    ends, asked = (1, 2, None), (None, None, None)
    assert rows(database, events) == [
        (1, "c1", "click", NOW, "onsite", *ends, 2.5, "EUR", properties, True, *asked, NOW)
    ]
    assert rows(database, edges) == [(1, "click", 2, 1.0, 1, NOW, NOW)]
    assert rows(database, counters) == [(1, "click", 1), (2, "click", 1)]


@pytest.mark.parametrize("batches", [[[0, 14, 28]], [[28], [14], [0]], [[14, 28], [0]]])
def test_clicks_of_two_half_lives_decay_in_any_order(
    database: Database, batches: list[list[int]]
) -> None:
    # The half-life of a click is 14 days: as of the newest, 1 + 1/2 + 1/4.
    for batch in batches:
        post(database, *(click(day, event_time=NOW - day * DAY) for day in batch))
    [edge] = rows(database, edges)
    assert edge[3] == pytest.approx(1.75, rel=1e-12)
    assert edge[4:] == (3, NOW - 28 * DAY, NOW)


def test_an_event_of_1970_and_one_of_today_make_one_edge(database: Database) -> None:
    post(database, click(1, event_time=0))
    post(database, click(2))
    post(database, click(3, event_time=1))
    [edge] = rows(database, edges)
    assert edge[3:] == (1.0, 3, 0, NOW)


def test_duplicates_within_a_batch_and_against_the_log(database: Database) -> None:
    impression = click(1, event_name="impression")  # the same id under another name is new
    assert [v.status for v in post(database, click(1), click(1), impression)] == [
        "accepted",
        "duplicate",
        "accepted",
    ]
    changed = click(1, event_time=NOW - 1)
    assert [v.status for v in post(database, changed, click(2))] == ["conflict", "accepted"]
    assert [row[0] for row in rows(database, events)] == [1, 2, 3]
    assert rows(database, edges)[0][4] == 2


def test_a_bad_event_does_not_touch_its_neighbors(database: Database) -> None:
    verdicts = post(database, click(1), {"event_id": 7}, click(2), "no event", click(3))
    assert [v.status for v in verdicts] == [
        "accepted",
        "rejected",
        "accepted",
        "rejected",
        "accepted",
    ]
    assert len(rows(database, events)) == 3


def test_attributes_last_writer_by_time_wins_not_last_to_arrive(database: Database) -> None:
    post(database, attributes_of("u1", {"age": 30, "country": "DE"}, event_id="s1"))
    earlier = attributes_of("u1", {"age": 29, "gender": "f"}, event_id="s2", event_time=NOW - 1)
    post(database, earlier, attributes_of("u1", {"country": None}, event_id="s3"))
    assert [row[1:3] for row in rows(database, attributes)] == [
        ("age", "30"),
        ("country", "null"),
        ("gender", '"f"'),
    ]


def test_nothing_is_kept_if_the_transaction_fails(database: Database) -> None:
    with (  # noqa: PT012  (the point is what happens after the ingest)
        pytest.raises(RuntimeError, match="power cut"),
        database.transaction() as connection,
    ):
        ingest(connection, ADS, [click(1)], now=NOW)
        raise RuntimeError("power cut")
    assert not rows(database, events)
    assert not rows(database, edges)
    assert [v.status for v in post(database, click(1))] == ["accepted"]


def test_a_batch_larger_than_a_statement_takes(database: Database) -> None:
    batch = [click(n, actor={"type": "user", "id": f"u{n}"}) for n in range(2_500)]
    assert {v.status for v in post(database, *batch)} == {"accepted"}
    assert {v.status for v in post(database, *batch)} == {"duplicate"}
    assert len(rows(database, edges)) == 2_500
    assert rows(database, counters)[-1] == (2_501, "click", 1)


_IDS = st.sampled_from(["1", "2", "3"])
_TIMES = st.integers(NOW - 400 * DAY, NOW)


@st.composite
def _random_event(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(st.sampled_from([*ADS.events, "set_attributes"]))
    event_id = draw(st.integers(0, 40))
    if name == "set_attributes":
        values = draw(
            st.dictionaries(
                st.sampled_from(["country", "gender"]), st.sampled_from(["a", "b", None])
            )
        )
        return attributes_of(draw(_IDS), values, event_id=f"e{event_id}", event_time=draw(_TIMES))
    declared = ADS.events[name]
    return {
        "event_id": f"e{event_id}",
        "event_name": name,
        "event_time": draw(_TIMES),
        "action_source": declared.source,
        "actor": {"type": declared.head, "id": draw(_IDS)},
        "object": {"type": declared.tail, "id": draw(_IDS)},
        "consent": draw(st.sampled_from([True, True, None])),
    }


@given(
    batches=st.lists(st.lists(_random_event(), max_size=12), max_size=5),
    block=st.integers(1, 20),
)
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_replaying_the_log_gives_the_same_tables(
    database: Database, batches: list[list[dict[str, Any]]], block: int
) -> None:
    with database.transaction() as connection:  # the fixture is shared by all examples
        for table in set(metadata.sorted_tables) - {sequences}:
            connection.execute(delete(table))
    for batch in batches:
        post(database, *batch)
    before = [rows(database, table) for table in (edges, counters, attributes)]
    with database.transaction() as connection:
        rebuild(connection, ADS, block=block)
    after = [rows(database, table) for table in (edges, counters, attributes)]
    assert after[1:] == before[1:]
    assert [edge[:3] + edge[4:] for edge in after[0]] == [edge[:3] + edge[4:] for edge in before[0]]
    assert [edge[3] for edge in after[0]] == pytest.approx(
        [edge[3] for edge in before[0]], rel=1e-9
    )


def test_a_connection_for_reading_cannot_ingest(database: Database) -> None:
    with pytest.raises(GraphError), database.reading() as connection:
        ingest(connection, ADS, [click(1)], now=NOW)
    assert not rows(database, events)
