"""What changed since the bundle was trained: vectors, and rows of the index to pass over.

Takes folded vectors and hidden rows, gives both as arrays to search; never holds more entities than
its bound. Each trio has an overlay of its own, so a promotion starts with an empty one.
"""

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphsvc.ids import EntityId
from kge.bundle import ALL

_FIRST_ROOM = 64


@dataclass(frozen=True, slots=True)
class Folded:
    """A vector in the bundle's space and the number of edges that it was solved from.

    `degree`: how many edges it has, also those that it was not solved from; 0 where nobody counted.
    `facets`: the same in the other facets' spaces, by name, if those were asked for.
    """

    vector: NDArray[np.float32]
    edges: int
    facets: Mapping[str, "Folded"] = field(default_factory=dict)
    #: Keys of the entities whose offsite edges it was solved from: an opt-out may take these.
    leans_on: tuple[int, ...] = ()
    degree: int = 0

    def within(self, facet: str) -> "Folded | None":
        """Where it lies in a facet; None where it has no edge of the facet's relations."""
        if facet == ALL:
            return self
        found = self.facets.get(facet)
        return found if found and found.edges else None


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
        self._views: dict[tuple[str, str], View] = {}
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
            self._outdated(entity.type)
            side = self._sides.setdefault(entity.type, _Side())
            side.put(entity.id, folded, changed=replaces is not None)
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

    def view(self, type_: str, facet: str = ALL) -> "View":
        """What there is of a type in a facet.

        All as of one moment, so that nobody is found at two places, or at none.
        """
        with self._lock:
            name = (type_, facet)
            view = self._views.get(name)
            if view is None:
                side = self._sides.get(type_)
                masks = [m[type_] for m in (self._hidden, self._replaced) if type_ in m]
                passed_over = np.logical_or.reduce(masks) if masks else None
                view = self._views[name] = _view(side, facet, passed_over)
            return view

    def hide(self, type_: str, place: Place, *, hidden: bool) -> None:
        """Let nobody use an indexed entity's vector, or everybody again."""
        with self._lock:
            self._outdated(type_)
            _mark(self._hidden, type_, place, to=hidden)

    def hidden(self, type_: str) -> NDArray[np.bool_] | None:
        """Of which indexed entities of a type nobody may use the vector; None: of none of them."""
        return self._hidden.get(type_)

    def leaning_on(self, keys: Collection[int]) -> list[EntityId]:
        """Those that were solved from offsite edges of some entities."""
        among = frozenset(keys)
        with self._lock:
            held = [(type_, *one) for type_, side in self._sides.items() for one in side.folded()]
        return [
            EntityId(type_, id_)
            for type_, id_, folded in held
            if not among.isdisjoint(folded.leans_on)
        ]

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
        self._outdated(entity.type)
        self._sides[entity.type].drop(entity.id)

    def _outdated(self, type_: str) -> None:
        for name in [name for name in self._views if name[0] == type_]:
            del self._views[name]


def _mark(masks: dict[str, NDArray[np.bool_]], type_: str, place: Place, *, to: bool) -> None:
    """Set one place of a type's mask, which is made when it is first needed."""
    if type_ not in masks:
        if not to:
            return
        masks[type_] = np.zeros(place.rows, dtype=bool)
    masks[type_][place.at] = to


@dataclass(frozen=True)
class View:
    """What an overlay holds of one type in one facet at one moment; never changes."""

    ids: Sequence[str]
    #: [m, d] as they were solved
    vectors: NDArray[np.float32]
    #: [m, d] at length 1
    directions: NDArray[np.float32]
    #: [m] edges that each was solved from
    edges: NDArray[np.int64]
    #: [m] edges that each has, no fewer than it was solved from
    degree: NDArray[np.int64]
    #: [m] training knows it, and this stands in for its row of the index
    changed: NDArray[np.bool_]
    #: Rows of the index to pass over, True at each; None for none.
    passed_over: NDArray[np.bool_] | None


