import numpy as np

from kge.bundle import Bundle
from kge.facet_scorer import FacetScorer


def test_scores_are_the_bundles_but_for_what_a_head_adds_to_all(split_bundle: Bundle):
    scorer, heads = FacetScorer(split_bundle), np.array([0, 7, 11])
    assert (scorer.entity_count, scorer.relation_count) == (12, 2)
    for side in range(4):
        found = scorer.scores(side, heads, 0, 12)
        expected = split_bundle.score_vectors(
            side, split_bundle.vectors[heads], split_bundle.vectors, split_bundle.bias
        )
        apart = found - expected
        np.testing.assert_allclose(apart, np.tile(apart[:, :1], 12), rtol=1e-4, atol=1e-4)


def test_equal_entities_have_equal_scores_in_any_range(split_bundle: Bundle):
    split_bundle.vectors[[1, 4, 11]] = split_bundle.vectors[6]
    split_bundle.bias[[1, 4, 6, 11]] = 0.5
    split_bundle.vectors[[0, 3]] = split_bundle.vectors[2]
    split_bundle.bias[[0, 3]] = [split_bundle.bias[2], -1.0]  # row 3 differs in its bias
    scorer, heads = FacetScorer(split_bundle), np.arange(12)
    for width in (12, 5, 1):
        scores = np.concatenate(
            [
                scorer.scores(0, heads, first, min(first + width, 12))
                for first in range(0, 12, width)
            ],
            axis=1,
        )
        assert (scores[:, [1, 4, 11]] == scores[:, [6]]).all()
        assert (scores[:, 0] == scores[:, 2]).all()
        assert (scores[:, 3] != scores[:, 2]).all()
