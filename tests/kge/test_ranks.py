import numpy as np

from kge.ranks import distance_scores, realistic_ranks, spread

NOTHING = (np.empty(0, np.int64), np.empty(0, np.int64))


def test_ranks_by_hand():
    """Scores 3 1 3 2: the first is tied for 1 and 2, so 1.5; the fourth is third."""
    table = np.array([[3.0, 1.0, 3.0, 2.0]] * 2)
    np.testing.assert_array_equal(realistic_ranks(table, np.array([0, 3]), NOTHING), [1.5, 3.0])


def test_known_others_are_taken_out_and_the_own_one_stays():
    table = np.array([[3.0, 1.0, 3.0, 2.0]])
    known = (np.array([0, 0, 0]), np.array([0, 2, 3]))
    np.testing.assert_array_equal(realistic_ranks(table, np.array([3]), known), [1.0])


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
