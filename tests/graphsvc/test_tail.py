"""What the log says since, and what has become of whom it names."""

import pytest
from plans import plans_of
from sqlalchemy import update

from graphsvc import tail
from graphsvc.db import Database
from graphsvc.ids import EntityId
from graphsvc.ingest import Rules, ingest
from graphsvc.schema import load_schema
from graphsvc.tables import events

ADS = load_schema("ads")
NOW = 1_767_225_600


def post(database: Database, *events: tuple[str, str, str | None]) -> None:
    """Events as (name, actor, object), one second after the other."""
    built_in = {
        "retire": ("structure", "ad", "ad"),
        "restore": ("structure", "ad", "ad"),
        "merge": ("structure", "ad", "ad"),
        "opt_out": ("onsite", "user", "user"),
        "opt_in": ("onsite", "user", "user"),
    }
    with database.transaction() as connection:
        first = tail.reached(connection)
        batch = []
        for n, (name, actor, target) in enumerate(events):
            declared = ADS.events.get(name)
            source, head, other = (
                (declared.source, declared.head, declared.tail) if declared else built_in[name]
            )
            event = {
                "event_id": f"{first}-{n}",
                "event_name": name,
                "event_time": NOW - 1000 + first * 10 + n,
                "action_source": source,
                "actor": {"type": head, "id": actor},
                "consent": True,
            }
            if target:
                event["object"] = {"type": other, "id": target}
            batch.append(event)
        verdicts = ingest(connection, ADS, batch, now=NOW, rules=Rules(backfill=True))
        assert {verdict.status for verdict in verdicts} == {"accepted"}, verdicts


def name(type_: str, id_: str) -> EntityId:
    return EntityId(type_, id_)


def test_changes_are_read_in_pieces(database: Database) -> None:
    with database.reading() as connection:
        assert tail.reached(connection) == 0
        assert tail.last_key(connection) == 0
        assert tail.changes(connection, after=0, limit=9) == []
    post(database, ("click", "u1", "a1"), ("click", "u2", "a1"), ("retire", "a1", None))
    with database.reading() as connection:
        rows = tail.changes(connection, after=0, limit=2)
        rows += tail.changes(connection, after=rows[-1].seq, limit=2)
        assert tail.reached(connection) == rows[-1].seq
        keys = {
            id_: tail.named(connection, name(*id_)).key for id_ in (("user", "u1"), ("ad", "a1"))
        }
    assert [row.event_name for row in rows] == ["click", "click", "retire"]
    assert (rows[0].actor, rows[0].object) == (keys["user", "u1"], keys["ad", "a1"])
    assert (rows[2].actor, rows[2].object) == (keys["ad", "a1"], None)


def test_what_people_did_is_read_back_by_its_time(database: Database) -> None:
    """Later than a second, the latest first, of some names; of one second, by row."""
    post(database, *(("click", f"u{n}", "a1") for n in range(3)))
    post(database, ("save", "u3", "a1"), ("impression", "u4", "a1"), ("click", "u5", "a1"))
    with database.transaction() as connection:
        connection.execute(update(events).where(events.c.seq >= 5).values(event_time=NOW - 500))
        connection.execute(update(events).where(events.c.seq == 2).values(event_time=NOW - 400))
    with plans_of(database, "(SELECT") as plans, database.reading() as connection:
        found, place = [], (2**63 - 1, 2**63 - 1)
        while page := tail.changes_later(
            connection, ["click", "save"], than=NOW - 1000, before=place, limit=2
        ):
            assert len(page) <= 2
            found += page
            place = page[-1].event_time, page[-1].seq
        assert tail.changes_later(connection, [], than=0, before=place, limit=2) == []
    # The first row lies at that second itself, and an impression changes no edge.
    assert [row.seq for row in found] == [2, 6, 4, 3]
    assert [row.event_name for row in found] == ["click", "click", "save", "click"]
    assert plans
    for plan in plans:
        assert "ix_events_event_name_event_time" in plan or "event_name=?" in plan, plan


def test_the_end_of_the_log_does_not_move_back_when_rows_go(database: Database) -> None:
    post(database, ("click", "u1", "a1"), ("opt_out", "u2", None), ("opt_in", "u1", None))
    post(database, ("page_visit", "u1", "p1"))
    with database.reading() as connection:
        end = tail.reached(connection)
        rows = [row.seq for row in tail.changes(connection, after=0, limit=99)]
        assert rows[-1] == end
    post(database, ("opt_out", "u1", None))
    with database.reading() as connection:
        assert tail.reached(connection) == end + 1
        left = [row.seq for row in tail.changes(connection, after=0, limit=99)]
    assert end not in left, "the visit was taken out"
    assert left[-1] == end + 1


def test_entities_are_walked_newest_first(database: Database) -> None:
    post(database, *(("click", f"u{n}", "a1") for n in range(4)))
    with database.reading() as connection:
        first = tail.entities_below(connection, tail.last_key(connection) + 1, limit=3)
        rest = tail.entities_below(connection, first[-1].key, limit=3)
        assert tail.entities_below(connection, rest[-1].key, limit=3) == []
        by_key = tail.entities_of(connection, [entity.key for entity in first] + [10**9])
    keys = [entity.key for entity in first + rest]
    assert keys == sorted(keys, reverse=True)
    assert {entity.id for entity in first + rest} == {"a1", "u0", "u1", "u2", "u3"}
    assert by_key == {entity.key: entity for entity in first}
    assert first[0].name == name(first[0].type, first[0].id)


