"""What became of an event, in a form that its sender can act on.

Takes what was wrong, gives verdicts whose texts are bounded and printable; never decides anything.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from graphsvc.events import EntityRef, Event

Status = Literal["accepted", "duplicate", "conflict", "rejected"]
STATUSES: tuple[Status, ...] = ("accepted", "duplicate", "conflict", "rejected")

LONGEST_ECHO = 80


class Verdict(NamedTuple):
    """What became of one event. The last four say what to correct if it was not accepted."""

    event_id: str | None
    status: Status
    code: str | None = None
    #: Dotted path of the field, e.g. `actor.type`.
    field: str | None = None
    #: What was expected and what was received, in a sentence.
    message: str | None = None
    #: The value received, shortened.
    value: str | float | bool | None = None

    @property
    def expected(self) -> str:
        """What was expected alone: the sentence without the field before and the value behind."""
        says = (self.message or "").removeprefix(self.field or "")
        says = says.removeprefix(":").strip().removeprefix("should be ")
        return says.partition(", received ")[0]


def reject(
    event: Event, code: str, field: str, expected: str, value: Any, hint: str = ""
) -> Verdict:
    """The verdict on a well-formed event that may not be in the graph."""
    short = shortened(value)
    message = f"{field} should be {expected}, received {received(value)}{hint}"
    return Verdict(event.event_id, "rejected", code, field, message, short)


def received(value: Any) -> str:
    """A value as a sentence shows it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    short = shortened(value)
    return str(short) if isinstance(value, Mapping | list | tuple) else repr(short)


def shortened(value: Any) -> str | float | bool | None:
    """A form of any value that fits into an answer: bounded, printable, plain JSON."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, int):
        return value if abs(value) < 2**63 else f"a whole number of {value.bit_length()} bits"
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, EntityRef):
        return printable(f"{value.type}/{value.id}")
    return "an object" if isinstance(value, Mapping) else "a list"


def printable(text: str, *, most: int = LONGEST_ECHO) -> str:
    """A text without what a terminal or a log could stumble over, at most so much of it."""
    short = text if len(text) <= most else f"{text[:most]}..."
    # Python's isprintable is false for lone surrogates, control characters and separators.
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in short)
