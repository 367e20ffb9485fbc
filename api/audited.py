"""How a write looks in one line: who asked for what, what it was about, what became of it.

Takes a write of the audit log, gives a row for people; machines get both rows as they are.
"""

from collections.abc import Mapping
from typing import Any

from api.printing import moment
from graphsvc.audit import Write
from graphsvc.ids import DIGEST

COLUMNS = ("number", "at", "actor", "action", "outcome", "about")
#: From there on it was refused, and from there on it failed.
_REFUSED, _BROKEN = 400, 500
_SHORT = 8


def line(write: Write) -> dict[str, Any]:
    """The write as a row of `COLUMNS`."""
    asked = write.asked
    # What became of it says all that was asked, and what was told while it was done.
    about = (write.became or asked).about
    return {
        "number": asked.number,
        "at": moment(asked.at),
        "actor": asked.actor,
        "action": asked.action,
        "about": _named(about, ": "),
        "outcome": _outcome(write),
    }


def _outcome(write: Write) -> str:
    status = write.became.status if write.became else None
    if status is None:
        return "not known: under way, or it ended before it could say"
    word = "failed" if status >= _BROKEN else "refused" if status >= _REFUSED else "done"
    return f"{word} ({status})"


def _named(values: Mapping[str, Any], mark: str) -> str:
    """Names and values; what was left as nothing is left out."""
    there = (one for one in values.items() if one[1] not in (None, []) and one[1] is not False)
    return ", ".join(f"{name}{mark}{_text(value)}" for name, value in there)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return _named(value, " ")
    if isinstance(value, list):
        return " ".join(map(_text, value))
    # Of a digest, as much as people compare; machines get all of it.
    return value[:_SHORT] if isinstance(value, str) and DIGEST.fullmatch(value) else str(value)
