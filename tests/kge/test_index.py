import numpy as np
import pytest

from graphsvc.artifact import ArtifactStore
from graphsvc.errors import ArtifactDamaged
from kge.bundle import Bundle
from kge.errors import ShapeMismatch, UnknownType
from kge.index import build_index, open_index


def test_search_equals_brute_force(store: ArtifactStore, bundle: Bundle):
    index = open_index(store, build_index(store, bundle).digest)
    queries = np.random.default_rng(1).normal(size=(6, bundle.dim)).astype(np.float32)
    for name, start, stop in bundle.types.values():
        distances, rows = index.search(name, queries, 3)
        for query, found, near in zip(queries, rows, distances, strict=True):
            every = [
                1 - (v @ query) / (np.linalg.norm(v) * np.linalg.norm(query))
                for v in bundle.vectors[start:stop]
            ]
            expected = np.argsort(every)[:3]
            np.testing.assert_array_equal(found, expected + start)
            np.testing.assert_allclose(near, np.array(every)[expected], atol=1e-6)
        assert (distances.dtype, rows.dtype) == (np.float32, np.int64)


def test_what_is_left_out_is_passed_over(store: ArtifactStore, bundle: Bundle):
    index = build_index(store, bundle)
    kind = bundle.types["user"]
    count = kind.stop - kind.start
    leave_out = np.random.default_rng(2).random(count) < 0.5
    query = bundle.vectors[kind.start : kind.start + 1]
    everyone, rows = index.search("user", query, count)
    kept = [n for n, row in enumerate(rows[0]) if not leave_out[row - kind.start]]
    assert 0 < len(kept) < count
    distances, found = index.search("user", query, count, leave_out=leave_out)
    np.testing.assert_array_equal(found[0][: len(kept)], rows[0][kept])
    np.testing.assert_allclose(distances[0][: len(kept)], everyone[0][kept], atol=1e-6)
    assert (found[0][len(kept) :] == -1).all()
    with pytest.raises(ShapeMismatch, match=f"{count} values"):
        index.search("user", query, 1, leave_out=leave_out[1:])


def test_length_does_not_matter_and_zero_is_near_nothing(store: ArtifactStore, bundle: Bundle):
    index = build_index(store, bundle)
    one, _ = index.search("film", bundle.vectors[:2], 2)
    thrice, _ = index.search("film", 3 * bundle.vectors[:2], 2)
    np.testing.assert_allclose(one, thrice, atol=1e-6)
    zero, _ = index.search("film", np.zeros((1, bundle.dim), np.float32), 2)
    np.testing.assert_array_equal(zero, [[1.0, 1.0]])


def test_an_entity_is_its_own_nearest_neighbor(store: ArtifactStore, bundle: Bundle):
    _, rows = build_index(store, bundle).search("user", bundle.vectors[7:12], 1)
    np.testing.assert_array_equal(rows[:, 0], np.arange(7, 12))


def test_a_type_with_fewer_than_k_pads_with_minus_one(store: ArtifactStore, bundle: Bundle):
    distances, rows = build_index(store, bundle).search("user", bundle.vectors[:1], 9)
    assert sorted(rows[0, :5]) == list(range(7, 12))
    assert rows[0, 5:].tolist() == [-1] * 4
    assert np.isinf(distances[0, 5:]).all()


def test_an_index_names_its_bundle(store: ArtifactStore, bundle: Bundle):
    index = build_index(store, bundle)
    assert index.bundle_digest == bundle.digest
    assert index.digest == build_index(store, bundle).digest
    with pytest.raises(UnknownType, match="ghost"):
        index.search("ghost", bundle.vectors[:1], 1)


def test_a_damaged_index_is_refused(store: ArtifactStore, bundle: Bundle):
    index = build_index(store, bundle)
    file = index.artifact.file("film.faiss")
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(ArtifactDamaged, match=r"film\.faiss"):
        open_index(store, index.digest)
