"""What filters ask of the graph, on a graph that is small enough to read."""

from graphsvc import filtering, tail
from graphsvc.catalog import key_of
from graphsvc.db import Database
from graphsvc.ids import EntityId
from graphsvc.ingest import Rules, ingest
from graphsvc.schema import load_schema

FILM = load_schema("film")
NOW = 1_700_000_000


def post(database: Database, *events: dict) -> None:
    with database.transaction() as connection:
        first = tail.reached(connection)
        batch = [
            {"event_id": f"{first}-{n}", "event_time": NOW + first + n, **event}
            for n, event in enumerate(events)
        ]
        verdicts = ingest(connection, FILM, batch, now=NOW + 99, rules=Rules(backfill=True))
        assert {verdict.status for verdict in verdicts} == {"accepted"}, verdicts


def said(film: str, **attributes: object) -> dict:
    return {
        "event_name": "set_attributes",
        "action_source": "structure",
        "actor": {"type": "film", "id": film},
        "properties": attributes,
    }


def merged(film: str, into: str) -> dict:
    return {
        "event_name": "merge",
        "action_source": "structure",
        "actor": {"type": "film", "id": film},
        "object": {"type": "film", "id": into},
    }


def clicked(user: str, film: str) -> dict:
    return {
        "event_name": "click",
        "action_source": "onsite",
        "actor": {"type": "user", "id": user},
        "object": {"type": "film", "id": film},
    }


def test_values_and_what_has_changed_since(database: Database) -> None:
    post(database, said("a", year=1990), said("b", year=1991, title="B"), clicked("u", "c"))
    with database.reading() as connection:
        values = filtering.attribute_values(connection, "film", "year")
        assert sorted(values) == [("a", "1990"), ("b", "1991")]
        assert filtering.attribute_values(connection, "film", "title") == [("b", '"B"')]
        done = tail.reached(connection)
    post(database, said("a", year=None), clicked("u", "b"), merged("c", "b"), said("c", year=1995))
    with database.reading() as connection:
        assert filtering.attribute_changes(connection, after=done, most=3) is None
        keys = filtering.attribute_changes(connection, after=done, most=4)
        assert keys is not None
        told = filtering.attribute_values_of(connection, "year", keys)
        # What is said of c is said of b, of which it is part.
        assert set(told) == {("film", "a", None), ("film", "b", "1995")}
        assert filtering.attribute_values(connection, "film", "year") == [("b", "1995")]
        assert filtering.standing_for(connection, "film", ["a", "c", "ghost", "\0"]) == {"a", "b"}


def test_who_is_joined_to_whom(database: Database) -> None:
    post(database, clicked("u", "a"), clicked("u", "b"), clicked("v", "a"))
    with database.reading() as connection:
        u, a = (key_of(connection, EntityId(*one)) for one in (("user", "u"), ("film", "a")))

        def joined(key: int, *, outward: bool, type_: str = "film", most: int = 9) -> set | None:
            found = filtering.joined(
                connection, "click", key, type_=type_, outward=outward, most=most
            )
            return None if found is None else set(found)

        assert joined(u, outward=True) == {"a", "b"}
        assert joined(u, outward=False) == set()
        assert joined(a, outward=False, type_="user") == {"u", "v"}
        assert joined(a, outward=False) == set()
        assert joined(u, outward=True, most=1) is None


def of_genre(film: str, genre: str) -> dict:
    return {
        "event_name": "genre",
        "action_source": "structure",
        "actor": {"type": "film", "id": film},
        "object": {"type": "thing", "id": genre},
    }


def test_where_ids_lead_now(database: Database) -> None:
    """Each under its own id, as the graph is now; the least keys first, and no more than asked."""
    told = [("a", "drama"), ("a", "war"), ("b", "war"), ("c", "war")]
    post(database, *(of_genre(*one) for one in told), clicked("u", "a"))
    post(database, merged("c", "b"))
    with database.reading() as connection:

        def leads(*ids: str, relation: str = "genre", most: int = 9) -> list:
            return filtering.leads(connection, relation, type_="film", ids=ids, most=most)

        drama, war = EntityId("thing", "drama"), EntityId("thing", "war")
        assert leads("b", "a", "ghost", "\0") == [("a", drama), ("a", war), ("b", war)]
        assert leads("b", "a", most=1) == [("a", drama)]
        assert leads("c") == []  # it is part of b
        assert leads("a", relation="click") == []
        assert leads() == []
