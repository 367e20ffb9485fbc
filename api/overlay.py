"""What changed since the bundle was trained: vectors, and rows of the index to pass over.

Takes folded vectors and hidden rows, gives what is near among them; never holds more entities than
its bound. Each trio has an overlay of its own, so a promotion starts with an empty one.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from graphsvc.ids import EntityId

_FIRST_ROOM = 64


@dataclass(frozen=True, slots=True)
class Folded:
    """A vector in the bundle's space and the number of edges that it was solved from."""

    vector: NDArray[np.float32]
    edges: int


@dataclass(frozen=True, slots=True)
class Near:
    """An entity of the overlay and its cosine distance, from 0 (same direction) to 2."""

    id: str
    distance: float
    edges: int


@dataclass(slots=True)
class Remembered:
    """The most recently used solutions by what they were solved from, at most `bound` of them."""

    bound: int
    _entries: OrderedDict[EntityId, tuple[int, Folded]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, entity: EntityId, stamp: int) -> Folded | None:
        """The solution, unless its edges have changed since: the stamp says so."""
        with self._lock:
            entry = self._entries.get(entity)
            if entry is None or entry[0] != stamp:
                return None
            self._entries.move_to_end(entity)
            return entry[1]

    def put(self, entity: EntityId, stamp: int, folded: Folded) -> None:
        """Remember a solution; the least recently used one makes room."""
        with self._lock:
            self._entries[entity] = stamp, folded
            self._entries.move_to_end(entity)
            if len(self._entries) > self.bound:
                self._entries.popitem(last=False)

    def __len__(self) -> int:
        return len(self._entries)


class Overlay:
    """The most recently touched folded-in entities, at most `bound`, searched exactly by type."""

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self._sides: dict[str, _Side] = {}
        self._order: OrderedDict[EntityId, None] = OrderedDict()
        self._hidden: dict[str, NDArray[np.bool_]] = {}
        self._lock = threading.Lock()

    def put(self, entity: EntityId, folded: Folded, *, latest: bool = True) -> None:
        """Remember an entity; the one that was touched least recently makes room.

        `latest`: it was touched now; else longer ago than every other one.
        """
        with self._lock:
            self._sides.setdefault(entity.type, _Side()).put(entity.id, folded)
            self._order[entity] = None
            self._order.move_to_end(entity, last=latest)
            if len(self._order) > self.bound:
                oldest, _ = self._order.popitem(last=False)
                self._sides[oldest.type].drop(oldest.id)

    def drop(self, entity: EntityId) -> None:
        """Forget an entity, if it is there."""
        with self._lock:
            if entity in self._order:
                del self._order[entity]
                self._sides[entity.type].drop(entity.id)

    def get(self, entity: EntityId) -> Folded | None:
        """What is remembered of an entity; asking counts as a touch."""
        with self._lock:
            if entity not in self._order:
                return None
            self._order.move_to_end(entity)
            return self._sides[entity.type].get(entity.id)

    def nearest(self, type_: str, vector: NDArray[np.float32], k: int) -> list[Near]:
        """The k entities of a type with the smallest angle to a vector, nearest first; exact."""
        with self._lock:
            side = self._sides.get(type_)
            return side.nearest(vector, k) if side else []

    def hide(self, type_: str, place: int, rows: int, *, hidden: bool) -> None:
        """Let searches pass over one of the `rows` indexed entities of a type, or no longer."""
        with self._lock:
            mask = self._hidden.get(type_)
            if mask is None:
                if not hidden:
                    return
                mask = self._hidden[type_] = np.zeros(rows, dtype=bool)
            mask[place] = hidden

    def hidden(self, type_: str) -> NDArray[np.bool_] | None:
        """Which indexed entities of a type to pass over; None: none of them."""
        return self._hidden.get(type_)

    def __contains__(self, entity: EntityId) -> bool:
        return entity in self._order

    def __len__(self) -> int:
        return len(self._order)

    @property
    def full(self) -> bool:
        return len(self) >= self.bound


class _Side:
    """The entities of one type: directions in the first rows of one array, without gaps."""

    def __init__(self) -> None:
        self._place: dict[str, int] = {}
        self._ids: list[str] = []
        self._folded: list[Folded] = []
        self._directions = np.empty((0, 0), dtype=np.float32)

    def get(self, id_: str) -> Folded:
        return self._folded[self._place[id_]]

    def put(self, id_: str, folded: Folded) -> None:
        place = self._place.get(id_)
        if place is None:
            place = self._place[id_] = len(self._ids)
            self._ids.append(id_)
            self._folded.append(folded)
            if place >= len(self._directions):
                room = np.zeros((max(_FIRST_ROOM, 2 * place), len(folded.vector)), np.float32)
                room[:place] = self._directions[:place] if place else 0
                self._directions = room
        self._folded[place] = folded
        self._directions[place] = _direction(folded.vector)

    def drop(self, id_: str) -> None:
        place, last = self._place.pop(id_), len(self._ids) - 1
        if place != last:  # the last one moves into the gap
            self._ids[place], self._folded[place] = self._ids[last], self._folded[last]
            self._directions[place] = self._directions[last]
            self._place[self._ids[place]] = place
        self._ids.pop()
        self._folded.pop()

    def nearest(self, vector: NDArray[np.float32], k: int) -> list[Near]:
        if not self._ids:
            return []
        distances = 1.0 - self._directions[: len(self._ids)] @ _direction(vector)
        order = np.argsort(distances, kind="stable")[:k]
        return [Near(self._ids[n], float(distances[n]), self._folded[n].edges) for n in order]


def _direction(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """A vector at length 1; zero stays zero, at distance 1 from everything, as in the index."""
    length = max(float(np.linalg.norm(vector)), float(np.finfo(np.float32).tiny))
    return np.asarray(vector / length, dtype=np.float32)
