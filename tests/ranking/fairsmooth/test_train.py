"""The loop on parabolas, whose lowest points a human can work out."""

import numpy as np
import pytest

from ranking.fairsmooth.config import FairSmoothConfig
from ranking.fairsmooth.linear import LinearObjective, linear_rows
from ranking.fairsmooth.train import Fitted, finish, projected, train_groups


class Parabola:
    """L(theta) = 1/2 norm(theta - lowest)^2."""

    def __init__(self, *lowest):
        self.lowest = np.array(lowest)
        self.size = len(lowest)

    def loss(self, theta):
        away = theta - self.lowest
        return float(away @ away) / 2, away


A, B, WHOLE = Parabola(0.0, 0.0), Parabola(4.0, 0.0), Parabola(3.0, 0.0)


def fitted(**dials):
    config = FairSmoothConfig(**{"ridge": 0.0, "rounds": 1, **dials})
    return finish(train_groups(WHOLE, {"a": A, "b": B}, config))


def test_without_proximity_each_is_where_it_wants_to_be():
    rounds, found = fitted(proximity=0.0)
    np.testing.assert_allclose(found.anchor, [3, 0], atol=1e-6)
    np.testing.assert_allclose(found.own["a"], [0, 0], atol=1e-6)
    np.testing.assert_allclose(found.own["b"], [4, 0], atol=1e-6)
    np.testing.assert_allclose(found.mean, [2, 0], atol=1e-6)
    assert found.distances == pytest.approx({"a": 2.0, "b": 2.0}, abs=1e-6)
    assert rounds[0].moved == pytest.approx(1.0, abs=1e-6)


def test_proximity_of_1_holds_half_way_to_the_anchor():
    """theta_k = (lowest + lambda mean) / (1 + lambda), with the anchor as the first mean."""
    _, found = fitted(proximity=1.0)
    np.testing.assert_allclose(found.own["a"], [1.5, 0], atol=1e-6)
    np.testing.assert_allclose(found.own["b"], [3.5, 0], atol=1e-6)
    np.testing.assert_allclose(found.mean, [2.5, 0], atol=1e-6)


def test_rounds_forget_the_anchor():
    """The mean goes to 2, each time half of the way: lambda / (1 + lambda) of it is left."""
    rounds, found = fitted(proximity=1.0, rounds=12)
    moved = [one.moved for one in rounds]
    np.testing.assert_allclose(moved, [0.5**n for n in range(1, 13)], atol=1e-6)
    np.testing.assert_allclose(found.mean, [2, 0], atol=1e-3)
    assert found.distances == pytest.approx({"a": 1.0, "b": 1.0}, abs=1e-3)
    assert [one.number for one in rounds] == list(range(1, 13))
    assert rounds[-1].losses == pytest.approx({"a": 0.5, "b": 0.5}, abs=1e-3)


def test_a_ridge_pulls_to_zero():
    """1/2 (x - 4)^2 + 1/2 x^2 is lowest at 2."""
    _, found = fitted(proximity=0.0, ridge=1.0)
    np.testing.assert_allclose(found.own["b"], [2, 0], atol=1e-6)


def test_a_radius_shrinks_all_by_one_factor_and_keeps_the_mean():
    own = {"a": np.array([3.0, 0.0]), "b": np.array([-1.0, 4.0]), "c": np.array([1.0, -4.0])}
    mean = np.array([1.0, 0.0])
    found = projected(own, mean, 2.0)
    far = {name: float(np.linalg.norm(own[name] - mean)) for name in own}
    assert far == pytest.approx({"a": 2.0, "b": 20**0.5, "c": 4.0})
    factor = 2.0 / 20**0.5
    for name in own:
        assert np.linalg.norm(found[name] - mean) == pytest.approx(factor * far[name])
    np.testing.assert_allclose(np.mean(list(found.values()), axis=0), mean, atol=1e-12)


def test_who_is_within_the_radius_stays_to_the_bit():
    own, mean = {"a": np.array([0.1, 0.7]), "b": np.array([0.3, 0.2])}, np.array([0.2, 0.45])
    for name, theta in projected(own, mean, 5.0).items():
        np.testing.assert_allclose(theta, own[name], atol=1e-15)


def test_a_declared_radius_is_kept():
    _, found = fitted(proximity=0.0, radius=0.5)
    assert found.distances == pytest.approx({"a": 0.5, "b": 0.5})
    np.testing.assert_allclose(found.mean, [2, 0], atol=1e-6)


def test_a_groups_own_classifier_reads_its_rows_alone_without_proximity():
    """Other people's labels turned around: where group a ends stays the same."""
    draw = np.random.default_rng(0)
    x, labels = draw.normal(size=(200, 3)), draw.integers(0, 2, size=200)
    config, found = FairSmoothConfig(proximity=0.0, rounds=1), []
    for others in (labels[100:], 1 - labels[100:]):
        column = np.concatenate([labels[:100], others])
        rows = linear_rows(x, column)
        groups = {
            name: LinearObjective(rows.take(np.arange(first, first + 100)), config.scale)
            for name, first in (("a", 0), ("b", 100))
        }
        # The start differs, since the anchor is of all; the loss is convex, so the end does not.
        _, one = finish(train_groups(LinearObjective(rows, config.scale), groups, config))
        found.append(one)
    np.testing.assert_allclose(found[0].own["a"], found[1].own["a"], atol=1e-3)
    assert np.linalg.norm(found[0].own["b"] - found[1].own["b"]) > 0.1


def test_more_proximity_brings_groups_nearer():
    draw = np.random.default_rng(1)
    x = draw.normal(size=(400, 2))
    labels = np.concatenate([x[:200, 0] > 0, x[200:, 1] > 0]).astype(np.int64)
    rows, farthest = linear_rows(x, labels), []
    for proximity in (0.0, 0.01, 0.1, 1.0):
        config = FairSmoothConfig(proximity=proximity, rounds=3)
        groups = {
            name: LinearObjective(rows.take(np.arange(first, first + 200)), config.scale)
            for name, first in (("a", 0), ("b", 200))
        }
        _, one = finish(train_groups(LinearObjective(rows, config.scale), groups, config))
        farthest.append(max(one.distances.values()))
    assert farthest == sorted(farthest, reverse=True)
    assert farthest[-1] < farthest[0] / 5


def test_distances_are_lengths():
    one = Fitted(np.zeros(2), np.zeros(2), {"a": np.array([3.0, 4.0])})
    assert one.distances == {"a": 5.0}
