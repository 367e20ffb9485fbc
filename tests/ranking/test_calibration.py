import json

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from ranking.calibration import calibration_of, fit, fit_isotonic, fit_platt
from ranking.errors import RankerFormat
from ranking.metrics import ece


def distorted(count=40_000, seed=0):
    """Logits l, outcomes with p = sigmoid(l), scores s = (l - 1) / 2: so l = 2 s + 1."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=count)
    labels = (rng.random(count) < 1 / (1 + np.exp(-logits))).astype(np.int8)
    return (logits - 1) / 2, labels


def test_recovers_a_known_distortion():
    scores, labels = distorted()
    assert fit_platt(scores, labels) == pytest.approx((2.0, 1.0), abs=0.1)
    assert ece(fit_platt(scores, labels).probabilities(scores), labels) < 0.01


def test_equals_logistic_regression_up_to_the_smoothed_targets():
    scores, labels = distorted()
    peer = LogisticRegression(C=1e9).fit(scores[:, None], labels)
    found = fit_platt(scores, labels)
    assert found == pytest.approx((peer.coef_[0, 0], peer.intercept_[0]), abs=2e-3)


def test_is_monotone():
    scores, labels = distorted(500)
    found = fit_platt(scores, labels).probabilities(np.linspace(-20, 20, 100))
    assert (np.diff(found) >= 0).all()
    assert ((found >= 0) & (found <= 1)).all()


def test_scores_that_order_backwards_give_the_base_rate():
    scores, labels = distorted()
    found = fit_platt(-scores, labels)
    assert found.slope == 0
    assert found.probabilities(scores) == pytest.approx(labels.mean(), abs=1e-3)


def test_separable_scores_keep_a_finite_slope():
    """Targets of 10 ones and 10 zeros are 11/12 and 1/12: logits of +-log 11 at scores of +-1."""
    scores, labels = np.repeat([1.0, -1.0], 10), np.repeat([1, 0], 10).astype(np.int8)
    assert fit_platt(scores, labels) == pytest.approx((np.log(11), 0.0), abs=1e-6)


def test_equal_scores_give_the_base_rate():
    found = fit_platt(np.full(10, 3.0), np.array([1] * 4 + [0] * 6, dtype=np.int8))
    # Targets: 4 of 5/6 and 6 of 1/8, mean (10/3 + 3/4) / 10.
    assert found.probabilities(np.array([3.0])) == pytest.approx((10 / 3 + 0.75) / 10)


def test_weights_count_as_often_as_rows_would():
    """One zero of weight 4 is four zeros; the fit is the same."""
    rng = np.random.default_rng(5)
    scores, labels = rng.normal(size=200), (rng.random(200) < 0.3).astype(np.int8)
    weights = np.where(labels == 1, 1, 4).astype(np.float32)
    often = weights.astype(int)
    one = fit_platt(scores, labels, weights)
    other = fit_platt(np.repeat(scores, often), np.repeat(labels, often))
    assert one.slope == pytest.approx(other.slope, abs=1e-8)
    assert one.offset == pytest.approx(other.offset, abs=1e-8)
    # And the mean prediction is the base rate of what the rows stand for (Platt's targets aside).
    mean = np.average(one.probabilities(scores), weights=weights)
    assert mean == pytest.approx(np.average(labels, weights=weights), abs=0.01)


def test_isotonic_pools_what_falls():
    """Scores 1 to 5 with outcomes 0, 1, 0, 0, 1: the middle three pool to 1/3 at their mean, 3."""
    found = fit_isotonic(np.arange(1.0, 6.0), np.array([0, 1, 0, 0, 1], dtype=np.int8))
    assert found.scores == (1.0, 3.0, 5.0)
    # None is nearer to 0 or 1 than 1 / (5 + 2).
    assert found.values == pytest.approx((1 / 7, 1 / 3, 6 / 7))
    asked = np.array([-9.0, 1.0, 2.0, 3.0, 4.5, 9.0])
    lines = [1 / 7, 1 / 7, (1 / 7 + 1 / 3) / 2, 1 / 3, 1 / 3 + 0.75 * (6 / 7 - 1 / 3), 6 / 7]
    assert found.probabilities(asked) == pytest.approx(lines)


def test_isotonic_finds_what_no_line_can():
    """p = .1 below 0 and .6 above: Platt's S through both is off, a rising curve is not."""
    rng = np.random.default_rng(3)
    scores = rng.uniform(-4, 4, size=40_000)
    labels = (rng.random(40_000) < np.where(scores < 0, 0.1, 0.6)).astype(np.int8)
    asked, truth = np.array([-3.0, -1.0, 1.0, 3.0]), [0.1, 0.1, 0.6, 0.6]
    assert fit_isotonic(scores, labels).probabilities(asked) == pytest.approx(truth, abs=0.04)
    worst = np.abs(fit_platt(scores, labels).probabilities(asked) - truth).max()
    assert worst > 0.08


def test_isotonic_equals_its_peer_at_the_means_of_blocks():
    scores, labels = distorted(4_000)
    found = fit_isotonic(scores, labels)
    peer = IsotonicRegression().fit(scores, labels).predict(np.array(found.scores))
    inside = (peer > 0.001) & (peer < 0.999)
    # There both say the share of ones of the block; the peer also does up to its ends.
    np.testing.assert_allclose(np.array(found.values)[inside], peer[inside], atol=1e-6)


def test_isotonic_weights_count_as_often_as_rows_would():
    rng = np.random.default_rng(5)
    scores, labels = rng.normal(size=200), (rng.random(200) < 0.3).astype(np.int8)
    weights = np.where(labels == 1, 1, 4).astype(np.float32)
    often = weights.astype(int)
    one = fit_isotonic(scores, labels, weights)
    other = fit_isotonic(np.repeat(scores, often), np.repeat(labels, often))
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-12)
    np.testing.assert_allclose(one.values, other.values, atol=1e-12)


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_a_calibration_survives_json_and_keeps_the_order(method):
    scores, labels = distorted(2_000)
    found = fit(method, scores, labels)
    again = calibration_of(json.loads(json.dumps(found.as_json())))
    assert again == found
    asked = np.linspace(-9, 9, 101)
    assert (np.diff(again.probabilities(asked)) >= 0).all()


def test_an_unknown_method_is_named():
    with pytest.raises(RankerFormat, match="platt or isotonic, received 'beta'"):
        calibration_of({"method": "beta"})
