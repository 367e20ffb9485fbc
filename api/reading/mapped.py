"""Rows of a table as events.

Takes columns and a mapping, gives an event per row and entry of the mapping, or why there is none;
never looks at a schema.
A cell that cannot be used rejects the events that need it, and no other.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

import orjson

from api.reading.lines import Rows, Unmade
from api.reading.mapping import Cell, EventOf, Moment, Ref, When, columns_of, pieces_of
from graphsvc.ingest import Verdict

#: Column name -> its values; all are of the same length.
Columns = Mapping[str, Sequence[Any]]

_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_TRUE, _FALSE = frozenset({"true", "1", "yes"}), frozenset({"false", "0", "no"})


class Unusable(NamedTuple):
    """Why a cell cannot be used, and what is in it."""

    expected: str
    value: Any


def events_of(
    mapping: Sequence[EventOf],
    columns: Columns,
    numbers: Sequence[int],
    no_utf8: Sequence[tuple[int, str]] = (),
) -> Rows:
    """The events of all rows, row by row; `numbers` says which row of the file each is.

    The cells that are `no_utf8`, as a place in `numbers` and a column, are readable, but not what
    the file holds.
    """
    wrong: dict[str, set[int]] = {}
    for row, column in no_utf8:
        wrong.setdefault(column, set()).add(row)
    made = [
        _events(event, place, columns, len(numbers), wrong)
        for place, event in enumerate(mapping, 1)
    ]
    return [
        (number, event)
        for number, *events in zip(numbers, *made, strict=True)
        for event in events
        if event is not None
    ]


def _events(
    spec: EventOf, place: int, columns: Columns, n: int, wrong: Mapping[str, set[int]]
) -> list[Any]:
    """Per row an event, an `Unmade`, or None: the condition does not hold."""
    conditions = spec.when if isinstance(spec.when, list) else [spec.when]
    wanted = [True] * n
    for condition in conditions:
        holds = _condition(condition)
        cells = columns[condition.column]
        unknown = wrong.get(condition.column, set())
        wanted = [
            before and (row in unknown or holds(cell))
            for row, (before, cell) in enumerate(zip(wanted, cells, strict=True))
        ]
    fields = {
        name: _values(value, columns, n)
        for name in type(spec).model_fields
        if name not in ("when", "properties") and (value := getattr(spec, name)) is not None
    }
    properties = {
        f"properties.{name}": _values(value, columns, n) for name, value in spec.properties.items()
    }
    named = [name for name in columns_of(spec) if name in wrong] if wrong else []
    made: list[Any] = [None] * n
    for row in range(n):
        if wanted[row]:
            event = _no_utf8(row, named, columns, wrong) or _event(
                {name: values[row] for name, values in fields.items()},
                {name: values[row] for name, values in properties.items()},
            )
            if isinstance(event, Verdict):
                as_read = {name: column[row] for name, column in columns.items()}
                event = Unmade(event, as_read, {"number": place, "event_name": spec.event_name})
            made[row] = event
    return made


def _no_utf8(
    row: int, named: Sequence[str], columns: Columns, wrong: Mapping[str, set[int]]
) -> Verdict | None:
    """Why no event can be made of a row, if one of the columns that it needs cannot be read."""
    for name in named:
        if row in wrong[name]:
            shown = str(columns[name][row])[:80]
            received = repr(shown).replace(r"\\", "\\")  # the cell spells out bytes already
            message = f"column {name}: should be UTF-8, received {received}"
            return Verdict(None, "rejected", "invalid", f"column {name}", message, shown)
    return None


def _event(fields: dict[str, Any], properties: dict[str, Any]) -> Any:
    for name, value in (*fields.items(), *properties.items()):
        if isinstance(value, Unusable):
            shown = str(value.value)[:80]
            message = f"{name} should be {value.expected}, received {shown!r}"
            return Verdict(None, "rejected", "invalid", name, message, shown)
    event = {name: value for name, value in fields.items() if value is not None}
    kept = {
        name.removeprefix("properties."): value
        for name, value in properties.items()
        if value is not None
    }
    if kept:
        event["properties"] = kept
    if "event_id" not in event:
        try:
            content = orjson.dumps(event, option=orjson.OPT_SORT_KEYS)
        except TypeError:
            message = "event should hold JSON values only; say `as` for the others"
            return Verdict(None, "rejected", "invalid", "event", message)
        event["event_id"] = hashlib.blake2b(content, digest_size=16).hexdigest()
    return event


def _values(value: Any, columns: Columns, n: int) -> Sequence[Any]:
    if isinstance(value, str):
        return _filled(value, columns, n)
    if isinstance(value, Ref):
        types, ids = _filled(value.type, columns, n), _filled(value.id, columns, n)
        return [
            # Without its id there is no entity; the event says whether it can do without.
            None if type_ is None or id_ is None else {"type": type_, "id": id_}
            for type_, id_ in zip(types, ids, strict=True)
        ]
    if isinstance(value, Moment):
        return _each(_moment(value), columns[value.column])
    if isinstance(value, Cell):
        return _each(_cell(value), columns[value.column])
    return [value] * n


def _each(convert: Callable[[Any], Any], cells: Sequence[Any]) -> list[Any]:
    return [None if cell is None else convert(cell) for cell in cells]


def _filled(template: str, columns: Columns, n: int) -> Sequence[str | None]:
    """A template per row; None where a cell that it names is empty."""
    pieces = pieces_of(template)
    if all(piece.column is None for piece in pieces):
        return ["".join(piece.text for piece in pieces)] * n
    parts: list[Sequence[str | None]] = []
    for piece in pieces:
        if piece.text:
            parts.append([piece.text] * n)
        if piece.column is not None:
            parts.append(_each(_text, columns[piece.column]))
    if len(parts) == 1:
        return parts[0]
    return [
        None if None in row else "".join(part for part in row if part is not None)
        for row in zip(*parts, strict=True)
    ]


def _text(cell: Any) -> str:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))  # an id column with gaps becomes one of floats in many tools
    return str(cell)


def _cell(spec: Cell) -> Callable[[Any], Any]:
    converts: dict[str | None, Callable[[Any], Any]] = {
        None: lambda cell: cell,
        "text": _text,
        "integer": _integer,
        "number": _number,
        "boolean": _boolean,
    }
    convert = converts[spec.as_]
    if spec.split is None:
        return convert
    by = spec.split

    def cut(cell: Any) -> Any:
        parts = [convert(part) for part in str(cell).split(by) if part]
        wrong = [part for part in parts if isinstance(part, Unusable)]
        return wrong[0] if wrong else parts

    return cut


def _number(cell: Any) -> float | int | Unusable:
    if isinstance(cell, int | float):
        return cell
    try:
        return float(str(cell)) if "_" not in str(cell) else Unusable("a number", cell)
    except ValueError:
        return Unusable("a number", cell)


def _integer(cell: Any) -> int | Unusable:
    try:
        if isinstance(cell, str):
            return int(cell) if "_" not in cell else Unusable("a whole number", cell)
        return int(cell) if int(cell) == cell else Unusable("a whole number", cell)
    except (ValueError, TypeError, OverflowError):
        return Unusable("a whole number", cell)


def _boolean(cell: Any) -> bool | Unusable:
    word = _text(cell).strip().lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    return Unusable("true or false, 1 or 0, yes or no", cell)


def _moment(spec: Moment) -> Callable[[Any], int | Unusable]:
    """Whole seconds since 1970, rounded down."""
    per_second = _PER_SECOND[spec.unit]

    def convert(cell: Any) -> int | Unusable:
        if isinstance(cell, datetime | date):
            return _seconds(cell)
        if isinstance(cell, str) and spec.format is not None:
            return _read_moment(cell, spec.format)
        number = cell if isinstance(cell, int) else _whole_or_number(cell)
        if isinstance(number, Unusable) or not math.isfinite(number):
            return Unusable(f"a time in {spec.unit} since 1970", cell)
        return math.floor(number // per_second)

    return convert


def _seconds(moment: date) -> int:
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    return math.floor((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _read_moment(text: str, form: str) -> int | Unusable:
    try:
        if form == "iso":
            return _seconds(datetime.fromisoformat(text.strip()))
        return _seconds(datetime.strptime(text.strip(), form))  # noqa: DTZ007  UTC if it has none
    except (ValueError, OverflowError):
        return Unusable(f"a time of the format {form!r}", text)


def _whole_or_number(cell: Any) -> float | int | Unusable:
    whole = _integer(cell) if isinstance(cell, str) else Unusable("", cell)
    return _number(cell) if isinstance(whole, Unusable) else whole


def _condition(when: When) -> Callable[[Any], bool]:
    def same(cell: Any, wanted: Any) -> bool:
        if isinstance(wanted, bool):
            return _boolean(cell) is wanted
        if isinstance(wanted, str):
            return _text(cell) == wanted
        return _number(cell) == wanted

    def holds(cell: Any) -> bool:
        if cell is None:
            return False
        return (
            (when.is_ is None or same(cell, when.is_))
            and (when.not_ is None or not same(cell, when.not_))
            and (when.in_ is None or any(same(cell, wanted) for wanted in when.in_))
            and _within(_number(cell), when.at_least, when.at_most)
        )

    return holds


def _within(number: float | Unusable, at_least: float | None, at_most: float | None) -> bool:
    if isinstance(number, Unusable):
        return at_least is None and at_most is None
    return (at_least is None or number >= at_least) and (at_most is None or number <= at_most)
