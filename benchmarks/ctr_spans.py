"""Time cut into TRAIN, VALID and TEST, and what was known of users and items before each row.

Takes columns of all rows, gives a span per row and fields of counters; never looks at a label of a
row's own moment or later.
"""

import numpy as np
from numpy.typing import NDArray

from ranking.examples import counts_before

TRAIN, VALID, TEST = 0, 1, 2
#: Shares of the spans, in per cent.
SHARES = (60, 20, 20)
#: Rows at the base rate that a rate before any row counts for.
_SMOOTHING = 10.0
#: Steps of a rate: a field has as many values, and one for each power of two of a count.
_STEPS = 20


def spans(
    user: NDArray[np.int64], time: NDArray[np.int64], shares: tuple[int, ...] = SHARES
) -> NDArray[np.int8]:
    """The span of each row: by the share of the user's rows that are strictly before it.

    A row is past a cut at c per cent if 100 (rows before) >= c (rows), so equal times stay on one
    side. With the same user for all rows it is a cut of all time together.
    """
    order = np.lexsort((time, user))
    by_user, by_time = user[order], time[order]
    fresh = np.r_[True, by_user[1:] != by_user[:-1]]
    new = fresh | np.r_[True, by_time[1:] != by_time[:-1]]
    place = np.arange(len(order))
    start = np.maximum.accumulate(np.where(fresh, place, 0))
    moment = np.maximum.accumulate(np.where(new, place, 0))
    size = np.bincount(np.cumsum(fresh) - 1)[np.cumsum(fresh) - 1]
    past = np.zeros(len(order), np.int8)
    for cut in np.cumsum(shares[:-1]):
        past += 100 * (moment - start) >= cut * size
    spans_of = np.empty(len(order), np.int8)
    spans_of[order] = past
    return spans_of


def ones_before(
    key: NDArray[np.int64], time: NDArray[np.int64], label: NDArray[np.int8]
) -> NDArray[np.int64]:
    """How many ones a user or an item had before each row, at an earlier moment."""
    ones = label == 1
    return counts_before((key[ones], time[ones]), (key, time))


def pasts(
    key: NDArray[np.int64],
    time: NDArray[np.int64],
    label: NDArray[np.int8],
    span: NDArray[np.int8],
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Two fields of a user or an item: its rate before each row, and how many rows that is of.

    rate = (ones before + s p) / (rows before + s), p of TRAIN, in steps of 5 %; how many as the
    number of binary digits. Before: of an earlier moment, whatever its span, as a service sees it.
    """
    rows_before = counts_before((key, time), (key, time))
    base = float(label[span == TRAIN].mean())
    ones = ones_before(key, time, label)
    rate = (ones + _SMOOTHING * base) / (rows_before + _SMOOTHING)
    step = np.minimum((rate * _STEPS).astype(np.int32), _STEPS - 1)
    digits = np.ceil(np.log2(rows_before + 1)).astype(np.int32)
    return step, digits
