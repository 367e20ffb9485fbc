"""Logits become probabilities, by two numbers (Platt) or by any rising curve (isotonic).

Takes scores and labels, gives a calibration that is stored with the ranker; whoever calls it gives
it rows that nothing was learned or chosen on: those of the span CALIBRATE.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int8

from ranking.errors import RankerFormat

_STEPS = 50


class Platt(NamedTuple):
    """p = sigmoid(slope * score + offset), slope >= 0, so the order of scores stands."""

    slope: float
    offset: float

    def probabilities(self, scores: Float64[np.ndarray, "n"]) -> Float64[np.ndarray, "n"]:
        logits = np.clip(self.slope * scores + self.offset, -60.0, 60.0)
        return 1.0 / (1.0 + np.exp(-logits))

    def as_json(self) -> dict[str, Any]:
        return {"method": "platt", **self._asdict()}


class Isotonic(NamedTuple):
    """p = the straight line between knots (score, probability), flat before and behind them.

    Both rise, so the order of scores stands but for ties.
    """

    scores: tuple[float, ...]
    values: tuple[float, ...]

    def probabilities(self, scores: Float64[np.ndarray, "n"]) -> Float64[np.ndarray, "n"]:
        return np.interp(scores, self.scores, self.values)

    def as_json(self) -> dict[str, Any]:
        return {"method": "isotonic", "scores": list(self.scores), "values": list(self.values)}


Calibration = Platt | Isotonic


def calibration_of(value: Mapping[str, Any]) -> Calibration:
    """What `as_json` wrote. Raises `RankerFormat`."""
    if value["method"] == "platt":
        return Platt(value["slope"], value["offset"])
    if value["method"] == "isotonic":
        return Isotonic(tuple(value["scores"]), tuple(value["values"]))
    raise RankerFormat(f"calibration should be by platt or isotonic, received {value['method']!r}")


def fit(
    method: str,
    scores: Float64[np.ndarray, "n"],
    labels: Int8[np.ndarray, "n"],
    weights: Float32[np.ndarray, "n"] | None = None,
) -> Calibration:
    """Fit by the method of that name, one of `ranking.config.CALIBRATIONS`."""
    if method == "isotonic":
        return fit_isotonic(scores, labels, weights)
    return fit_platt(scores, labels, weights)


def fit_platt(
    scores: Float64[np.ndarray, "n"],
    labels: Int8[np.ndarray, "n"],
    weights: Float32[np.ndarray, "n"] | None = None,
) -> Platt:
    """The slope and offset with the least log loss, by Newton's method.

    Targets are (n_1 + 1) / (n_1 + 2) and 1 / (n_0 + 2) instead of 1 and 0 (Platt 1999, section
    2.2), so that separable scores keep a finite slope. Differs from the paper: a negative slope
    (scores that order backwards) is set to 0, which gives everyone the base rate; and a row counts
    `weights` times, so that probabilities hold where the rows were sampled from.
    """
    counts = np.ones(len(labels)) if weights is None else weights.astype(np.float64)
    ones = float(counts[labels == 1].sum())
    zeros = float(counts.sum()) - ones
    target = np.where(labels == 1, (ones + 1) / (ones + 2), 1 / (zeros + 2))
    center, spread = float(scores.mean()), float(scores.std()) or 1.0
    x = np.stack([(scores - center) / spread, np.ones_like(scores)], axis=1)
    line = np.array([0.0, np.log((ones + 1) / (zeros + 1))])
    loss = _loss(x @ line, target, counts)
    for _ in range(_STEPS):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ line, -60.0, 60.0)))
        hessian = (x * (counts * p * (1 - p))[:, None]).T @ x + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, x.T @ (counts * (target - p)))
        # Halve until it helps: a full Newton step may overshoot where p is near 0 or 1.
        while (new := _loss(x @ (line + step), target, counts)) > loss and np.abs(
            step
        ).max() > 1e-12:
            step /= 2
        line, loss = line + step, min(new, loss)
        if np.abs(step).max() < 1e-10:
            break
    slope = line[0] / spread
    if slope < 0:
        return Platt(0.0, float(np.log((ones + 1) / (zeros + 1))))
    return Platt(float(slope), float(line[1] - slope * center))


def _loss(
    logits: Float64[np.ndarray, "n"],
    target: Float64[np.ndarray, "n"],
    counts: Float64[np.ndarray, "n"],
) -> float:
    return float(np.sum(counts * (np.logaddexp(0.0, logits) - target * logits)))


def fit_isotonic(
    scores: Float64[np.ndarray, "n"],
    labels: Int8[np.ndarray, "n"],
    weights: Float32[np.ndarray, "n"] | None = None,
) -> Isotonic:
    """The rising curve with the least squared error, by pooling adjacent violators.

    min sum_i w_i (y_i - p(s_i))^2   over p that rise with s

    Implements the idea of Zadrozny and Elkan (2002, Transforming Classifier Scores into Accurate
    Multiclass Probability Estimates). Differs from the paper: between the means of two blocks
    probabilities go along a line instead of jumping, so fewer scores tie; and none is nearer to 0
    or 1 than 1 / (rows + 2), since no number of rows shows that something never happens.
    """
    from scipy.optimize import isotonic_regression  # serving calibrates without it

    counts = np.ones(len(labels)) if weights is None else weights.astype(np.float64)
    distinct, at = np.unique(scores, return_inverse=True)
    at = at.reshape(-1)
    weight = np.bincount(at, counts)
    ones = np.bincount(at, counts * (labels == 1))
    found = isotonic_regression(ones / weight, weights=weight)
    start = found.blocks[:-1]
    least = 1.0 / (float(counts.sum()) + 2.0)
    values = np.clip(found.x[start], least, 1.0 - least)
    means = np.add.reduceat(weight * distinct, start) / np.add.reduceat(weight, start)
    return Isotonic(tuple(means.tolist()), tuple(values.tolist()))
