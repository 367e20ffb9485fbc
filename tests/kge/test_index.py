"""An index of a bundle: whom a search finds and whom it leaves out, and how it is kept."""

import numpy as np
import pytest
from crowds import KINDS, truth

from graphsvc.artifact import ArtifactStore
from graphsvc.errors import ArtifactDamaged, ArtifactFormat
from kge.bundle import Bundle
from kge.config import IndexConfig
from kge.errors import ConfigError, ShapeMismatch, UnknownFacet, UnknownType
from kge.index import Index, build_index, open_index


@pytest.mark.parametrize("kind", ["auto", "scan", "exact"])
def test_search_equals_brute_force(store: ArtifactStore, bundle: Bundle, kind: str):
    built = build_index(store, bundle, IndexConfig(kind=kind))
    index = open_index(store, built.digest, bundle)
    queries = np.random.default_rng(1).normal(size=(6, bundle.dim)).astype(np.float32)
    for name in bundle.types:
        found = index.search(name, queries, 3)
        assert (found.plan, found.recall) == ("exact", 1.0)
        for query, rows, near in zip(queries, found.rows, found.distances, strict=True):
            distances, expected = truth(bundle, name, query)
            np.testing.assert_array_equal(rows, expected[:3])
            np.testing.assert_allclose(near, distances[:3], atol=1e-6)
        assert (found.distances.dtype, found.rows.dtype) == (np.float32, np.int64)


@pytest.mark.parametrize("kind", ["auto", "scan"])
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_what_is_not_allowed_is_passed_over(
    store: ArtifactStore, bundle: Bundle, kind: str, share: float
):
    index = build_index(store, bundle, IndexConfig(kind=kind))
    query = bundle.vectors[:1]
    allowed = np.random.default_rng(2).random(7) < share
    kept = int(allowed.sum())
    assert 0 < kept < 7
    distances, expected = truth(bundle, "film", query[0], allowed)
    found = index.search("film", query, 7, allowed=allowed)
    np.testing.assert_array_equal(found.rows[0, :kept], expected)
    np.testing.assert_allclose(found.distances[0, :kept], distances, atol=1e-6)
    assert (found.rows[0, kept:] == -1).all()
    assert np.isinf(found.distances[0, kept:]).all()
    with pytest.raises(ShapeMismatch, match="7 values"):
        index.search("film", query, 1, allowed=allowed[1:])


def test_nobody_allowed_is_nobody_found(store: ArtifactStore, bundle: Bundle):
    index = build_index(store, bundle)
    found = index.search("film", bundle.vectors[:2], 3, allowed=np.zeros(7, bool))
    assert (found.rows == -1).all()


def test_length_does_not_matter_and_zero_is_near_nothing(store: ArtifactStore, bundle: Bundle):
    index = build_index(store, bundle)
    one = index.search("film", bundle.vectors[:2], 2)
    thrice = index.search("film", 3 * bundle.vectors[:2], 2)
    np.testing.assert_allclose(one.distances, thrice.distances, atol=1e-6)
    zero = index.search("film", np.zeros((1, bundle.dim), np.float32), 2)
    np.testing.assert_array_equal(zero.distances, [[1.0, 1.0]])


def test_an_entity_is_its_own_nearest_neighbor(store: ArtifactStore, bundle: Bundle):
    found = build_index(store, bundle).search("user", bundle.vectors[7:12], 1)
    np.testing.assert_array_equal(found.rows[:, 0], np.arange(7, 12))


def test_a_type_with_fewer_than_k_pads_with_minus_one(store: ArtifactStore, bundle: Bundle):
    found = build_index(store, bundle).search("user", bundle.vectors[:1], 9)
    assert sorted(found.rows[0, :5]) == list(range(7, 12))
    assert found.rows[0, 5:].tolist() == [-1] * 4
    assert np.isinf(found.distances[0, 5:]).all()


def test_facets_have_parts_of_their_own(store: ArtifactStore, split_bundle: Bundle):
    index = build_index(store, split_bundle)
    assert set(index.recipes) == {
        (facet, type_) for facet in ("all", "clicks") for type_ in ("film", "user")
    }
    clicks = split_bundle.facet("clicks")
    found = index.search("film", clicks.vectors[7:9], 7, facet="clicks")
    assert sorted(found.rows[0][found.rows[0] >= 0]) == [2, 3, 4, 5, 6], "films with a click"
    with pytest.raises(UnknownFacet, match="clicks"):
        index.search("film", clicks.vectors[:1], 1, facet="likes")


