"""Who passes a filter at this moment: of a type's rows in the bundle, and of some ids beside it.

Takes a filter and a connection, gives a truth per row and per id by the same rules; never searches.
Each condition is looked up once per request, however many rows and ids it is asked of.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.columns import Columns, Test, Values
from api.errors import Invalid
from api.filters import RANGE, Condition, Filter
from graphsvc import filtering
from graphsvc.catalog import key_of
from graphsvc.db import Connection
from graphsvc.errors import EntityMissing
from graphsvc.hints import listed, meant
from graphsvc.ids import EntityId
from graphsvc.schema import Schema
from kge.bundle import Bundle

#: Edges that a condition on a relation looks at, and that all those of a request look at.
MOST_EDGES = 100_000
MOST_EDGES_TOGETHER = 1_000_000
#: Filters of which a request keeps who passes; each takes a byte per row of a type.
_MOST_MASKS = 8

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Place:
    """Some entities of one type: all of the bundle's, or those that are named."""

    type: str
    size: int
    #: None: the type's rows in the bundle.
    ids: Sequence[str] | None
    #: Places among the type's rows, below 0 for those that are not in the bundle.
    places: NDArray[Any] | None


@dataclass(slots=True)
class Passing:
    """Looks conditions up, each once; good for one request."""

    connection: Connection
    schema: Schema
    bundle: Bundle
    columns: Columns
    _ids: dict[tuple[str, bytes], frozenset[str]] = field(default_factory=dict)
    #: Those of the filters that were asked for last.
    _masks: OrderedDict[tuple[bytes, str], Mask] = field(default_factory=OrderedDict)
    _keys: dict[EntityId, int] = field(default_factory=dict)
    #: Edges that conditions have read.
    _edges: int = 0

    def check(self, filter_: Filter, types: Sequence[str]) -> None:
        """Raise `Invalid` where a condition asks what the schema does not have."""
        schema = self.schema
        attributes: dict[str, set[str]] = {}
        for type_ in types:
            if type_ in schema.entities:
                for name, kind in schema.entities[type_].attributes.items():
                    attributes.setdefault(name, set()).add(kind)
        relations = {relation.name for relation in schema.relations}
        for condition in filter_.conditions:
            for name in _types(condition) or ():
                _known("type", name, schema.entities)
            if condition.attribute is not None:
                _known("attribute", condition.attribute, attributes)
                _comparable(condition, attributes[condition.attribute])
            if condition.relation is not None:
                _known("relation", condition.relation, relations)
            if condition.of is not None:
                _known("of.type", condition.of.type, schema.entities)

    def rows(self, filter_: Filter, type_: str) -> Mask:
        """Which rows of a type pass."""
        name = (filter_.key, type_)
        if name not in self._masks:
            kind = self.bundle.types[type_]
            place = Place(type_, kind.stop - kind.start, None, None)
            self._masks[name] = self._holds(filter_, place)
        self._masks.move_to_end(name)
        while len(self._masks) > _MOST_MASKS:
            self._masks.popitem(last=False)
        return self._masks[name]

    def ids(self, filter_: Filter, type_: str, ids: Sequence[str]) -> Mask:
        """Which of some ids of a type pass."""
        places = self.bundle.rows(type_, ids) - self.bundle.types[type_].start
        return self._holds(filter_, Place(type_, len(ids), ids, places))

    def _holds(self, filter_: Filter, place: Place) -> Mask:
        passes = np.ones(place.size, np.bool_)
        for condition in filter_.must:
            passes &= self._meets(condition, place)
        for condition in filter_.must_not:
            passes &= ~self._meets(condition, place)
        if filter_.should is not None:
            one = np.zeros(place.size, np.bool_)
            for condition in filter_.should:
                one |= self._meets(condition, place)
            passes &= one
        return passes

    def _meets(self, condition: Condition, place: Place) -> Mask:
        if (types := _types(condition)) is not None:
            return np.full(place.size, place.type in types)
        if condition.ids is not None or condition.relation is not None:
            return self._among(self._named(condition, place.type), place)
        if condition.attribute is not None and condition.exists is False:
            return ~self._has(condition.attribute, _any_value, place)
        if condition.attribute is not None:
            return self._has(condition.attribute, _test(condition), place)
        return self._holds(condition, place)

    def _has(self, attribute: str, test: Test, place: Place) -> Mask:
        kind = self.schema.entities.get(place.type)
        if kind is None or attribute not in kind.attributes:
            return np.zeros(place.size, np.bool_)
        column = self.columns.get(self.connection, place.type, attribute)
        if place.ids is None or place.places is None:
            return column.passing(test)
        return column.passing_of(test, place.ids, place.places)

    def _among(self, ids: frozenset[str], place: Place) -> Mask:
        if place.ids is not None:
            return np.array([id_ in ids for id_ in place.ids], np.bool_)
        found = np.zeros(place.size, np.bool_)
        rows = self.bundle.rows(place.type, sorted(ids)) - self.bundle.types[place.type].start
        found[rows[rows >= 0]] = True
        return found

    def _named(self, condition: Condition, type_: str) -> frozenset[str]:
        """The ids of a type that a condition on ids or on a relation names."""
        name = (type_, condition.key)
        if name not in self._ids:
            if condition.ids is not None:
                found = filtering.standing_for(self.connection, type_, condition.ids)
            else:
                found = self._joined(condition, type_)
            self._ids[name] = frozenset(found)
        return self._ids[name]

    def _joined(self, condition: Condition, type_: str) -> set[str]:
        of, relation = condition.of, condition.relation
        if of is None or relation is None:  # as the language has it, this cannot be
            return set()
        key = self._key(EntityId(of.type, of.id))
        found: set[str] = set()
        for outward in self._sides(condition, of.type, type_):
            most = min(MOST_EDGES, MOST_EDGES_TOGETHER - self._edges)
            ends = filtering.joined(
                self.connection, relation, key, type_=type_, outward=outward, most=most
            )
            self._edges += most if ends is None else len(ends)
            if ends is None and most < MOST_EDGES:
                raise Invalid(
                    "filter: conditions on relations should read at most "
                    f"{MOST_EDGES_TOGETHER} edges in all queries of a request together, received "
                    f"more with those of {relation} of {of.type} {of.id!r}"
                )
            if ends is None:
                raise Invalid(
                    f"of should be an entity with at most {MOST_EDGES} edges of {relation}, "
                    f"received {of.type} {of.id!r}, which has more"
                )
            found.update(ends)
        return found

    def _key(self, of: EntityId) -> int:
        """The key of an entity that conditions name, of which several may name the same."""
        if of not in self._keys:
            try:
                self._keys[of] = key_of(self.connection, of)
            except EntityMissing as error:
                raise Invalid(f"of should be an entity that is known: {error}") from error
        return self._keys[of]

    def _sides(self, condition: Condition, of: str, type_: str) -> list[bool]:
        """Whether the edges asked about are the named entity's own, those it ends, or either.

        Only as far as the relation can join the two types so.
        """
        sides = {"out": (True,), "in": (False,), None: (True, False)}[condition.direction]
        ends = {(r.head, r.tail) for r in self.schema.relations if r.name == condition.relation}
        return [out for out in sides if ((of, type_) if out else (type_, of)) in ends]