def test_retired_and_merged_are_out_of_answers(database: Database) -> None:
    post(database, *(("click", "u1", f"a{n}") for n in range(4)))
    post(database, ("retire", "a1", None), ("merge", "a2", "a3"))
    with database.reading() as connection:
        assert {entity.id for entity in tail.out_of_answers(connection)} == {"a1", "a2"}
        assert tail.unfit(connection, "ad", ["a0", "a1", "a2", "a3", "nobody"], since=0) == {
            "a1": None,
            "a2": None,
        }
        assert tail.named(connection, name("ad", "a1")).retired
        merged = tail.named(connection, name("ad", "a2"))
        assert merged.entity == name("ad", "a3")
        assert merged == tail.named(connection, name("ad", "a3"))
    post(database, ("restore", "a1", None))
    with database.reading() as connection:
        assert [entity.id for entity in tail.out_of_answers(connection)] == ["a2"]


def test_a_hundred_answers_of_a_thousand_are_looked_through_at_once(database: Database) -> None:
    post(database, ("click", "u1", "a1"), ("click", "u1", "a2"), ("opt_out", "u1", None))
    post(database, ("retire", "a2", None))
    nobody = [f"nobody {n}" for n in range(100_000)]
    with database.reading() as connection:
        assert tail.unfit(connection, "ad", ["a1", *nobody, "a2"], since=0) == {"a2": None}
        [(id_, place)] = tail.unfit(connection, "user", [*nobody, "u1"], since=0).items()
        u1 = tail.named(connection, name("user", "u1"))
        # As many who have all said something of offsite events.
        keys = [*range(10**6, 10**6 + 70_000), u1.key]
        assert tail.opted_out_since(connection, 0, keys=keys) == {u1.key: place}
    assert id_ == "u1"


def test_opt_outs_are_looked_up_in_blocks(database: Database, monkeypatch) -> None:
    users = [f"u{n}" for n in range(7)]
    post(database, *(("opt_out", user, None) for user in users))
    with database.reading() as connection:
        whole = tail.unfit(connection, "user", users, since=0)
        monkeypatch.setattr(tail, "_BLOCK", 2)
        assert tail.unfit(connection, "user", users, since=0) == whole
    assert sorted(whole) == users


def test_opt_outs_count_from_a_place_in_the_log_on(database: Database) -> None:
    post(database, ("opt_out", "u1", None), ("click", "u2", "a1"))
    with database.reading() as connection:
        place = tail.reached(connection)
        u1, u2 = (tail.named(connection, name("user", id_)) for id_ in ("u1", "u2"))
        assert (u1.spoke, u2.spoke) == (True, False)
        assert [one.id for one in tail.opted_out(connection, after=0)] == ["u1"]
        assert list(tail.opted_out(connection, after=place)) == []
        assert tail.opted_out_since(connection, place, keys=[u1.key, u2.key]) == {}
        assert tail.unfit(connection, "user", ["u1", "u2"], since=place) == {}
    # Who agrees again later has opted out all the same.
    post(database, ("opt_out", "u2", None), ("opt_in", "u2", None))
    with database.reading() as connection:
        assert [one.key for one in tail.opted_out(connection, after=place)] == [u2.key]
        assert tail.opted_out_since(connection, place, keys=[u1.key]) == {}
        assert tail.opted_out_since(connection, place, keys=[u2.key]) == {u2.key: place + 1}
        assert tail.unfit(connection, "user", ["u1", "u2"], since=place) == {"u2": place + 1}


def test_an_opt_out_is_of_the_one_who_a_merged_id_stands_for_now(database: Database) -> None:
    post(database, ("opt_out", "u1", None), ("opt_out", "u2", None), ("opt_out", "u3", None))
    with database.transaction() as connection:
        merge = {
            "event_id": "m",
            "event_name": "merge",
            "event_time": NOW,
            "action_source": "structure",
            "actor": {"type": "user", "id": "u1"},
            "object": {"type": "user", "id": "u2"},
        }
        ingest(connection, ADS, [merge], now=NOW)
    with database.reading() as connection:
        found = [one.id for one in tail.opted_out(connection, after=0)]
    assert sorted(found) == ["u2", "u2", "u3"]


@pytest.mark.parametrize("odd", [("user", "\0"), ("\ud800", "u1"), ("user", "nobody")])
def test_nobody_is_known_by_an_odd_name(database: Database, odd: tuple[str, str]) -> None:
    with database.reading() as connection:
        assert tail.named(connection, name(*odd)) is None


@pytest.mark.parametrize(
    ("event", "matters"),
    [
        (("click", "u1", "a2"), False),
        (("restore", "a3", None), False),
        (("retire", "a1", None), True),
        (("merge", "a1", "a2"), True),
        (("opt_out", "u1", None), True),
    ],
)
def test_unrest_is_what_takes_somebody_out_of_answers(
    database: Database, event: tuple[str, str, str | None], matters: bool
) -> None:
    post(database, ("click", "u1", "a1"), ("click", "u1", "a2"), ("click", "u1", "a3"))
    post(database, ("retire", "a3", None))
    with database.reading() as connection:
        assert tail.unrest(connection, after=0)
        done = tail.reached(connection)
        assert not tail.unrest(connection, after=done)
    post(database, event)
    with database.reading() as connection:
        assert tail.unrest(connection, after=done) == matters
