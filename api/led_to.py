"""Where what candidates lead to lies: mean vectors by type, kept from one answer to the next.

Takes keys of entities and what was read of them, gives arrays; the tail of the log says what is
not so any more. Never reads anything itself, and never holds more than a bounded number.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Entities that are kept: with some ten types of 64 numbers each, 50 MiB.
_MOST = 20_000


class Lying(NamedTuple):
    """Of one entity, by the ranker's types: where what it leads to lies, and whether any does."""

    vectors: NDArray[np.float32]  # [types, d]
    known: NDArray[np.bool_]  # [types]


@dataclass(slots=True)
class LedTo:
    """The most recently used entities. One thread forgets; any may ask and remember."""

    bound: int = _MOST
    _entries: OrderedDict[int, Lying] = field(default_factory=OrderedDict)
    _version: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, keys: Sequence[int]) -> tuple[dict[int, Lying], int]:
        """What is kept of some entities, and a number to give back with what is read of others."""
        with self._lock:
            found = {key: self._entries[key] for key in keys if key in self._entries}
            for key in found:
                self._entries.move_to_end(key)
            return found, self._version

    def put(self, read: Mapping[int, Lying], version: int) -> None:
        """Keep what was read after `get` gave this number; nothing if some was forgotten since.

        What was read before an edge came would otherwise be kept after it was forgotten.
        """
        with self._lock:
            if version != self._version:
                return
            self._entries.update(read)
            while len(self._entries) > self.bound:
                self._entries.popitem(last=False)

    def forget(self, keys: Iterable[int] | None) -> None:
        """The edges of some entities have changed, or (None) nobody knows whose."""
        with self._lock:
            self._version += 1
            if keys is None:
                self._entries.clear()
            else:
                for key in keys:
                    self._entries.pop(key, None)

    def __len__(self) -> int:
        return len(self._entries)
