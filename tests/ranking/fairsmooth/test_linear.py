import numpy as np
import pytest
from scipy.special import expit, ndtr

from ranking.fairsmooth.linear import (
    LinearObjective,
    linear_rows,
    plain_scores,
    smoothed_scores,
    spread_of,
)


def some_rows(seed=0, count=40, width=3):
    draw = np.random.default_rng(seed)
    return linear_rows(
        draw.normal(size=(count, width)) * 2,
        draw.integers(0, 2, size=count),
        offset=draw.normal(size=count),
        weight=draw.exponential(size=count),
    )


def test_a_bias_is_one_more_feature():
    rows = linear_rows(np.array([[2.0, 3.0]]), np.array([1]))
    assert rows.features.tolist() == [[2.0, 3.0, 1.0]]
    assert (rows.offset.tolist(), rows.weight.tolist()) == ([0.0], [1.0])
    assert spread_of(rows.features, 0.5)[0] == pytest.approx(0.5 * 14**0.5)


def test_scores_are_means_over_draws_of_weights():
    rows, theta, scale = some_rows(), np.array([0.5, -1.0, 0.2, 0.3]), 0.4
    noise = np.random.default_rng(1).normal(scale=scale, size=(200_000, 4))
    logits = rows.offset[:5, None] + rows.features[:5] @ (theta + noise).T
    drawn = expit(logits)
    found = smoothed_scores(theta, rows, scale)[:5]
    assert (np.abs(drawn.mean(axis=1) - found) < 4.5 * drawn.std(axis=1) / 200_000**0.5).all()


def test_little_noise_is_no_noise():
    rows, theta = some_rows(), np.array([0.5, -1.0, 0.2, 0.3])
    found = smoothed_scores(theta, rows, 1e-6)
    np.testing.assert_allclose(found, plain_scores(theta, rows), atol=1e-9)


@pytest.mark.parametrize("scale", [0.05, 0.4, 2.0])
def test_the_gradient_is_that_of_the_loss(scale):
    objective, theta = LinearObjective(some_rows(), scale), np.array([0.5, -1.0, 0.2, 0.3])
    loss, gradient = objective.loss(theta)
    assert objective.size == 4
    for place in range(4):
        step = np.zeros(4)
        step[place] = 1e-5
        rise = (objective.loss(theta + step)[0] - objective.loss(theta - step)[0]) / 2e-5
        assert gradient[place] == pytest.approx(rise, abs=1e-7)
    assert loss > 0


def test_the_loss_is_the_weighted_mean_log_loss():
    rows, theta = some_rows(), np.zeros(4)
    score = smoothed_scores(theta, rows, 0.4)
    losses = -np.log(np.where(rows.labels == 1, score, 1 - score))
    expected = (rows.weight * losses).sum() / rows.weight.sum()
    assert LinearObjective(rows, 0.4).loss(theta)[0] == pytest.approx(expected, abs=1e-6)


def test_the_loss_is_convex():
    """On 200 lines the middle costs no more than the mean of the ends."""
    objective, draw = LinearObjective(some_rows(), 0.4), np.random.default_rng(2)
    for _ in range(200):
        one, other = draw.normal(size=(2, 4))
        middle = objective.loss((one + other) / 2)[0]
        assert middle <= (objective.loss(one)[0] + objective.loss(other)[0]) / 2 + 1e-9


def test_rows_are_taken_in_order():
    rows = some_rows()
    taken = rows.take(np.array([3, 1]))
    assert taken.labels.tolist() == [rows.labels[3], rows.labels[1]]
    assert taken.features.tolist() == [rows.features[3].tolist(), rows.features[1].tolist()]


def test_a_step_leaves_chance_to_the_noise_alone():
    """w = (1, -2), b = .5, x = (3, 1), s = .7: Phi(1.5 / (.7 sqrt(11)))."""
    rows = linear_rows(np.array([[3.0, 1.0]]), np.array([1]))
    found = smoothed_scores(np.array([1.0, -2.0, 0.5]), rows, 0.7, link="step")
    assert found[0] == pytest.approx(ndtr(1.5 / (0.7 * 11**0.5)), abs=1e-15)
