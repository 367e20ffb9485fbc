"""ETags: a name for what a resource looked like, so that nobody overwrites what they have not seen.

Takes header values (RFC 9110, sections 8.8 and 13.1), gives whether they name a state; never reads
the state itself.
"""

import re
from collections.abc import Callable
from typing import Annotated

from fastapi import Header

from api.errors import Invalid

_TAG = re.compile(r'\s*(W/)?"([\x21\x23-\x7e]*)"\s*(?:,|$)')
_LONGEST = 1000

IfMatch = Annotated[
    str | None,
    Header(
        max_length=_LONGEST,
        description="Do it only if the ETag is still one of these; else 412.",
        examples=['"3"'],
    ),
]
IfNoneMatch = Annotated[
    str | None,
    Header(max_length=_LONGEST, description="Answer 304 if the ETag is one of these."),
]

IfNew = Annotated[
    str | None,
    Header(
        alias="If-None-Match",
        max_length=_LONGEST,
        description="`*`: do it only if there is no such thing yet; an ETag: only if it has "
        "another one by now; else 412.",
        examples=["*"],
    ),
]


def quoted(tag: str) -> str:
    """A strong ETag as a header has it."""
    return f'"{tag}"'


def expected(header: str | None) -> Callable[[str], bool] | None:
    """What `If-Match` asks for, as a test of a tag; None where there is no such header.

    `*` is any state. A weak tag never matches here. Raises `Invalid`.
    """
    if header is None:
        return None
    if header.strip() == "*":
        return lambda _tag: True
    strong = {tag for weak, tag in _tags(header, "If-Match") if not weak}
    return lambda tag: tag in strong


def named(header: str | None) -> Callable[[str], bool] | None:
    """What `If-None-Match` names, as a test of a tag; None where there is no such header.

    `*` names any state. Raises `Invalid`.
    """
    if header is None:
        return None
    if header.strip() == "*":
        return lambda _tag: True
    known = {tag for _, tag in _tags(header, "If-None-Match")}
    return lambda tag: tag in known


def is_known(header: str | None, tag: str) -> bool:
    """Whether `If-None-Match` names this state, be it weakly. Raises `Invalid`."""
    known = named(header)
    return known is not None and known(tag)


def _tags(header: str, name: str) -> list[tuple[bool, str]]:
    found, at = [], 0
    while at < len(header):
        match = _TAG.match(header, at)
        if match is None:
            raise Invalid(f'{name} should be * or ETags such as "3", received {header[:80]!r}')
        found.append((match[1] is not None, match[2]))
        at = match.end()
    return found
