"""The values that an attribute had: the last one that was set by a moment.

Takes the versions in a snapshot, gives values as of any time; never a value that was set later.
"""

import json

import numpy as np
from jaxtyping import Int32, Int64

from graphsvc.snapshot import Attributes
from ranking.columns import Coded, as_objects, distinct, unset


class AttributePast:
    """One attribute of all entities, through time."""

    def __init__(self, table: Attributes, name: str) -> None:
        chosen = table.name == name
        texts = distinct(table.value[chosen])
        self.row = table.row[chosen].astype(np.int64)
        self.time = table.time[chosen]
        self.code = texts.codes
        #: The distinct values, and behind them the None of who has none.
        self.values = as_objects([*map(json.loads, texts.values), None])

    def values_at(self, rows: Int32[np.ndarray, "q"], times: Int64[np.ndarray, "q"]) -> Coded:
        """The JSON value of each (entity row, time): of the last version of that second or before.

        None where there is none, or where it was taken away.
        """
        if not len(self.row):
            return unset(len(rows))
        moments = np.unique(self.time)
        width = len(moments) + 1
        # (row, time) as one number that sorts like the pair; a snapshot's versions are sorted.
        codes = self.row * width + np.searchsorted(moments, self.time)
        wanted = rows.astype(np.int64) * width + np.searchsorted(moments, times, side="right")
        place = np.searchsorted(codes, wanted, side="left") - 1
        known = (place >= 0) & (self.row[place] == rows)
        return Coded(self.values, np.where(known, self.code[place], len(self.values) - 1))
