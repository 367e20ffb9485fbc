"""Heads that are linear in what is smoothed: their smoothed scores, loss and gradient, exactly.

Takes rows of features, gives scores and losses of any weights; never draws noise, never steps.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import NDArray
from scipy.special import expit

from ranking.fairsmooth.smoothing import EXACT, QUICK, Smoothed, smoothed_sigmoid, smoothed_step

#: Scores nearer to 0 or 1 count as this near in the loss, so that it stays finite.
_EDGE = 1e-12


class LinearRows(NamedTuple):
    """What a linear head reads of n rows: logit = offset + features @ theta."""

    #: the last column is 1 where the head has a bias
    features: Float64[np.ndarray, "n p"]
    labels: Int64[np.ndarray, "n"]
    #: what is not smoothed
    offset: Float64[np.ndarray, "n"]
    #: how many rows each stands for
    weight: Float64[np.ndarray, "n"]

    def take(self, rows: Int64[np.ndarray, "m"]) -> "LinearRows":
        """Some rows, in that order."""
        return LinearRows(*(column[rows] for column in self))


def linear_rows(
    features: Float64[np.ndarray, "n p"],
    labels: Int64[np.ndarray, "n"],
    *,
    offset: Float64[np.ndarray, "n"] | None = None,
    weight: Float64[np.ndarray, "n"] | None = None,
) -> LinearRows:
    """Rows of a head with a bias."""
    count = len(labels)
    return LinearRows(
        features=np.concatenate([features, np.ones((count, 1))], axis=1),
        labels=labels,
        offset=np.zeros(count) if offset is None else offset,
        weight=np.ones(count) if weight is None else weight,
    )


def spread_of(features: Float64[np.ndarray, "n p"], scale: float) -> Float64[np.ndarray, "n"]:
    """The deviation of each row's logit under the noise: s norm(x). The same for all weights."""
    return scale * np.linalg.norm(features, axis=1)


def smoothed_scores(
    theta: Float64[np.ndarray, "p"], rows: LinearRows, scale: float, *, link: str = "sigmoid"
) -> Float64[np.ndarray, "n"]:
    """g_theta(x) of each row, by one of `config.LINKS`."""
    mean, spread = rows.offset + rows.features @ theta, spread_of(rows.features, scale)
    if link == "step":
        return smoothed_step(mean, spread)
    return smoothed_sigmoid(mean, spread, step=EXACT).value


def plain_scores(theta: Float64[np.ndarray, "p"], rows: LinearRows) -> Float64[np.ndarray, "n"]:
    """f_theta(x) of each row: without smoothing."""
    return np.asarray(expit(rows.offset + rows.features @ theta))


class LinearObjective:
    """The mean log loss of smoothed scores, as a function of the smoothed weights.

    L(theta) = sum_i w_i l(g_theta(x_i), y_i) / sum_i w_i,   l the log loss

    Convex where no score is within 1e-12 of 0 or 1, beyond which a loss no longer grows: g is the
    mean of a log-concave function under a normal variable, which is log-concave.
    So with a ridge or a proximal term there is one best theta, whatever the start. Our design.
    """

    def __init__(self, rows: LinearRows, scale: float) -> None:
        self.rows = rows
        self.size = rows.features.shape[1]
        self._spread = spread_of(rows.features, scale)
        self._share = rows.weight / rows.weight.sum()

    def loss(self, theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """The loss and its gradient."""
        rows = self.rows
        score = smoothed_sigmoid(rows.offset + rows.features @ theta, self._spread, step=QUICK)
        losses, by_logit = log_losses(score, rows.labels)
        return float(self._share @ losses), rows.features.T @ (self._share * by_logit)


def log_losses(
    score: Smoothed, labels: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The log loss of each smoothed score, and its derivative by the logit."""
    g = np.clip(score.value, _EDGE, 1.0 - _EDGE)
    losses = -np.log(np.where(labels == 1, g, 1.0 - g))
    by_logit = np.where(labels == 1, -score.slope / g, score.slope / (1.0 - g))
    return losses, by_logit
