"""The values that an attribute had: the last one that was set by a moment.

Takes the versions in a snapshot, gives values as of any time; never a value that was set later.
"""

import json
from typing import Any

import numpy as np
from jaxtyping import Int32, Int64
from numpy.typing import NDArray

from graphsvc.snapshot import Attributes


class AttributePast:
    """One attribute of all entities, through time."""

    def __init__(self, table: Attributes, name: str) -> None:
        chosen = table.name == name
        self.row = table.row[chosen].astype(np.int64)
        self.time = table.time[chosen]
        self.value = _parsed(table.value[chosen])

    def values_at(self, rows: Int32[np.ndarray, "q"], times: Int64[np.ndarray, "q"]) -> list[Any]:
        """The JSON value of each (entity row, time): of the last version of that second or before.

        None where there is none, or where it was taken away.
        """
        if not len(self.row):
            return [None] * len(rows)
        moments = np.unique(self.time)
        width = len(moments) + 1
        # (row, time) as one number that sorts like the pair; a snapshot's versions are sorted.
        codes = self.row * width + np.searchsorted(moments, self.time)
        wanted = rows.astype(np.int64) * width + np.searchsorted(moments, times, side="right")
        place = np.searchsorted(codes, wanted, side="left") - 1
        known = (place >= 0) & (self.row[place] == rows)
        values = self.value[place]
        values[~known] = None
        return values.tolist()


def _parsed(texts: NDArray[np.object_]) -> NDArray[np.object_]:
    distinct = {text: json.loads(text) for text in set(texts.tolist())}
    return np.fromiter((distinct[text] for text in texts), dtype=object, count=len(texts))
