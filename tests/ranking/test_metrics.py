import math

import numpy as np
import pytest
from sklearn.metrics import log_loss as sk_log_loss
from sklearn.metrics import roc_auc_score

from ranking.metrics import auc, ece, group_aucs, log_loss, tenth_of, weighted_auc


def noisy(count=500, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count).astype(np.int8)
    scores = np.round(rng.normal(size=count) + labels, 1)  # rounded, so there are many ties
    return scores, labels, rng


def test_auc_by_hand():
    # Ones at .8 and .4, zeros at .4 and .1: pairs 1, 1, 1/2, 1 of 4.
    scores, labels = np.array([0.8, 0.4, 0.4, 0.1]), np.array([1, 1, 0, 0], dtype=np.int8)
    assert auc(scores, labels) == 0.875
    assert auc(-scores, labels) == 0.125


def test_auc_of_one_label_or_nothing_is_not_a_number():
    assert math.isnan(auc(np.array([0.1, 0.2]), np.array([1, 1], dtype=np.int8)))
    assert math.isnan(auc(np.zeros(0), np.zeros(0, dtype=np.int8)))


def test_auc_equals_sklearn_with_ties():
    scores, labels, _ = noisy()
    assert auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_weighted_auc_equals_sklearn_with_weights():
    scores, labels, rng = noisy()
    weights = rng.integers(0, 4, (6, len(labels))).astype(np.float64)
    expected = [roc_auc_score(labels, scores, sample_weight=w) for w in weights]
    np.testing.assert_allclose(weighted_auc(scores, labels, weights), expected, atol=1e-12)


def test_log_loss_equals_sklearn():
    scores, labels, _ = noisy()
    probabilities = 1 / (1 + np.exp(-scores))
    assert log_loss(probabilities, labels) == pytest.approx(sk_log_loss(labels, probabilities))


def test_certainty_that_errs_costs_a_finite_price():
    assert log_loss(np.array([0.0]), np.array([1], dtype=np.int8)) == pytest.approx(
        -math.log(1e-15)
    )


def test_ece_by_hand():
    """Those of .1: two rows, one outcome, gap .4. Those of .9: two outcomes, gap .1. Mean .25."""
    probabilities = np.array([0.1, 0.1, 0.9, 0.9])
    assert ece(probabilities, np.array([1, 0, 1, 1], dtype=np.int8)) == pytest.approx(0.25)
    assert ece(np.array([1.0]), np.array([1], dtype=np.int8)) == 0.0


def test_the_calibration_error_sees_rare_outcomes():
    """A hundred rows at 1 in 1,000 to 1 in 10, each promised thrice what it is."""
    chance = np.repeat(np.array([0.001, 0.01, 0.1]), 1000)
    labels = np.concatenate(
        [np.arange(1000) < ones for ones in (1, 10, 100)], dtype=np.int8, casting="unsafe"
    )
    assert ece(chance, labels) == pytest.approx(0.0, abs=1e-12)
    mean = chance.mean()
    swapped = np.where(chance == 0.1, 0.001, np.where(chance == 0.001, 0.1, chance))
    assert swapped.mean() == pytest.approx(mean), "right on the whole"
    assert ece(swapped, labels) == pytest.approx(2 / 3 * 0.099)


def test_tenths_are_of_rows_and_ties_stay_together():
    rng = np.random.default_rng(0)
    values = rng.random(1000) ** 8
    assert np.bincount(tenth_of(values)).tolist() == [100] * 10
    assert (np.diff(tenth_of(values)[np.argsort(values)]) >= 0).all()
    assert set(tenth_of(np.full(50, 0.3))) == {5}
    weights = rng.integers(1, 5, 200)
    repeated = tenth_of(np.repeat(values[:200], weights))
    np.testing.assert_array_equal(np.repeat(tenth_of(values[:200], weights), weights), repeated)


def test_group_auc_by_hand():
    """Group 1: perfect, 2 rows. Group 2: AUC 1/2 over 3 rows. Group 3 has one label: left out."""
    scores = np.array([0.9, 0.1, 0.5, 0.4, 0.6, 0.7])
    labels = np.array([1, 0, 1, 0, 0, 1], dtype=np.int8)
    groups = np.array([1, 1, 2, 2, 2, 3], dtype=np.int32)
    both, values, rows = group_aucs(scores, labels, groups)
    assert (both.tolist(), values.tolist(), rows.tolist()) == ([0, 1], [1.0, 0.5], [2, 3])


def test_group_aucs_equal_auc_within_each_group():
    scores, labels, rng = noisy()
    groups = rng.integers(0, 30, len(labels)).astype(np.int32)
    both, values, rows = group_aucs(scores, labels, groups)
    names = np.unique(groups)[both]
    for name, value, count in zip(names, values, rows, strict=True):
        mine = groups == name
        assert value == pytest.approx(auc(scores[mine], labels[mine]), abs=1e-12)
        assert count == mine.sum()
