"""Summing events to edges, block by block.

Takes blocks of (head, tail, time), gives one row per edge; never holds more than twice the edges
and one block. Pure arithmetic in whole units, so no order of the events shows in a sum.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: A decayed event counts as a whole number of units, at least one; our design. Sums of up to 2^27
#: events of one edge are exact.
_UNIT = 2.0**-36
#: Events that wait before they are summed, at least.
_WAITING = 50_000


class Edges(NamedTuple):
    """Edges of one relation, sorted by (head, tail).

    decayed = sum over events at t of 2^((t - as_of) * rate). time: the newest t.
    """

    head: NDArray[np.int64]
    tail: NDArray[np.int64]
    decayed: NDArray[np.float64]
    time: NDArray[np.int64]


class EdgeSums:
    """The edges of one relation, growing with each block of events.

    `rate` = 1 / half-life, per second; 0 never forgets. An event after `as_of` counts as 1, as one
    of that second does. Where events do not add up, an edge is worth its newest event.
    """

    def __init__(self, *, rate: float, as_of: int, adds_up: bool = True) -> None:
        self.rate = rate
        self.as_of = as_of
        self.adds_up = adds_up
        self._pair = np.empty(0, dtype=np.int64)
        self._units = np.empty(0, dtype=np.int64)
        self._time = np.empty(0, dtype=np.int64)
        self._waiting: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]] = []
        self._waiting_rows = 0

    def add(
        self, head: NDArray[np.int32], tail: NDArray[np.int32], time: NDArray[np.int64]
    ) -> None:
        """Count a block of events; rows are below 2^31, so a pair is one 64-bit number."""
        pair = (head.astype(np.int64) << 32) | tail
        self._waiting.append((pair, self._units_of(time), time))
        self._waiting_rows += len(pair)
        # As many as there are edges already: each event is then sorted only a few times in all.
        if self._waiting_rows >= max(_WAITING, len(self._pair)):
            self._sum()

    def edges(self, *, most_tails: int | None = None) -> Edges:
        """The edges; with `most_tails`, only so many most recent ones of each head.

        Of edges of the same second, the tail with the smaller row comes first.
        """
        self._sum()
        kept = slice(None) if most_tails is None else self._most_recent(most_tails)
        pair, time = self._pair[kept], self._time[kept]
        units = self._units[kept] if self.adds_up else self._units_of(time)
        return Edges(pair >> 32, pair & 0xFFFFFFFF, units.astype(np.float64) * _UNIT, time)

    def _units_of(self, time: NDArray[np.int64]) -> NDArray[np.int64]:
        age = np.maximum(self.as_of - time, 0)
        return np.maximum(np.rint(np.exp2(-age * self.rate) / _UNIT), 1).astype(np.int64)

    def _sum(self) -> None:
        waiting = [(self._pair, self._units, self._time), *self._waiting]
        pair, units, time = (np.concatenate(columns) for columns in zip(*waiting, strict=True))
        self._waiting, self._waiting_rows = [], 0
        order = np.argsort(pair)
        pair = pair[order]
        starts = np.flatnonzero(np.r_[True, pair[1:] != pair[:-1]][: len(pair)])
        if len(starts):
            self._pair = pair[starts]
            self._units = np.add.reduceat(units[order], starts)
            self._time = np.maximum.reduceat(time[order], starts)

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
