"""Reading the graph."""

from math import log2

import numpy as np
import pytest
from dated import ADS, DAY, NOW, dated

from graphsvc import catalog, graph, tail
from graphsvc.db import Database
from graphsvc.errors import CursorInvalid, EntityMissing
from graphsvc.ids import EntityId
from graphsvc.ingest import Rules, ingest

ODD_CURSORS = [f'[0, "{relation}", 1]' for relation in ("\0", "a\\u0000", "\\ud800", "a\\n")]
U1, A1 = EntityId("user", "u1"), EntityId("ad", "a1")


def post(database: Database, *events: tuple[str, str, str, int]) -> None:
    """Events as (name, actor, object, days before now)."""
    batch = dated(*events)
    batch.append(
        {
            "event_id": "set",
            "event_name": "set_attributes",
            "event_time": NOW,
            "action_source": "structure",
            "actor": {"type": "user", "id": "u1"},
            "properties": {"age": 30, "country": "DE", "gender": None},
        }
    )
    with database.transaction() as connection:
        assert {
            v.status for v in ingest(connection, ADS, batch, now=NOW, rules=Rules(backfill=True))
        } == {"accepted"}


def small(database: Database) -> None:
    post(
        database,
        ("click", "u1", "a1", 14),
        ("click", "u1", "a1", 0),
        ("click", "u2", "a1", 95),
        ("save", "u1", "a1", 0),
        ("impression", "u1", "a1", 0),
        ("checkout", "u1", "p1", 30),
        ("ad_of_product", "a1", "p1", 400),
    )


def test_edges_in_both_directions_page_by_page(database: Database) -> None:
    small(database)
    seen, after = [], None
    with database.reading() as connection:
        while True:
            page = graph.edges(connection, ADS, A1, as_of=NOW, limit=2, after=after)
            seen += page.items
            if (after := page.next) is None:
                break
        whole = graph.edges(connection, ADS, A1, as_of=NOW, limit=4)
    assert (whole.items, whole.next) == (seen, None)
    assert [(e.direction, e.relation, e.other.id, e.count) for e in seen] == [
        ("out", "ad_of_product", "p1", 1),
        ("in", "click", "u1", 2),
        ("in", "click", "u2", 1),
        ("in", "save", "u1", 1),
    ]
    click = seen[1]
    assert (click.first_time, click.last_time) == (NOW - 14 * DAY, NOW)
    # One click now and one a half-life ago; a save weighs 3.
    assert click.weight == pytest.approx(log2(1 + 1.5))
    assert seen[3].weight == pytest.approx(3.0)
    assert seen[0].weight == pytest.approx(1.0)


def test_the_newest_edges_are_those_of_all(database: Database) -> None:
    """The order of pages begins with old ones here, so its first page holds none of these."""
    batch = [("ad_of_product", "a1", f"p{n:02}", 100 + n) for n in range(12)]
    batch += [("click", f"u{n:02}", "a1", 50 - n) for n in range(12)]
    batch += [("save", "u00", "a1", 39), ("save", "u01", "a2", 0)]
    post(database, *batch)
    with database.reading() as connection:
        newest = graph.newest_edges(connection, ADS, A1, as_of=NOW, limit=3)
        most = graph.newest_edges(connection, ADS, A1, as_of=NOW, limit=13)
        every = graph.newest_edges(connection, ADS, A1, as_of=NOW, limit=99)
        page = graph.edges(connection, ADS, A1, as_of=NOW, limit=99)
        with pytest.raises(EntityMissing):
            graph.newest_edges(connection, ADS, EntityId("ad", "a9"), as_of=NOW)
    told = [(e.direction, e.relation, e.other.id, NOW - e.last_time) for e in newest]
    # Of the same day the click comes first, as in pages.
    assert told == [
        ("in", "click", "u11", 39 * DAY),
        ("in", "save", "u00", 39 * DAY),
        ("in", "click", "u10", 40 * DAY),
    ]
    assert {e.direction for e in most} == {"in"}
    assert every[:13] == most
    assert every == sorted(page.items, key=lambda e: -e.last_time)


