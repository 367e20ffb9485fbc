import itertools
import math

import numpy as np
import pytest
from scipy.stats import sem
from scipy.stats import t as student_t

from ranking.errors import ConfigError
from ranking.intervals import (
    Judged,
    chance_without_loss,
    holm,
    interval,
    resample,
    resample_each,
    t_interval,
    user_weights,
)
from ranking.metrics import auc, ece, group_aucs, log_loss, tenth_of


@pytest.fixture
def judged():
    rng = np.random.default_rng(1)
    cluster = rng.integers(0, 20, 300).astype(np.int32) * 7
    return Judged(rng.integers(0, 2, 300).astype(np.int8), cluster)


def test_every_resample_equals_repeating_the_users_rows(judged):
    rng = np.random.default_rng(2)
    probabilities = np.round(rng.random(300), 2)
    users = np.unique(judged.cluster)
    weights = user_weights(len(users), 5, rng)
    figures = resample(judged, probabilities, weights)
    tenth = tenth_of(probabilities)
    for draw, drawn in enumerate(weights):
        chosen = [
            np.flatnonzero(judged.cluster == user)
            for user, times in zip(users, drawn, strict=True)
            for _ in range(int(times))
        ]
        # A user drawn twice is two users, so its rows form two groups of gAUC.
        group = np.repeat(np.arange(len(chosen)), [len(rows) for rows in chosen])
        rows = np.concatenate(chosen)
        p, y = probabilities[rows], judged.labels[rows]
        assert figures["auc"][draw] == pytest.approx(auc(p, y), abs=1e-12)
        assert figures["logloss"][draw] == pytest.approx(log_loss(p, y), abs=1e-12)
        gap = np.bincount(tenth[rows], p - y)
        assert figures["ece"][draw] == pytest.approx(np.abs(gap).sum() / len(p), abs=1e-12)
        _, values, sizes = group_aucs(p, y, group)
        gauc = float(np.average(values, weights=sizes))
        assert figures["gauc"][draw] == pytest.approx(gauc, abs=1e-12)
    assert figures["ece"][0] == pytest.approx(ece(probabilities, judged.labels), abs=1e-12)


def test_the_first_draw_is_the_data():
    weights = user_weights(4, 3, np.random.default_rng(0))
    assert weights.shape == (4, 4)
    assert weights[0].tolist() == [1, 1, 1, 1]
    assert (weights.sum(axis=1) == 4).all()


def test_a_paired_difference_that_a_human_can_redo():
    """Two users, one row each pair. Model a loses .1 nats to b on user 1 and .3 on user 2.

    Draws of two users: (1, 1), (1, 2), (2, 1), (2, 2), so the difference is .1, .2, .2, .3 with
    chances 1/4, 1/2, 1/4: the 95 % interval is [.1, .3], though each model alone varies more.
    """
    judged = Judged(np.array([1, 1], dtype=np.int8), np.array([1, 2], dtype=np.int32))
    a, b = np.exp(-np.array([0.2, 1.3])), np.exp(-np.array([0.1, 1.0]))
    weights = user_weights(2, 2000, np.random.default_rng(0))
    losses = [resample(judged, p, weights)["logloss"] for p in (a, b)]
    found = interval(losses[0] - losses[1])
    assert found == pytest.approx((0.2, 0.1, 0.3))
    alone = interval(losses[0])
    assert (alone.lo, alone.hi) == pytest.approx((0.2, 1.3))


def test_the_interval_of_a_mean_equals_the_exact_bootstrap():
    """Three users: all 27 draws can be listed."""
    judged = Judged(np.array([1, 1, 1], dtype=np.int8), np.array([0, 1, 2], dtype=np.int32))
    losses = np.array([0.1, 0.5, 1.2])
    exact = [np.mean(draw) for draw in itertools.product(losses, repeat=3)]
    weights = user_weights(3, 20_000, np.random.default_rng(0))
    found = resample(judged, np.exp(-losses), weights)["logloss"][1:]
    assert np.mean(found) == pytest.approx(np.mean(exact), abs=0.01)
    assert np.std(found) == pytest.approx(np.std(exact), abs=0.01)


def test_users_not_rows_are_drawn():
    """Ten equal rows of one user are one piece of evidence, not ten."""
    labels = np.array([1] * 10 + [0] * 10, dtype=np.int8)
    p = np.full(20, 0.9)
    weights = user_weights(2, 500, np.random.default_rng(0))
    two = resample(Judged(labels, np.repeat([0, 1], 10).astype(np.int32)), p, weights)
    assert set(np.round(two["logloss"], 6)) == {
        round(-math.log(0.9), 6),
        round(-math.log(0.1), 6),
        round(-(math.log(0.9) + math.log(0.1)) / 2, 6),
    }


