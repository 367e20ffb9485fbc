"""What Pydantic finds wrong with a value, in our words.

Takes the details of an error, gives parts of a sentence, bounded and printable; never decides what
is wrong.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from graphsvc.hints import listed, meant, one_of
from graphsvc.ids import DIGEST, ID_PATTERN, NAME
from graphsvc.verdict import printable, received

#: What each pattern of a field asks for.
PATTERNS: Mapping[str, str] = {
    ID_PATTERN: "text without control characters",
    NAME.pattern: "a lower-case letter, and up to 63 more letters, digits or _",
    DIGEST.pattern: "64 hexadecimal digits, in lower case",
    r"^[a-z][a-z0-9_]{0,31}$": "a lower-case letter, and up to 31 more letters, digits or _",
    r"^[A-Z]{3}$": "three capital letters, e.g. EUR",
    r"^[A-Za-z0-9_-]{1,64}$": "1 to 64 letters, digits, - or _",
    r"^[A-Za-z0-9_-]{1,200}$": "1 to 200 letters, digits, - or _",
    r"^[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?$": "1 to 255 visible ASCII characters",
    r"^[0-9a-f]{16}$": "16 hexadecimal digits, in lower case",
    r"^([0-9a-f]{16}|command line)$": "the id of a key, or: command line",
    r"^[^\x00]*[^\x00\s][^\x00]*$": "text that is not blank, without null characters",
}

_WORDS: Mapping[str, str] = {
    "missing": "required",
    "model_type": "should be a JSON object",
    "model_attributes_type": "should be a JSON object",
    "dict_type": "should be a JSON object",
    "dataclass_type": "should be a JSON object",
    "list_type": "should be a list",
    "tuple_type": "should be a list",
    "string_type": "should be a string",
    "string_unicode": "should be a string without half pairs",
    "bool_type": "should be true or false",
    "bool_parsing": "should be true or false",
    "int_type": "should be a whole number",
    "int_parsing": "should be a whole number",
    "int_parsing_size": "should be a smaller whole number",
    "int_from_float": "should be a whole number",
    "float_type": "should be a number",
    "float_parsing": "should be a number",
    "finite_number": "should be a finite number",
    "byte_size": "should be a size such as 8GiB, 512MiB, or a number of bytes",
    "byte_size_unit": "should be a size such as 8GiB, 512MiB, or a number of bytes",
}

_COUNTED: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "greater_than": lambda ctx: f"should be more than {_plain(ctx['gt'])}",
    "greater_than_equal": lambda ctx: f"should be at least {_plain(ctx['ge'])}",
    "less_than": lambda ctx: f"should be less than {_plain(ctx['lt'])}",
    "less_than_equal": lambda ctx: f"should be at most {_plain(ctx['le'])}",
    "string_too_short": lambda ctx: f"should have at least {_many(ctx['min_length'], 'character')}",
    "string_too_long": lambda ctx: f"should have at most {_many(ctx['max_length'], 'character')}",
    "too_short": lambda ctx: f"should have at least {_many(ctx['min_length'], 'entry')}",
    "too_long": lambda ctx: f"should have at most {_many(ctx['max_length'], 'entry')}",
    "json_invalid": lambda ctx: f"should be JSON: {ctx['error']}",
}
_OF_FIELD = re.compile("^Value error, (?P<field>[a-z_]+) should ")
_OF_PYDANTIC = re.compile("^(Value error, |Assertion failed, |Input |Field )")


def sentence(detail: ErrorDetails, model: Any = None) -> str:
    """What should be there and what came, to stand behind the field's name and a colon.

    `model` is what the whole value should have been; its fields are told who writes another one.
    """
    if detail["type"] == "extra_forbidden":
        name, known = str(detail["loc"][-1]), _known(model, detail)
        told = f"; known are {listed(known)}" if known else ""
        return f"not a field here{told}{meant(name, known)}"
    says = _said(detail)
    if ", received " in says or detail["type"] == "json_invalid":
        return says
    return f"{says}, received {what_came(detail)}"


def expected(detail: ErrorDetails, model: Any = None) -> str:
    """What was expected alone."""
    if detail["type"] == "extra_forbidden":
        known = _known(model, detail)
        return one_of(known) + meant(str(detail["loc"][-1]), known)
    return _said(detail).removeprefix("should be ").partition(", received ")[0]


def what_came(detail: ErrorDetails) -> str:
    """The value received, as a sentence shows it."""
    if detail["type"] == "missing":
        return "nothing"
    value = detail.get("input")
    return "null" if value is None else received(value)


def causes(details: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """The details without those that only follow from others: a list lacks its bad entries.

    What is wrong with fields together is told of the one that its sentence begins with.
    """
    places = [detail["loc"] for detail in details]
    return [
        _of_field(detail)
        for detail in details
        if detail["type"] != "too_short"
        or not any(
            len(place) > len(detail["loc"]) and place[: len(detail["loc"])] == detail["loc"]
            for place in places
        )
    ]


def _of_field(detail: ErrorDetails) -> ErrorDetails:
    whole, together = detail.get("input"), _OF_FIELD.match(detail["msg"])
    if not together or not isinstance(whole, Mapping) or together["field"] not in whole:
        return detail
    name, says = together["field"], detail["msg"][together.end("field") + 1 :]
    return {**detail, "loc": (*detail["loc"], name), "input": whole[name], "msg": says}


def _said(detail: ErrorDetails) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "string_pattern_mismatch":
        pattern = context["pattern"]
        return f"should be {PATTERNS.get(pattern, f'text like {pattern}')}"
    if kind in _COUNTED:
        return _COUNTED[kind](context)
    says = _WORDS.get(kind) or _OF_PYDANTIC.sub("", detail["msg"])
    return printable(says, most=400)


def _known(model: Any, detail: ErrorDetails) -> list[str]:
    # Those that are read from bytes begin with where they stood, e.g. "body".
    return list(_fields(model, detail["loc"][:-1]))


@lru_cache(maxsize=256)
def _fields(model: Any, place: tuple[int | str, ...]) -> tuple[str, ...]:
    """The fields of the model that stands at a place inside another one."""
    for part in place:
        held = [inner.model_fields[part] for inner in _models(model) if part in inner.model_fields]
        model = held[0].annotation if held else model
    return tuple(
        field.alias or name
        for inner in _models(model)
        for name, field in inner.model_fields.items()
    )


def _models(kind: Any) -> Iterator[type[BaseModel]]:
    """The models in a type such as `list[Model] | None`."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for inner in get_args(kind):
        yield from _models(inner)


def _plain(number: float) -> str:
    return str(int(number)) if float(number).is_integer() else str(number)


def _many(number: int, noun: str) -> str:
    plural = {"entry": "entries"}.get(noun, f"{noun}s")
    return f"{number} {noun if number == 1 else plural}"
