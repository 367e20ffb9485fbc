"""The rules of the graph: what an event changes.

Takes logged events, gives the sum of their changes to edges, counters and attributes; never
touches the database, so a replay of the log and the first time through are the same function.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import exp2
from typing import Any, NamedTuple

from graphsvc.builtin import RETRACT, SET_ATTRIBUTES
from graphsvc.schema import EventType, Schema

_DAY_SECONDS = 86_400.0


#: (head key, relation, tail key)
Pair = tuple[int, str, int]


class Logged(NamedTuple):
    """An event as the log has it: entities by key."""

    seq: int
    event_name: str
    event_time: int
    actor: int
    object: int | None
    #: Needed for `retract` only.
    relation: str | None = None
    #: Needed for `set_attributes` only, and its properties.
    event_id: str = ""
    properties: Mapping[str, Any] | None = None


@dataclass(slots=True)
class EdgeChange:
    """What some events add to one edge: decayed = sum over times t of 2^((t - last_time) * rate).

    Our design: the sum is kept as of the newest event, so no half-life is too short and no date
    too old for a double.
    """

    rate: float
    #: False: however many events, the edge counts as one, as old as the newest.
    adds_up: bool = True
    decayed: float = 0.0
    count: int = 0
    first_time: int = 0
    last_time: int = 0

    def add(self, time: int) -> None:
        """Count one event at `time`, in seconds since 1970; any order gives the same sum."""
        if not self.count:
            self.first_time = self.last_time = time
        if time > self.last_time:
            self.decayed *= exp2((self.last_time - time) * self.rate)
            self.last_time = time
        self.decayed += exp2((time - self.last_time) * self.rate)
        self.first_time = min(self.first_time, time)
        self.count += 1
        if not self.adds_up:
            self.count, self.decayed = 1, 1.0


class AttributeChange(NamedTuple):
    """A value and who wrote it: the greatest (event_time, event_id) wins. None removes."""

    event_time: int
    event_id: str
    value: Any


@dataclass(slots=True)
class Changes:
    """The changes of some events, summed per row of the projected tables."""

    edges: dict[Pair, EdgeChange] = field(default_factory=dict)
    #: (entity key, event name) -> how many more
    counters: dict[tuple[int, str], int] = field(default_factory=dict)
    #: (entity key, attribute)
    attributes: dict[tuple[int, str], AttributeChange] = field(default_factory=dict)
    #: Edges of which an event was taken back: they have to be summed anew.
    retracted: set[Pair] = field(default_factory=set)


def decay_rate(event_type: EventType) -> float:
    """1 / half-life, per second; 0 where nothing is forgotten."""
    return 1.0 / (event_type.half_life_days * _DAY_SECONDS)


def project(schema: Schema, logged: Iterable[Logged]) -> Changes:
    """Sum the changes of some events. An entity at both ends of an event is counted once."""
    changes = Changes()
    kinds = {
        relation.name: (decay_rate(relation), relation.parallel) for relation in schema.relations
    }
    loops = {relation.name for relation in schema.relations if relation.self_loops}
    counters, edges = changes.counters, changes.edges
    for event in logged:
        name, actor, target = event.event_name, event.actor, event.object
        counters[actor, name] = counters.get((actor, name), 0) + 1
        if target is None:
            if name == SET_ATTRIBUTES:
                _set_attributes(changes, event)
            continue
        if target != actor:
            counters[target, name] = counters.get((target, name), 0) + 1
        elif (event.relation or name) not in loops:
            continue  # its ends became one by a merge
        if name == RETRACT and event.relation:
            changes.retracted.add((actor, event.relation, target))
        elif name in kinds:
            edge = edges.get((actor, name, target))
            if edge is None:
                edge = edges[actor, name, target] = EdgeChange(*kinds[name])
            edge.add(event.event_time)
    return changes


def empty_edge(relation: EventType) -> EdgeChange:
    """An edge of a relation before its first event."""
    return EdgeChange(decay_rate(relation), relation.parallel)


def standing(events: Iterable[tuple[int, bool, str]], *, adds_up: bool) -> list[int]:
    """The times of the events of one edge that still stand; see `standing_events`."""
    return [time for time, _ in standing_events(events, adds_up=adds_up)]


def standing_events(
    events: Iterable[tuple[int, bool, str]], *, adds_up: bool
) -> list[tuple[int, str]]:
    """(time, event id) of what still stands of one edge, from (time, is retraction, event id).

    A retraction takes back the most recent event before it that stands; where events do not add up,
    all of them. One that finds nothing changes nothing. Of the same second, events come first.
    """
    left: list[tuple[int, str]] = []
    for time, is_retraction, event_id in sorted(events):
        if not is_retraction:
            left.append((time, event_id))
        elif not adds_up:
            left.clear()
        elif left:
            left.pop()
    return left


def _set_attributes(changes: Changes, event: Logged) -> None:
    for name, value in (event.properties or {}).items():
        change = AttributeChange(event.event_time, event.event_id, value)
        present = changes.attributes.get((event.actor, name))
        if present is None or change[:2] > present[:2]:
            changes.attributes[event.actor, name] = change
