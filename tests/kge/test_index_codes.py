"""An index of shortened vectors: what it finds is put in order by the vectors themselves."""

import numpy as np
from crowds import crowd

from graphsvc.artifact import ArtifactStore
from kge.arrays import BundleArrays
from kge.bundle import seal_bundle
from kge.config import IndexConfig
from kge.index import build_index, open_index
from kge.parts import directions

COUNT = 40_000


def test_where_little_memory_is_left_codes_find_and_vectors_put_in_order(
    store: ArtifactStore, arrays: BundleArrays
):
    """40,000 vectors of 16 numbers: a byte for each is more than 1 MiB, one for four is less."""
    bundle = seal_bundle(store, "0" * 64, crowd(arrays, COUNT), dials={}, metrics={})
    config = IndexConfig(exact_rows=1000, memory_mib=1, filter_rows=0, least_recall=0.8)
    built = build_index(store, bundle, config)
    index = open_index(store, built.digest, bundle)
    recipe = index.recipes["all", "film"]
    assert recipe.kind == "ivf_pq"
    assert "nothing larger fits" in recipe.reason
    assert recipe.recall[0][1] >= 0.8
    assert built.artifact.file("all-film.faiss").stat().st_size <= 2**20
    queries = bundle.vectors[np.random.default_rng(5).choice(COUNT, 30, replace=False)]
    found = index.search("film", queries, 10)
    assert found.plan == "approximate"
    units, hits = directions(bundle.vectors[:COUNT]), 0
    for query, rows, near in zip(queries, found.rows, found.distances, strict=True):
        exact = 1 - units @ directions(query[None])[0]
        np.testing.assert_allclose(near, exact[rows], atol=1e-5)
        assert (np.diff(near) >= 0).all()
        hits += len(set(rows.tolist()) & set(np.argsort(exact)[:10].tolist()))
    assert hits / 300 >= recipe.recall[0][1] - 0.05, "within a sample's noise"
