"""What noise promises, against integrals done slowly and half-spaces that reach every bound."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, ndtr

from ranking.fairsmooth.smoothing import (
    QUICK,
    band,
    radius_for,
    smoothed_sigmoid,
    smoothed_step,
    tau,
    tau_slope,
)

SCALES = st.floats(0.01, 100.0)
SHARES = st.floats(0.0, 1.0)


def test_tau_of_distances_that_a_table_has():
    """Phi(.6745) = .75, so weights 2 * .6745 s apart differ by .5 at most."""
    assert tau(0.0, 1.0) == 0.0
    assert tau(2 * 0.674489750196082, 1.0) == pytest.approx(0.5, abs=1e-12)
    assert tau(2 * 0.674489750196082 * 7.0, 7.0) == pytest.approx(0.5, abs=1e-12)
    assert tau(2 * 1.959963984540054, 1.0) == pytest.approx(0.95, abs=1e-12)


@given(distance=st.floats(0.0, 1e3), scale=SCALES)
def test_tau_is_a_share_below_its_slope_and_has_a_way_back(distance, scale):
    found = float(tau(distance, scale))
    assert 0.0 <= found <= 1.0
    assert found <= tau_slope(distance, scale) + 1e-15
    if found < 0.99:
        assert radius_for(found, scale) == pytest.approx(distance, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("reach", [0.01, 0.3, 1.0, 2.5])
@pytest.mark.parametrize("scale", [0.05, 1.0, 20.0])
def test_a_half_space_half_way_between_reaches_tau(reach, scale):
    """f(theta) = 1 where theta > 0, in one dimension; theta = -r/2 and r/2."""
    distance = reach * scale
    ends = np.array([-distance / 2, distance / 2])
    low, high = smoothed_step(ends, np.full(2, scale))
    assert high - low == pytest.approx(float(tau(distance, scale)), abs=1e-12)


def test_a_half_space_reaches_both_ends_of_every_band():
    margins, reaches = np.meshgrid(np.linspace(-3, 3, 25), np.linspace(0, 3, 13))
    margin, distance = margins.ravel(), reaches.ravel()
    one = np.ones_like(margin)
    found = band(smoothed_step(margin, one), distance, 1.0)
    np.testing.assert_allclose(found.hi, smoothed_step(margin + distance, one), atol=1e-12, rtol=0)
    np.testing.assert_allclose(found.lo, smoothed_step(margin - distance, one), atol=1e-12, rtol=0)


@given(score=SHARES, distance=st.floats(0.0, 50.0), scale=SCALES)
def test_a_band_holds_its_score_and_is_no_wider_than_tau(score, distance, scale):
    found = band(np.array([score]), distance, scale)
    lo, hi, most = float(found.lo[0]), float(found.hi[0]), float(tau(distance, scale))
    assert 0.0 <= lo <= score <= hi <= 1.0
    assert hi - score <= most + 1e-12
    assert score - lo <= most + 1e-12


@given(score=st.floats(0.001, 0.999), distance=st.floats(0.0, 3.0))
def test_bands_of_a_yes_and_of_a_no_are_mirror_images(score, distance):
    yes, no = band(np.array([score]), distance, 1.0), band(np.array([1 - score]), distance, 1.0)
    assert float(yes.hi[0]) == pytest.approx(1 - float(no.lo[0]), abs=1e-9)


def test_a_score_that_is_1_by_rounding_promises_no_1():
    """Phi(9) is 1 in double precision; six deviations below it the score is Phi(3) = .99865."""
    score = smoothed_step(np.array([9.0]), np.ones(1))
    assert score[0] == 1.0
    assert band(score, 6.0, 1.0).lo[0] < ndtr(3.0)


def slow_sigmoid(mean, spread):
    """E sigmoid(m + v z) by a million points."""
    z = np.linspace(-12, 12, 1_000_001)
    weight = np.exp(-z * z / 2)
    weight /= weight.sum()
    score = expit(mean + spread * z)
    return weight @ score, weight @ (score * (1 - score))


@pytest.mark.parametrize("spread", [0.0, 0.2, 0.999, 1.0, 1.7, 6.0, 40.0])
@pytest.mark.parametrize("mean", [-30.0, -4.0, 0.0, 0.7, 9.0])
def test_smoothed_sigmoids_equal_a_slow_sum(mean, spread):
    value, slope = slow_sigmoid(mean, spread)
    columns = np.array([mean]), np.array([spread])
    found = smoothed_sigmoid(*columns)
    assert found.value[0] == pytest.approx(value, abs=1e-12)
    assert found.slope[0] == pytest.approx(slope, abs=1e-12)
    quick = smoothed_sigmoid(*columns, step=QUICK)
    assert quick.value[0] == pytest.approx(value, abs=1e-6)
    assert quick.slope[0] == pytest.approx(slope, abs=1e-6)


def test_many_rows_get_what_each_gets_alone():
    draw = np.random.default_rng(0)
    mean, spread = draw.normal(size=5000) * 5, draw.exponential(size=5000) * 2
    found = smoothed_sigmoid(mean, spread)
    for row in (0, 1, 2047, 2048, 4999):
        alone = smoothed_sigmoid(mean[row : row + 1], spread[row : row + 1])
        assert found.value[row] == pytest.approx(alone.value[0], abs=1e-14)


def test_a_linear_head_that_decides_equals_draws():
    """w = (1, -2), b = .5, x = (3, 1), s = .7: m = 1.5, v = .7 sqrt(11)."""
    draw = np.random.default_rng(1)
    noise = draw.normal(scale=0.7, size=(400_000, 3))
    decided = ((np.array([1.0, -2.0, 0.5]) + noise) @ np.array([3.0, 1.0, 1.0]) > 0).mean()
    exact = float(smoothed_step(np.array([1.5]), np.array([0.7 * math.sqrt(11)]))[0])
    assert exact == pytest.approx(ndtr(1.5 / (0.7 * math.sqrt(11))), abs=1e-15)
    assert abs(decided - exact) < 4.5 * math.sqrt(exact * (1 - exact) / 400_000)
