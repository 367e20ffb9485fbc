from dataclasses import replace

import numpy as np

from kge.arrays import BundleArrays
from kge.config import FoldInConfig
from kge.foldin import FoldIn, FoldInEdges
from kge.settle import settle, with_side_priors
from kge.triples import Graph


def test_users_get_the_fold_in_vector_of_their_edges_and_films_stay(arrays: BundleArrays):
    """`click` is user to film and `sequel` film to film: only users never are a tail."""
    graph = Graph(
        head=np.array([7, 7, 9, 0]),
        relation=np.array([0, 0, 0, 1]),
        tail=np.array([2, 4, 1, 3]),
        weight=np.array([1.0, 2.0, 1.0, 1.0], np.float32),
        types=arrays.types,
        relations=arrays.relations,
        ids=arrays.ids,
        snapshot_rows=np.arange(12, dtype=np.int32),
    )
    config = FoldInConfig(prior_edges=1.5)
    found = settle(arrays, graph, config).vectors
    np.testing.assert_array_equal(found[:7], arrays.vectors[:7])
    for user, tails, weights in ((7, [2, 4], [1.0, 2.0]), (9, [1], [1.0])):
        size = len(tails)
        edges = FoldInEdges(
            np.zeros(size, np.int32),
            np.zeros(size, np.int16),
            np.array(tails, np.int32),
            np.zeros(size, bool),
            np.array(weights, np.float32),
        )
        expected = FoldIn(arrays, config).solve("user", 1, edges)[0]
        np.testing.assert_allclose(found[user], expected, rtol=1e-5)
    np.testing.assert_allclose(found[8], arrays.priors[1])


def test_who_is_settled_leans_on_no_anchor_and_films_still_do(arrays: BundleArrays):
    """A user's fold-in vector has nothing of the anchors that training composed the user of."""
    graph = Graph(
        head=np.array([7, 9]),
        relation=np.array([0, 0]),
        tail=np.array([2, 4]),
        weight=np.ones(2, np.float32),
        types=arrays.types,
        relations=arrays.relations,
        ids=arrays.ids,
        snapshot_rows=np.arange(12, dtype=np.int32),
    )
    rows, shares = np.full((12, 2), 3, np.int32), np.full((12, 2), 0.5, np.float32)
    leaning = replace(arrays, anchor_rows=rows, anchor_weights=shares)
    found = settle(leaning, graph, FoldInConfig())
    assert (found.anchor_rows[:7] == 3).all()
    assert (found.anchor_weights[:7] == 0.5).all()
    assert (found.anchor_rows[7:] == -1).all()
    assert not found.anchor_weights[7:].any()
    assert (rows == 3).all(), "what was given stays as it was"
    assert settle(arrays, graph, FoldInConfig()).anchor_rows is None


def test_a_side_is_the_mean_of_those_who_have_it(arrays: BundleArrays):
    """Clicks of user 7 (w = 1 and 2) and user 9 (w = 1) on films 2, 4, 1; nothing has a sequel."""
    graph = Graph(
        head=np.array([7, 7, 9]),
        relation=np.array([0, 0, 0]),
        tail=np.array([2, 4, 1]),
        weight=np.array([1.0, 2.0, 1.0], np.float32),
        types=arrays.types,
        relations=arrays.relations,
        ids=arrays.ids,
        snapshot_rows=np.arange(12, dtype=np.int32),
    )
    vectors = arrays.vectors
    expected = [
        (3 * vectors[7] + vectors[9]) / 4,
        arrays.priors[0],
        (vectors[2] + 2 * vectors[4] + vectors[1]) / 4,
        arrays.priors[0],
    ]
    found = with_side_priors(arrays, graph).side_priors
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
