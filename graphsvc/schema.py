"""What may be in the graph: entity types, relations, observations, and which event is a label.

Takes a document (of a TOML file, or JSON of the same shape), gives a checked `Schema`, and the
document of one; never looks at an event. Two schemas come with the package: `ads` (the default)
and `film`.
"""

import math
import tomllib
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from graphsvc.builtin import BUILT_IN
from graphsvc.errors import SchemaError
from graphsvc.ids import NAME

Source = Literal["onsite", "offsite", "structure"]
SOURCES = ("onsite", "offsite", "structure")
ATTRIBUTE_KINDS = ("category", "list", "number", "text")
BUILT_IN_SCHEMAS = ("ads", "film")
#: Attributes of one entity type: scoring reads each by a join, and SQLite joins at most 64 tables.
MAX_ATTRIBUTES = 32
#: Every statement that adds to edges names each relation, so there is a bound.
MAX_ENTITY_TYPES, MAX_EVENT_TYPES = 100, 300
MAX_SCHEMA_NAME = 100
#: Bounds of its numbers, so that sums of what they make are finite.
_LEAST, _MOST = 1e-9, 1e9
_LONGEST_ECHO = 100

_EVENT_FIELDS = frozenset({"head", "tail", "source", "self_loops"})
_EDGE_FIELDS = frozenset({"weight", "half_life_days", "window_days", "parallel", "directed"})
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
    #: Whether an entity may be related to itself.
    self_loops: bool = True
    #: True: events between the same two add up. False: the edge is there or it is not.
    parallel: bool = True
    #: False: actor and object are alike; the log has the one with the smaller id as actor.
    directed: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Label:
    """Which event shows something, and which event within the window afterwards makes it a 1."""

    exposure: str
    outcome: str
    window_minutes: float = 30.0
    #: An event within the window that makes it a 0 whatever else follows; never a relation.
    negative: str | None = None
    #: Relations that count as conversions of a click unless somebody names others; None: every
    #: offsite one that a click can lead to.
    conversions: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Schema:
    """All that may be in the graph. Mappings are keyed by name."""

    name: str
    entities: Mapping[str, EntityType]
    events: Mapping[str, EventType]
    label: Label
    #: Its place among the versions in the database; 0: it comes from a file.
    version: int = 0

    @cached_property
    def relations(self) -> tuple[EventType, ...]:
        """The events that make edges, in the order in which the schema declares them."""
        return tuple(event for event in self.events.values() if event.edge)

    @cached_property
    def named(self) -> frozenset[str]:
        """Every name that an event may have, those that no schema declares included."""
        return BUILT_IN | self.events.keys()

    @cached_property
    def undirected(self) -> frozenset[str]:
        """Names of the relations whose two ends are alike."""
        return frozenset(relation.name for relation in self.relations if not relation.directed)

    @cached_property
    def single(self) -> frozenset[str]:
        """Names of the relations whose events do not add up."""
        return frozenset(relation.name for relation in self.relations if not relation.parallel)

    @cached_property
    def convertible(self) -> tuple[str, ...]:
        """Events by those who are shown things, on what is shown or on what that leads to."""
        label, exposure = self.label, self.events[self.label.exposure]
        led_to = {exposure.tail} | {
            relation.tail
            for relation in self.relations
            if relation.source == "structure" and relation.head == exposure.tail
        }
        return tuple(
            event.name
            for event in self.events.values()
            if event.name not in (label.exposure, label.outcome, label.negative)
            and event.source != "structure"
            and event.head == exposure.head
            and event.tail in led_to
        )