@pytest.mark.parametrize("kind", KINDS)
def test_who_is_left_out_is_in_no_part_and_is_found_where_it_is_back(
    store: ArtifactStore, many: Bundle, kind: str
):
    gone = np.array([3, 4, 2999, 3001], np.int32)
    config = IndexConfig(kind=kind, filter_rows=0)
    built = build_index(store, many, config, left_out=gone)
    index = open_index(store, built.digest, many)
    assert index.digest != build_index(store, many, config).digest
    assert index.recipes["all", "film"].rows == 2997
    np.testing.assert_array_equal(index.left_out, gone)
    assert np.flatnonzero(~index.held["film"]).tolist() == [3, 4, 2999]
    queries = many.vectors[[3, 4, 2999, 10]]
    found = index.search("film", queries, 5)
    assert not set(gone.tolist()) & set(found.rows.ravel().tolist())
    assert (found.rows >= 0).all()
    approximate = kind in ("hnsw", "ivf_sq8")
    assert found.plan == ("approximate" if approximate else "exact")
    back = np.ones(3000, bool)
    back[[4, 2999]] = False  # the first one is back
    again = index.search("film", queries, 5, allowed=back)
    assert again.rows[0, 0] == 3, "nearest to itself"
    assert not {4, 2999} & set(again.rows.ravel().tolist())
    assert again.plan == found.plan
    others = [row for row in again.rows[0].tolist() if row != 3]
    assert others == found.rows[0, :4].tolist()


def test_all_of_a_type_may_be_left_out(store: ArtifactStore, split_bundle: Bundle):
    """Films 2 to 6 have a click; films 0 and 1 are in no part of that facet anyway."""
    index = build_index(store, split_bundle, left_out=np.arange(7, dtype=np.int32))
    assert {type_: index.recipes["all", type_].rows for type_ in ("film", "user")} == {
        "film": 0,
        "user": 5,
    }
    for facet, back in (("all", 7), ("clicks", 5)):
        vectors = split_bundle.facet(facet).vectors[7:9]
        nobody = index.search("film", vectors, 7, facet=facet)
        assert (nobody.rows == -1).all()
        found = index.search("film", vectors, 7, facet=facet, allowed=np.ones(7, bool))
        assert (np.count_nonzero(found.rows >= 0, axis=1) == back).all()


def test_an_index_of_an_older_layout_is_read_or_refused(
    store: ArtifactStore, bundle: Bundle, monkeypatch
):
    monkeypatch.setattr("kge.index.INDEX_FORMAT", 2)
    older = open_index(store, build_index(store, bundle).digest, bundle)
    assert not len(older.left_out)
    assert not older.held
    monkeypatch.setattr("kge.index.INDEX_FORMAT", 1)
    with pytest.raises(ArtifactFormat, match="index_format 1"):
        open_index(store, build_index(store, bundle).digest, bundle)


def test_the_manifest_says_what_each_part_is(store: ArtifactStore, bundle: Bundle):
    index = build_index(store, bundle)
    assert index.artifact.metrics == {"recall@10": 1.0}
    told = index.artifact.payload["parts"][0]
    assert (told["facet"], told["type"], told["kind"]) == ("all", "film", "exact")
    assert "7 rows are at most exact_rows=50000" in told["reason"]
    assert index.artifact.dials["memory_mib"] == 1024


def test_an_index_names_its_bundle(store: ArtifactStore, bundle: Bundle, many: Bundle):
    index = build_index(store, bundle)
    assert index.bundle_digest == bundle.digest
    assert index.digest == build_index(store, bundle).digest
    with pytest.raises(UnknownType, match="ghost"):
        index.search("ghost", bundle.vectors[:1], 1)
    with pytest.raises(ShapeMismatch, match=bundle.digest):
        open_index(store, index.digest, many)


@pytest.mark.parametrize("kind", ["hnsw", "ivf_sq8"])
def test_the_same_vectors_give_the_same_bytes(store: ArtifactStore, many: Bundle, kind: str):
    config = IndexConfig(kind=kind)
    made: list[Index] = [build_index(store, many, config) for _ in range(2)]
    assert made[0].digest == made[1].digest


def test_a_damaged_index_is_refused(store: ArtifactStore, many: Bundle):
    index = build_index(store, many, IndexConfig(kind="hnsw"))
    file = index.artifact.file("all-film.faiss")
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(ArtifactDamaged, match=r"film\.faiss"):
        open_index(store, index.digest, many)


@pytest.mark.parametrize(
    ("field", "value"), [("memory_mib", -1), ("least_recall", 1.5), ("links", 1)]
)
def test_a_dial_out_of_bounds_is_named(field: str, value: object):
    with pytest.raises(ConfigError, match=field):
        IndexConfig(**{field: value})
