import dataclasses
import tracemalloc

import numpy as np
import pytest

from graphsvc.snapshot import RelationInfo, TypeRange
from kge import facet_scorer
from kge.arrays import BundleArrays
from kge.bundle import Bundle
from kge.evaluate import link_prediction
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


def test_still_tails_are_not_projected_and_score_as_if_they_were():
    arrays = doubled(12, 5, priors=3)
    still = dataclasses.replace(
        arrays, tail_projections=np.stack([np.eye(5, dtype=np.float32), 2 * arrays.projections[1]])
    )
    scorer, heads = FacetScorer(still), np.array([3, 0])
    for side, first in ((0, 0), (1, 0), (0, 4), (0, 0)):
        matrix = still.tail_projections[side].astype(np.float64)
        query = still.vectors[heads] @ still.projections[side].T + still.translations[side]
        points = still.vectors[first:12] @ matrix.T
        lengths = (points * points).sum(axis=1)
        expected = 2.0 * query @ points.T + still.bias[first:12] - lengths
        found = scorer.scores(side, heads, first, 12)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


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


def doubled(count: int, dim: int, *, priors: int) -> BundleArrays:
    """So many entities: at the same prior, or in pairs of twins that lie far apart."""
    draw = np.random.default_rng(3)
    normal = lambda *shape: draw.normal(size=shape).astype(np.float32)  # noqa: E731
    twins = (count - priors) // 2
    rows = np.concatenate([np.arange(twins), np.full(priors, twins), np.arange(twins)])
    vectors, bias = normal(twins + 1, dim), normal(twins + 1)
    return BundleArrays(
        vectors=vectors[rows],
        bias=bias[rows],
        degree=np.zeros(count, np.int32),
        relations=[RelationInfo(name="r", head="e", tail="e", source="structure")],
        translations=normal(2, dim),
        projections=normal(2, dim, dim),
        priors=normal(1, dim),
        types=[TypeRange("e", 0, count)],
        ids=np.arange(count).astype(str).astype(object),
        frame_rows=np.array([0], np.int32),
    )


def test_many_classes_of_equal_entities_are_equal_in_any_range():
    scorer, heads = FacetScorer(doubled(500, 6, priors=100)), np.arange(5)
    for width in (500, 130, 7):
        scores = np.concatenate(
            [
                scorer.scores(1, heads, first, min(first + width, 500))
                for first in range(0, 500, width)
            ],
            axis=1,
        )
        assert (scores[:, :200] == scores[:, 300:]).all()
        assert (scores[:, 200:300] == scores[:, [200]]).all()
        assert len(np.unique(scores[0])) == 201


def test_rows_whose_sums_meet_are_told_apart(monkeypatch):
    """Were all sums the same, each row would still be compared in full."""
    arrays = doubled(60, 3, priors=10)
    expected = facet_scorer._equal_rows(arrays.vectors, arrays.bias)
    monkeypatch.setattr(facet_scorer, "_sums", lambda *rows: np.zeros(len(rows[0]), np.uint64))
    found = facet_scorer._equal_rows(arrays.vectors, arrays.bias)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    member, class_, first = expected
    assert member.tolist() == list(range(60))
    np.testing.assert_array_equal(arrays.vectors[first[class_]], arrays.vectors)


@pytest.mark.parametrize("priors", [0, 19_000])
def test_a_budget_holds_for_the_scorer_too(priors: int):
    count, dim, memory = 20_000, 64, 2 << 20
    arrays = doubled(count, dim, priors=priors)
    ends = np.random.default_rng(4).integers(0, count, (40, 2))
    triples = np.stack([ends[:, 0], np.zeros(40, np.int64), ends[:, 1]], axis=1)
    expected = link_prediction(arrays, triples, [])
    tracemalloc.start()
    found = link_prediction(arrays, triples, [], memory=memory)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Less than the vectors take; and more heads than fit at once, so that ranges are needed.
    assert peak < memory + 72 * count < arrays.vectors.nbytes
    assert found.mrr == pytest.approx(expected.mrr, rel=1e-3)
