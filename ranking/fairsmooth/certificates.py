"""Certificates about groups, from distances and rates.

Takes how far each group's own classifier is from the one that serves all, and what was counted of
the own ones on held-out rows; gives bounds of what the one that serves all does to each group.
Pure; never trains, never draws. C1 to C5 are our names of what is certified:

    C1  a row's score           C2  a group's rates         C3  gaps between groups, and ratios
    C4  which thresholded decisions are the own classifier's    C5  rates that were only sampled

Our derivations; the paper's own theorems were not available.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.special import betaincinv

from ranking.fairsmooth.smoothing import ROUNDING, band, tau

SELECTION, TRUE_POSITIVE, FALSE_POSITIVE, ERROR = (
    "selection_rate",
    "true_positive_rate",
    "false_positive_rate",
    "error_rate",
)
#: The rates that are certified, all of them of the randomized decision: yes with chance g(x).
METRICS = (SELECTION, TRUE_POSITIVE, FALSE_POSITIVE, ERROR)


class Counted(NamedTuple):
    """How often a decision was the one that a rate counts, of so many."""

    hits: int
    rows: int


def counts_for(metric: str, labels: Int64[np.ndarray, "n"]) -> Bool[np.ndarray, "n"]:
    """Which rows a rate is over."""
    if metric == TRUE_POSITIVE:
        return labels == 1
    if metric == FALSE_POSITIVE:
        return labels == 0
    return np.ones(len(labels), dtype=bool)


def parts(
    metric: str, score: Float64[np.ndarray, "n"], labels: Int64[np.ndarray, "n"]
) -> Float64[np.ndarray, "n"]:
    """What each row adds to a rate, in [0, 1]: its chance of a yes, or of a mistake.

    error: g (1 - y) + (1 - g) y
    """
    return np.where(labels == 1, 1.0 - score, score) if metric == ERROR else score


def rates(
    score: Float64[np.ndarray, "n"],
    labels: Int64[np.ndarray, "n"],
    weight: Float64[np.ndarray, "n"] | None = None,
) -> dict[str, float]:
    """All rates of the randomized decision, without drawing it; NaN of what no row is of.

    `weight` is how often each row occurs: another weight is another distribution of people.
    """
    weight = np.ones(len(score)) if weight is None else weight
    found = {}
    for metric in METRICS:
        chosen = counts_for(metric, labels)
        total = float(weight[chosen].sum())
        added = float(weight[chosen] @ parts(metric, score, labels)[chosen])
        found[metric] = added / total if total > 0 else float("nan")
    return found


def within(
    own: float, distance: float, scale: float, *, error: float = ROUNDING
) -> tuple[float, float]:
    """C1 and C2: between which values what all are served with lies, given the group's own.

    `own` is a score of one row, or a rate over any distribution of rows whatever; the promise is
    about the same row, or the same distribution.
    """
    found = band(np.array([own]), distance, scale, error=error)
    return float(found.lo[0]), float(found.hi[0])


def largest_gap(bands: Mapping[str, tuple[float, float]]) -> float:
    """C3: the most that two groups' rates may be apart.

    max_{i != j} max(0, hi_i - lo_j) <= own gap + tau_i + tau_j
    """
    gaps = [
        hi - lo
        for one, (_, hi) in bands.items()
        for other, (lo, _) in bands.items()
        if one != other
    ]
    return max([0.0, *gaps])


def gap_of(values: Mapping[str, float]) -> float:
    """How far the groups' rates are apart: the largest less the smallest."""
    return max(values.values()) - min(values.values())


def added_gap(distances: Mapping[str, float], scale: float) -> float:
    """C3 for any distribution: by how much a gap may exceed that of the own classifiers at most.

    max_{i != j} tau_i + tau_j, which is that of the two farthest groups, and never above 1: no two
    rates are farther apart
    """
    farthest = sorted(distances.values())[-2:]
    if len(farthest) < 2:
        return 0.0
    return min(1.0, float(sum(tau(distance, scale) for distance in farthest)))


def least_ratio(bands: Mapping[str, tuple[float, float]]) -> float:
    """C3 for quotients: the least that one group's rate may be of another's.

    min_{i != j} lo_i / hi_j; 1 where there is one group, 0 where a rate may be 0
    """
    ratios = [
        lo / hi if hi > 0 else 1.0
        for one, (lo, _) in bands.items()
        for other, (_, hi) in bands.items()
        if one != other
    ]
    return min([1.0, *ratios])


def ratio_band(base: float, distance: float, scale: float) -> tuple[float, float]:
    """C2 as shares of a rate: what matters where rates are small.

    A tau of .107 says of a rate of 2 % only that it is below 13 %; the band is .010 to .037,
    which is .5 to 1.9 times as much.
    """
    lo, hi = within(base, distance, scale)
    return lo / base, hi / base


def same_decision(
    score: Float64[np.ndarray, "n"],
    distance: float,
    scale: float,
    *,
    threshold: float = 0.5,
    error: float = ROUNDING,
) -> Bool[np.ndarray, "n"]:
    """C4: of which rows a threshold decides as it would on the group's own classifier.

    abs(Phi^-1(g) - Phi^-1(c)) > r / s

    Sufficient: elsewhere it may differ or not. C1 to C3 say nothing about thresholded decisions.
    """
    found = band(score, distance, scale, error=error)
    return np.where(score > threshold, found.lo > threshold, found.hi <= threshold)


def interval(counted: Counted, *, confidence: float, family: int = 1) -> tuple[float, float]:
    """C5: between which values a rate lies of which so many independent decisions were counted.

    lo = B^-1(a/2; k, n - k + 1),   hi = B^-1(1 - a/2; k + 1, n - k)

    a = (1 - confidence) / family. Clopper and Pearson (1934): exact, never too narrow. `family`:
    how many intervals are to hold together (Bonferroni). Of no rows: [0, 1].
    """
    k, n = counted
    if n == 0:
        return 0.0, 1.0
    half = (1.0 - confidence) / family / 2.0
    lo = float(betaincinv(k, n - k + 1, half)) if k > 0 else 0.0
    hi = float(betaincinv(k + 1, n - k, 1.0 - half)) if k < n else 1.0
    return lo, hi


def sampled_within(
    counted: Counted, distance: float, scale: float, *, confidence: float, family: int = 1
) -> tuple[float, float]:
    """C2 where the own rate was only sampled (C5): the lower end goes down, the upper one up."""
    lo, hi = interval(counted, confidence=confidence, family=family)
    return within(lo, distance, scale)[0], within(hi, distance, scale)[1]


def count(
    score: Float64[np.ndarray, "n"],
    labels: Int64[np.ndarray, "n"],
    generator: np.random.Generator,
) -> dict[str, Counted]:
    """C5: one decision per row, drawn by its score, and counted by metric.

    Rows that are independent of each other, and of the classifier, give independent decisions, so
    the counts are binomial.
    """
    yes = generator.random(len(score)) < score
    drawn = yes.astype(np.float64)
    found = {}
    for metric in METRICS:
        chosen = counts_for(metric, labels)
        hits = int(parts(metric, drawn, labels)[chosen].sum())
        found[metric] = Counted(hits, int(chosen.sum()))
    return found
