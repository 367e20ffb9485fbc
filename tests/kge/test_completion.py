import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from graphsvc.artifact import ArtifactStore
from graphsvc.snapshot import TypeRange
from kge.arrays import BundleArrays
from kge.bundle import Bundle, seal_bundle
from kge.completion import Completion
from kge.errors import ShapeMismatch, UnknownFacet, UnknownRelation

MIB = 2**20


def formula(bundle: Bundle, facet: str, index: int, head: int, tail: int) -> float:
    """-s ||M_r h + r - T_r t||^2 + b_t, one pair at a time."""
    f = bundle.facet(facet)
    point = f.projections[index] @ f.vectors[head] + f.translations[index]
    gap = point - f.tail_projections[index] @ f.vectors[tail]
    return float(-f.scale * gap @ gap + f.bias[tail])


@pytest.mark.parametrize(("facet", "inverse"), [("all", False), ("all", True), ("clicks", False)])
def test_what_completes_is_in_the_order_of_the_formula(
    split_bundle: Bundle, facet: str, inverse: bool
):
    completion = Completion(split_bundle, MIB)
    asks, found = ("film", "user") if inverse else ("user", "film")
    side = completion.side("click", asks, facet=facet, inverse=inverse)
    heads = split_bundle.type_range(asks)
    tails = split_bundle.type_range(found)
    vectors = split_bundle.facet(facet).vectors[heads.start : heads.stop]
    scores, rows = completion.search(side, vectors, 3)
    for n in range(heads.stop - heads.start):
        every = [
            formula(split_bundle, facet, side.relation, heads.start + n, tail)
            for tail in range(tails.start, tails.stop)
        ]
        order = np.argsort([-score for score in every])[:3]
        np.testing.assert_array_equal(rows[n], order + tails.start)
        np.testing.assert_allclose(scores[n], np.array(every)[order], rtol=1e-4, atol=1e-4)


def test_only_what_is_allowed(bundle: Bundle):
    completion = Completion(bundle, MIB)
    side = completion.side("sequel", "film", inverse=False)
    allowed = np.array([True, False, True, False, False, False, False])
    scores, rows = completion.search(side, bundle.vectors[:1], 4, allowed=allowed)
    assert sorted(rows[0, :2].tolist()) == [0, 2]
    assert rows[0, 2:].tolist() == [-1, -1]
    assert np.isneginf(scores[0, 2:]).all()
    with pytest.raises(ShapeMismatch, match="7 values"):
        completion.search(side, bundle.vectors[:1], 4, allowed=allowed[1:])


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1.0])
def test_tails_are_scored_in_blocks_and_not_copied(
    store: ArtifactStore, arrays: BundleArrays, monkeypatch, share: float
):
    draw = np.random.default_rng(4)
    films, dim = 20_000, arrays.dim
    large = replace(
        arrays,
        types=[TypeRange("user", 0, 5), TypeRange("film", 5, 5 + films)],
        ids=np.array([f"{n:05d}" for n in range(5 + films)], object),
        vectors=draw.normal(size=(5 + films, dim)).astype(np.float32),
        bias=draw.normal(size=5 + films).astype(np.float32),
        degree=np.ones(5 + films, np.int32),
    )
    bundle = seal_bundle(store, "0" * 64, large, dials={}, metrics={})
    completion = Completion(bundle, MIB)
    side = completion.side("click", "user", inverse=False)
    allowed = draw.random(films) < share
    heads = bundle.vectors[:5]
    whole = completion.search(side, heads, 30, allowed=allowed)
    every = completion.scores(side, heads, bundle.vectors[5:], bundle.bias[5:])
    every[:, ~allowed] = -np.inf
    np.testing.assert_array_equal(whole[1], np.argsort(-every, axis=1)[:, :30] + 5)
    monkeypatch.setattr("kge.completion._BLOCK", 64)
    tracemalloc.start()
    best, rows = completion.search(side, heads, 30, allowed=allowed)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(rows, whole[1])
    np.testing.assert_allclose(best, whole[0], rtol=1e-5, atol=1e-5)
    assert peak < 100_000, f"{4 * dim * films * share:.0f} bytes would be a copy"


def test_tails_by_vector_score_as_their_rows_do(split_bundle: Bundle):
    completion = Completion(split_bundle, MIB)
    side = completion.side("click", "user", inverse=False)
    heads = split_bundle.vectors[7:9]
    best, rows = completion.search(side, heads, 7)
    given = completion.scores(side, heads, split_bundle.vectors[:7], split_bundle.bias[:7])
    for n in range(2):
        np.testing.assert_allclose(best[n], given[n][rows[n]], rtol=1e-4, atol=1e-4)


def test_what_is_kept_is_bounded(bundle: Bundle):
    completion = Completion(bundle, most_bytes=7 * 4)
    for inverse in (False, True):
        side = completion.side("sequel", "film", inverse=inverse)
        first = completion.search(side, bundle.vectors[:2], 3)
        again = completion.search(side, bundle.vectors[:2], 3)
        np.testing.assert_array_equal(first[1], again[1])
        assert len(completion._kept) == 1


@pytest.mark.parametrize(
    ("relation", "head", "facet", "error", "words"),
    [
        ("buy", "user", "all", UnknownRelation, "click, sequel"),
        ("click", "film", "all", UnknownRelation, "leads from user to film"),
        ("click", "user", "likes", UnknownFacet, "all, clicks"),
    ],
)
def test_a_wrong_side_is_named(split_bundle: Bundle, relation, head, facet, error, words):
    with pytest.raises(error, match=words):
        Completion(split_bundle, MIB).side(relation, head, facet=facet, inverse=False)
