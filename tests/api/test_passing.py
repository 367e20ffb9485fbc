"""Who passes a filter, against a slow twin that reads the rules off the page."""

import shutil
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from planted import FILMS, START, click

from api import columns as columns_module
from api import passing as passing_module
from api.answers import Answerer
from api.asking import ask, ask_one
from api.columns import Column, Columns, Values
from api.errors import Invalid
from api.filters import Filter
from api.live import Live
from api.passing import Passing, Place
from api.questions import Question
from graphsvc.artifact import ArtifactStore
from graphsvc.db import Database
from graphsvc.ids import EntityId
from graphsvc.ingest import Rules, ingest
from graphsvc.schema import load_schema
from graphsvc.snapshot import RelationInfo, TypeRange
from kge.arrays import BundleArrays
from kge.bundle import seal_bundle
from kge.config import IndexConfig
from kge.index import Found, Index, build_index

FILM = load_schema("film")
HEADS = ["u0", "u1", "u4"]


@pytest.fixture(scope="module")
def live(trained) -> Iterator[Live]:
    database = Database(trained.settings.graph_url)
    opened = Live(database, ArtifactStore(trained.settings.artifacts_dir), lambda: FILM)
    opened.refresh()
    while opened.trio().tail.step():
        pass
    yield opened
    database.dispose()


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


ids = st.sampled_from([f"{letter}{n}" for letter in "dc" for n in range(FILMS)] + ["nobody"])
years = st.integers(1978, 2002)
directions = st.sampled_from([None, "out", "in"])
leaves = st.one_of(
    st.builds(lambda some: {"ids": some}, st.lists(ids, max_size=12)),
    st.builds(lambda name: {"type": name}, st.sampled_from(["film", "user", ["film", "thing"]])),
    st.builds(
        lambda name, year: {"attribute": "year", name: year},
        st.sampled_from(["gte", "gt", "lte", "lt", "equals"]),
        years,
    ),
    st.builds(lambda some: {"attribute": "year", "in": some}, st.lists(years, max_size=5)),
    st.builds(lambda n: {"attribute": "title", "equals": f"drama {n}"}, st.integers(0, FILMS)),
    st.builds(
        lambda name, there: {"attribute": name, "exists": there},
        st.sampled_from(["year", "genres"]),
        st.booleans(),
    ),
    st.builds(
        lambda user, way: {
            "relation": "click",
            "of": {"type": "user", "id": user},
            **({"direction": way} if way else {}),
        },
        st.sampled_from(HEADS),
        directions,
    ),
    st.builds(
        lambda genre: {"relation": "genre", "of": {"type": "thing", "id": genre}},
        st.sampled_from(["drama", "comedy"]),
    ),
)


def parts(inner: Any) -> Any:
    some = st.lists(inner, min_size=1, max_size=3)
    return st.fixed_dictionaries(
        {}, optional={"must": some, "should": some, "must_not": some}
    ).filter(bool)


filters = parts(st.recursive(leaves, parts, max_leaves=6))


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