def load_schema(name_or_path: str) -> Schema:
    """A built-in schema by name, or the one in a TOML file. Raises `SchemaError`."""
    if name_or_path in BUILT_IN_SCHEMAS:
        text = (files("graphsvc") / "schemas" / f"{name_or_path}.toml").read_text()
    else:
        path = Path(name_or_path)
        if not path.is_file():
            raise SchemaError(
                f"schema should be one of {', '.join(BUILT_IN_SCHEMAS)} or a TOML file, "
                f"received {name_or_path!r}"
            )
        text = path.read_text()
    try:
        return parse_schema(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise SchemaError(f"schema {name_or_path!r} is not TOML: {error}") from error


def parse_schema(document: Mapping[str, Any]) -> Schema:
    """Check a schema that was read from TOML or JSON. Raises `SchemaError` naming the field.

    Where a number of days may be infinite, JSON says "inf". A document with its version beside it,
    which is how a schema is shown, is one as well.
    """
    shown = document.get("document")
    if document.keys() == {"version", "document"} and isinstance(shown, Mapping):
        document = shown
    _only(document, {"name", "entities", "relations", "observations", "label"}, "schema")
    title = document.get("name", "unnamed")
    if (
        not isinstance(title, str)
        or not title.isprintable()
        or not 1 <= len(title) <= MAX_SCHEMA_NAME
    ):
        raise SchemaError(
            f"name should be 1 to {MAX_SCHEMA_NAME} printable characters, received {_shown(title)}"
        )
    entities = {
        name: _entity(name, entry) for name, entry in _table(document, "entities", "schema").items()
    }
    events: dict[str, EventType] = {}
    for section, edge in (("relations", True), ("observations", False)):
        for name, entry in _table(document, section, "schema").items():
            if name in events or name in BUILT_IN:
                raise SchemaError(f"{section}.{name}: the name is taken")
            events[name] = _event(f"{section}.{name}", name, entry, edge, entities)
    if len(entities) > MAX_ENTITY_TYPES or len(events) > MAX_EVENT_TYPES:
        raise SchemaError(
            f"a schema should have at most {MAX_ENTITY_TYPES} entity types and {MAX_EVENT_TYPES} "
            f"relations and observations, received {len(entities)} and {len(events)}"
        )
    schema = Schema(
        name=title,
        entities=entities,
        events=events,
        label=_label(_table(document, "label", "schema"), events),
    )
    _check_conversions(schema)
    return schema


def to_document(schema: Schema) -> dict[str, Any]:
    """The document that `parse_schema` reads as this schema: every field said, plain JSON."""
    relations, observations = (
        {event.name: _described(event) for event in schema.events.values() if event.edge is edge}
        for edge in (True, False)
    )
    label = {key: value for key, value in asdict(schema.label).items() if value is not None}
    return {
        "name": schema.name,
        "entities": {
            kind.name: {"person": kind.person, "attributes": dict(kind.attributes)}
            for kind in schema.entities.values()
        },
        "relations": relations,
        "observations": observations,
        "label": {key: _plain(value) for key, value in label.items()},
    }


def _described(event: EventType) -> dict[str, Any]:
    said = asdict(event)
    known = _EVENT_FIELDS | _EDGE_FIELDS if event.edge else _EVENT_FIELDS
    return {key: _plain(value) for key, value in said.items() if key in known}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return "inf" if isinstance(value, float) and math.isinf(value) else value


def _entity(name: str, entry: Any) -> EntityType:
    where = f"entities.{name}"
    _check_name(name, where)
    if not isinstance(entry, Mapping):
        raise SchemaError(f"{where} should be a table, received {_shown(entry)}")
    _only(entry, {"person", "attributes"}, where)
    person = entry.get("person", False)
    if not isinstance(person, bool):
        raise SchemaError(f"{where}.person should be true or false, received {_shown(person)}")
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
                f"{', '.join(ATTRIBUTE_KINDS)}, received {_shown(kind)}"
            )
    return EntityType(name=name, person=person, attributes=dict(attributes))


def _event(
    where: str, name: str, entry: Any, edge: bool, entities: Mapping[str, EntityType]
) -> EventType:
    _check_name(name, where)
    if not isinstance(entry, Mapping):
        raise SchemaError(f"{where} should be a table, received {_shown(entry)}")
    _only(entry, _EVENT_FIELDS | _EDGE_FIELDS if edge else _EVENT_FIELDS, where)
    for end in ("head", "tail"):
        if not isinstance(entry.get(end), str) or entry[end] not in entities:
            raise SchemaError(
                f"{where}.{end} should be a declared entity type, received {_shown(entry.get(end))}"
            )
    source = entry.get("source")
    if source not in SOURCES:
        raise SchemaError(
            f"{where}.source should be one of {', '.join(SOURCES)}, received {_shown(source)}"
        )
    half_life, window = _DECAY_DAYS[source]
    directed = _flag(entry, "directed", where)
    if not directed and entry["head"] != entry["tail"]:
        raise SchemaError(
            f"{where}.directed should be true where head and tail are of different types"
        )
    return EventType(
        name=name,
        head=entry["head"],
        tail=entry["tail"],
        source=source,
        edge=edge,
        weight=_positive(entry, "weight", 1.0, where),
        half_life_days=_positive(entry, "half_life_days", half_life, where),
        window_days=_positive(entry, "window_days", window, where),
        self_loops=_flag(entry, "self_loops", where),
        parallel=_flag(entry, "parallel", where),
        directed=directed,
    )


