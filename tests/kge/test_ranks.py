import numpy as np

from kge.ranks import distance_scores, spread


def test_spread_lists_the_ranges():
    np.testing.assert_array_equal(
        spread(np.array([5, 0, 9]), np.array([2, 0, 3])), [5, 6, 9, 10, 11]
    )


def test_distance_scores_by_hand():
    """q = (1, 2), p = (0, 0) and (1, 4): -2 * 5 + 1 and -2 * 4 + 0."""
    scores = distance_scores(
        np.array([[1.0, 2.0]]), np.array([[0.0, 0.0], [1.0, 4.0]]), np.array([1.0, 0.0]), 2.0
    )
    np.testing.assert_allclose(scores, [[-9.0, -8.0]])
