"""A ranker smoothed by group: its scores, its calibration, its certificate, sealed and opened."""

import dataclasses

import numpy as np
import pytest
from faceted import table_over
from loops import finish
from scipy.special import expit

from graphsvc.errors import ArtifactMissing
from graphsvc.snapshot import Span
from ranking.bundle import Beside, certificate_of, open_ranker
from ranking.calibration import Isotonic
from ranking.config import FeatureConfig, IdTableConfig, RankerConfig, TrainingConfig
from ranking.errors import ConfigError, GroupTooSmall
from ranking.fairsmooth.config import FairSmoothConfig
from ranking.fairsmooth.ranker import check_groups, fair_ranker
from ranking.fairsmooth.served import head_reads, through
from ranking.model import head_scores
from ranking.train import train

QUICK = RankerConfig(
    arm="none",
    dropout=0.0,
    id_dropout=0.0,
    ids=IdTableConfig(dim=4, buckets=8),
    features=FeatureConfig(min_rows=2),
    training=TrainingConfig(epochs=4, batch=64, learning_rate=1e-2),
)
FAIR = FairSmoothConfig(scale=0.2, proximity=0.05, rounds=2)


@pytest.fixture
def trained(examples):
    return finish(train(examples, QUICK))[1]


@pytest.fixture
def fair(trained, examples):
    return finish(fair_ranker(trained, examples, "lean", FAIR))


def batch_of(trained, rows):
    encoder = trained.encoder
    return encoder.encode(rows.heads, rows.tails, rows.exposures)


def last_layer(trained):
    last = trained.model.towers[0].last
    return np.append(last.weight.detach().numpy(), last.bias.detach().numpy()).astype(np.float64)


def test_what_the_last_layer_reads_makes_the_logits(trained, examples):
    batch = batch_of(trained, examples.rows[Span.TEST])
    features, offset = head_reads(trained.model, batch, 0)
    assert (features[:, -1] == 1).all()
    found = offset + features @ last_layer(trained)
    np.testing.assert_allclose(found, head_scores(trained.model, batch)[:, 0], atol=1e-4)


def test_scores_are_means_over_noise_on_the_last_layer(fair, examples):
    trained, rows = fair[1].trained, examples.rows[Span.TEST].take(np.arange(6))
    served = trained.scored(rows.heads, rows.tails, rows.exposures).probabilities["ctr"]
    features, offset = head_reads(trained.model, batch_of(trained, rows), 0)
    noise = np.random.default_rng(0).normal(scale=FAIR.scale, size=(100_000, features.shape[1]))
    platt = trained.calibrations["ctr"]
    logits = offset[:, None] + features @ (last_layer(trained) + noise).T
    drawn = expit(platt.slope * logits + platt.offset)
    assert (np.abs(drawn.mean(axis=1) - served) < 5 * drawn.std(axis=1) / 100_000**0.5).all()


def test_the_mean_score_is_the_base_rate(fair, examples):
    rows = examples.rows[Span.CALIBRATE]
    served = fair[1].trained.scored(rows.heads, rows.tails, rows.exposures).probabilities["ctr"]
    assert served.mean() == pytest.approx((rows.labels == 1).mean(), abs=1e-5)


def test_the_certificate_is_of_the_groups_and_of_people(fair, examples):
    rounds, (_, told) = fair
    assert len(rounds) == 2
    assert set(told["groups"]) == {"left", "right"}
    learned = [one["learned_from"] for one in told["groups"].values()]
    assert sum(learned) == len(examples.rows[Span.VALID].labels)
    people = len(np.unique(examples.rows[Span.TEST].cluster))
    assert sum(one["rows"] for one in told["groups"].values()) == people
    assert all(0 < one["tau"] < 1 for one in told["groups"].values())
    for one in told["groups"].values():
        low, high = one["times_base_rate"]
        assert low < 1 < high


def test_the_ranker_that_was_given_stays(trained, examples):
    before = last_layer(trained)
    finish(fair_ranker(trained, examples, "lean", FAIR))
    assert (last_layer(trained) == before).all()
    assert not trained.smoothing


def test_sealed_and_opened_it_says_the_same(fair, examples, leaning, seal):
    trained, told = fair[1]
    sealed = seal(trained, beside=Beside({}, {}, told))
    opened = open_ranker(leaning.store, sealed.digest, leaning.bundle)
    rows = examples.rows[Span.TEST]
    expected = trained.scored(rows.heads, rows.tails, rows.exposures)
    found = opened.scored(rows.heads, rows.tails, rows.exposures)
    np.testing.assert_array_equal(found.probabilities["ctr"], expected.probabilities["ctr"])
    assert certificate_of(opened.artifact) == told


def test_what_cannot_be_is_refused_with_what_there_is(trained, examples):
    with pytest.raises(ConfigError, match=r"categories of user \(lean\), received 'age'"):
        next(fair_ranker(trained, examples, "age", FAIR))
    with pytest.raises(ConfigError, match="link of a ranker should be sigmoid, received 'step'"):
        next(fair_ranker(trained, examples, "lean", dataclasses.replace(FAIR, link="step")))
    with pytest.raises(ConfigError, match=r"balance of a ranker should be 0, received 0\.5"):
        next(fair_ranker(trained, examples, "lean", dataclasses.replace(FAIR, balance=0.5)))
    many = dataclasses.replace(FAIR, least_rows=10_000)
    with pytest.raises(GroupTooSmall, match="'left' should have at least 10000 rows"):
        next(fair_ranker(trained, examples, "lean", many))


def test_a_curve_has_no_closed_form():
    curve = Isotonic((0.0, 1.0), (0.2, 0.8))
    with pytest.raises(ConfigError, match="should be platt, received isotonic"):
        through(curve, np.zeros(1), np.ones(1))


def test_a_ranker_without_groups_has_no_certificate(trained, leaning, seal):
    sealed = seal(trained)
    with pytest.raises(ArtifactMissing, match=r"certificate\.json"):
        certificate_of(sealed.artifact)
    assert not open_ranker(leaning.store, sealed.digest, leaning.bundle).smoothing


def test_what_was_pretrained_is_read_behind_the_layer_too(examples):
    read = examples._replace(facets=(table_over(examples.rows[Span.TRAIN]),))
    trained = finish(train(read, QUICK))[1]
    _, (fair, told) = finish(fair_ranker(trained, read, "lean", FAIR))
    assert fair.facets is trained.facets
    rows = read.rows[Span.CALIBRATE]
    served = fair.scored(rows.heads, rows.tails, rows.exposures).probabilities["ctr"]
    assert served.mean() == pytest.approx((rows.labels == 1).mean(), abs=1e-5)
    assert set(told["groups"]) == {"left", "right"}


def test_groups_are_counted_before_there_is_a_ranker(examples, fair):
    found = check_groups(examples, "ctr", "lean", FAIR)
    learned = {name: one["learned_from"] for name, one in fair[1].certificate["groups"].items()}
    assert found == learned
    with pytest.raises(ConfigError, match=r"categories of user \(lean\), received 'age'"):
        check_groups(examples, "ctr", "age", FAIR)
    with pytest.raises(GroupTooSmall, match="'left' should have at least 10000 rows"):
        check_groups(examples, "ctr", "lean", dataclasses.replace(FAIR, least_rows=10_000))