def _view(side: "_Side | None", facet: str, passed_over: NDArray[np.bool_] | None) -> View:
    rows = side.rows.get(facet) if side else None
    if side is None or rows is None:
        nothing, none = np.empty((0, 0), np.float32), np.empty(0, np.int64)
        return View([], nothing, nothing, none, none, np.empty(0, np.bool_), passed_over)
    count = len(side.ids)
    # In a facet, those that have no edge of it are nowhere.
    here = np.flatnonzero(rows.edges[:count]) if facet != ALL else slice(count)
    ids = side.ids[:] if isinstance(here, slice) else [side.ids[n] for n in here.tolist()]
    return View(
        ids=ids,
        vectors=rows.vectors[:count][here].copy(),
        directions=rows.directions[:count][here].copy(),
        edges=rows.edges[:count][here].copy(),
        degree=rows.degree[:count][here].copy(),
        changed=side.changed[:count][here].copy(),
        passed_over=passed_over,
    )


class _Rows:
    """What one facet says of the entities of one type: arrays with a row for each, without gaps."""

    def __init__(self, dim: int) -> None:
        self.vectors = np.zeros((0, dim), np.float32)
        self.directions = np.zeros((0, dim), np.float32)
        self.edges = np.zeros(0, np.int64)
        self.degree = np.zeros(0, np.int64)

    def put(self, place: int, folded: Folded | None, room: int) -> None:
        if room > len(self.edges):
            self.vectors = _grown(self.vectors, room)
            self.directions = _grown(self.directions, room)
            self.edges = _grown(self.edges, room)
            self.degree = _grown(self.degree, room)
        self.edges[place] = folded.edges if folded else 0
        self.degree[place] = max(folded.edges, folded.degree) if folded else 0
        if folded:
            self.vectors[place] = folded.vector
            self.directions[place] = direction(folded.vector)

    def move(self, last: int, place: int) -> None:
        for column in (self.vectors, self.directions, self.edges, self.degree):
            if last < len(column):
                column[place] = column[last]


class _Side:
    """The entities of one type: each has a place, the same in every facet, without gaps."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.rows: dict[str, _Rows] = {}
        self.changed = np.zeros(0, np.bool_)
        self._place: dict[str, int] = {}
        self._folded: list[Folded] = []

    def get(self, id_: str) -> Folded:
        return self._folded[self._place[id_]]

    def folded(self) -> Iterator[tuple[str, Folded]]:
        return zip(self.ids, self._folded, strict=True)

    def put(self, id_: str, folded: Folded, *, changed: bool) -> None:
        place = self._place.get(id_)
        if place is None:
            place = self._place[id_] = len(self.ids)
            self.ids.append(id_)
            self._folded.append(folded)
        if place >= len(self.changed):
            self.changed = _grown(self.changed, max(_FIRST_ROOM, 2 * place))
        self._folded[place], self.changed[place] = folded, changed
        self.rows.setdefault(ALL, _Rows(len(folded.vector)))
        for name, one in folded.facets.items():
            self.rows.setdefault(name, _Rows(len(one.vector)))
        for name, rows in self.rows.items():
            rows.put(place, folded.within(name), len(self.changed))

    def drop(self, id_: str) -> None:
        place, last = self._place.pop(id_), len(self.ids) - 1
        if place != last:  # the last one moves into the gap
            self.ids[place], self._folded[place] = self.ids[last], self._folded[last]
            self.changed[place] = self.changed[last]
            for rows in self.rows.values():
                rows.move(last, place)
            self._place[self.ids[place]] = place
        self.ids.pop()
        self._folded.pop()


def _grown(array: NDArray[Any], room: int) -> NDArray[Any]:
    larger = np.zeros((room, *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger


def direction(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """A vector at length 1; zero stays zero, at distance 1 from everything, as in the index."""
    length = max(float(np.linalg.norm(vector)), float(np.finfo(np.float32).tiny))
    return np.asarray(vector / length, dtype=np.float32)
