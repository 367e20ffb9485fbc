"""Bundles and indexes without somebody: their rows are zero, and nobody else has moved."""

from dataclasses import replace

import numpy as np
import pytest
from crowds import crowd, truth

from graphsvc.artifact import ArtifactStore
from graphsvc.errors import ArtifactDamaged
from graphsvc.gone import NOBODY, Gone, Named
from graphsvc.renewal import ERASED_FROM, renewed
from kge.bundle import Bundle, open_bundle, seal_bundle
from kge.config import IndexConfig
from kge.erasing import (
    CODES,
    bundle_without,
    codes_are_zero,
    found_by_probe,
    index_without,
    map_without,
)
from kge.index import Index, build_index, open_index
from kge.map import PICTURE, POINTS, build_map, open_map

GONE = Named({"film": frozenset({"f2", "never seen"}), "user": frozenset({"u0", "f1"})})
ROWS = [2, 7]
KINDS = ("exact", "scan", "hnsw", "ivf_sq8", "ivf_pq")


def without(store: ArtifactStore, bundle: Bundle, gone: Gone) -> Bundle:
    rewriting = bundle_without(bundle.artifact, gone)
    made = renewed(store, bundle.artifact, rewriting.changes, bundle.artifact.parents)
    return open_bundle(store, made.digest)


def test_a_map_has_no_point_of_theirs_and_draws_none(store, split_bundle):
    before = build_map(store, split_bundle)
    after = without(store, split_bundle, GONE)
    rewriting = map_without(before.artifact, after)
    assert rewriting.zeroed == {POINTS: {"points": ROWS}}
    parents = {"bundle": after.digest}
    made = renewed(store, before.artifact, rewriting.changes, parents)
    opened = open_map(store, made.digest, after)
    assert not opened.points[ROWS].any()
    rest = np.setdiff1d(np.arange(12), ROWS)
    np.testing.assert_array_equal(opened.points[rest], before.points[rest])
    pictures = [one.file(PICTURE).read_bytes() for one in (before.artifact, made)]
    assert pictures[0] != pictures[1]
    assert renewed(store, before.artifact, rewriting.changes, parents).digest == made.digest


def index_of(store: ArtifactStore, index: Index, bundle: Bundle) -> Index:
    rewriting = index_without(index.artifact, bundle)
    made = renewed(store, index.artifact, rewriting.changes, {"bundle": bundle.digest})
    return open_index(store, made.digest, bundle)


def test_rows_are_zero_in_every_facet_and_ids_are_nobodys(store, split_bundle):
    after = without(store, split_bundle, GONE)
    rest = np.setdiff1d(np.arange(12), ROWS)
    for name, facet in after.facets.items():
        before = split_bundle.facets[name]
        for array in ("vectors", "bias"):
            assert not getattr(facet, array)[ROWS].any()
            np.testing.assert_array_equal(getattr(facet, array)[rest], getattr(before, array)[rest])
        # That a facet knew somebody here stays: the places of others in an index follow from it.
        np.testing.assert_array_equal(facet.degree > 0, before.degree > 0)
        assert facet.degree[ROWS].max() <= 1
        for array in ("translations", "projections", "tail_projections"):
            np.testing.assert_array_equal(getattr(facet, array), getattr(before, array))
    assert after.ids[ROWS].tolist() == [NOBODY] * 2
    assert after.ids[rest].tolist() == split_bundle.ids[rest].tolist()
    assert after.erased.tolist() == ROWS
    assert after.rows("film", ["f2", NOBODY, "f3"]).tolist() == [-1, -1, 3]
    assert after.frame == split_bundle.frame
    assert after.artifact.payload[ERASED_FROM] == split_bundle.digest


def test_whoever_is_not_there_changes_nothing(split_bundle):
    assert bundle_without(split_bundle.artifact, Named({"film": frozenset({"u0"})})).changes == {}
    assert bundle_without(split_bundle.artifact, Named({})).changes == {}


def test_the_same_again_is_the_same(store, split_bundle):
    once = without(store, split_bundle, GONE)
    assert without(store, split_bundle, GONE).digest == once.digest
    assert bundle_without(once.artifact, GONE).changes == {}


def test_files_that_stay_are_not_copied(store, split_bundle):
    rewriting = bundle_without(split_bundle.artifact, GONE)
    only = {"entities.parquet": rewriting.changes["entities.parquet"]}
    made = renewed(store, split_bundle.artifact, only, split_bundle.artifact.parents)
    same = [made.path / "arrays.safetensors", split_bundle.artifact.path / "arrays.safetensors"]
    assert same[0].stat().st_ino == same[1].stat().st_ino
    assert store.open("bundle", made.digest)  # every byte is as its manifest says


