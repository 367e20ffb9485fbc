"""When things happen: days have busy hours, weeks have quiet days.

Takes how many pages have been viewed, gives the second; the later page is never earlier.
"""

import numpy as np

from graphsvc.simulate.draws import Floats, Numbers
from graphsvc.simulate.world import DAY, World

_WEEK = 7 * DAY
_STEP = 600
#: How much busier than the mean the busiest hour is, about 20:00 UTC, and the busiest day.
_BY_HOUR, _BY_DAY = 0.6, 0.15


class Clock:
    """The rate of page views, turned into moments.

    rate(t) ~ (1 + .6 cos(2 pi (h - 20) / 24)) (1 + .15 cos(2 pi (d - 3.5) / 7)), in steps of ten
    minutes: the seconds at which a rising count of pages is reached. Our design.
    """

    def __init__(self, world: World) -> None:
        self._start, self._per_day = world.start, world.pages_per_day
        edges = np.arange(0, _WEEK + 1, _STEP, dtype=np.float64)
        middle = (edges[1:] + edges[:-1]) / 2 + world.start % DAY
        hour, day = (middle % DAY) / 3600, middle / DAY
        rate = 1 + _BY_HOUR * np.cos(2 * np.pi * (hour - 20) / 24)
        rate *= 1 + _BY_DAY * np.cos(2 * np.pi * (day - 3.5) / 7)
        reached = np.concatenate([[0.0], np.cumsum(rate)])
        self._edges, self._reached = edges, reached / reached[-1] * _WEEK

    def times(self, pages: Floats) -> Numbers:
        """The second of each, where the n-th page is viewed between n and n + 1."""
        weeks, rest = np.divmod(pages / self._per_day * DAY, _WEEK)
        seconds = weeks * _WEEK + np.interp(rest, self._reached, self._edges)
        return self._start + np.floor(seconds).astype(np.int64)
