"""What a mapping file says: how the columns of a table become the fields of events.

Takes TOML, gives a checked `Mapping`; never reads the table. `docs/ingest.md` has an example per
format.
"""

import string
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from api.errors import MappingInvalid
from graphsvc.hints import meant

Scalar = bool | int | float | str


class Piece(NamedTuple):
    """A part of a template: text as it is, and the column that follows, if any."""

    text: str
    column: str | None


def pieces_of(template: str) -> list[Piece]:
    """The parts of a template such as "{user}-{item}". Raises `ValueError`."""
    pieces = []
    for text, column, spec, conversion in string.Formatter().parse(template):
        if column == "" or spec or conversion:
            raise ValueError(
                f"{template!r} should name columns in braces, as in '{{user}}-{{item}}', "
                "and double a brace that is meant as one"
            )
        pieces.append(Piece(text, column))
    return pieces


def _template(text: str) -> str:
    pieces_of(text)
    return text


Template = Annotated[str, AfterValidator(_template)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Cell(_Strict):
    """The value of a column."""

    column: str
    #: What it is made into; by default it stays what the file says it is: in CSV, text.
    as_: Literal["text", "integer", "number", "boolean"] | None = Field(default=None, alias="as")
    #: Cut a text into a list.
    split: Annotated[str, Field(min_length=1)] | None = None


class Moment(_Strict):
    """A time in a column: a number of units since 1970, or a text."""

    column: str
    unit: Literal["s", "ms", "us", "ns"] = "s"
    #: `iso`, or strptime's: %d.%m.%Y. Without a zone it is UTC.
    format: Annotated[str, Field(min_length=1)] | None = None


class When(_Strict):
    """A condition on a column; all that are named have to hold. An empty cell fulfills none."""

    column: str
    is_: Scalar | None = Field(default=None, alias="is")
    in_: list[Scalar] | None = Field(default=None, alias="in")
    not_: Scalar | None = Field(default=None, alias="not")
    at_least: float | int | None = None
    at_most: float | int | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "When":
        if self.model_fields_set == {"column"}:
            raise ValueError("should have one of is, in, not, at_least, at_most")
        return self


class Ref(_Strict):
    """An entity."""

    type: Template
    id: Template


class EventOf(_Strict):
    """An event made of a row. A text may name columns in braces; `{ column = ... }` is a value."""

    when: When | list[When] = Field(default_factory=list)
    #: By default a digest of the event, so that the same row read again is a duplicate.
    event_id: Template | None = None
    event_name: Template
    event_time: int | Moment
    action_source: Template
    actor: Ref
    object: Ref | None = None
    relation: Template | None = None
    value: float | int | Cell | None = None
    currency: Template | None = None
    properties: dict[str, Scalar | list[Scalar] | Cell] = Field(default_factory=dict)
    consent: bool | Cell | None = None
    request_id: Template | None = None
    position: int | Cell | None = None
    sampling_rate: float | int | Cell | None = None


class Source(_Strict):
    """How the file is to be read, where its name does not say it."""

    format: Literal["csv", "tsv", "parquet"] | None = None
    #: One character; by default a comma, or a tab in TSV.
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    #: Whether cells may stand in double quotes; by default in CSV only.
    quoted: bool | None = None
    #: The names of the columns, for a file whose first line does not name them.
    columns: list[str] | None = None


class Mapping(_Strict):
    """A whole mapping file."""

    source: Source = Source()
    events: Annotated[list[EventOf], Field(min_length=1, max_length=32)]

    def columns(self) -> list[str]:
        """Every column that it names, once, in order."""
        return columns_of(self.events)


def columns_of(part: Any) -> list[str]:
    """Every column that a part of a mapping names, once, in order."""
    named: dict[str, None] = {}

    def walk(value: Any) -> None:
        if isinstance(value, str):
            named.update({p.column: None for p in pieces_of(value) if p.column})
        elif isinstance(value, Cell | Moment | When):
            named[value.column] = None
        elif isinstance(value, BaseModel):
            for name in type(value).model_fields:
                walk(getattr(value, name))
        elif isinstance(value, dict | list):
            for item in value.values() if isinstance(value, dict) else value:
                walk(item)

    walk(part)
    return list(named)


def load_mapping(file: Path) -> Mapping:
    """The mapping in a file. Raises `MappingInvalid` naming the key.

    What stands under [defaults] holds for every event that does not say otherwise.
    """
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise MappingInvalid(f"{file} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise MappingInvalid(f"{file} is not TOML: {error}") from error
    defaults, events = document.pop("defaults", {}), document.get("events", [])
    if not isinstance(defaults, dict):
        raise MappingInvalid(f"{file}: defaults should be a table, received {str(defaults)[:80]!r}")
    if isinstance(events, list):
        merged = [defaults | event if isinstance(event, dict) else event for event in events]
        document["events"] = merged
    try:
        return Mapping.model_validate(document)
    except ValidationError as error:
        wrong = error.errors(include_url=False)
        says = _unknown(wrong, events) or _sentence(wrong)
        raise MappingInvalid(f"{file}: {says}") from error


#: The parts of a key's place that say in which table it stands.
_TABLES: dict[str, type[BaseModel]] = {
    "source": Source,
    "events": EventOf,
    "actor": Ref,
    "object": Ref,
    "Cell": Cell,
    "Moment": Moment,
    "when": When,
}
_KINDS = {"Cell", "Moment", "When", "bool", "int", "float", "str"}


def _unknown(wrong: list[ErrorDetails], events: Any) -> str:
    """The keys that a mapping does not have, if any: what else is wrong may follow from them."""
    told: dict[str, str] = {}
    for item in wrong:
        if item["type"] != "extra_forbidden":
            continue
        *above, key = item["loc"]
        table: type[BaseModel] = Mapping
        for part in above:
            table = _TABLES.get(str(part), table)
        known = [field.alias or name for name, field in table.model_fields.items()]
        known += ["defaults"] if table is Mapping else []
        where = ".".join(_named(item["loc"]))
        if len(item["loc"]) > 2 and item["loc"][0] == "events":
            _, number, own, *_ = item["loc"]
            if own not in events[int(number)]:  # it came from there
                where = ".".join(["defaults", *_named(item["loc"][2:])])
        told[where] = f"{where} is not a key of a mapping{meant(str(key), known)}"
    return ", ".join(told.values())


def _named(loc: Sequence[int | str]) -> list[str]:
    """A place as the file has it, without the kinds of values that were tried."""
    return [str(part) for part in loc if str(part) not in _KINDS and "[" not in str(part)]


def _sentence(wrong: list[ErrorDetails]) -> str:
    # Of a value that may be of several kinds, each kind complains; the last goes deepest.
    first = max(wrong, key=lambda item: len(item["loc"]))
    where, says = ".".join(_named(first["loc"])), first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing":
        return f"{where} is missing"
    return f"{where}: {says}, received {str(first.get('input'))[:80]!r}"
