"""Filters that mean the same find the same, where an index does not compare everybody."""

import shutil
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from filtered import HEADS, filters, twins
from hypothesis import HealthCheck, example, given, settings
from planted import START, click

from api.columns import Columns
from api.filters import Filter
from api.passing import Passing
from graphsvc.artifact import ArtifactStore
from graphsvc.db import Database
from graphsvc.ingest import Rules, ingest
from graphsvc.schema import load_schema
from graphsvc.snapshot import RelationInfo, TypeRange
from kge.arrays import BundleArrays
from kge.bundle import seal_bundle
from kge.config import IndexConfig
from kge.index import Found, Index, build_index

FILM = load_schema("film")


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


def test_wide_filters_are_answered_through_that_index(shelf) -> None:
    of_drama = {"relation": "genre", "of": {"type": "thing", "id": "drama"}}
    for condition in ({"attribute": "year", "gte": 1985}, of_drama):
        assert shelf.answer({"must": [condition]}).plan == "approximate"
