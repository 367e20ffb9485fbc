"""What changed since the bundle was trained: vectors, and rows of the index to pass over.

Takes folded vectors and hidden rows, gives what is near among them; never holds more entities than
its bound. Each trio has an overlay of its own, so a promotion starts with an empty one.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import NamedTuple

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
    """An entity of the overlay and its cosine distance, from 0 (same direction) to 2.

    changed: training knows it, and the overlay stands in for its row of the index.
    """

    id: str
    distance: float
    edges: int
    changed: bool


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


class Place(NamedTuple):
    """An indexed entity's place among the `rows` of its type."""

    at: int
    rows: int


class Overlay:
    """The most recently touched folded-in entities, at most `bound`, searched exactly by type.

    Some stand in for their row of the index, which searches pass over for as long as they are
    here; these make room for the others, which nothing else knows.
    """

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self._sides: dict[str, _Side] = {}
        self._new: OrderedDict[EntityId, None] = OrderedDict()
        self._changed: OrderedDict[EntityId, Place] = OrderedDict()
        self._hidden: dict[str, NDArray[np.bool_]] = {}
        self._replaced: dict[str, NDArray[np.bool_]] = {}
        self._lock = threading.Lock()

    def put(
        self,
        entity: EntityId,
        folded: Folded,
        *,
        latest: bool = True,
        replaces: Place | None = None,
    ) -> None:
        """Remember an entity; the one that was touched least recently makes room.

        `latest`: it was touched now; else longer ago than every other one. `replaces`: the place
        in the index that it stands in for.
        """
        with self._lock:
            self._forget(entity)
            self._sides.setdefault(entity.type, _Side()).put(entity.id, folded)
            if replaces is None:
                self._new[entity] = None
                self._new.move_to_end(entity, last=latest)
            else:
                self._changed[entity] = replaces
                self._changed.move_to_end(entity, last=latest)
                _mark(self._replaced, entity.type, replaces, to=True)
            while len(self) > self.bound:
                self._forget(next(iter(self._changed or self._new)))

    def drop(self, entity: EntityId) -> None:
        """Forget an entity, if it is there."""
        with self._lock:
            self._forget(entity)

    def get(self, entity: EntityId) -> Folded | None:
        """What is remembered of an entity; asking counts as a touch."""
        with self._lock:
            if entity not in self:
                return None
            (self._new if entity in self._new else self._changed).move_to_end(entity)
            return self._sides[entity.type].get(entity.id)

    def search(
        self, type_: str, vector: NDArray[np.float32], k: int
    ) -> tuple[list[Near], NDArray[np.bool_] | None]:
        """The k entities of a type with the smallest angle to a vector, nearest first; exact.

        And as of the same moment, which indexed entities of the type to pass over beside them,
        None for none: so nobody is found at two places, or at none.
        """
        with self._lock:
            side = self._sides.get(type_)
            near = [
                Near(id_, distance, edges, EntityId(type_, id_) in self._changed)
                for id_, distance, edges in (side.nearest(vector, k) if side else [])
            ]
            masks = [m[type_] for m in (self._hidden, self._replaced) if type_ in m]
            return near, np.logical_or.reduce(masks) if masks else None

    def hide(self, type_: str, place: Place, *, hidden: bool) -> None:
        """Let nobody use an indexed entity's vector, or everybody again."""
        with self._lock:
            _mark(self._hidden, type_, place, to=hidden)

    def hidden(self, type_: str) -> NDArray[np.bool_] | None:
        """Of which indexed entities of a type nobody may use the vector; None: of none of them."""
        return self._hidden.get(type_)

    def __contains__(self, entity: EntityId) -> bool:
        return entity in self._new or entity in self._changed

    def __len__(self) -> int:
        return len(self._new) + len(self._changed)

    @property
    def full(self) -> bool:
        return len(self) >= self.bound

    @property
    def room(self) -> int:
        """How many more there may be that training never saw: changed ones make room for them."""
        return max(0, self.bound - len(self._new))

    def _forget(self, entity: EntityId) -> None:
        if entity not in self:
            return
        self._new.pop(entity, None)
        replaced = self._changed.pop(entity, None)
        if replaced is not None:
            _mark(self._replaced, entity.type, replaced, to=False)
        self._sides[entity.type].drop(entity.id)


def _mark(masks: dict[str, NDArray[np.bool_]], type_: str, place: Place, *, to: bool) -> None:
    """Set one place of a type's mask, which is made when it is first needed."""
    if type_ not in masks:
        if not to:
            return
        masks[type_] = np.zeros(place.rows, dtype=bool)
    masks[type_][place.at] = to


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

    def nearest(self, vector: NDArray[np.float32], k: int) -> list[tuple[str, float, int]]:
        """(id, distance, edges) of the k nearest."""
        if not self._ids:
            return []
        distances = 1.0 - self._directions[: len(self._ids)] @ _direction(vector)
        order = np.argsort(distances, kind="stable")[:k]
        return [(self._ids[n], float(distances[n]), self._folded[n].edges) for n in order]


def _direction(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """A vector at length 1; zero stays zero, at distance 1 from everything, as in the index."""
    length = max(float(np.linalg.norm(vector)), float(np.finfo(np.float32).tiny))
    return np.asarray(vector / length, dtype=np.float32)
