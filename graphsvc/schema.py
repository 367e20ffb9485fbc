"""What may be in the graph: entity types, relations, observations, and which event is a label.

Takes a TOML file, gives a checked `Schema`; never looks at an event. Two schemas come with the
package: `ads` (the default) and `film`.
"""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from graphsvc.errors import SchemaError
from graphsvc.ids import NAME

Source = Literal["onsite", "offsite", "structure"]
SOURCES = ("onsite", "offsite", "structure")
ATTRIBUTE_KINDS = ("category", "list", "number", "text")
BUILT_IN = ("ads", "film")
#: Attributes of one entity type: scoring reads each by a join, and SQLite joins at most 64 tables.
MAX_ATTRIBUTES = 32

#: The event that sets attributes of its actor; part of every schema, so no schema may declare it.
SET_ATTRIBUTES = "set_attributes"

#: (half-life, window) in days where a relation names none; our design.
_DECAY_DAYS = {"onsite": (14.0, 90.0), "offsite": (30.0, 90.0), "structure": (math.inf, math.inf)}


@dataclass(frozen=True, kw_only=True, slots=True)
class EntityType:
    """A kind of node."""

    name: str
    #: A person: offsite events about one need consent.
    person: bool = False
    #: attribute -> category | list | number | text
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class EventType:
    """An event that applications may post: who does it to what, where, what it leaves behind."""

    name: str
    head: str
    tail: str
    source: Source
    #: True: it becomes an edge of the relation of the same name. False: it is remembered only.
    edge: bool
    #: Edge weight = weight * log2(1 + decayed count).
    weight: float = 1.0
    #: After this many days an event counts half; inf = never forgets.
    half_life_days: float = math.inf
    #: Events older than this at the snapshot's time make no edge; inf = all do.
    window_days: float = math.inf


@dataclass(frozen=True, kw_only=True, slots=True)
class Label:
    """Which event shows something, and which event within the window afterwards makes it a 1."""

    exposure: str
    outcome: str
    window_minutes: float = 30.0


@dataclass(frozen=True)
class Schema:
    """All that may be in the graph. Mappings are keyed by name."""

    name: str
    entities: Mapping[str, EntityType]
    events: Mapping[str, EventType]
    label: Label

    @cached_property
    def relations(self) -> tuple[EventType, ...]:
        """The events that make edges, in the order in which the schema declares them."""
        return tuple(event for event in self.events.values() if event.edge)