def test_draws_without_both_labels_do_not_count():
    judged = Judged(np.array([1, 0], dtype=np.int8), np.array([0, 1], dtype=np.int32))
    weights = user_weights(2, 200, np.random.default_rng(0))
    found = interval(resample(judged, np.array([0.9, 0.1]), weights)["auc"])
    assert found == (1.0, 1.0, 1.0)
    assert math.isnan(interval(resample(judged, np.array([0.9, 0.1]), weights)["gauc"]).lo)


def test_a_t_interval_by_hand():
    """1, 2, 3: mean 2, standard error 1 / sqrt 3, times 4.303."""
    assert t_interval([1.0, 2.0, 3.0]) == pytest.approx((2.0, 2 - 2.4843, 2 + 2.4843), abs=1e-3)
    with pytest.raises(ConfigError, match="received 1"):
        t_interval([1.0])
    with pytest.raises(ConfigError, match="received 22"):
        t_interval([1.0] * 22)


@pytest.mark.parametrize("count", range(2, 22))
def test_a_t_interval_has_the_points_of_students_t(count: int):
    values = np.random.default_rng(count).random(count)
    expected = student_t.interval(0.95, count - 1, values.mean(), sem(values))
    assert t_interval(values.tolist())[1:] == pytest.approx(expected, abs=1e-3)


def test_a_row_that_stands_for_three_counts_as_three():
    rng = np.random.default_rng(3)
    labels, cluster = (rng.random(60) < 0.4).astype(np.int8), np.repeat(np.arange(6), 10)
    weight = rng.integers(1, 4, 60).astype(np.float32)
    p, often = rng.random(60), weight.astype(int)
    judged = Judged(labels, cluster.astype(np.int32), weight)
    repeated = Judged(np.repeat(labels, often), np.repeat(cluster, often).astype(np.int32))
    draws = user_weights(6, 20, np.random.default_rng(0))
    one, other = resample(judged, p, draws), resample(repeated, np.repeat(p, often), draws)
    for metric in ("auc", "logloss", "ece"):
        np.testing.assert_allclose(one[metric], other[metric], atol=1e-12)


def test_models_are_resampled_in_blocks_as_they_are_at_once(judged, monkeypatch):
    rng = np.random.default_rng(4)
    models = {name: rng.random(300) for name in ("first", "second")}
    whole = resample_each(judged, models, resamples=30, seed=6)
    users = len(np.unique(judged.cluster))
    weights = user_weights(users, 30, np.random.default_rng(6))
    for name, scores in models.items():
        for metric, figures in resample(judged, scores, weights).items():
            np.testing.assert_allclose(whole[name][metric], figures, rtol=0, atol=1e-12)
    monkeypatch.setattr("ranking.intervals._CELLS", 8 * users)  # eight draws at a time
    again = resample_each(judged, models, resamples=30, seed=6)
    for name, found in again.items():
        for metric, figures in whole[name].items():
            np.testing.assert_allclose(found[metric], figures, rtol=0, atol=1e-12)


def test_holm_by_hand():
    """.005 * 4, .01 * 3, .03 * 2, .04 * 1 are .02, .03, .06, .04; none is below the one before."""
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.6, 0.7])) == pytest.approx([1.0, 1.0])
    assert len(holm(np.array([]))) == 0


def test_a_chance_by_hand():
    """Gain -.2, draws -.3 and -.1: their deviation is .1414, of three users' .1414 * sqrt 1.5.

    t = -.2 / .1732 = -1.1547; with two degrees of freedom T(t) = 1/2 + t / (2 sqrt(2 + t^2)).
    """
    gains = np.array([-0.2, -0.3, -0.1])
    expected = 0.5 - 1.1547 / (2 * math.sqrt(2 + 1.1547**2))
    assert chance_without_loss(gains, 3) == pytest.approx(expected, abs=1e-4)
    assert chance_without_loss(gains, 3, 0.2) == pytest.approx(0.5)
    assert chance_without_loss(-gains, 3) == pytest.approx(1 - expected, abs=1e-4)


def test_where_all_say_the_same_there_is_no_doubt():
    assert chance_without_loss(np.full(4, -0.1), 9) == 0.0
    assert chance_without_loss(np.full(4, -0.1), 9, 0.2) == 1.0
    assert chance_without_loss(np.zeros(4), 9) == 1.0
    assert chance_without_loss(np.full(4, -1e-12), 9) == 1.0, "the order of a sum is no loss"
