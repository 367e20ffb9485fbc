"""What the best possible ranker of a market would reach: AUC from the known chances.

Takes the truth about impressions, gives figures; never looks at a ranker. Memory does not grow with
the number of rows.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphsvc.simulate.draws import Floats
from graphsvc.simulate.rows import Rows

#: Scores are told apart by their first 18 bits as float32, to 1 in 512 of their size.
_SHIFT = 14
_BINS = (0x3F800000 >> _SHIFT) + 1  # 1.0 is in the last one


class Reached(NamedTuple):
    """An AUC of true chances, on so many rows."""

    #: what is to be expected of the chances, over all outcomes that there might have been
    expected: float
    #: of those outcomes that there were
    realised: float
    rows: int


def auc_of(score: Floats, ones: Floats, zeros: Floats) -> float:
    """The chance that a 1 scores above a 0, ties counting half; a row is partly either.

    AUC = (sum_g P_g (N_<g + N_g / 2) - S / 2) / (P N - S),   S = sum_i ones_i zeros_i

    over distinct scores g in rising order: with ones = p and zeros = 1 - p it is the expected
    number of pairs in order by the expected number of pairs, without those of a row with itself.
    With labels S = 0, and it is the AUC. NaN where there are no pairs.
    """
    order = np.argsort(score, kind="stable")
    known, ones, zeros = score[order], ones[order], zeros[order]
    if not len(known):
        return float("nan")
    starts = np.flatnonzero(np.r_[True, known[1:] != known[:-1]])
    positive, negative = np.add.reduceat(ones, starts), np.add.reduceat(zeros, starts)
    return _of_groups(positive, negative, float(ones @ zeros))


class Bayes:
    """AUCs of the truth about any number of impressions, added bit by bit."""

    def __init__(self) -> None:
        self._sums = {name: (_Sums(), _Sums()) for name in FIGURES}

    def add(self, truth: Rows) -> None:
        """Take the truth about some impressions."""
        for name, figure in FIGURES.items():
            rows, score, chance, label = figure(truth)
            expected, realised = self._sums[name]
            expected.add(score[rows], chance[rows])
            realised.add(score[rows], label[rows].astype(np.float64))

    def figures(self) -> dict[str, Reached]:
        """What was reached so far; scores that are nearly equal count as equal."""
        return {
            name: Reached(expected.auc(), realised.auc(), expected.rows)
            for name, (expected, realised) in self._sums.items()
        }


class _Sums:
    """Ones and zeros by bins of score."""

    def __init__(self) -> None:
        self._ones, self._zeros, self._own, self.rows = np.zeros(_BINS), np.zeros(_BINS), 0.0, 0

    def add(self, score: Floats, ones: Floats) -> None:
        place = score.astype(np.float32).view(np.uint32) >> np.uint32(_SHIFT)
        self._ones += np.bincount(place, ones, minlength=_BINS)
        self._zeros += np.bincount(place, 1 - ones, minlength=_BINS)
        self._own += float(ones @ (1 - ones))
        self.rows += len(score)

    def auc(self) -> float:
        return _of_groups(self._ones, self._zeros, self._own)


def _of_groups(positive: Floats, negative: Floats, own: float) -> float:
    below = np.cumsum(negative) - negative / 2
    pairs = float(positive.sum() * negative.sum()) - own
    return (float(positive @ below) - own / 2) / pairs if pairs > 0 else float("nan")


#: rows, score, chance of a 1, and what it was
_Figure = tuple[NDArray[np.bool_], Floats, Floats, NDArray[np.bool_]]


def _looked_at(truth: Rows) -> _Figure:
    return truth["was_looked_at"], truth["click"], truth["click"], truth["was_clicked"]


def _logged(truth: Rows) -> _Figure:
    chance = truth["looked_at"] * truth["click"]
    return np.ones(len(truth), dtype=np.bool_), chance, chance, truth["was_clicked"]


def _unplaced(truth: Rows) -> _Figure:
    rows, _, chance, label = _logged(truth)
    return rows, truth["click"], chance, label


def _purchase(truth: Rows) -> _Figure:
    rows = truth["was_clicked"] & ~np.isnan(truth["purchase"])
    return rows, truth["purchase"], truth["purchase"], truth["was_bought"]


#: Click given that the ad was looked at; click as logged, with its position; the same by a score
#: that does not know the position; purchase given a click, of those whose purchases may be seen.
FIGURES = {
    "click_looked_at": _looked_at,
    "click_logged": _logged,
    "click_unplaced": _unplaced,
    "purchase": _purchase,
}
