"""Pairs of entities that were encoded before have the very features and scores of plain pairs."""

import dataclasses

import numpy as np
import pytest
import torch

from graphsvc.snapshot import Span
from ranking.bundle import alike, open_ranker, seal_ranker
from ranking.config import FeatureConfig, IdTableConfig, RankerConfig, TrainingConfig
from ranking.examples import build_examples
from ranking.model import SCORE_BATCH
from ranking.pairwise import Pairwise
from ranking.train import train

SMALL = RankerConfig(
    ids=IdTableConfig(dim=4, min_rows=20, buckets=8),
    features=FeatureConfig(min_rows=2, hour=True),
    training=TrainingConfig(epochs=1, batch=128),
)


@pytest.fixture(params=["attention", "frozen"])
def opened(leaning, request):
    """A ranker, and rows of heads and of tails, some of whom nothing is known and one nameless."""
    examples = build_examples(leaning.snapshot, leaning.bundle)
    *_, trained = _through(train(examples, dataclasses.replace(SMALL, arm=request.param)))
    sealed = seal_ranker(
        leaning.store,
        trained,
        snapshot_digest=leaning.snapshot.digest,
        bundle_digest=leaning.bundle.digest,
        frame=leaning.bundle.frame,
        metrics={},
    )
    ranker = open_ranker(leaning.store, sealed.digest, leaning.bundle)
    rows = examples.rows[Span.TEST]
    heads, tails = rows.heads.take(np.arange(30)), rows.tails.take(np.arange(40))
    heads = dataclasses.replace(
        heads, nameless=np.arange(30) == 3, known=heads.known & (np.arange(30) != 5)
    )
    return ranker, heads, tails


def _through(generator):
    """Everything that it yields, then what it returns."""
    returned = yield from generator
    yield returned


def test_features_and_scores_are_the_same_to_the_bit(opened):
    ranker, heads, tails = opened
    pairwise = Pairwise(ranker)
    # In two pages each, as they come to be known.
    own = pairwise.heads(heads.take(np.arange(7))).joined(
        pairwise.heads(heads.take(np.arange(7, 30)))
    )
    others = pairwise.tails(tails.take(np.arange(11))).joined(
        pairwise.tails(tails.take(np.arange(11, 40)))
    )
    assert (len(own), len(others)) == (30, 40)
    draw = np.random.default_rng(0)
    first, second = draw.integers(30, size=500), draw.integers(40, size=500)
    shown = alike(500, position=1, time=3_600)
    features = pairwise.features(
        own.take(torch.from_numpy(first)),
        others.take(torch.from_numpy(second)),
        pairwise.exposures(alike(1, position=1, time=3_600)),
    )
    plain = ranker.encoder.encode(heads.take(first), tails.take(second), shown)
    for name, column in features._asdict().items():
        expected = getattr(plain, name)
        assert (column.dtype, column.shape) == (expected.dtype, expected.shape), name
        assert torch.equal(column, expected), name
    assert plain.exposures.shape[1] > 0
    assert {0.0, 1.0} == set(plain.named[:, 0].tolist()) == set(plain.known[:, 0].tolist())
    found = pairwise.scored(features)
    expected = ranker.scored(heads.take(first), tails.take(second), shown)
    np.testing.assert_array_equal(found.logits, expected.logits)
    np.testing.assert_array_equal(found.probabilities["ctr"], expected.probabilities["ctr"])
    assert len(np.unique(found.logits)) > 100


def test_on_a_cpu_it_is_asked_about_a_forward_pass_at_once(opened):
    assert Pairwise(opened[0]).at_once == SCORE_BATCH
