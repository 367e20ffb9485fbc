"""Taking somebody out of the tables: what is left is what the rest of the log makes."""

import pytest
from semantics import DAY, NOW, SMALL_SCHEMA, event, post, statuses, tables
from sqlalchemy import func, insert, select, update

from graphsvc import answers, erasures
from graphsvc.answers import Answer, Item
from graphsvc.db import Database
from graphsvc.erase import erase, keys_of_nobody, left
from graphsvc.errors import ErasureMissing
from graphsvc.ids import EntityId
from graphsvc.ingest import rebuild
from graphsvc.tables import answers as answers_table
from graphsvc.tables import counters, entities, events, seen
from graphsvc.tables import erasures as erasures_table

ANN, BEN = EntityId("user", "ann"), EntityId("user", "ben")
OF_BEN = (
    event("click", "b1", "user/ben", "item/x", event_time=NOW - 5),
    event("set_attributes", "b2", "user/ben", properties={"age": 40}),
)
OF_ANN = (
    event("click", "a1", "user/ann", "item/x"),
    event("click", "a2", "user/ann", "item/x", event_time=NOW - DAY),
    event("retract", "a3", "user/ann", "item/x", relation="click"),
    event("buy", "a4", "user/ann", "item/y"),
    event("told", "a5", "item/x", "user/ann"),
    event("shown", "a6", "user/ann", "item/y"),
    event("friend", "a7", "user/ann", "user/ben"),
    event("friend", "a8", "user/ben", "user/ann", event_time=NOW - 1),
    event("set_attributes", "a9", "user/ann", properties={"country": "DE"}),
    event("opt_in", "a10", "user/ann"),
)


def gone(database: Database, who: EntityId, *, now: int = NOW) -> dict[str, int]:
    """Ask for an erasure and take somebody out, under all ids: rows that went."""
    removed: dict[str, int] = {}
    with database.transaction() as connection:
        erasures.ask(connection, who, now=now)
        for number, entity in erasures.under_way(connection):
            assert entity is not None
            told = erase(connection, SMALL_SCHEMA, entity.type, [entity.id])
            erasures.took_out(connection, number, told)
            removed = {name: removed.get(name, 0) + told.get(name, 0) for name in removed | told}
    return removed


def count(database: Database, table) -> int:
    with database.reading() as connection:
        return connection.scalar(select(func.count()).select_from(table))


def test_the_rest_is_as_if_they_had_never_been(database: Database) -> None:
    post(database, *OF_BEN)
    alone, known = tables(database), count(database, seen)
    post(database, *OF_ANN)
    removed = gone(database, ANN)
    # Item y stays, as whatever an event has named once; nothing is counted of it.
    assert tables(database) == {
        **alone,
        "entities": alone["entities"] | {"item/y": (False, None, None)},
    }
    assert count(database, seen) == known
    assert removed == {
        "attributes": 1,
        "consents": 1,
        "counters": 8,
        "edges": 4,
        "entities": 1,
        "events": 10,
        "retractions": 1,
        "seen": 10,
    }
    with database.transaction() as connection:
        rebuild(connection, SMALL_SCHEMA)
    assert tables(database)["edges"] == alone["edges"]
    assert tables(database)["counters"] == alone["counters"]


def test_all_ids_of_a_person_are_one(database: Database) -> None:
    post(database, *OF_BEN, *OF_ANN, event("click", "c1", "user/cat", "item/x"))
    post(database, event("merge", "m1", "user/cat", "user/ann"))
    gone(database, EntityId("user", "cat"))
    assert {name for name in tables(database)["entities"] if name.startswith("user/")} == {
        "user/ben"
    }
    late = [
        event("click", f"l{n}", who, "item/x") for n, who in enumerate(("user/ann", "user/cat"))
    ]
    assert statuses(post(database, *late)) == ["erased", "erased"]


def test_answers_about_them_go_and_they_go_from_others(database: Database) -> None:
    def answer(request_id: str, head: EntityId, tail_type: str, *ids: str) -> Answer:
        return Answer(
            request_id=request_id,
            asked_at=NOW,
            head=head,
            tail_type=tail_type,
            state="learned",
            bundle="b" * 64,
            index="i" * 64,
            ranker="r" * 64,
            items=[Item(id_, 0.5) for id_ in ids],
        )

    some = [
        answer("about ann", ANN, "item", "x"),
        answer("ann among others", BEN, "user", "ann", "dan"),
        answer("an item of that name", BEN, "item", "ann"),
    ]
    post(database, *OF_BEN, *OF_ANN)
    with database.transaction() as connection:
        answers.write(connection, some)
    assert gone(database, ANN)["answers"] == 2
    with database.transaction() as connection:
        kept = {one.request_id: one for one in answers.page(connection).items}
        assert [item.id for item in kept["ann among others"].items] == ["dan"]
        assert kept["an item of that name"] == some[2]
        assert set(kept) == {"ann among others", "an item of that name"}
        # And none comes again: who asks for a score of her is answered, and nobody writes it down.
        again = [answer("n1", ANN, "item", "x"), answer("n2", BEN, "user", "ann")]
        assert answers.write(connection, again) == 0


