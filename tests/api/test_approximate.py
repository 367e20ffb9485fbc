"""Neighbors through an approximate index, over HTTP: the recall that is told."""

from collections.abc import Iterator
from dataclasses import replace

import httpx
import numpy as np
import pytest
from running import eventually

from api.jobs.promotion import promote
from api.jobs.steps import open_workshop
from graphsvc.snapshot import TypeRange
from kge.arrays import BundleArrays
from kge.bundle import Bundle, open_bundle, seal_bundle
from kge.config import IndexConfig
from kge.index import Index, build_index

MORE = 4000


def crowded(bundle: Bundle) -> BundleArrays:
    """The arrays of a bundle with many films more, none of which anybody has named."""
    draw, arrays = np.random.default_rng(6), bundle.alone("all")
    at = bundle.types["film"].stop
    types = [
        TypeRange(t.name, t.start + MORE * (t.start >= at), t.stop + MORE * (t.stop >= at))
        for t in arrays.types
    ]
    like = draw.integers(bundle.types["film"].start, at, MORE)
    spread = draw.normal(size=(MORE, bundle.dim)).astype(np.float32)

    def widened(rows: np.ndarray, more: np.ndarray) -> np.ndarray:
        return np.concatenate([rows[:at], more.astype(rows.dtype), rows[at:]])

    return replace(
        arrays,
        types=types,
        ids=widened(arrays.ids, np.array([f"more-{n:04d}" for n in range(MORE)], object)),
        vectors=widened(arrays.vectors, arrays.vectors[like] + 0.3 * spread),
        bias=widened(arrays.bias, arrays.bias[like]),
        degree=widened(arrays.degree, np.ones(MORE)),
        frame_rows=(arrays.frame_rows + MORE * (arrays.frame_rows >= at)).astype(np.int32),
        frame=bundle.frame,
    )


@pytest.fixture(scope="module")
def index(trained) -> Iterator[Index]:
    """An index that finds far from all, live for as long as this file's tests run."""
    shop = open_workshop(trained.settings)
    ranker = trained.rankers[-1]
    arrays = crowded(open_bundle(shop.store, trained.bundles[-1]))
    bundle = seal_bundle(shop.store, trained.snapshot, arrays, dials={}, metrics={})
    dials = IndexConfig(kind="ivf_sq8", exact_rows=0, filter_rows=0, least_recall=0.4)
    built = build_index(shop.store, bundle, dials)
    for artifact in (bundle.artifact, built.artifact):
        shop.record(artifact, None)
    for digest in (bundle.digest, trained.bundles[-1]):
        live = promote(shop.database, ranker, bundle=digest, reason="test")
        eventually(
            "the server follows",
            lambda wanted=live.generation: (
                trained.http.get("/health/ready").json()["generation"] == wanted
            ),
            seconds=10,
        )
        if digest == bundle.digest:
            yield built
    shop.database.dispose()


@pytest.mark.parametrize("k", [1, 10, 11, 40, 100, 300])
def test_the_recall_that_is_told_is_that_of_the_search_that_was_made(
    http: httpx.Client, index: Index, k: int
) -> None:
    bundle, kind = index.bundle, index.bundle.types["film"]
    films = bundle.vectors[kind.start : kind.stop]
    rows = np.random.default_rng(4).choice(len(bundle.vectors), 60, replace=False)
    asked = [{"vector": bundle.vectors[row].tolist(), "type": "film", "k": k} for row in rows]
    found = http.post("/v1/neighbors", json={"queries": asked}).json()["answers"]
    assert {one["plan"] for one in found} == {"approximate"}
    [told] = {one["recall_estimate"] for one in found}
    _, at_10, at_100 = index.recipes["all", "film"].recall[0]
    assert abs(at_10 - at_100) > 0.02, "so it can be told which one is meant"
    assert told == (at_10 if k <= 10 else at_100 if k >= 100 else min(at_10, at_100))

    units = films / np.linalg.norm(films, axis=1, keepdims=True)
    hits = 0
    for row, one in zip(rows, found, strict=True):
        nearest = np.argsort(-(units @ bundle.vectors[row]), kind="stable")[:k] + kind.start
        hits += len({item["id"] for item in one["items"]} & set(bundle.ids[nearest]))
    assert hits / (k * len(rows)) >= told - 0.08, "within a sample's noise"


def test_what_is_left_out_of_an_answer_is_not_asked_for(http: httpx.Client, index: Index) -> None:
    """Neither who asks nor those who go meanwhile are neighbors: recall is that of k without."""
    at_10 = index.recipes["all", "film"].recall[0][1]
    found = http.get("/v1/entities/film/d1/neighbors", params={"k": 10}).json()
    assert (found["plan"], found["recall_estimate"]) == ("approximate", at_10)
    assert len(found["items"]) == 10