def _test(condition: Condition) -> Test:
    """Which distinct values an attribute may have."""
    tests = condition.tests

    def holds(values: Values) -> Mask:
        count = len(values.decoded)
        passes = np.ones(count, np.bool_)
        numbers = values.numbers
        for name, compare in _COMPARE.items():
            if name in tests:
                passes &= compare(numbers, tests[name])
        for some in ([tests["equals"]] if "equals" in tests else None, tests.get("in_")):
            if some is not None:
                asked = {_plain(value) for value in some}
                one_of = (_is_one(value, asked) for value in values.decoded)
                passes &= np.fromiter(one_of, np.bool_, count)
        return passes

    return holds


def _any_value(values: Values) -> Mask:
    return np.ones(len(values.decoded), np.bool_)


_COMPARE: dict[str, Callable[[NDArray[np.float64], float], Mask]] = {
    "gte": lambda numbers, bound: numbers >= bound,
    "gt": lambda numbers, bound: numbers > bound,
    "lte": lambda numbers, bound: numbers <= bound,
    "lt": lambda numbers, bound: numbers < bound,
}


def _is_one(value: Any, asked: set[Any]) -> bool:
    if isinstance(value, list):
        return any(_plain(one) in asked for one in value if isinstance(one, str | int | float))
    return isinstance(value, str | int | float) and _plain(value) in asked


def _plain(value: Any) -> Any:
    """A form in which 1, 1.0 and true are told apart as JSON does: numbers by value."""
    return ("bool", value) if isinstance(value, bool) else value


def _types(condition: Condition) -> list[str] | None:
    if condition.type is None:
        return None
    return [condition.type] if isinstance(condition.type, str) else condition.type


def _comparable(condition: Condition, kinds: set[str]) -> None:
    """Raise `Invalid` where no value of an attribute of these kinds could be what is asked.

    An empty answer would look as if there were nobody.
    """
    number, text = "number" in kinds, bool(kinds - {"number"})
    wanted = " or ".join(["a number"] * number + ["a string"] * text)
    is_a = f"{condition.attribute}, which is a {' or a '.join(sorted(kinds))}"
    tests = condition.tests
    for name in RANGE:
        if name in tests and not number:
            raise Invalid(f"filter: {name} should be asked of a number, received {is_a}")
    for name, values in (("equals", [tests.get("equals")]), ("in", tests.get("in_", []))):
        for value in values:
            if value is not None and not any(_may_be(value, kind) for kind in kinds):
                says = f"filter: {name} should be {wanted} for {is_a}, received {value!r}"
                raise Invalid(says)


def _may_be(value: Any, kind: str) -> bool:
    """Whether an attribute of a kind may have this value, or have it in its list."""
    if isinstance(value, bool):
        return False
    return isinstance(value, str) != (kind == "number")


def _known(field_: str, name: str, known: Any) -> None:
    if name not in known:
        raise Invalid(
            f"filter: {field_} should be one of {listed(sorted(known))}, received {name!r}"
            f"{meant(name, known)}"
        )
