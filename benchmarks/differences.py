"""How sure a mean is, and how sure a model is ahead of another: by seeds, and by triples.

Takes figures of runs or of triples, gives intervals; never measures anything.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

RESAMPLES = 2000
_SEED = 40


class Ahead(NamedTuple):
    """By how much one model is ahead of another, in MRR, with two 95 % intervals."""

    #: mean over the seeds that both have
    value: float
    seeds: int
    #: t interval over these seeds; None for a single one
    by_seed: tuple[float, float] | None
    #: paired bootstrap over the test triples
    by_triple: tuple[float, float]

    @property
    def decided(self) -> str:
        """`ahead` or `behind` where neither interval has 0 in it, else `not decided`."""
        if self.by_seed is not None:
            if min(self.by_seed[0], self.by_triple[0]) > 0:
                return "ahead"
            if max(self.by_seed[1], self.by_triple[1]) < 0:
                return "behind"
        return "not decided"


def interval(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Mean and 95 % t interval; without one for a single run."""
    mean, count = float(np.mean(values)), len(values)
    if count == 1:
        return mean, None, None
    half = float(stats.t.ppf(0.975, count - 1) * np.std(values, ddof=1) / count**0.5)
    return mean, mean - half, mean + half


def ahead(
    ours: Sequence[NDArray[np.float32]],
    theirs: Sequence[NDArray[np.float32]],
    *,
    same_triples: bool = True,
) -> Ahead:
    """The difference in MRR of two models, whose runs of the same seed stand at the same place.

    A run is (2, n) reciprocal ranks: of the heads and of the tails of n test triples. A triple is
    drawn with both its ends, for both models and with all its runs: what makes one hard makes it so
    for all of them. Without `same_triples` each seed has triples of its own, and draws among these.
    """
    pairs = [
        (a.astype(np.float64) - b.astype(np.float64)).mean(axis=0)
        for a, b in zip(ours, theirs, strict=True)
    ]
    value, low, high = interval([float(pair.mean()) for pair in pairs])
    by_seed = None if low is None or high is None else (low, high)
    drawn = [np.mean(pairs, axis=0)] if same_triples else pairs
    return Ahead(value, len(pairs), by_seed, _bootstrap(drawn))


def _bootstrap(parts: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    """Of the mean of all parts' means."""
    draw = np.random.default_rng(_SEED)
    means = [
        np.mean([part[draw.integers(len(part), size=len(part))].mean() for part in parts])
        for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
