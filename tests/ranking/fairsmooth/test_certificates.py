"""Certificates against worlds in which everything is known, and figures that a human can redo."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri
from scipy.stats import binom

from ranking.fairsmooth.certificates import (
    ERROR,
    FALSE_POSITIVE,
    METRICS,
    SELECTION,
    TRUE_POSITIVE,
    Counted,
    added_gap,
    count,
    gap_of,
    interval,
    largest_gap,
    least_ratio,
    rates,
    ratio_band,
    same_decision,
    sampled_within,
    within,
)
from ranking.fairsmooth.smoothing import (
    QUADRATURE,
    ROUNDING,
    band,
    smoothed_sigmoid,
    smoothed_step,
    tau,
)


class World:
    """Groups with classifiers of their own over one random network, and people of each.

    The last layer is smoothed, so every score is known exactly. People are shifted: each group is
    drawn around a point of its own, weighted at random, with labels that have nothing to do with
    what anything was fitted to.
    """

    def __init__(self, seed):
        draw = np.random.default_rng(seed)
        self.scale = float(10 ** draw.uniform(-2, 1))
        width, hidden, rows = draw.integers(1, 6), draw.integers(1, 9), draw.integers(3, 24)
        reach = float(10 ** draw.uniform(-2, 0.7)) * self.scale
        groups = [f"g{k}" for k in range(draw.integers(2, 6))]
        first, bias = draw.normal(size=(width, hidden)) * 2, draw.normal(size=hidden)
        shared = draw.normal(size=hidden + 1) * float(10 ** draw.uniform(-1, 1))
        own = {g: shared + reach * draw.normal(size=hidden + 1) / math.sqrt(hidden) for g in groups}
        self.mean = np.mean(list(own.values()), axis=0)
        self.distances = {g: float(np.linalg.norm(own[g] - self.mean)) for g in groups}
        decides = bool(draw.integers(2))
        self.error = ROUNDING if decides else QUADRATURE
        self.own, self.served, self.labels, self.weight = {}, {}, {}, {}
        for g in groups:
            x = draw.normal(size=(rows, width)) * float(10 ** draw.uniform(-1, 1))
            features = np.maximum((x + draw.normal(size=width)) @ first + bias, 0.0)
            features = np.concatenate([features, np.ones((rows, 1))], axis=1)
            spread = self.scale * np.linalg.norm(features, axis=1)
            for place, theta in ((self.own, own[g]), (self.served, self.mean)):
                margin = features @ theta
                if decides:
                    place[g] = smoothed_step(margin, spread)
                else:
                    place[g] = smoothed_sigmoid(margin, spread).value
            self.labels[g] = draw.integers(0, 2, size=rows)
            self.weight[g] = draw.exponential(size=rows) ** 3

    def rates(self, scores):
        return {g: rates(scores[g], self.labels[g], self.weight[g]) for g in self.distances}


def violations(world, *, share=1.0):
    """How many promises are broken, if all distances were this share of what they are."""
    own, served, broken = world.rates(world.own), world.rates(world.served), 0
    error = world.error
    for g, whole in world.distances.items():
        distance = share * whole
        found = band(world.own[g], distance, world.scale, error=error)
        near = np.abs(world.served[g] - world.own[g]) <= float(tau(distance, world.scale)) + error
        broken += int((~near).sum())
        broken += int((world.served[g] < found.lo - error).sum())
        broken += int((world.served[g] > found.hi + error).sum())
        same = same_decision(world.served[g], distance, world.scale, error=error)
        broken += int((same & ((world.served[g] > 0.5) != (world.own[g] > 0.5))).sum())
    for metric in METRICS:
        mine = {g: own[g][metric] for g in own if not math.isnan(own[g][metric])}
        theirs = {g: served[g][metric] for g in mine}
        bands = {
            g: within(mine[g], share * world.distances[g], world.scale, error=10 * error)
            for g in mine
        }
        broken += sum(not lo - error <= theirs[g] <= hi + error for g, (lo, hi) in bands.items())
        if len(mine) > 1:
            held = {g: share * world.distances[g] for g in mine}
            most = gap_of(mine) + added_gap(held, world.scale)
            broken += gap_of(theirs) > largest_gap(bands) + error
            broken += largest_gap(bands) > most + 1e-9
            low, high = min(theirs.values()), max(theirs.values())
            broken += high > 0 and low / high < least_ratio(bands) - error
    return broken


@given(seed=st.integers(0, 2**32 - 1))
def test_no_promise_is_broken_in_a_random_world(seed):
    assert violations(World(seed)) == 0


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 10_000, 2_500))
def test_no_promise_is_broken_in_ten_thousand_random_worlds(first):
    assert sum(violations(World(seed)) for seed in range(first, first + 2_500)) == 0


def test_promises_for_half_of_each_distance_are_broken():
    """Else the two tests above could not fail."""
    assert sum(violations(World(seed), share=0.5) for seed in range(200)) > 100


def decided(noise, theta, x):
    """How often a network of 2, 3 and 1 units says yes under noise on all of its 13 weights."""
    weights = theta[:, None, :] + noise
    cases, draws, _ = weights.shape
    first = weights[..., :6].reshape(cases, draws, 3, 2)
    hidden = np.tanh((first * x[:, None, None, :]).sum(axis=3) + weights[..., 6:9])
    return ((hidden * weights[..., 9:12]).sum(axis=2) + weights[..., 12] > 0).sum(axis=1)


@pytest.mark.slow
def test_ten_thousand_networks_of_which_all_weights_are_smoothed():
    """Counted beyond two intervals of 99.9 %: the scores are only sampled there."""
    draw, draws, broken = np.random.default_rng(2), 1000, 0
    for _ in range(100):
        theta = draw.normal(size=(100, 13)) * 2
        away = draw.normal(size=(100, 13))
        reach = 10 ** draw.uniform(-1.5, 0.5, size=100)
        away *= (reach / np.linalg.norm(away, axis=1))[:, None]
        x = draw.normal(size=(100, 2))
        hits = [
            decided(draw.normal(size=(100, draws, 13)), weights, x)
            for weights in (theta, theta + away)
        ]
        for one, other, distance in zip(*hits, reach, strict=True):
            lo, hi = sampled_within(
                Counted(int(one), draws), float(distance), 1.0, confidence=0.999
            )
            least, most = interval(Counted(int(other), draws), confidence=0.999)
            broken += most < lo or least > hi
    assert broken == 0


def test_a_threshold_is_not_covered():
    """Nine in ten are just below .5 by their own classifier, and just above by the one for all.

    s = 1, margins -.025 and .025, so r = .05: rates may differ by tau = .02, and thresholded ones
    differ by 1.
    """
    one = np.ones(10)
    own, served = smoothed_step(-0.025 * one, one), smoothed_step(0.025 * one, one)
    most = float(tau(0.05, 1.0))
    assert most == pytest.approx(0.019945, abs=1e-6)
    assert abs(served.mean() - own.mean()) <= most + 1e-15
    assert (served > 0.5).mean() - (own > 0.5).mean() == 1.0
    assert not same_decision(served, 0.05, 1.0).any()


def test_far_from_the_threshold_a_decision_is_the_own_classifiers():
    score = ndtr(np.array([-0.3, -0.1, 0.1, 0.3]))
    assert same_decision(score, 0.2, 1.0).tolist() == [True, False, False, True]
    high = same_decision(score, 0.2, 1.0, threshold=float(ndtr(0.35)))
    assert high.tolist() == [True, True, True, False]


def test_rates_that_a_human_can_redo():
    score, labels = np.array([0.5, 1.0, 0.0, 0.25]), np.array([1, 1, 0, 0])
    found = rates(score, labels)
    assert found == {
        SELECTION: 1.75 / 4,
        TRUE_POSITIVE: 0.75,
        FALSE_POSITIVE: 0.125,
        ERROR: (0.5 + 0 + 0 + 0.25) / 4,
    }
    twice = rates(score, labels, np.array([2.0, 0.0, 1.0, 1.0]))
    assert twice[SELECTION] == 1.25 / 4
    assert twice[TRUE_POSITIVE] == 0.5
    assert math.isnan(rates(score, np.ones(4, dtype=np.int64))[FALSE_POSITIVE])


def test_gaps_and_ratios_of_three_groups():
    """From .1-.2, .3-.4 and .35-.5: at most .5 - .1 apart, and at least .1 of .5."""
    bands = {"a": (0.1, 0.2), "b": (0.3, 0.4), "c": (0.35, 0.5)}
    assert largest_gap(bands) == pytest.approx(0.4)
    assert least_ratio(bands) == pytest.approx(0.2)
    assert gap_of({"a": 0.15, "b": 0.35, "c": 0.4}) == pytest.approx(0.25)
    assert largest_gap({"a": (0.1, 0.9)}) == 0.0
    assert least_ratio({"a": (0.1, 0.9)}) == 1.0
    distances = {"a": 0.1, "b": 0.2, "c": 0.3}
    two = float(tau(0.2, 1.0)) + float(tau(0.3, 1.0))
    assert added_gap(distances, 1.0) == pytest.approx(two)
    assert added_gap({"a": 0.3}, 1.0) == 0.0
    assert added_gap({"a": 9.0, "b": 8.0}, 1.0) == 1.0, "no two rates are farther apart"


def test_a_small_rate_is_certified_in_proportion():
    """tau = .107 of a rate of 2 %: between half and 1.9 times as much."""
    distance = 2 * float(ndtri(0.5 + 0.107 / 2))
    assert float(tau(distance, 1.0)) == pytest.approx(0.107)
    lo, hi = within(0.02, distance, 1.0)
    assert (round(lo, 3), round(hi, 3)) == (0.010, 0.037)
    low, high = ratio_band(0.02, distance, 1.0)
    assert (low, high) == pytest.approx((lo / 0.02, hi / 0.02))


@pytest.mark.parametrize(("hits", "rows"), [(0, 10), (3, 10), (10, 10), (40, 1000)])
def test_an_interval_ends_where_the_count_becomes_unlikely(hits, rows):
    """At its lower end so many or more, at its upper end so few or fewer, have chance 2.5 %."""
    lo, hi = interval(Counted(hits, rows), confidence=0.95)
    if hits:
        assert binom.sf(hits - 1, rows, lo) == pytest.approx(0.025, abs=1e-9)
    if hits < rows:
        assert binom.cdf(hits, rows, hi) == pytest.approx(0.025, abs=1e-9)
    assert (lo == 0.0) == (hits == 0)
    assert (hi == 1.0) == (hits == rows)


def test_of_no_rows_everything_is_possible():
    assert interval(Counted(0, 0), confidence=0.95) == (0.0, 1.0)


def test_a_family_of_intervals_shares_the_doubt():
    one = interval(Counted(3, 10), confidence=0.99)
    assert interval(Counted(3, 10), confidence=0.9, family=10) == pytest.approx(one)


def test_what_was_sampled_is_widened_at_both_ends():
    lo, hi = interval(Counted(30, 100), confidence=0.95)
    found = sampled_within(Counted(30, 100), 0.2, 1.0, confidence=0.95)
    assert found == pytest.approx((ndtr(ndtri(lo) - 0.2), ndtr(ndtri(hi) + 0.2)))


def test_counts_are_of_draws_by_score():
    """Scores of 0 and 1 leave nothing to chance."""
    score, labels = np.array([1.0, 1.0, 0.0, 0.0, 1.0]), np.array([1, 1, 1, 0, 0])
    found = count(score, labels, np.random.default_rng(0))
    assert found == {
        SELECTION: Counted(3, 5),
        TRUE_POSITIVE: Counted(2, 3),
        FALSE_POSITIVE: Counted(1, 2),
        ERROR: Counted(2, 5),
    }


@pytest.mark.slow
def test_the_promised_confidence_is_kept():
    """2000 times 200 rows with known rates: all four intervals at once miss in at most 5 %."""
    draw, missed = np.random.default_rng(3), 0
    score, labels = draw.random(200), draw.integers(0, 2, size=200)
    for _ in range(2000):
        rows = draw.integers(0, 200, size=200)
        found = count(score[rows], labels[rows], draw)
        exact = rates(score, labels)
        ends = {m: interval(found[m], confidence=0.95, family=4) for m in METRICS}
        missed += any(not ends[m][0] <= exact[m] <= ends[m][1] for m in METRICS)
    assert missed <= 2000 * 0.05