def load_schema(name_or_path: str) -> Schema:
    """A built-in schema by name, or the one in a TOML file. Raises `SchemaError`."""
    if name_or_path in BUILT_IN:
        text = (files("graphsvc") / "schemas" / f"{name_or_path}.toml").read_text()
    else:
        path = Path(name_or_path)
        if not path.is_file():
            raise SchemaError(
                f"schema should be one of {', '.join(BUILT_IN)} or a TOML file, "
                f"received {name_or_path!r}"
            )
        text = path.read_text()
    try:
        return parse_schema(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise SchemaError(f"schema {name_or_path!r} is not TOML: {error}") from error


def parse_schema(document: Mapping[str, Any]) -> Schema:
    """Check a schema that was read from TOML. Raises `SchemaError` naming the field."""
    _only(document, {"name", "entities", "relations", "observations", "label"}, "schema")
    entities = {
        name: _entity(name, entry) for name, entry in _table(document, "entities", "schema").items()
    }
    events: dict[str, EventType] = {}
    for section, edge in (("relations", True), ("observations", False)):
        for name, entry in _table(document, section, "schema").items():
            if name in events or name == SET_ATTRIBUTES:
                raise SchemaError(f"{section}.{name}: the name is taken")
            events[name] = _event(f"{section}.{name}", name, entry, edge, entities)
    return Schema(
        name=str(document.get("name", "unnamed")),
        entities=entities,
        events=events,
        label=_label(_table(document, "label", "schema"), events),
    )


def _entity(name: str, entry: Any) -> EntityType:
    where = f"entities.{name}"
    _check_name(name, where)
    if not isinstance(entry, Mapping):
        raise SchemaError(f"{where} should be a table, received {entry!r}")
    _only(entry, {"person", "attributes"}, where)
    person = entry.get("person", False)
    if not isinstance(person, bool):
        raise SchemaError(f"{where}.person should be true or false, received {person!r}")
    attributes = _table(entry, "attributes", where, needed=False)
    if len(attributes) > MAX_ATTRIBUTES:
        raise SchemaError(
            f"{where} should have at most {MAX_ATTRIBUTES} attributes, received {len(attributes)}"
        )
    for attribute, kind in attributes.items():
        _check_name(attribute, f"{where}.attributes")
        if kind not in ATTRIBUTE_KINDS:
            raise SchemaError(
                f"{where}.attributes.{attribute} should be one of "
                f"{', '.join(ATTRIBUTE_KINDS)}, received {kind!r}"
            )
    return EntityType(name=name, person=person, attributes=dict(attributes))


def _event(
    where: str, name: str, entry: Any, edge: bool, entities: Mapping[str, EntityType]
) -> EventType:
    _check_name(name, where)
    if not isinstance(entry, Mapping):
        raise SchemaError(f"{where} should be a table, received {entry!r}")
    dials = {"weight", "half_life_days", "window_days"} if edge else set()
    _only(entry, {"head", "tail", "source"} | dials, where)
    for end in ("head", "tail"):
        if entry.get(end) not in entities:
            raise SchemaError(
                f"{where}.{end} should be a declared entity type, received {entry.get(end)!r}"
            )
    source = entry.get("source")
    if source not in SOURCES:
        raise SchemaError(
            f"{where}.source should be one of {', '.join(SOURCES)}, received {source!r}"
        )
    half_life, window = _DECAY_DAYS[source]
    return EventType(
        name=name,
        head=entry["head"],
        tail=entry["tail"],
        source=source,
        edge=edge,
        weight=_positive(entry, "weight", 1.0, where),
        half_life_days=_positive(entry, "half_life_days", half_life, where),
        window_days=_positive(entry, "window_days", window, where),
    )


def _label(entry: Mapping[str, Any], events: Mapping[str, EventType]) -> Label:
    _only(entry, {"exposure", "outcome", "window_minutes"}, "label")
    for part in ("exposure", "outcome"):
        if entry.get(part) not in events:
            raise SchemaError(
                f"label.{part} should be a declared event, received {entry.get(part)!r}"
            )
    exposure, outcome = events[entry["exposure"]], events[entry["outcome"]]
    if not outcome.edge:
        raise SchemaError(
            f"label.outcome should be a relation, received the observation {outcome.name!r}"
        )
    if (exposure.head, exposure.tail) != (outcome.head, outcome.tail):
        raise SchemaError("label: exposure and outcome should have the same head and tail types")
    return Label(
        exposure=exposure.name,
        outcome=outcome.name,
        window_minutes=_positive(entry, "window_minutes", 30.0, "label"),
    )


def _table(
    entry: Mapping[str, Any], key: str, where: str, *, needed: bool = True
) -> Mapping[str, Any]:
    value = entry.get(key, None if needed else {})
    if not isinstance(value, Mapping):
        raise SchemaError(f"{where} should have a table [{key}]")
    return value


def _only(entry: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in entry:
        if key not in known:
            raise SchemaError(f"{where}.{key} is unknown; known are {', '.join(sorted(known))}")


def _positive(entry: Mapping[str, Any], key: str, default: float, where: str) -> float:
    value = entry.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise SchemaError(f"{where}.{key} should be a number above 0, received {value!r}")
    return float(value)


def _check_name(name: str, where: str) -> None:
    if not NAME.match(name):
        raise SchemaError(
            f"{where}: a name should be lower-case letters, digits and _, received {name!r}"
        )
