"""Paths of at most two edges, on a graph that is small enough to walk by eye."""

import pytest

from graphsvc import paths as paths_module
from graphsvc.db import Database
from graphsvc.ids import EntityId
from graphsvc.ingest import Rules, ingest
from graphsvc.paths import Walks
from graphsvc.schema import load_schema

FILM = load_schema("film")
NOW = 1_700_000_000


def film(id_: str) -> EntityId:
    return EntityId("film", id_)


def user(id_: str) -> EntityId:
    return EntityId("user", id_)


def told(found: list[list[tuple]]) -> list[list[str]]:
    """Paths as text, e.g. `>genre drama <genre f2`."""
    return [
        [
            " ".join(f"{'>' if h.outward else '<'}{h.relation} {h.to.id}" for h in path)
            for path in some
        ]
        for some in found
    ]


@pytest.fixture
def graph(database: Database, post) -> Database:
    """a clicked f1 and f2 thrice, b both once; f1 and f2 are dramas, f3 is f1's sequel."""
    post([("a", "click", "f1")] * 3 + [("a", "click", "f2")] * 3 + [("b", "click", "f1")])
    post([("b", "click", "f2"), ("f1", "genre", "drama"), ("f2", "genre", "drama")])
    post([("f1", "sequel", "f3")])
    return database


@pytest.fixture
def post(database: Database):
    kinds = {"a": "user", "b": "user", "d": "thing", "f": "film"}
    seen = iter(range(1000))

    def write(edges: list[tuple[str, str, str]]) -> None:
        events = [
            {
                "event_id": f"e{next(seen)}",
                "event_name": relation,
                "event_time": NOW,
                "action_source": "onsite" if relation == "click" else "structure",
                "actor": {"type": kinds[head[0]], "id": head},
                "object": {"type": kinds[tail[0]], "id": tail},
            }
            for head, relation, tail in edges
        ]
        with database.transaction() as connection:
            ingest(connection, FILM, events, now=NOW, rules=Rules(backfill=True))

    return write


def walk(
    database: Database, source: EntityId, *targets: EntityId, most: int = 9
) -> list[list[str]]:
    with database.reading() as connection:
        return told(Walks(connection, FILM, NOW).between(source, targets, most=most))


def test_two_steps_the_stronger_one_first(graph: Database) -> None:
    # A path is as strong as its weaker edge: log2(1 + n) of n clicks, and 1 of the genre.
    assert walk(graph, film("f1"), film("f2")) == [
        ["<click a >click f2", "<click b >click f2", ">genre drama <genre f2"]
    ]


def test_paths_of_other_relations_go_before_more_of_the_same(graph: Database, post) -> None:
    assert walk(graph, film("f1"), film("f2"), most=2) == [
        ["<click a >click f2", ">genre drama <genre f2"]
    ]
    post([("f2", "sequel", "f1")])
    assert walk(graph, film("f1"), film("f2"), most=3) == [
        ["<sequel f2", "<click a >click f2", ">genre drama <genre f2"]
    ]


def test_paths_through_other_entities_go_before_the_same_one_again(graph: Database, post) -> None:
    things = [("actor", "drama"), ("genre", "drama"), ("genre", "dance"), ("actor", "dance")]
    post([(f, relation, thing) for relation, thing in things for f in ("f4", "f5")])
    assert walk(graph, film("f4"), film("f5"), most=2) == [
        [">actor drama <actor f5", ">genre dance <genre f5"]
    ]
    assert len(walk(graph, film("f4"), film("f5"))[0]) == 8, "all of them, where there is room"


def test_an_edge_between_them_goes_first_and_keeps_its_direction(graph: Database) -> None:
    assert walk(graph, film("f1"), film("f3"), user("a"), most=1) == [[">sequel f3"], ["<click a"]]
    assert walk(graph, film("f3"), film("f1"), most=1) == [["<sequel f1"]]


def test_who_is_not_joined_has_no_path(graph: Database) -> None:
    assert walk(graph, user("a"), EntityId("thing", "nothing"), user("a ghost")) == [[], []]
    assert walk(graph, user("ghost"), film("f1")) == [[]]


def retire(database: Database, type_: str, id_: str) -> None:
    event = {
        "event_id": f"{id_} is gone",
        "event_name": "retire",
        "event_time": NOW,
        "action_source": "structure",
        "actor": {"type": type_, "id": id_},
    }
    with database.transaction() as connection:
        [verdict] = ingest(connection, FILM, [event], now=NOW)
    assert verdict.status == "accepted", verdict


def test_what_is_retired_is_not_walked_through(graph: Database, database: Database) -> None:
    retire(database, "thing", "drama")
    assert all("drama" not in path for path in walk(graph, film("f1"), film("f2"))[0])


def test_what_is_retired_takes_no_place_of_a_path_that_holds(graph: Database, post) -> None:
    post([(f, "genre", thing) for thing in ("drama", "dance") for f in ("f4", "f5")])
    assert walk(graph, film("f4"), film("f5"), most=1) == [[">genre drama <genre f5"]]
    retire(graph, "thing", "drama")
    assert walk(graph, film("f4"), film("f5"), most=1) == [[">genre dance <genre f5"]]


def test_hubs_are_bounded(graph: Database, post, monkeypatch) -> None:
    monkeypatch.setattr(paths_module, "_LOOKED_AT", 1)
    post([("b", "click", "f3")])
    # Of b's films only one is looked at, and of f2's people one; the edge between is still found.
    assert walk(graph, user("b"), film("f2"))[0][0] == ">click f2"


def test_statements_are_split(graph: Database, monkeypatch) -> None:
    whole = walk(graph, film("f1"), film("f2"), film("f3"), user("a"), user("b"))
    monkeypatch.setattr(paths_module, "_TERMS", 3)
    assert walk(graph, film("f1"), film("f2"), film("f3"), user("a"), user("b")) == whole
