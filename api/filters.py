"""The language of filters: `must`, `should`, `must_not` over type, ids, attributes and relations.

Takes JSON, gives a checked `Filter`; never looks at the graph. All of `must` hold, none of
`must_not`, and where `should` is given at least one of it. A condition is one of

    {"type": ["film"]}                                    is of one of these types
    {"ids": ["d1", "d2"]}                                 is one of these
    {"attribute": "year", "gte": 1990, "lt": 2000}        also gt, lte, equals, in, exists
    {"relation": "click", "of": {"type": "user", "id": "u1"}, "direction": "out"}
    {"must": [...], "should": [...], "must_not": [...]}   a filter of its own

Of an attribute that is a list, `equals` and `in` ask whether it holds such a value. Who does not
have an attribute is not what any condition on it asks for. `direction`: out, the named entity is
the head of the edge; in, it is the tail; by default either.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from api.errors import Invalid
from graphsvc.events import EntityRef
from graphsvc.ids import ID_PATTERN, MAX_ID_LENGTH, NAME, canonical_json
from graphsvc.wording import causes, expected, sentence, what_came

MOST_IDS = 10_000
MOST_CONDITIONS = 100
DEEPEST = 5
#: What compares numbers.
RANGE = ("gte", "gt", "lte", "lt")
_TESTS = ("equals", "in_", *RANGE, "exists")

Name = Annotated[str, StringConstraints(pattern=NAME.pattern)]
Id = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_LENGTH, pattern=ID_PATTERN)]
#: No text and no truth value that could be read as one.
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Value = str | int | Number | bool


class Filter(BaseModel):
    """Who may be found. An empty one lets everybody pass."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        json_schema_extra={
            "example": {"must": [{"attribute": "year", "gte": 1990}], "must_not": [{"ids": ["d1"]}]}
        },
    )

    must: list["Condition"] = Field(default=[], max_length=MOST_CONDITIONS)
    should: list["Condition"] | None = Field(default=None, min_length=1, max_length=MOST_CONDITIONS)
    must_not: list["Condition"] = Field(default=[], max_length=MOST_CONDITIONS)

    @cached_property
    def key(self) -> bytes:
        """The same for filters that are written alike."""
        return canonical_json(self.model_dump(mode="json", by_alias=True, exclude_none=True))

    @property
    def conditions(self) -> Iterator["Condition"]:
        """All of them, those within others included."""
        for condition in (*self.must, *(self.should or ()), *self.must_not):
            yield condition
            yield from condition.conditions


class Condition(Filter):
    """One thing that holds or does not; or a filter of its own."""

    type: Name | list[Name] | None = None
    ids: list[Id] | None = Field(default=None, max_length=MOST_IDS)
    attribute: Name | None = None
    equals: Value | None = None
    in_: list[Value] | None = Field(default=None, alias="in", max_length=MOST_IDS)
    gte: Number | None = None
    gt: Number | None = None
    lte: Number | None = None
    lt: Number | None = None
    exists: bool | None = None
    relation: Name | None = None
    of: EntityRef | None = None
    direction: Literal["out", "in"] | None = None

    @property
    def tests(self) -> dict[str, Any]:
        """What it asks of an attribute."""
        return {name: getattr(self, name) for name in _TESTS if getattr(self, name) is not None}

    @model_validator(mode="after")
    def _is_one_thing(self) -> "Condition":
        nested = bool(self.must or self.should or self.must_not)
        said = [name for name in ("type", "ids", "attribute", "relation") if self._says(name)]
        if len(said) + nested != 1:
            raise ValueError(
                "should be one of type, ids, attribute, relation, or must, should and must_not, "
                f"received {' and '.join(said) if said else 'none of them'}"
            )
        if self.tests and said != ["attribute"]:
            raise ValueError(f"should name the attribute that {_plain(self.tests)} is about")
        if said == ["attribute"] and not self.tests:
            raise ValueError("should say equals, in, gte, gt, lte, lt or exists of the attribute")
        if self.exists is False and len(self.tests) > 1:
            raise ValueError("should ask nothing else of an attribute that is not to exist")
        if (self.of is None) != (self.relation is None):
            raise ValueError("should have both relation and of: edges of which entity")
        if self.direction and self.relation is None:
            raise ValueError("should name the relation that direction is about")
        return self

    def _says(self, name: str) -> bool:
        return getattr(self, name) is not None


Filter.model_rebuild()


def parse_filter(text: str) -> Filter:
    """The filter that a query parameter holds as JSON. Raises `Invalid` naming the field."""
    try:
        found = Filter.model_validate_json(text)
    except ValidationError as error:
        details = causes(error.errors())
        errors = [
            {
                "field": ".".join(["filter", *(str(part) for part in detail["loc"])]),
                "value": what_came(detail),
                "expected": expected(detail, Filter),
            }
            for detail in details
        ]
        says = sentence(details[0], Filter)
        raise Invalid(f"{errors[0]['field']}: {says}", errors=errors[:20]) from None
    check_size(found)
    return found


def check_size(filter_: Filter) -> None:
    """Raise `Invalid` for a filter that is larger than any that is looked at."""
    count = sum(1 for _ in filter_.conditions)
    if count > MOST_CONDITIONS:
        raise Invalid(f"filter should have at most {MOST_CONDITIONS} conditions, received {count}")
    if (deep := _depth(filter_)) > DEEPEST:
        raise Invalid(f"filter should be at most {DEEPEST} filters deep, received {deep}")


def _depth(filter_: Filter) -> int:
    inner = [*filter_.must, *(filter_.should or ()), *filter_.must_not]
    return 1 + max(
        (_depth(one) for one in inner if one.must or one.should or one.must_not), default=0
    )


def _plain(tests: dict[str, Any]) -> str:
    return ", ".join(name.rstrip("_") for name in tests)
