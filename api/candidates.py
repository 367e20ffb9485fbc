"""Candidates as a ranker reads them, kept from one answer to the next for as long as that holds.

Takes what was read of some candidates and whom the log has named since, gives the same as if all
had been read anew. Never reads anything itself, and never holds more than a bounded number. Their
vectors are not kept: these change while nothing is said of a candidate.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphsvc.tail import Touched
from ranking.bundle import Side

#: Candidates that are kept; memory for them is taken as they come.
_MOST = 20_000
_FIRST_ROOM = 1_024


class Described(NamedTuple):
    """n candidates as the graph has them."""

    #: 0 of those that no event has named.
    keys: NDArray[np.int64]
    retired: NDArray[np.bool_]
    merged_into: Sequence[str | None]
    #: Rows of the bundle, -1 for what it does not hold.
    places: NDArray[np.int32]
    #: As encoded, at no vector.
    side: Side

    def take(self, rows: NDArray[np.int64]) -> "Described":
        """Those at some rows, in that order."""
        return Described(
            keys=self.keys[rows],
            retired=self.retired[rows],
            merged_into=[self.merged_into[n] for n in rows.tolist()],
            places=self.places[rows],
            side=self.side.take(rows),
        )

    @property
    def lasting(self) -> NDArray[np.bool_]:
        """Of whom every change is told by their key: all but who is no candidate, or not yet."""
        gone = np.array([into is not None for into in self.merged_into], dtype=bool)
        return (self.keys > 0) & ~self.retired & ~gone


def woven(kept: Described, read: Described, places: NDArray[np.int64]) -> Described:
    """What was read stands at these places of the whole, what was kept at all others, in order."""
    count = len(kept.keys) + len(read.keys)
    order = np.empty(count, dtype=np.int64)
    others = np.ones(count, dtype=bool)
    others[places] = False
    order[others], order[places] = np.arange(len(kept.keys)), np.arange(len(kept.keys), count)
    both = Described(
        keys=np.concatenate([kept.keys, read.keys]),
        retired=np.concatenate([kept.retired, read.retired]),
        merged_into=[*kept.merged_into, *read.merged_into],
        places=np.concatenate([kept.places, read.places]),
        side=kept.side.joined(read.side),
    )
    return both.take(order)


@dataclass(slots=True, repr=False)
class Candidates:
    """The most recently used candidates as of one row of the log. Any thread may ask."""

    bound: int = _MOST
    _seq: int = 0
    _version: int = 0
    _slots: OrderedDict[str, int] = field(default_factory=OrderedDict)
    _ids: dict[int, str] = field(default_factory=dict)
    _free: list[int] = field(default_factory=list)
    #: Keys, places, then the columns of a side; with as many rows as there is room.
    _columns: list[NDArray[Any]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def seq(self) -> int:
        """The row of the log that what is kept holds up to."""
        return self._seq

    def take(
        self, ids: Sequence[str], touched: Touched, version: int
    ) -> tuple[Described | None, NDArray[np.int64]]:
        """What is kept of some candidates, in their order, and the places of all others.

        `touched`: whom the log has named since `seq`. `version`: of the schema. Who asks as of an
        earlier row than somebody else has, or under another schema, finds nothing.
        """
        everyone = np.arange(len(ids), dtype=np.int64)
        with self._lock:
            if not self._moved(touched, version):
                return None, everyone
            found = np.fromiter(
                (self._slots.get(id_, -1) for id_ in ids), dtype=np.int64, count=len(ids)
            )
            held = found >= 0
            if not held.any():
                return None, everyone
            for id_ in ids:
                if id_ in self._slots:
                    self._slots.move_to_end(id_)
            keys, places, *side = (column[found[held]] for column in self._columns)
        count = len(keys)
        kept = Described(
            keys=keys,
            retired=np.zeros(count, dtype=bool),
            merged_into=[None] * count,
            places=places,
            side=Side(*side),
        )
        return kept, np.flatnonzero(~held)

    def put(self, ids: Sequence[str], read: Described, touched: Touched, version: int) -> None:
        """Keep what was read as of the same row; nothing if others are further by now."""
        lasting = np.flatnonzero(read.lasting)
        with self._lock:
            if touched.seq != self._seq or version != self._version:
                return
            fresh = [n for n in lasting.tolist() if ids[n] not in self._slots][: self.bound]
            if not fresh:
                return
            columns: list[NDArray[Any]] = [read.keys, read.places, *read.side]
            self._make_room(len(fresh), columns)
            slots = [self._free.pop() for _ in fresh]
            for n, slot in zip(fresh, slots, strict=True):
                self._slots[ids[n]] = slot
                self._ids[int(read.keys[n])] = ids[n]
            for own, column in zip(self._columns, columns, strict=True):
                own[slots] = column[fresh]

    def __len__(self) -> int:
        return len(self._slots)

    def _moved(self, touched: Touched, version: int) -> bool:
        """Go on to a row of the log, forgetting whom it names; whether what is left is as of it."""
        if version < self._version or touched.seq < self._seq:
            return False
        if version > self._version or touched.keys is None:
            self._slots.clear()
            self._ids.clear()
            self._free = list(range(self._room))
        else:
            for key in touched.keys:
                self._forget(key)
        self._seq, self._version = touched.seq, version
        return True

    def _forget(self, key: int) -> None:
        id_ = self._ids.pop(key, None)
        if id_ is not None:
            self._free.append(self._slots.pop(id_))

    @property
    def _room(self) -> int:
        return len(self._columns[0]) if self._columns else 0

    def _make_room(self, more: int, like: Sequence[NDArray[Any]]) -> None:
        """Have as many free rows: new ones up to the bound, then those that were used last."""
        room = self._room
        if len(self._free) < more and room < self.bound:
            wanted = min(self.bound, max(_FIRST_ROOM, 2 * room, room + more))
            grown = [np.empty((wanted, *one.shape[1:]), one.dtype) for one in like]
            for new, old in zip(grown, self._columns or [one[:0] for one in like], strict=True):
                new[: len(old)] = old
            self._columns = grown
            self._free += range(room, wanted)
        while len(self._free) < more:
            self._forget(int(self._columns[0][next(iter(self._slots.values()))]))
