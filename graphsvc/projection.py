"""The rules of the graph: what an event changes.

Takes logged events, gives the sum of their changes to edges, counters and attributes; never
touches the database, so a replay of the log and the first time through are the same function.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import exp2
from typing import Any, NamedTuple

from graphsvc.schema import SET_ATTRIBUTES, EventType, Schema

_DAY_SECONDS = 86_400.0


class Logged(NamedTuple):
    """An event as the log has it: entities by key."""

    seq: int
    event_name: str
    event_time: int
    actor: int
    object: int | None
    #: Needed for `set_attributes` only.
    properties: Mapping[str, Any] | None = None


@dataclass(slots=True)
class EdgeChange:
    """What some events add to one edge: decayed = sum over times t of 2^((t - last_time) * rate).

    Our design: the sum is kept as of the newest event, so no half-life is too short and no date
    too old for a double.
    """

    rate: float
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


class AttributeChange(NamedTuple):
    """A value and who wrote it: the greatest (event_time, seq) wins. None removes."""

    event_time: int
    seq: int
    value: Any


@dataclass(slots=True)
class Changes:
    """The changes of some events, summed per row of the projected tables."""

    #: (head key, relation, tail key)
    edges: dict[tuple[int, str, int], EdgeChange] = field(default_factory=dict)
    #: (entity key, event name) -> how many more
    counters: dict[tuple[int, str], int] = field(default_factory=dict)
    #: (entity key, attribute)
    attributes: dict[tuple[int, str], AttributeChange] = field(default_factory=dict)


def decay_rate(event_type: EventType) -> float:
    """1 / half-life, per second; 0 where nothing is forgotten."""
    return 1.0 / (event_type.half_life_days * _DAY_SECONDS)


def project(schema: Schema, logged: Iterable[Logged]) -> Changes:
    """Sum the changes of some events. An entity at both ends of an event is counted once."""
    changes = Changes()
    rates = {relation.name: decay_rate(relation) for relation in schema.relations}
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
        rate = rates.get(name)
        if rate is not None:
            edge = edges.get((actor, name, target))
            if edge is None:
                edge = edges[actor, name, target] = EdgeChange(rate)
            edge.add(event.event_time)
    return changes


def _set_attributes(changes: Changes, event: Logged) -> None:
    for name, value in (event.properties or {}).items():
        change = AttributeChange(event.event_time, event.seq, value)
        present = changes.attributes.get((event.actor, name))
        if present is None or change[:2] > present[:2]:
            changes.attributes[event.actor, name] = change
