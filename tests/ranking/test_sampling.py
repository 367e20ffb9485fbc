"""The correction is exact: as an identity of posteriors, and on a model whose optimum is known."""

import numpy as np
import pytest

from ranking.calibration import fit_platt
from ranking.sampling import corrected, kept_rows


def logit(p):
    return np.log(p / (1 - p))


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


@pytest.mark.parametrize("share", [1.0, 0.5, 0.1, 0.003])
def test_it_gives_back_the_posterior_of_all_rows(share):
    """Where p of the rows are ones and w of the zeros stay, q = p / (p + (1 - p) w) are ones."""
    p = np.array([1e-6, 0.01, 0.2, 0.5, 0.97])
    sampled = p / (p + (1 - p) * share)
    by_formula = sampled / (sampled + (1 - sampled) / share)
    np.testing.assert_allclose(by_formula, p, rtol=1e-12)
    np.testing.assert_allclose(sigmoid(corrected(logit(sampled), share)), p, rtol=1e-9)


def test_the_best_logits_of_a_sample_become_the_best_logits_of_all():
    """A logit per cell: its best value is log(ones / zeros), of a sample log(ones / (w zeros)).

    So the two differ by log w in every cell, however different the cells are.
    """
    ones, zeros, share = np.array([3, 40, 500]), np.array([1000, 80, 100]), 0.1
    unsampled, sampled = np.log(ones / zeros), np.log(ones / (share * zeros))
    np.testing.assert_allclose(corrected(sampled, share), unsampled, rtol=1e-12)


def test_what_is_kept_depends_on_the_label_alone():
    labels = np.array([0, 1] * 50_000, dtype=np.int8)
    kept = kept_rows(labels, 0.3, np.random.default_rng(0))
    assert (np.diff(kept) > 0).all()
    assert (labels[kept] == 1).sum() == 50_000, "no one is lost"
    # 50,000 zeros with chance .3: four standard deviations are 410.
    assert (labels[kept] == 0).sum() == pytest.approx(15_000, abs=410)
    first = labels[kept[kept < 50_000]]
    assert (first == 0).sum() == pytest.approx(7_500, abs=290), "early and late alike"


def test_all_are_kept_where_nothing_is_left_out():
    labels = np.array([0, 1, 0], dtype=np.int8)
    assert kept_rows(labels, 1.0, np.random.default_rng(0)).tolist() == [0, 1, 2]
    assert corrected(np.array([0.5]), 1.0).tolist() == [0.5]


def test_what_is_learned_of_a_sample_is_corrected_to_what_is_learned_of_all():
    """A line of logits, 1.5 s - 2, fitted to all rows and to all ones with a tenth of the zeros."""
    rng = np.random.default_rng(4)
    scores = rng.normal(size=200_000)
    labels = (rng.random(200_000) < sigmoid(1.5 * scores - 2)).astype(np.int8)
    kept = kept_rows(labels, 0.1, rng)
    whole, sampled = fit_platt(scores, labels), fit_platt(scores[kept], labels[kept])
    asked = np.linspace(-2, 2, 9)
    found = corrected(sampled.slope * asked + sampled.offset, 0.1)
    np.testing.assert_allclose(found, whole.slope * asked + whole.offset, atol=0.12)
