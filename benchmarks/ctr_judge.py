"""Whether one crossing is ahead of another: by seeds, and by the users (or rows) of TEST.

Takes probabilities of the same rows by several runs, gives figures with intervals; never trains.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from differences import decided, interval
from numpy.typing import NDArray

from ranking.intervals import user_weights
from ranking.metrics import row_losses, weighted_auc

RESAMPLES = 1000
#: Most rows that intervals over users are made of; figures are of all rows.
MOST_ROWS = 200_000
#: Draws that are computed at a time: bounds memory.
_BLOCK = 50


class Judged(NamedTuple):
    """The rows of TEST that intervals are made of."""

    label: NDArray[np.int8]
    #: 0 .. users - 1
    user: NDArray[np.int64]


class Lead(NamedTuple):
    """By how much one arm is ahead of another, with two 95 % intervals."""

    value: float
    seeds: int
    #: t interval over these seeds; None for a single one
    by_seed: tuple[float, float] | None
    #: paired bootstrap over users or rows
    by_user: tuple[float, float]

    @property
    def decided(self) -> str:
        return decided(self.by_seed, self.by_user)


def judged(
    label: NDArray[np.int8], cluster: NDArray[np.int32], most: int = MOST_ROWS
) -> tuple[NDArray[np.int64], Judged]:
    """Places among the rows, and these rows: all, or whole clusters until there are `most`."""
    places = np.arange(len(label))
    if len(label) > most:
        names, member = np.unique(cluster, return_inverse=True)
        order = np.random.default_rng(0).permutation(len(names))
        size = np.bincount(member)[order]
        taken = order[: max(1, int(np.searchsorted(np.cumsum(size), most, side="right")))]
        places = np.flatnonzero(np.isin(member, taken))
    _, user = np.unique(cluster[places], return_inverse=True)
    return places, Judged(label[places], user.astype(np.int64))


def draws(rows: Judged, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """How often each user is drawn: one row per draw, the first draws each once."""
    return user_weights(int(rows.user.max()) + 1, resamples, np.random.default_rng(0))


class Draws(NamedTuple):
    """One run by the rows as they are, and then by every draw of users."""

    auc: NDArray[np.float64]
    logloss: NDArray[np.float64]


def drawn(rows: Judged, scores: NDArray[np.float64], weights: NDArray[np.float64]) -> Draws:
    """AUC and log loss of a run under every draw."""
    return Draws(_aucs(rows, scores, weights), _losses(rows, scores, weights))


def mean_of(runs: Sequence[Draws]) -> Draws:
    """The mean over the runs of an arm: whoever is drawn is drawn for all of them."""
    return Draws(*(np.mean(each, axis=0) for each in zip(*runs, strict=True)))


def _aucs(
    rows: Judged, scores: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    # Sorted once, so that every block's sums run over sorted rows.
    order = np.argsort(scores, kind="stable")
    user, label = rows.user[order], rows.label[order]
    blocks = [
        weighted_auc(scores[order], label, weights[start : start + _BLOCK, user])
        for start in range(0, len(weights), _BLOCK)
    ]
    return np.concatenate(blocks)


def _losses(
    rows: Judged, scores: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    users = weights.shape[1]
    losses = row_losses(scores, rows.label)
    lost, count = (np.bincount(rows.user, w, minlength=users) for w in (losses, None))
    found: NDArray[np.float64] = (weights @ lost) / (weights @ count)
    return found


def lead(
    ours: Mapping[int, float],
    theirs: Mapping[int, float],
    both_drawn: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> Lead:
    """Of the seeds that both have, and of the draws of both, which are the same draws."""
    both = sorted(set(ours) & set(theirs))
    value, low, high = interval([ours[seed] - theirs[seed] for seed in both])
    apart = both_drawn[0] - both_drawn[1]
    ends = np.quantile(apart[1:][np.isfinite(apart[1:])], [0.025, 0.975])
    by_seed = None if low is None or high is None else (low, high)
    return Lead(value, len(both), by_seed, (float(ends[0]), float(ends[1])))
