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


def auc_draws(
    rows: Judged, runs: Sequence[NDArray[np.float32]], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """AUC under every draw, the mean over the runs of an arm."""
    return np.mean([_aucs(rows, run.astype(np.float64), weights) for run in runs], axis=0)


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


def logloss_draws(
    rows: Judged, runs: Sequence[NDArray[np.float32]], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Log loss under every draw, the mean over the runs of an arm."""
    users = weights.shape[1]
    losses = np.mean([row_losses(run.astype(np.float64), rows.label) for run in runs], axis=0)
    lost, count = (np.bincount(rows.user, w, minlength=users) for w in (losses, None))
    return (weights @ lost) / (weights @ count)


def lead(
    ours: Mapping[int, float],
    theirs: Mapping[int, float],
    drawn: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> Lead:
    """Of the seeds that both have, and of the draws of both, which are the same draws."""
    both = sorted(set(ours) & set(theirs))
    value, low, high = interval([ours[seed] - theirs[seed] for seed in both])
    apart = drawn[0] - drawn[1]
    ends = np.quantile(apart[1:][np.isfinite(apart[1:])], [0.025, 0.975])
    by_seed = None if low is None or high is None else (low, high)
    return Lead(value, len(both), by_seed, (float(ends[0]), float(ends[1])))
