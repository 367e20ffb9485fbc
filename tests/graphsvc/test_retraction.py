"""What a retraction reads: the events of its edge, by way of the actor's index."""

import pytest
from plans import plans_of
from semantics import NOW, event, post, tables

from graphsvc import retraction
from graphsvc.db import Database


def busy_log(database: Database) -> None:
    """Sixty people clicked on a hundred items each, so that of a name there is much to read."""
    clicks = [
        event("click", f"c{user}-{item}", f"user/{user}", f"item/{item}", event_time=NOW - item)
        for user in range(60)
        for item in range(100)
    ]
    post(database, *clicks, backfill=True)


def test_it_goes_by_the_actor_and_not_by_all_events_of_the_name(database: Database) -> None:
    busy_log(database)
    with plans_of(database, "events") as plans:
        post(database, event("retract", "r", "user/7", "item/9", relation="click"))
    told = "\n".join(plans)
    assert "ix_events_actor_event_time" in told
    assert "ix_events_event_name_event_time" not in told, told
    assert "Seq Scan on events" not in told, told


def test_only_the_edges_events_are_read(database: Database, monkeypatch) -> None:
    busy_log(database)
    read: list[int] = []

    def counted(connection, query, values, **named):
        rows = real(connection, query, values, **named)
        if "FROM events" in query:
            read.append(len(rows))
        return rows

    real = retraction.rows_among
    monkeypatch.setattr(retraction, "rows_among", counted)
    post(database, event("retract", "r", "user/7", "item/9", relation="click"))
    assert read == [2], "the click and the retraction"
    edges = tables(database)["edges"]
    assert ("user/7", "click", "item/9") not in edges
    assert ("user/7", "click", "item/8") in edges


@pytest.mark.parametrize("kept", ["a", "z"])
def test_an_undirected_edge_that_a_merge_turned_round(database: Database, kept: str) -> None:
    """m and n are friends; m becomes a or z, so that the ends change places or not."""
    for n in range(2):
        post(database, event("friend", f"f{n}", "user/m", "user/n", event_time=NOW - 9 + n))
    post(database, event("merge", "m", "user/m", f"user/{kept}"))
    post(database, event("retract", "r", "user/n", f"user/{kept}", relation="friend"))
    first, second = sorted(("user/n", f"user/{kept}"))
    assert tables(database)["edges"] == {(first, "friend", second): (1, NOW - 9, NOW - 9, 1.0)}
