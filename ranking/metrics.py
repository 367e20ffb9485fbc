"""How good scores are: AUC, log loss, calibration error, AUC within groups.

Takes scores and labels, gives numbers; never resamples (`intervals.py` does).
"""

from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int8, Int32, Int64
from numpy.typing import NDArray

_FLOOR = 1e-15
#: Parts of the rows in the calibration error, of as equal weight as ties allow.
TENTHS = 10


def auc(scores: Float64[np.ndarray, "n"], labels: Int8[np.ndarray, "n"]) -> float:
    """The chance that a random 1 scores above a random 0, ties counting half; NaN without both."""
    return float(weighted_auc(scores, labels, np.ones((1, len(labels))))[0])


def weighted_auc(
    scores: Float64[np.ndarray, "n"],
    labels: Int8[np.ndarray, "n"],
    weights: Float64[np.ndarray, "b n"],
) -> Float64[np.ndarray, "b"]:
    """AUC of n scores under b sets of row weights at once.

    AUC = sum_g P_g (N_<g + N_g / 2) / (P N),   g over distinct scores in rising order

    with P_g, N_g the weight of ones and zeros at a score: one sort for all b.
    """
    order = np.argsort(scores, kind="stable")
    sorted_scores, ones = scores[order], labels[order] == 1
    starts = np.flatnonzero(np.r_[True, sorted_scores[1:] != sorted_scores[:-1]][: len(scores)])
    if not len(starts):
        return np.full(len(weights), np.nan)
    sorted_weights = weights[:, order]
    positive = np.add.reduceat(np.where(ones, sorted_weights, 0.0), starts, axis=1)
    negative = np.add.reduceat(np.where(ones, 0.0, sorted_weights), starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative / 2
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    wins = np.einsum("bg,bg->b", positive, below)
    return np.divide(wins, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)


def row_losses(
    probabilities: Float64[np.ndarray, "n"], labels: Int8[np.ndarray, "n"]
) -> Float64[np.ndarray, "n"]:
    """-log of the probability that was given to what happened, in nats."""
    given = np.where(labels == 1, probabilities, 1 - probabilities)
    return -np.log(np.maximum(given, _FLOOR))


def log_loss(
    probabilities: Float64[np.ndarray, "n"],
    labels: Int8[np.ndarray, "n"],
    weights: Float32[np.ndarray, "n"] | None = None,
) -> float:
    """The mean of `row_losses`, each row counted `weights` times."""
    return float(np.average(row_losses(probabilities, labels), weights=weights))


def tenth_of(
    probabilities: Float64[np.ndarray, "n"], weights: NDArray[Any] | None = None
) -> Int64[np.ndarray, "n"]:
    """Which tenth of the rows each belongs to, in the order of probability; equal ones as one.

    A probability belongs to the part in which the middle of its rows lies. Parts of equal width
    would see little where ones are rare: nearly all rows lie in the first.
    """
    distinct, at = np.unique(probabilities, return_inverse=True)
    weight_d = np.bincount(at.reshape(-1), weights, minlength=len(distinct))
    middle = np.cumsum(weight_d) - weight_d / 2
    part = np.minimum((TENTHS * middle / weight_d.sum()).astype(np.int64), TENTHS - 1)
    return part[at.reshape(-1)]


def ece(
    probabilities: Float64[np.ndarray, "n"],
    labels: Int8[np.ndarray, "n"],
    weights: NDArray[Any] | None = None,
) -> float:
    """Expected calibration error: sum_b (n_b / n) |mean probability - share of ones| in tenth b."""
    counts = np.ones(len(labels)) if weights is None else weights.astype(np.float64)
    gap = np.bincount(tenth_of(probabilities, weights), counts * (probabilities - (labels == 1)))
    return float(np.abs(gap).sum() / counts.sum())


def group_aucs(
    scores: Float64[np.ndarray, "n"],
    labels: Int8[np.ndarray, "n"],
    group: Int32[np.ndarray, "n"] | Int64[np.ndarray, "n"],
) -> tuple[NDArray[np.int64], Float64[np.ndarray, "g"], Float64[np.ndarray, "g"]]:
    """AUC within each group that has both labels: groups 0.., their AUCs, their rows.

    AUC_g = (sum of the ones' mid-ranks within g - P (P + 1) / 2) / (P N), all groups in one sort.
    """
    names, member = np.unique(group, return_inverse=True)
    order = np.lexsort((scores, member))
    member, ones = member[order], (labels[order] == 1).astype(np.float64)
    value = scores[order]
    fresh = np.r_[True, (value[1:] != value[:-1]) | (member[1:] != member[:-1])]
    tie = np.cumsum(fresh) - 1
    first = np.flatnonzero(fresh)
    size = np.diff(np.r_[first, len(value)])
    start = np.searchsorted(member, np.arange(len(names)))
    rank = first[tie] + (size[tie] + 1) / 2 - start[member]
    positives = np.bincount(member, ones, minlength=len(names))
    negatives = np.bincount(member, 1 - ones, minlength=len(names))
    pairs = positives * negatives
    both = np.flatnonzero(pairs > 0)
    wins = np.bincount(member, ones * rank, minlength=len(names)) - positives * (positives + 1) / 2
    return both, wins[both] / pairs[both], (positives + negatives)[both]