def twins(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The same filter in other words."""
    yield {"must": [document]}
    yield {"must_not": [{"must_not": [document]}]}
    yield {"should": [document, {"must": [document, document]}]}
    yield {name: some[::-1] for name, some in document.items()}
    if "must" in document:  # De Morgan
        rest = {name: some for name, some in document.items() if name != "must"}
        apart = {"should": [{"must_not": [one]} for one in document["must"]]}
        yield {**rest, "must_not": [*rest.get("must_not", []), apart]}


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


class Shelf(NamedTuple):
    """Films enough for an index that does not compare all of them, and what is said of them."""

    database: Database
    index: Index
    columns: Columns

    def passing(self, words: dict[str, Any]) -> np.ndarray:
        with self.database.reading() as connection:
            passing = Passing(connection, FILM, self.index.bundle, self.columns)
            return passing.rows(Filter.model_validate(words), "film")

    def answer(self, words: dict[str, Any] | None) -> Found:
        rows = None if words is None else self.passing(words)
        return self.index.search("film", self.index.bundle.vectors[-6:], 12, allowed=rows)


@pytest.fixture(scope="module")
def shelf(migrated_sqlite, tmp_path_factory) -> Iterator[Shelf]:
    """Dramas d0, d1, ... and comedies c0, c1, ...; dramas lie together, as comedies do."""
    folder = tmp_path_factory.mktemp("shelf")
    shutil.copy(migrated_sqlite, folder / "graph.sqlite")
    database = Database(f"sqlite:///{folder}/graph.sqlite")
    names = {f"{letter}{n}": n for letter in "dc" for n in range(700)}
    genres = {"d": "drama", "c": "comedy"}
    events = [
        event
        for name, n in names.items()
        for event in (
            attributes(name, {"title": f"{genres[name[0]]} {n}", "year": 1980 + n % 20}),
            genre(name, genres[name[0]]),
        )
    ]
    events += [click(user, film, START) for user in HEADS for film in ("d1", "d2", "c5")]
    with database.transaction() as connection:
        verdicts = ingest(connection, FILM, events, now=START, rules=Rules(backfill=True))
        assert {verdict.status for verdict in verdicts} == {"accepted"}
    store = ArtifactStore(folder / "artifacts")
    bundle = seal_bundle(store, "0" * 64, shelved(sorted(names)), dials={}, metrics={})
    config = IndexConfig(kind="ivf_sq8", exact_rows=0, filter_rows=0, least_recall=0.5)
    yield Shelf(database, build_index(store, bundle, config), Columns(bundle))
    database.dispose()


def attributes(film: str, said: dict[str, Any]) -> dict[str, Any]:
    return {
        "event_id": f"said-{film}",
        "event_name": "set_attributes",
        "event_time": START,
        "action_source": "structure",
        "actor": {"type": "film", "id": film},
        "properties": said,
    }


def genre(film: str, thing: str) -> dict[str, Any]:
    return {
        "event_id": f"genre-{film}",
        "event_name": "genre",
        "event_time": START,
        "action_source": "structure",
        "actor": {"type": "film", "id": film},
        "object": {"type": "thing", "id": thing},
    }


def shelved(films: list[str]) -> BundleArrays:
    """Trained arrays of some films and six users."""
    draw = np.random.default_rng(5)
    count, dim = len(films) + 6, 8
    normal = lambda *shape: draw.normal(size=shape).astype(np.float32)  # noqa: E731
    side = np.array([1.0 if name[0] == "d" else -1.0 for name in films], np.float32)
    vectors = normal(count, dim)
    vectors[: len(films), 0] += 2 * side
    return BundleArrays(
        types=[TypeRange("film", 0, len(films)), TypeRange("user", len(films), count)],
        ids=np.array([*films, *(f"u{n}" for n in range(6))], object),
        vectors=vectors,
        bias=normal(count),
        degree=np.ones(count, np.int32),
        relations=[RelationInfo(name="click", head="user", tail="film", source="onsite")],
        translations=normal(2, 3),
        projections=normal(2, 3, dim),
        priors=normal(2, dim),
        frame_rows=np.array([0, len(films)], np.int32),
    )


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(document=filters)
@example(document={"must": [{"attribute": "year", "gte": 1985}]})
@example(document={"must": [{"relation": "genre", "of": {"type": "thing", "id": "drama"}}]})
@example(document={"must": [{"type": "film"}]})
@example(document={"must_not": [{"ids": ["nobody"]}]})
def test_equal_filters_give_equal_answers_through_an_index(shelf, document) -> None:
    first = shelf.answer(document)
    no_filter = [None] if shelf.passing(document).all() else []
    for words in [*twins(document), *no_filter]:
        for one, other in zip(first, shelf.answer(words), strict=True):
            np.testing.assert_array_equal(one, other, str(words))


@pytest.mark.parametrize("relation", [None, "click"])
def test_a_filter_that_all_pass_answers_as_no_filter_does(live, relation) -> None:
    answerer = Answerer(live.database, FILM, 200)
    asked = Question(entity=EntityId("user", "u0"), types=("film",), k=12, relation=relation)
    wanted = ask_one(answerer, live.trio(), asked)
    for words in ({}, {"must": [{"type": "film"}]}, {"must_not": [{"ids": ["nobody"]}]}):
        found = ask_one(answerer, live.trio(), replace(asked, filter=Filter.model_validate(words)))
        assert list(found.items) == list(wanted.items)
        assert (found.plan, found.recall) == (wanted.plan, wanted.recall)


def test_wide_filters_are_answered_through_that_index(shelf) -> None:
    of_drama = {"relation": "genre", "of": {"type": "thing", "id": "drama"}}
    for condition in ({"attribute": "year", "gte": 1985}, of_drama):
        assert shelf.answer({"must": [condition]}).plan == "approximate"


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