@pytest.mark.parametrize(
    "odd",
    [
        EntityId("user", "\0"),
        EntityId("user", "u1\0"),
        EntityId("user", "\ud800"),
        EntityId("user", "\udfffu1"),
        EntityId("\0", "u1"),
        EntityId("user\ud800", "u1"),
        EntityId("user\n", "u1"),
    ],
)
def test_what_cannot_be_stored_is_not_known(database: Database, odd: EntityId) -> None:
    small(database)
    with database.reading() as connection:
        with pytest.raises(EntityMissing) as missing:
            catalog.entity(connection, odd)
        str(missing.value).encode()
        with pytest.raises(EntityMissing):
            graph.edges(connection, ADS, odd, as_of=NOW)
        assert tail.named(connection, odd) is None
        rows = graph.states(
            connection, odd.type, [odd.id, "u1"], attributes=["age"], events=["click"]
        )
        assert rows.found.tolist() == [False, odd.type == "user"]
        assert rows.attributes == {"age": [None, 30 if odd.type == "user" else None]}
        assert rows.counters["click"].tolist() == [0, 2 if odd.type == "user" else 0]


@pytest.mark.parametrize(
    "after",
    [
        "",
        "x",
        "[]",
        '[2, "click", 1]',
        '[0, "click", Infinity]',
        "9" * 99,
        "\0",
        "\ud800",
        *ODD_CURSORS,
    ],
)
def test_a_cursor_of_nobody(database: Database, after: str) -> None:
    small(database)
    with database.reading() as connection, pytest.raises(CursorInvalid):
        graph.edges(connection, ADS, U1, as_of=NOW, after=after)


def test_counts(database: Database) -> None:
    with database.reading() as connection:
        assert graph.counts(connection) == {"entities": {}, "edges": {}, "events": {}, "seq": 0}
    small(database)
    with database.reading() as connection:
        assert graph.counts(connection) == {
            "entities": {"ad": 1, "product": 1, "user": 2},
            "edges": {"ad_of_product": 1, "checkout": 1, "click": 2, "save": 1},
            "events": {
                "ad_of_product": 1,
                "checkout": 1,
                "click": 3,
                "impression": 1,
                "save": 1,
                "set_attributes": 1,
            },
            "seq": 8,
        }


def test_states_come_in_the_order_asked_for(database: Database) -> None:
    small(database)
    ids = ["u2", "nobody", "u1", "u2", "%s {value}"]
    with database.reading() as connection:
        rows = graph.states(
            connection,
            "user",
            ids,
            attributes=["country", "age", "interests"],
            events=["click", "impression"],
        )
        nothing = graph.states(connection, "user", [], attributes=[], events=[])
    assert rows.found.tolist() == [True, False, True, True, False]
    assert rows.attributes == {
        "country": [None, None, "DE", None, None],
        "age": [None, None, 30, None, None],
        "interests": [None] * 5,
    }
    assert rows.counters["click"].tolist() == [1, 0, 2, 1, 0]
    assert rows.counters["impression"].dtype == np.int64
    assert nothing.found.shape == (0,)


def test_where_structure_leads(database: Database) -> None:
    post(
        database,
        ("ad_of_product", "a1", "p1", 1),
        ("ad_of_product", "a1", "p2", 2),
        ("ad_of_advertiser", "a1", "x", 1),
        ("ad_of_product", "a2", "p2", 1),
        ("ad_of_campaign", "a2", "c", 1),
        ("click", "u1", "a1", 1),
    )
    wanted = ["ad_of_product", "ad_of_advertiser"]
    with database.reading() as connection:
        rows = graph.states(connection, "ad", ["a1", "a2", "?"], attributes=[], events=[])
        first, second, missing = rows.keys.tolist()
        found = graph.led_to(connection, [second, first], wanted, most=10)
        assert sorted((key, str(other)) for key, other in found) == sorted(
            [
                *((first, name) for name in ("advertiser/x", "product/p1", "product/p2")),
                (second, "product/p2"),
            ]
        )
        assert len(graph.led_to(connection, [first, second], wanted, most=2)) == 2
        assert missing == 0
        assert graph.led_to(connection, [first], [], most=10) == []
        assert graph.led_to(connection, [], wanted, most=10) == []