def test_who_stands_there_again_is_counted(database: Database) -> None:
    """Each place by itself, on both databases: persons may be tails here."""
    post(database, *OF_BEN, *OF_ANN)
    with database.reading() as connection:
        query = select(entities.c.key).where(entities.c.type == "user", entities.c.id == "ann")
        key = connection.scalar(query)
    gone(database, ANN)
    about = {"request_id": "r", "asked_at": 1, "head_type": "item", "head_id": "x"}
    about |= {"state": "learned", **dict.fromkeys(("bundle", "index", "ranker"), "0" * 64)}
    with database.transaction() as connection:
        who = erasures.gone(connection)

        def found() -> dict[str, int]:
            ids = {name: there for name, (there, _) in left(connection, who).items()}
            counted = ids | keys_of_nobody(connection, SMALL_SCHEMA, who)
            return {name: n for name, n in counted.items() if n}

        assert found() == {}
        connection.execute(update(events).values(object=key))
        assert found() == {"events.object": 2}
        connection.execute(update(events).values(object=None, actor=key))
        assert found() == {"events.actor": 2}
        connection.execute(insert(counters).values(entity=key, event_name="click", n=3))
        assert found() == {"events.actor": 2, "counters.entity": 1}
        row = about | {"tail_type": "user", "items": '[["dan",0.5],["ann",0.4]]'}
        connection.execute(insert(answers_table).values(row))
        connection.execute(insert(entities).values(key=key, type="user", id="ann", first_seq=1))
        assert found() == {"entities": 1, "answers, items": 1}


def test_nothing_of_them_comes_in_before_they_agree(database: Database) -> None:
    post(database, *OF_BEN, *OF_ANN)
    gone(database, ANN, now=NOW)
    at = {"event_time": NOW + 10}
    tried = [
        OF_ANN[0],
        event("told", "t1", "item/x", "user/ann", **at),
        event("opt_out", "t2", "user/ann", **at),
        event("opt_in", "t3", "user/ann", event_time=NOW),  # said before, and late
        event("click", "t4", "user/ann", "item/x", event_time=NOW - 30 * DAY),  # too old as well
        event("click", "t5", "user/ben", "item/x"),
    ]
    assert statuses(post(database, *tried, now=NOW + 20)) == [*["erased"] * 5, "accepted"]
    [refused] = post(database, tried[1], now=NOW + 20)
    assert (refused.field, refused.value) == ("object", None), "the id is not to be kept"

    after = {"event_time": NOW + 11}
    back = [
        event("click", "t6", "user/ann", "item/x", **after),
        event("opt_in", "t7", "user/ann", **at),
        event("click", "t8", "user/ann", "item/x", **after),
        event("click", "t9", "user/ann", "item/x", event_time=NOW + 9),
    ]
    assert statuses(post(database, *back, now=NOW + 20)) == [
        "erased",
        "accepted",
        "accepted",
        "erased",
    ]
    counted = {name: n for name, n in tables(database)["counters"].items() if name[0] == "user/ann"}
    assert counted == {("user/ann", "opt_in"): 1, ("user/ann", "click"): 1}
    # Once more: another row of the list, and nothing is left of the second time.
    gone(database, ANN, now=NOW + 30)
    assert statuses(post(database, back[2], now=NOW + 40)) == ["erased"]
    assert count(database, erasures_table) == 2


def test_nobody_comes_back_before_they_are_gone(database: Database) -> None:
    """Else the job would take out what they said, and the list would let the rest in."""
    post(database, *OF_ANN)
    with database.transaction() as connection:
        one = erasures.ask(connection, ANN, now=NOW)
    agrees = event("opt_in", "t1", "user/ann", event_time=NOW + 10)
    assert statuses(post(database, agrees, now=NOW + 20)) == ["erased"]
    with database.transaction() as connection:
        erasures.took_out(connection, one.number, {})
    assert statuses(post(database, agrees, now=NOW + 20)) == ["accepted"]


def test_asking_again_is_harmless(database: Database) -> None:
    post(database, *OF_ANN)
    with database.transaction() as connection:
        first = erasures.ask(connection, ANN, now=NOW)
        assert erasures.ask(connection, ANN, now=NOW + 5) == first
        erasures.certify(connection, [first.number], "c" * 64)
        again = erasures.ask(connection, ANN, now=NOW + 9)
        assert (again.number, again.certificate) == (first.number, "c" * 64)
        assert erasures.under_way(connection) == []
        with pytest.raises(ErasureMissing, match="no erasure 9"):
            erasures.erasure(connection, 9)


def test_a_list_is_replayed_where_it_is_not_known(database: Database) -> None:
    post(database, *OF_BEN, *OF_ANN)
    with database.transaction() as connection:
        erasures.ask(connection, ANN, now=NOW)
        listed = [erasures.as_listed(one) for one in erasures.every(connection)]
        assert "ann" not in str(listed)
        assert erasures.replay(connection, listed[0]) is None, "it is known"
        connection.execute(erasures_table.delete())  # as an earlier backup is
        assert erasures.replay(connection, listed[0]) is not None
        assert erasures.under_way(connection) == [(1, None)]
        erasures.find_ids(connection)
        assert erasures.under_way(connection) == [(1, ANN)]
    late = event("click", "l", "user/ann", "item/x")
    assert statuses(post(database, late)) == ["erased"]


def test_who_came_back_elsewhere_is_let_in_here(database: Database) -> None:
    post(database, *OF_ANN)
    with database.transaction() as connection:
        one = erasures.ask(connection, ANN, now=NOW)
        listed = erasures.as_listed(one) | {"returned_at": NOW + 10}
        connection.execute(erasures_table.delete())
        erasures.replay(connection, listed)
    told = [event("click", f"l{n}", "user/ann", "item/x", event_time=NOW + 9 + n) for n in range(2)]
    assert statuses(post(database, *told, now=NOW + 20)) == ["erased", "accepted"]
    with database.transaction() as connection:
        erasures.took_out(connection, 1, {})
        assert list(erasures.gone(connection, watermark=10**12).types) == ["user"]
    again = event("opt_in", "anew", "user/ann", event_time=NOW + 15)
    assert statuses(post(database, again, now=NOW + 20)) == ["accepted"]
    with database.reading() as connection:  # from here on they may be learned of
        assert list(erasures.gone(connection, watermark=10**12).types) == []
