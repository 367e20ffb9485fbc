"""What a filter may cost: columns that are kept, edges that are read, and what is refused."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from followed import FILM
from planted import FILMS, START, click

from api import columns as columns_module
from api import passing as passing_module
from api.answers import Answerer
from api.asking import ask, ask_one
from api.columns import Column, Columns, Values
from api.errors import Invalid
from api.filters import Filter
from api.passing import Passing, Place
from api.questions import Question
from graphsvc.ids import EntityId


def test_a_column_that_fell_far_behind_is_read_anew(trained, live, monkeypatch) -> None:
    trio = live.trio()
    columns = Columns(trio.bundle)
    with live.database.reading() as connection:
        first = columns.get(connection, "film", "year")
    monkeypatch.setattr(columns_module, "_MOST_ROWS", 2)
    events = [click("behind", f"d{n}", START, f"behind-{n}") for n in range(3)]
    trained.http.post("/v1/events?backfill=true", json={"events": events})
    with live.database.reading() as connection:
        again = columns.get(connection, "film", "year")
        assert again is not first
        assert columns.get(connection, "film", "year") is again
    np.testing.assert_array_equal(
        [first.values.decoded[code] for code in first.codes if code >= 0],
        [again.values.decoded[code] for code in again.codes if code >= 0],
    )


@pytest.mark.parametrize("distinct", [1, 8, 9, 300])
def test_a_column_passes_whoever_has_a_value_that_does(distinct: int) -> None:
    """However many values pass: few of them are compared one by one, many are looked up."""
    codes = np.random.default_rng(distinct).integers(-1, 2 * distinct, 1_000).astype(np.int32)
    values = Values()
    for n in range(2 * distinct):
        values.code(str(n))
    column = Column("film", "year", codes, {}, values, seq=0, loaded=0)
    passing = column.passing(lambda held: held.numbers < distinct)
    assert passing.tolist() == [0 <= code < distinct for code in codes.tolist()]


def test_only_sides_that_a_relation_has_are_read(live, monkeypatch) -> None:
    """Films are what users click: to ask for films that click a user, or either, is one query."""
    sides: list[bool] = []
    joined = passing_module.filtering.joined

    def counted(*args: Any, **named: Any) -> Any:
        sides.append(named["outward"])
        return joined(*args, **named)

    monkeypatch.setattr(passing_module.filtering, "joined", counted)
    trio, of = live.trio(), {"type": "user", "id": "u0"}
    with live.database.reading() as connection:
        passing = Passing(connection, FILM, trio.bundle, trio.columns)
        found = {
            direction: passing.rows(
                Filter.model_validate(
                    {"must": [{"relation": "click", "of": of, "direction": direction}]}
                ),
                "film",
            )
            for direction in ("out", "in", None)
        }
    assert found["out"].any()
    assert not found["in"].any()
    np.testing.assert_array_equal(found["out"], found[None])
    assert sides == [True, True]


def test_columns_are_bounded(live, monkeypatch) -> None:
    monkeypatch.setattr(columns_module, "_MOST_COLUMNS", 1)
    columns = Columns(live.trio().bundle)
    with live.database.reading() as connection:
        for name in ("year", "title", "year"):
            columns.get(connection, "film", name)
            assert list(columns._kept) == [("film", name)]


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ({"attribute": "yaer", "gte": 1}, "did you mean year"),
        ({"attribute": "year", "equals": "1985"}, "equals should be a number for year"),
        ({"attribute": "year", "in": [1985, "1986"]}, "in should be a number .* '1986'"),
        ({"attribute": "year", "equals": True}, "equals should be a number"),
        ({"attribute": "title", "in": [3]}, "in should be a string for title, which is a text"),
        ({"attribute": "genres", "gte": 3}, "gte should be asked of a number, received genres"),
        ({"type": "flim"}, "did you mean film"),
        ({"relation": "klick", "of": {"type": "user", "id": "u1"}}, "relation should be one of"),
        ({"relation": "click", "of": {"type": "usr", "id": "u1"}}, "of.type should be one of"),
        ({"relation": "click", "of": {"type": "user", "id": "ghost"}}, "'ghost'"),
    ],
)
def test_what_the_schema_does_not_have_is_told(live, condition, words) -> None:
    question = Question(entity=EntityId("film", "d1"), filter=Filter(must=[condition]))
    with pytest.raises(Invalid, match=words):
        ask_one(Answerer(live.database, FILM, 200), live.trio(), question)


def test_a_hub_is_refused_with_its_bound(live, monkeypatch) -> None:
    monkeypatch.setattr("api.passing.MOST_EDGES", 3)
    condition = {"relation": "genre", "of": {"type": "thing", "id": "drama"}}
    question = Question(entity=EntityId("film", "d1"), filter=Filter(must=[condition]))
    with pytest.raises(Invalid, match="at most 3 edges of genre"):
        ask_one(Answerer(live.database, FILM, 200), live.trio(), question)


def test_equal_conditions_of_different_filters_are_looked_up_once(live, monkeypatch) -> None:
    asked: list[str] = []
    joined = passing_module.filtering.joined

    def counted(*args: Any, **named: Any) -> Any:
        asked.append(args[1])
        return joined(*args, **named)

    monkeypatch.setattr(passing_module.filtering, "joined", counted)
    clicked = {"relation": "click", "of": {"type": "user", "id": "u0"}, "direction": "out"}
    trio = live.trio()
    with live.database.reading() as connection:
        passing = Passing(connection, FILM, trio.bundle, trio.columns)
        for year in range(1980, 1990):
            at_least = {"attribute": "year", "gte": year}
            filter_ = Filter.model_validate({"must": [clicked, at_least]})
            other = Filter.model_validate({"must_not": [{"should": [clicked]}, at_least]})
            assert not (passing.rows(filter_, "film") & passing.rows(other, "film")).any()
            passing.ids(filter_, "film", ["d1", "d2"])
    assert asked == ["click"]


def test_what_is_kept_of_filters_is_bounded(live, monkeypatch) -> None:
    monkeypatch.setattr("api.passing._MOST_MASKS", 3)
    trio = live.trio()
    with live.database.reading() as connection:
        passing = Passing(connection, FILM, trio.bundle, trio.columns)
        for n in (*range(9), 8, 0):
            wanted = Filter.model_validate({"must": [{"ids": [f"d{n}"]}]})
            rows = passing.rows(wanted, "film")
            assert np.count_nonzero(rows) == 1
            assert passing.rows(wanted, "film") is rows, "the last ones are kept"
            assert len(passing._masks) <= 3


def test_many_alternatives_take_no_more_memory_than_few(live) -> None:
    size, trio = 1_000_000, live.trio()
    wanted = Filter.model_validate({"should": [{"type": "film"}, {"type": "user"}] * 40})
    with live.database.reading() as connection:
        passing = Passing(connection, FILM, trio.bundle, trio.columns)
        tracemalloc.start()
        try:
            found = passing._holds(wanted, Place("film", size, None, None))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert found.all()
    assert peak < 5 * size, "a byte for each entity, a few times"


def test_the_edges_of_a_request_are_bounded(live, monkeypatch) -> None:
    answerer, trio = Answerer(live.database, FILM, 200), live.trio()

    def question(film: str, *things: str) -> Question:
        some = [{"relation": "genre", "of": {"type": "thing", "id": thing}} for thing in things]
        wanted = Filter.model_validate({"should": some, "must": [{"ids": [film, "d2", "c2"]}]})
        return Question(entity=EntityId("film", "d1"), filter=wanted)

    def told(*questions: Question) -> list[Any]:
        return ask(answerer, trio, questions)

    with live.database.reading() as connection:
        passing = Passing(connection, FILM, trio.bundle, trio.columns)
        for thing in ("drama", "comedy"):
            passing.rows(question("d3", thing).filter, "film")
    both = passing._edges
    assert both >= 2 * FILMS
    questions = [question("d3", "drama"), question("d4", "drama"), question("d3", "comedy")]
    monkeypatch.setattr("api.passing.MOST_EDGES_TOGETHER", both)
    assert not any(isinstance(answer, Exception) for answer in told(*questions))
    monkeypatch.setattr("api.passing.MOST_EDGES_TOGETHER", both - 1)
    first, second, third = told(*questions)
    assert not isinstance(first, Exception)
    assert not isinstance(second, Exception)
    assert isinstance(third, Invalid)
    assert f"at most {both - 1} edges in all queries of a request" in str(third)
    assert "genre of thing 'comedy'" in str(third)
    assert not isinstance(told(questions[2])[0], Exception), "alone it is answered"
