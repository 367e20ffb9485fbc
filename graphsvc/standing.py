"""Which events still stand when some were taken back.

Takes columns, gives a mask; never loops over rows, never looks at the database. The same rule as
`projection.standing`, for many edges at once.
"""

import numpy as np
from numpy.typing import NDArray


def stands(
    pair: NDArray[np.int64],
    time: NDArray[np.int64],
    *,
    taken_back: NDArray[np.bool_],
    adds_up: bool,
) -> NDArray[np.bool_]:
    """Whether each row is an event that no retraction of its pair takes back.

    `taken_back` marks the retractions among the rows. One takes back the most recent event before
    it that stands, or all of them where events do not add up; of the same second, events come
    first; one that finds nothing changes nothing.

    With depth d_i = how many events stand after row i, the event of row i stands in the end if and
    only if no later row of its pair has a depth below d_i.
    """
    kept = np.zeros(len(pair), dtype=bool)
    if not len(pair):
        return kept
    order = np.lexsort((taken_back, time, pair))
    names, down = pair[order], taken_back[order]
    fresh = np.r_[True, names[1:] != names[:-1]]
    group = np.cumsum(fresh) - 1
    step = np.where(down, -1, 1)
    walk = np.cumsum(step)
    first = np.flatnonzero(fresh)
    walk -= np.repeat(walk[first] - step[first], np.diff(np.r_[first, len(names)]))
    # A minimum that starts anew with every group: later groups lie lower than all earlier ones.
    low = np.int64(2 * len(names) + 2)
    floor = np.minimum.accumulate(np.minimum(walk, 0) - group * low) + group * low
    depth = walk - floor
    if not adds_up:
        # The last retraction clears: what comes behind it stands.
        behind = np.maximum.accumulate(np.where(down, np.arange(len(names)), -1))
        last = behind[np.r_[first[1:], len(names)] - 1][group]
        kept[order] = ~down & (np.arange(len(names)) > last)
        return kept
    turned = group[-1] - group
    least = (np.minimum.accumulate((depth - turned * low)[::-1])[::-1]) + turned * low
    kept[order] = ~down & (least >= depth)
    return kept
