"""JSON of whatever has to be shown or kept, for people and machines.

Takes any value, gives JSON that every reader takes; never fails. What JSON in UTF-8 cannot hold is
spelt out in its place, and all beside it stays what it is.
"""

import re
from typing import Any

import orjson

#: Half of a surrogate pair: no UTF-8 has one.
_HALF = re.compile("[\ud800-\udfff]")
#: orjson writes 254 levels; what is deeper is no event.
_DEEPEST = 200


def json_of(value: Any) -> bytes:
    """A value as JSON."""
    try:
        return orjson.dumps(value, default=str)
    except TypeError:
        return orjson.dumps(_mended(value, 0), default=lambda odd: whole(str(odd)))


def whole(text: str) -> str:
    """A text in which half a pair is spelt out, as in the escape that made it."""
    return _HALF.sub(lambda half: f"\\u{ord(half[0]):04x}", text)


def _mended(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        # Few digits as they are; to spell out millions of them would take minutes.
        return str(value) if value.bit_length() < 1000 else f"{value.bit_length()} bits"
    if isinstance(value, dict | list | tuple) and depth >= _DEEPEST:
        return "..."
    if isinstance(value, dict):
        return {whole(str(key)): _mended(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mended(item, depth + 1) for item in value]
    return value
