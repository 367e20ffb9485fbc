"""What changed since the bundle was trained: today, the entities folded in since.

Takes folded vectors, gives them back while their edges are unchanged; never holds more than its
bound. Each trio has an overlay of its own, so a promotion starts with an empty one.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from graphsvc.ids import EntityId


@dataclass(frozen=True, slots=True)
class Folded:
    """A vector in the bundle's space and the edges that it was solved from."""

    vector: NDArray[np.float32]
    #: Identifies the edges: the same stamp gives the same vector.
    stamp: int
    edges: int


@dataclass(slots=True)
class Overlay:
    """The most recently used folded-in entities, at most `bound` of them."""

    bound: int
    _entries: OrderedDict[EntityId, Folded] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, entity: EntityId, stamp: int) -> Folded | None:
        """The folded entity, unless its edges have changed since."""
        with self._lock:
            entry = self._entries.get(entity)
            if entry is None or entry.stamp != stamp:
                return None
            self._entries.move_to_end(entity)
            return entry

    def put(self, entity: EntityId, folded: Folded) -> None:
        """Remember a folded entity; the least recently used one makes room."""
        with self._lock:
            self._entries[entity] = folded
            self._entries.move_to_end(entity)
            if len(self._entries) > self.bound:
                self._entries.popitem(last=False)

    def __len__(self) -> int:
        return len(self._entries)