def _label(entry: Mapping[str, Any], events: Mapping[str, EventType]) -> Label:
    _only(entry, {"exposure", "outcome", "window_minutes", "negative", "conversions"}, "label")
    for part in ("exposure", "outcome", "negative")[: 3 if "negative" in entry else 2]:
        if not isinstance(entry.get(part), str) or entry[part] not in events:
            raise SchemaError(
                f"label.{part} should be a declared event, received {_shown(entry.get(part))}"
            )
    exposure, outcome = events[entry["exposure"]], events[entry["outcome"]]
    if not outcome.edge:
        raise SchemaError(
            f"label.outcome should be a relation, received the observation {outcome.name!r}"
        )
    if (exposure.head, exposure.tail) != (outcome.head, outcome.tail):
        raise SchemaError("label: exposure and outcome should have the same head and tail types")
    if not exposure.directed:
        raise SchemaError(
            f"label.exposure should have a direction, from whom it was shown to; {exposure.name!r} "
            "has none"
        )
    negative = events[entry["negative"]] if "negative" in entry else None
    if negative and (
        negative.edge
        or negative.name == exposure.name
        or (negative.head, negative.tail) != (exposure.head, exposure.tail)
    ):
        raise SchemaError(
            "label.negative should be an observation beside the exposure, with the same head and "
            f"tail types, received {negative.name!r}"
        )
    return Label(
        exposure=exposure.name,
        outcome=outcome.name,
        window_minutes=_positive(entry, "window_minutes", 30.0, "label"),
        negative=negative.name if negative else None,
        conversions=_conversions(entry),
    )


def _conversions(entry: Mapping[str, Any]) -> tuple[str, ...] | None:
    names = entry.get("conversions")
    if names is not None and (not isinstance(names, list) or not names):
        raise SchemaError(
            f"label.conversions should be a list of relations, received {_shown(names)}"
        )
    return None if names is None else tuple(names)


def _check_conversions(schema: Schema) -> None:
    able = [name for name in schema.convertible if schema.events[name].edge]
    for name in schema.label.conversions or ():
        if name not in able:
            raise SchemaError(
                "label.conversions should be relations that a click can lead to ("
                f"{', '.join(able) or 'the schema has none'}), received {_shown(name)}"
            )


def _table(
    entry: Mapping[str, Any], key: str, where: str, *, needed: bool = True
) -> Mapping[str, Any]:
    value = entry.get(key, None if needed else {})
    if not isinstance(value, Mapping):
        raise SchemaError(f"{where} should have a table [{key}]")
    return value


def _only(entry: Mapping[str, Any], known: AbstractSet[str], where: str) -> None:
    for key in entry:
        if key not in known:
            named = f"{where}.{str(key)[:64]}"
            raise SchemaError(f"{named} is unknown; known are {', '.join(sorted(known))}")


def _positive(entry: Mapping[str, Any], key: str, default: float, where: str) -> float:
    value = entry.get(key, default)
    if key.endswith("_days") and value in ("inf", math.inf):
        return math.inf
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not _LEAST <= value <= _MOST:
        most = f'{_MOST:g}, or "inf"' if key.endswith("_days") else f"{_MOST:g}"
        raise SchemaError(
            f"{where}.{key} should be a number from {_LEAST:g} to {most}, received {_shown(value)}"
        )
    return float(value)


def _flag(entry: Mapping[str, Any], key: str, where: str) -> bool:
    value = entry.get(key, True)
    if not isinstance(value, bool):
        raise SchemaError(f"{where}.{key} should be true or false, received {_shown(value)}")
    return value


def _check_name(name: str, where: str) -> None:
    if not NAME.fullmatch(name):
        raise SchemaError(
            f"{where}: a name should be lower-case letters, digits and _, received {_shown(name)}"
        )


def _shown(value: Any) -> str:
    """A value in an error: in one line, and not all of it if it is long."""
    return repr(value)[:_LONGEST_ECHO]
