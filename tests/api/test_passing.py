"""Who passes a filter, against a slow twin that reads the rules off the page."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from filtered import filters, twins
from followed import FILM
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from planted import FILMS

from api.answers import Answerer
from api.asking import ask_one
from api.filters import Filter
from api.passing import Passing
from api.questions import Question
from graphsvc.ids import EntityId


@pytest.fixture(scope="module")
def known(live) -> dict[str, dict[str, Any]]:
    """What the planted world says of each film: letter and number, year, title, who clicked it."""
    with live.database.reading() as connection:
        rows = connection.exec_driver_sql(
            "SELECT h.id, t.id FROM edges e JOIN entities h ON h.key = e.head "
            "JOIN entities t ON t.key = e.tail WHERE e.relation = 'click'"
        ).fetchall()
    films: dict[str, dict[str, Any]] = {
        f"{letter}{n}": {"year": 1980 + n, "title": f"{genre} {n}", "clicks": set(), "genre": genre}
        for genre, letter in (("drama", "d"), ("comedy", "c"))
        for n in range(FILMS)
    }
    for user, film in rows:
        if film in films:
            films[film]["clicks"].add(user)
    return films


def passes(filter_: Filter, id_: str, said: dict[str, Any]) -> bool:
    """The rules, word for word."""
    every = all(meets(c, id_, said) for c in filter_.must)
    none = not any(meets(c, id_, said) for c in filter_.must_not)
    one = filter_.should is None or any(meets(c, id_, said) for c in filter_.should)
    return every and none and one


def meets(condition: Any, id_: str, said: dict[str, Any]) -> bool:  # noqa: PLR0911
    if condition.type is not None:
        return condition.type == "film" or "film" in condition.type
    if condition.ids is not None:
        return id_ in condition.ids
    if condition.relation == "click":
        return condition.direction != "in" and condition.of.id in said["clicks"]
    if condition.relation == "genre":
        return condition.direction != "out" and condition.of.id == said["genre"]
    if condition.attribute is None:
        return passes(condition, id_, said)
    value = said.get(condition.attribute)
    if condition.exists is not None:
        return (value is not None) == condition.exists
    if value is None:
        return False
    number = value if isinstance(value, int) else float("nan")
    return (
        (condition.equals is None or value == condition.equals)
        and (condition.in_ is None or value in condition.in_)
        and (condition.gte is None or number >= condition.gte)
        and (condition.gt is None or number > condition.gt)
        and (condition.lte is None or number <= condition.lte)
        and (condition.lt is None or number < condition.lt)
    )


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(document=filters)
def test_rows_and_ids_pass_by_the_same_rules(live, known, document) -> None:
    filter_ = Filter.model_validate(document)
    trio = live.trio()
    kind = trio.bundle.types["film"]
    with live.database.reading() as connection:
        passing = Passing(connection, FILM, trio.bundle, trio.columns)
        rows = passing.rows(filter_, "film")
        listed = list(known)
        named = passing.ids(filter_, "film", listed)
    expected = {id_: passes(filter_, id_, said) for id_, said in known.items()}
    assert dict(zip(listed, named.tolist(), strict=True)) == expected
    in_rows = dict(zip(trio.bundle.ids[kind.start : kind.stop], rows.tolist(), strict=True))
    assert {id_: in_rows[id_] for id_ in expected if id_ in in_rows} == {
        id_: told for id_, told in expected.items() if id_ in in_rows
    }


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(document=filters, relation=st.sampled_from([None, "click"]))
def test_equal_filters_give_equal_answers(live, known, document, relation) -> None:
    answerer = Answerer(live.database, FILM, 200)

    def answer(words: dict[str, Any]) -> list[tuple[str, float]]:
        narrowed = Filter.model_validate(words)
        of_user = Question(
            entity=EntityId("user", "u0"),
            types=("film",),
            k=12,
            relation=relation,
            filter=narrowed,
        )
        # Nor does what is asked for by default depend on the words.
        by_default = Question(entity=EntityId("film", "d1"), k=12, filter=narrowed)
        told = []
        for question in (of_user, by_default):
            found = ask_one(answerer, live.trio(), question)
            assert (found.plan, found.recall) == ("exact", 1.0)
            told += [(item.id, item.distance) for item in found.items]
        return told

    first = answer(document)
    passing = {id_ for id_, said in known.items() if passes(Filter(**document), id_, said)}
    assert {id_ for id_, _ in first if id_ in known} <= passing
    assert len(first) >= min(12, len(passing)), "whoever passes is found while there is room"
    for words in twins(document):
        assert answer(words) == first, words


@pytest.mark.parametrize("relation", [None, "click"])
def test_a_filter_that_all_pass_answers_as_no_filter_does(live, relation) -> None:
    answerer = Answerer(live.database, FILM, 200)
    asked = Question(entity=EntityId("user", "u0"), types=("film",), k=12, relation=relation)
    wanted = ask_one(answerer, live.trio(), asked)
    for words in ({}, {"must": [{"type": "film"}]}, {"must_not": [{"ids": ["nobody"]}]}):
        found = ask_one(answerer, live.trio(), replace(asked, filter=Filter.model_validate(words)))
        assert list(found.items) == list(wanted.items)
        assert (found.plan, found.recall) == (wanted.plan, wanted.recall)


def test_attributes_are_those_of_the_moment_of_asking(trained, live) -> None:
    trio = live.trio()
    recent = Filter(must=[{"attribute": "year", "gte": 2050}])

    def found() -> set[str]:
        with live.database.reading() as connection:
            passing = Passing(connection, FILM, trio.bundle, trio.columns)
            rows = np.flatnonzero(passing.rows(recent, "film")) + trio.bundle.types["film"].start
            named = passing.ids(recent, "film", ["newcomer", "d3"])
            told = set(trio.bundle.ids[rows])
            assert ("d3" in told) == named[1]
            return told | ({"newcomer"} if named[0] else set())

    def put(film: str, year: int | None) -> None:
        trained.http.put(f"/v1/entities/film/{film}", json={"attributes": {"year": year}})

    assert found() == set()
    put("d3", 2051)
    put("newcomer", 2060)
    assert found() == {"d3", "newcomer"}
    put("newcomer", None)
    put("d3", 1983)
    assert found() == set()
