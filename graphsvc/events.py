"""The event vocabulary: what an application may post, with the names of a Conversions API.

Takes JSON values, gives frozen models; never looks at the schema. Everything is bounded, and what
one of the databases could not store (null bytes, lone surrogates, numbers beyond 64 bits) is not
an event.
"""

import json
import math
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from graphsvc.ids import ID_PATTERN, MAX_ID_LENGTH

#: The last second of the year 9999.
LATEST_TIME = 253_402_300_799
#: Largest size of `properties` as JSON, in bytes.
MAX_PROPERTIES_BYTES = 16 * 1024
#: Deepest nesting of `properties`; the object itself is level 1.
MAX_PROPERTIES_DEPTH = 8

_LARGEST_INTEGER = 2**63 - 1
#: Whole numbers up to this one are exact as floats.
_LARGEST_EXACT = 2**53
# Line breaks and tabs are part of texts; the other control characters and half pairs are not.
_NOT_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")

_Id = Annotated[str, Field(min_length=1, max_length=MAX_ID_LENGTH, pattern=ID_PATTERN)]
_Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


def dump_properties(properties: dict[str, Any]) -> str:
    """The canonical JSON text of properties that were checked; 1.0 is written as 1."""
    plain = _whole(properties)
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _whole(value: Any) -> Any:
    """The same with whole numbers as such: who reads and writes JSON again may have changed it."""
    if isinstance(value, dict):
        return {name: _whole(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) <= _LARGEST_EXACT:
        return int(value)
    return value


def _bounded(properties: dict[str, Any]) -> dict[str, Any]:
    _check_json(properties, 1)
    size = len(dump_properties(properties).encode())
    if size > MAX_PROPERTIES_BYTES:
        raise PydanticCustomError(
            "too_large",
            "should be at most {most} bytes as JSON, received {size}",
            {"most": MAX_PROPERTIES_BYTES, "size": size},
        )
    return properties


def _check_json(value: Any, depth: int) -> None:
    if isinstance(value, dict | list):
        if depth > MAX_PROPERTIES_DEPTH:
            raise PydanticCustomError(
                "too_large", "should nest at most {most} deep", {"most": MAX_PROPERTIES_DEPTH}
            )
        for item in value:  # the keys of an object
            _check_json(item, depth + 1)
        for item in value.values() if isinstance(value, dict) else ():
            _check_json(item, depth + 1)
    else:
        _check_plain(value)


def _check_plain(value: Any) -> None:
    if isinstance(value, str):
        if _NOT_TEXT.search(value):
            raise PydanticCustomError("text", "should hold no control character or half pair")
    elif isinstance(value, bool | int):
        if abs(value) > _LARGEST_INTEGER:
            raise PydanticCustomError("integer", "should hold whole numbers of at most 64 bits")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise PydanticCustomError("finite", "should hold finite numbers only")
    elif value is not None:
        raise PydanticCustomError("json", "should hold JSON values only")


class EntityRef(BaseModel):
    """An entity as the application names it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    #: An entity type of the schema.
    type: _Name
    #: The application's own id, unique within the type.
    id: _Id


class Event(BaseModel):
    """One thing that happened, or one thing that holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    #: The application's own id; the same name and id again is a duplicate.
    event_id: _Id
    #: A relation or observation of the schema, or a built-in one (`builtin.py`).
    event_name: _Name
    #: When it happened, in whole seconds since 1970.
    event_time: Annotated[int, Field(ge=0, le=LATEST_TIME)]
    action_source: Literal["onsite", "offsite", "structure"]
    actor: EntityRef
    #: Absent for built-in events about one entity, e.g. `set_attributes`.
    object: EntityRef | None = None
    #: For `retract`: the relation of which an event is taken back.
    relation: _Name | None = None
    #: An amount, e.g. of a purchase, in `currency`.
    value: Annotated[float, Field(ge=-1e15, le=1e15, allow_inf_nan=False)] | None = None
    #: ISO 4217, e.g. EUR.
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None
    #: Anything else worth remembering; for `set_attributes`, the attributes.
    properties: Annotated[dict[str, Any], AfterValidator(_bounded)] | None = None
    #: Whether the person agreed to offsite events being used.
    consent: bool | None = None
    #: The `request_id` of the answer that it belongs to.
    request_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] | None = None
    #: Place in what was shown, from 0.
    position: Annotated[int, Field(ge=0, le=100_000)] | None = None
    #: Share of such events that are posted, e.g. 0.1 where nine of ten impressions are dropped.
    sampling_rate: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
