"""What noise on weights promises: how far scores may differ where weights differ by so much.

Takes distances and scores, gives bounds; and the smoothed scores of linear heads exactly, without
a draw. Pure; never trains, and never asks where a score came from.

    g_theta(x) = E f_{theta + e}(x),   e ~ N(0, s^2 I),   f in [0, 1],   r = norm(theta - theta')
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray
from scipy.special import erf, erfinv, expit, ndtr, ndtri

#: By how much a score that was computed may be wrong: eight units in the last place of 1. Bounds
#: are rounded outward by it, else a score that is 1 by rounding would promise to stay 1.
ROUNDING = 2.0**-50
#: The same of `smoothed_sigmoid` with its default step.
QUADRATURE = 1e-13
#: Distance of the points at which integrals are summed: `EXACT` errs by less than 1e-13, `QUICK`
#: by less than 1e-6, at two thirds of the price.
EXACT, QUICK = 0.5, 0.75
#: Rows that are integrated at once: what is between fits into a processor's cache.
_BLOCK = 2048


class Band(NamedTuple):
    """Between which values something lies."""

    lo: NDArray[np.float64]
    hi: NDArray[np.float64]


class Smoothed(NamedTuple):
    """Smoothed scores, and how quickly each rises with its logit."""

    value: NDArray[np.float64]
    slope: NDArray[np.float64]


def tau(
    distance: Float64[np.ndarray, "..."] | float, scale: float
) -> Float64[np.ndarray, "..."] | float:
    """The most that scores may differ, of any row, however the network looks.

    tau(r) = 2 Phi(r / 2s) - 1 <= r / (s sqrt(2 pi))

    Tight: a half-space whose border is half way between the two weights reaches it. Our derivation
    (a difference of two Gaussians' measures of one set), as for all in this module.
    """
    return erf(distance / (2.0 * math.sqrt(2.0) * scale))


def tau_slope(
    distance: Float64[np.ndarray, "..."] | float, scale: float
) -> Float64[np.ndarray, "..."] | float:
    """A simpler number that is never below `tau`: r / (s sqrt(2 pi))."""
    return distance / (scale * math.sqrt(2.0 * math.pi))


def radius_for(most: float, scale: float) -> float:
    """The distance at which `tau` is so much: what to declare as a radius to be promised it."""
    return float(2.0 * math.sqrt(2.0) * scale * erfinv(most))


def band(
    score: Float64[np.ndarray, "*n"],
    distance: Float64[np.ndarray, "*n"] | float,
    scale: float,
    *,
    error: float = ROUNDING,
) -> Band:
    """Between which values the score lies that other weights give to the same row.

    Phi(Phi^-1(g) - r/s) <= g' <= Phi(Phi^-1(g) + r/s)

    Tight for half-spaces, and never wider than `tau` to either side. The same holds for any mean of
    scores, so for rates: a mean over rows of smoothed scores is itself a smoothed function in
    [0, 1]. `error` is by how much `score` may be wrong; the band is rounded outward by it.
    """
    shift = distance / scale
    with np.errstate(invalid="ignore"):
        lo = ndtr(ndtri(np.clip(score - error, 0.0, 1.0)) - shift)
        hi = ndtr(ndtri(np.clip(score + error, 0.0, 1.0)) + shift)
    return Band(np.asarray(lo), np.asarray(hi))


def smoothed_step(
    margin: Float64[np.ndarray, "n"], spread: Float64[np.ndarray, "n"]
) -> Float64[np.ndarray, "n"]:
    """Smoothed scores of a linear head that decides: f = 1 where its logit is above 0.

    g = Phi(m / v),   m = w.x + b,   v = s sqrt(norm(x)^2 + 1)

    Exact: the logit under noise on (w, b) is normal with mean m and deviation v.
    """
    return ndtr(margin / spread)


def smoothed_sigmoid(
    mean: Float64[np.ndarray, "n"], spread: Float64[np.ndarray, "n"], *, step: float = EXACT
) -> Smoothed:
    """Smoothed scores of a linear head with a logistic link: E sigmoid(m + v z), z normal.

    v < 1:   sum_j h phi(z_j) sigmoid(m + v z_j)
    v >= 1:  sum_j h sigmoid'(t_j) Phi((m - t_j) / v)

    The second is the same number: sigmoid is the distribution function of a logistic variable. Both
    integrands are analytic in a strip at least pi wide around the real line, where sums at equal
    distances h err by exp(-2 pi^2 / h). Weights are made to add up to 1, so that scores stay in
    [0, 1].
    """
    value, slope = np.empty_like(mean), np.empty_like(mean)
    reach = int(9.0 / step) + 1
    z = step * np.arange(-reach, reach + 1)
    normal = np.exp(-z * z / 2.0)
    normal /= normal.sum()
    reach = int(38.0 / step) + 1
    t = step * np.arange(-reach, reach + 1)
    logistic = expit(t) * expit(-t)
    logistic /= logistic.sum()
    narrow = spread < 1.0
    for rows in _blocks(np.flatnonzero(narrow)):
        score = expit(mean[rows, None] + spread[rows, None] * z)
        value[rows] = score @ normal
        slope[rows] = (score * (1.0 - score)) @ normal
    for rows in _blocks(np.flatnonzero(~narrow)):
        width = spread[rows]
        away = (mean[rows, None] - t) / width[:, None]
        value[rows] = ndtr(away) @ logistic
        slope[rows] = np.exp(-away * away / 2.0) @ logistic / (width * math.sqrt(2.0 * math.pi))
    return Smoothed(np.clip(value, 0.0, 1.0), slope)


def _blocks(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [rows[first : first + _BLOCK] for first in range(0, len(rows), _BLOCK)]
