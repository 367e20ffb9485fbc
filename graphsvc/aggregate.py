"""Summing events to edges, block by block.

Takes blocks of (head, tail, time), gives one row per edge; never holds more than the edges and one
block. Pure arithmetic: the sum depends on the order of the events alone.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Edges(NamedTuple):
    """Edges of one relation, sorted by (head, tail).

    decayed = sum over events at t of 2^((t - as_of) * rate). time: the newest t.
    """

    head: NDArray[np.int64]
    tail: NDArray[np.int64]
    decayed: NDArray[np.float64]
    time: NDArray[np.int64]


@dataclass(slots=True)
class EdgeSums:
    """The edges of one relation, growing with each block of events.

    `rate` = 1 / half-life, per second; 0 never forgets. An event after `as_of` counts as 1, as one
    of that second does.
    """

    rate: float
    as_of: int
    _pair: NDArray[np.int64]
    _decayed: NDArray[np.float64]
    _time: NDArray[np.int64]

    def __init__(self, *, rate: float, as_of: int) -> None:
        self.rate = rate
        self.as_of = as_of
        self._pair = np.empty(0, dtype=np.int64)
        self._decayed = np.empty(0)
        self._time = np.empty(0, dtype=np.int64)

    def add(
        self, head: NDArray[np.int32], tail: NDArray[np.int32], time: NDArray[np.int64]
    ) -> None:
        """Count a block of events; rows are below 2^31, so a pair is one 64-bit number."""
        pair = (head.astype(np.int64) << 32) | tail
        age = np.maximum(self.as_of - time, 0)
        decayed = np.exp2(-age * self.rate)
        pair = np.concatenate([self._pair, pair])
        # Stable: events of one edge are summed in the order in which they came.
        order = np.argsort(pair, kind="stable")
        pair = pair[order]
        starts = np.flatnonzero(np.r_[True, pair[1:] != pair[:-1]][: len(pair)])
        if len(starts):
            decayed = np.concatenate([self._decayed, decayed])[order]
            time = np.concatenate([self._time, time])[order]
            self._pair = pair[starts]
            self._decayed = np.add.reduceat(decayed, starts)
            self._time = np.maximum.reduceat(time, starts)

    def edges(self, *, most_tails: int | None = None) -> Edges:
        """The edges; with `most_tails`, only so many most recent ones of each head.

        Of edges of the same second, the tail with the smaller row comes first.
        """
        kept = slice(None) if most_tails is None else self._most_recent(most_tails)
        pair = self._pair[kept]
        return Edges(pair >> 32, pair & 0xFFFFFFFF, self._decayed[kept], self._time[kept])

    def _most_recent(self, most: int) -> NDArray[np.bool_]:
        head = self._pair >> 32
        order = np.lexsort((self._pair, -self._time, head))
        head = head[order]
        first = np.flatnonzero(np.r_[True, head[1:] != head[:-1]][: len(head)])
        sizes = np.diff(np.r_[first, len(head)])
        rank = np.arange(len(head)) - np.repeat(first, sizes)
        kept = np.zeros(len(head), dtype=bool)
        kept[order[rank < most]] = True
        return kept