def test_a_changed_file_is_refused_and_gets_no_successor(store, split_bundle):
    file = split_bundle.artifact.path / "arrays.safetensors"
    whole = bytearray(file.read_bytes())
    whole[-1] ^= 1
    file.write_bytes(whole)
    with pytest.raises(ArtifactDamaged, match="nobody can be erased from it"):
        without(store, split_bundle, GONE)


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_finds_them_and_others_are_found_as_before(store, arrays, kind):
    many = seal_bundle(store, "0" * 64, crowd(arrays, 12_000), dials={}, metrics={})
    config = IndexConfig(kind=kind, exact_rows=1000, filter_rows=0, least_recall=0.0)
    left_out = np.array([5, 11_000], np.int32)
    index = build_index(store, many, config, left_out=left_out)
    assert index.recipes["all", "film"].kind == kind
    asked = many.vectors[[100, 6000, 11_999]]
    gone = Named({"film": frozenset({"000100", "006000"})})
    after = without(store, many, gone)
    changed = index_of(store, index, after)

    nearest = index.search("film", asked, 20)
    found = changed.search("film", asked, 19)
    for before, now in zip(nearest.rows, found.rows, strict=True):
        expected = [row for row in before if row not in (100, 6000)]
        assert now[:18].tolist() == expected[:18]
    everyone = changed.search("film", asked[:1], 12_000).rows
    assert not np.isin(everyone, [100, 6000, 5, 11_000]).any()
    # A filter does not let them in either; who was out of answers may come back.
    allowed = np.ones(12_000, bool)
    for row in (5, 100):
        near = changed.search("film", many.vectors[[row]], 1, allowed=allowed).rows[0, 0]
        assert (near == row) == (row == 5)
    assert found_by_probe(changed, queries=50, k=10, seed=0) == (0, 0.0)


@pytest.mark.parametrize("kind", ["hnsw", "ivf_sq8", "ivf_pq"])
def test_what_faiss_holds_of_them_is_zero(store, arrays, kind):
    many = seal_bundle(store, "0" * 64, crowd(arrays, 12_000), dials={}, metrics={})
    config = IndexConfig(kind=kind, exact_rows=1000, filter_rows=0, least_recall=0.0)
    index = build_index(store, many, config, left_out=np.array([5], np.int32))
    after = without(store, many, Named({"film": frozenset({"000100"})}))
    rewriting = index_without(index.artifact, after)
    # FAISS counts those that are not left out.
    assert rewriting.zeroed == {"all-film.faiss": {CODES: [99]}}
    changed = index_of(store, index, after)
    for one, is_zero in ((index, False), (changed, True)):
        assert codes_are_zero(one.artifact.file("all-film.faiss"), [99]) == is_zero
    assert not codes_are_zero(changed.artifact.file("all-film.faiss"), [98, 99])


def test_a_facet_that_knows_few_counts_as_before(store, split_bundle):
    index = build_index(store, split_bundle, IndexConfig(kind="exact"))
    after = without(store, split_bundle, GONE)
    changed = index_of(store, index, after)
    for facet in ("all", "clicks"):
        asked = split_bundle.facets[facet].vectors[[3, 4]]
        for type_, rows in (("film", [2]), ("user", [7])):
            before = index.search(type_, asked, 7, facet=facet).rows
            now = changed.search(type_, asked, 7, facet=facet).rows
            for former, present in zip(before, now, strict=True):
                expected = [row for row in former if row >= 0 and row not in rows]
                assert [row for row in present if row >= 0] == expected


def test_distances_of_all_others_are_the_definitions(store, arrays):
    bundle = seal_bundle(store, "0" * 64, replace(arrays), dials={}, metrics={})
    after = without(store, bundle, GONE)
    changed = index_of(store, build_index(store, bundle), after)
    allowed = np.array([row != 2 for row in range(7)])
    distances, rows = truth(bundle, "film", bundle.vectors[9], allowed)
    found = changed.search("film", bundle.vectors[[9]], 6)
    np.testing.assert_array_equal(found.rows[0], rows)
    np.testing.assert_allclose(found.distances[0], distances, atol=1e-6)


def test_the_probe_finds_a_vector_that_was_left(store, arrays):
    """Nobody's id, and a vector that is as it was."""
    ids = arrays.ids.copy()
    ids[2] = NOBODY
    half = seal_bundle(store, "0" * 64, replace(arrays, ids=ids), dials={}, metrics={})
    found, longest = found_by_probe(build_index(store, half), queries=20, k=5, seed=0)
    assert found == 0, "no search names nobody"
    assert longest == np.abs(half.vectors[2]).max()
