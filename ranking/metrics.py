"""How good scores are: AUC, log loss, calibration error, AUC within groups.

Takes scores and labels, gives numbers; never resamples (`intervals.py` does).
"""

import numpy as np
from jaxtyping import Float32, Float64, Int8, Int32, Int64
from numpy.typing import NDArray

_FLOOR = 1e-15
#: Bins of equal width between 0 and 1 in the calibration error.
ECE_BINS = 15


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


def ece_bins(probabilities: Float64[np.ndarray, "n"]) -> Int64[np.ndarray, "n"]:
    """The bin of each probability: [0, 1/15), [1/15, 2/15), ..., [14/15, 1]."""
    return np.minimum((probabilities * ECE_BINS).astype(np.int64), ECE_BINS - 1)


def ece(probabilities: Float64[np.ndarray, "n"], labels: Int8[np.ndarray, "n"]) -> float:
    """Expected calibration error: sum_b (n_b / n) |mean probability - share of ones| in bin b."""
    gap = np.bincount(
        ece_bins(probabilities), weights=probabilities - (labels == 1), minlength=ECE_BINS
    )
    return float(np.abs(gap).sum() / len(labels))


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


def group_auc(
    scores: Float64[np.ndarray, "n"],
    labels: Int8[np.ndarray, "n"],
    group: Int32[np.ndarray, "n"] | Int64[np.ndarray, "n"],
) -> float:
    """gAUC: the mean of `group_aucs` weighted by rows; NaN where no group has both labels."""
    _, values, rows = group_aucs(scores, labels, group)
    return float(values @ rows / rows.sum()) if len(rows) else float("nan")
